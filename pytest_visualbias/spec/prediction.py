"""What a test of predictions asks of a classifier: which class, which rate, of which images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from pytest_visualbias.spec.values import NameOrNames, Strict, Text

__all__ = ["CONDITIONAL", "RATES", "Prediction", "Rate", "class_text"]

# Its place among the logits, or its name.
Class = Annotated[
    Annotated[int, Field(ge=0), Tag("number")] | Annotated[Text, Tag("text")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
]

Rate = Literal["fpr", "tpr", "share", "score"]
# Those that need to know which images are of the class.
CONDITIONAL = ("fpr", "tpr")
# In words.
RATES: dict[str, str] = {
    "fpr": "false positive rate of {}",
    "tpr": "true positive rate of {}",
    "share": "share predicted as {}",
    "score": "mean probability of {}",
}


def class_text(index: int | str, name: str = "") -> str:
    """Return a class as people read it: its number, its name, or both."""
    if isinstance(index, str):
        return f"class '{index}'"
    return f"class {index} ('{name}')" if name else f"class {index}"


class Prediction(Strict):
    """What is read of a classifier.

    Attributes
    ----------
    index : int or str
        The class: its place among the logits, from 0, or its name.
    rate : str
        ``fpr``: of the images that are not of the class, how many are predicted as it; ``tpr``: of
        those that are; ``share``: of all; ``score``: the mean probability of the class, of all.
    label : str or tuple of str, optional
        The folders, anywhere in an image's path, whose images are of the class; where all images
        count, they only show whether the classifier knows it.
    threshold : float, optional
        The least probability that counts as predicted. Without it the largest logit does, or with
        ``activation: sigmoid`` one half.
    activation : str
        ``softmax`` where an image has one class, ``sigmoid`` where each class is asked for itself,
        ``none`` where the network returns probabilities.
    """

    index: Annotated[Class, Field(alias="class")]
    rate: Rate
    label: NameOrNames | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"

    @property
    def labels(self) -> tuple[str, ...]:
        """The folders of the images that are of the class."""
        return (self.label,) if isinstance(self.label, str) else self.label or ()

    @property
    def is_rate(self) -> bool:
        """Whether predictions are counted."""
        return self.rate != "score"

    def counts(self, name: str) -> bool:
        """Whether an image counts, by its name: a path with slashes."""
        if self.rate not in CONDITIONAL:
            return True
        return self.is_positive(name) == (self.rate == "tpr")

    def is_positive(self, name: str) -> bool:
        """Whether an image is of the class, by its name."""
        return not {*name.split("/")[:-1]}.isdisjoint(self.labels)

    @property
    def what(self) -> str:
        """What is measured, in words."""
        return RATES[self.rate].format(class_text(self.index))
