"""What a test of predictions asks of a classifier: which class, which rate, of which images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_visualbias.spec.values import NameOrNames, Strict

__all__ = ["CONDITIONAL", "RATES", "Prediction", "Rate"]

Rate = Literal["fpr", "tpr", "share", "score"]
# Those that need to know which images are of the class.
CONDITIONAL = ("fpr", "tpr")
# In words.
RATES: dict[str, str] = {
    "fpr": "false positive rate of class {}",
    "tpr": "true positive rate of class {}",
    "share": "share predicted as class {}",
    "score": "mean probability of class {}",
}


class Prediction(Strict):
    """What is read of a classifier.

    Attributes
    ----------
    index : int
        The class: its place among the logits, from 0.
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
        ``softmax`` where an image has one class, ``sigmoid`` where each class is asked for itself.
    """

    index: Annotated[int, Field(ge=0, alias="class")]
    rate: Rate
    label: NameOrNames | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    activation: Literal["softmax", "sigmoid"] = "softmax"

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
        return RATES[self.rate].format(self.index)
