"""Kinds of tests and their limits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from pytest_visualbias.spec.fields import (
    Alternative,
    Day,
    EvidenceRule,
    Limit,
    Name,
    NameOrNames,
    Names,
    NonBlankText,
    Sides,
    Strict,
    TagName,
    Text,
)


def concepts_of(test: BiasTest) -> dict[str, str]:
    """Return the concept of every role of a test, in the order X, Y, A, B."""
    parts = [part for part in (test.targets, test.attributes) if part is not None]
    return {role: name for part in parts for role, name in part if name is not None}


# What other kinds have. For editors it is no key at all, and where it is written nevertheless a
# sentence of its own says so (`faults`).
Absent = Annotated[None, SkipJsonSchema()]


class Limits(Strict):
    """What a test may show; every key is optional, and none means "reported only"."""

    max_effect: Limit | None = None
    max_gap: Limit | None = None
    max_growth: Limit | None = None
    max_shift: Limit | None = None
    max_excess: Limit | None = None
    min_effect: Limit | None = None

    @property
    def judged(self) -> float | None:
        """The limit on the effect that is judged."""
        return self.max_effect

    @property
    def on_effect(self) -> bool:
        """Whether a limit uses the p of the effect."""
        return self.max_effect is not None or self.max_gap is not None

    @property
    def on_growth(self) -> bool:
        """Whether a limit uses the p of the growth."""
        return self.max_growth is not None or self.max_shift is not None

    @property
    def on_excess(self) -> bool:
        """Whether a limit uses the p of the excess."""
        return self.max_excess is not None


class SimilarityLimits(Limits):
    """Where nothing is compared there is no gap, and no control."""

    max_gap: Absent = None
    min_effect: Absent = None


class OutcomeLimits(Limits):
    """Where the gap is the effect it has one limit, by the name that says so."""

    max_effect: Absent = None
    min_effect: Absent = None

    @property
    def judged(self) -> float | None:
        """The limit on the gap."""
        return self.max_gap


class Accept(Strict):
    """A waiver: a bias that is known, accepted up to a size and a day."""

    max_effect: Limit | None = None
    max_gap: Limit | None = None
    max_growth: Limit | None = None
    reason: NonBlankText
    until: Day
    models: Names | None = None
    layers: Names | None = None

    def sizes(self, limits: Limits) -> dict[str, float]:
        """Return the accepted sizes by kind of limit."""
        max_effect, max_gap = self.max_effect, self.max_gap
        if isinstance(limits, OutcomeLimits):
            max_effect, max_gap = None, max_effect if max_gap is None else max_gap
        sizes = {"effect": max_effect, "gap": max_gap, "growth": self.max_growth}
        return {kind: value for kind, value in sizes.items() if value is not None}

    def speaks_of(self, model: str, layer: str) -> bool:
        """Return whether the waiver covers a model at a layer."""
        return (self.models is None or model in self.models) and (
            self.layers is None or layer in self.layers
        )


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
    """Return a class for messages: its number, its name, or both."""
    if isinstance(index, str):
        return f"class '{index}'"
    return f"class {index} ('{name}')" if name else f"class {index}"


class Prediction(Strict):
    """What is read of a classifier."""

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
        """Return whether an image counts, by its name, a path with slashes."""
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


Kind = Literal["ieat", "sc-eat", "similarity-gap", "intra-similarity", "outcome-gap"]
Pairs = tuple[tuple[str, str], ...]


class Targets(Strict):
    """The target concepts."""

    X: Name
    Y: Name | None = None


class TwoTargets(Targets):
    """Two targets."""

    Y: Name


class OneTarget(Targets):
    """One target."""

    Y: Absent = None


class Attributes(Strict):
    """The attribute concepts."""

    A: Name
    B: Name | None = None


class TwoAttributes(Attributes):
    """Two attributes."""

    B: Name


class OneAttribute(Attributes):
    """One attribute."""

    B: Absent = None


class BiasTest(Strict):
    """One test and its limits; of which kind, the classes below say."""

    compared: ClassVar[Pairs] = ()
    apart: ClassVar[Pairs] = ()

    name: Name
    about: str = ""
    kind: Kind
    targets: Targets
    attributes: Attributes | None = None
    prediction: Prediction | None = None
    limits: Limits = Limits()
    accept: Accept | None = None
    control: Literal["positive", "idle"] | None = None
    scope: Literal["attributes", "model"] | None = None
    alternative: Alternative | None = None
    evidence: EvidenceRule | None = None
    sides: Sides | None = None
    growth_from: Name | None = None
    excess_over: Name | None = None
    tags: Annotated[tuple[TagName, ...], Field(strict=False)] = ()

    @property
    def is_positive(self) -> bool:
        """Whether it is a positive control: one that must show its effect."""
        return self.control == "positive"


class IeatTest(BiasTest):
    """Whether X are nearer to A, and Y to B, than the other way round."""

    compared: ClassVar[Pairs] = (("X", "Y"), ("A", "B"))
    apart: ClassVar[Pairs] = compared

    kind: Literal["ieat"]
    targets: TwoTargets
    attributes: TwoAttributes
    prediction: Absent = None


class ScEatTest(BiasTest):
    """Whether X are nearer to A than to B."""

    compared: ClassVar[Pairs] = (("A", "B"),)
    apart: ClassVar[Pairs] = compared

    kind: Literal["sc-eat"]
    targets: OneTarget
    attributes: TwoAttributes
    prediction: Absent = None
    sides: Absent = None


class SimilarityGapTest(BiasTest):
    """Whether X are nearer to A than Y are."""

    compared: ClassVar[Pairs] = (("X", "Y"),)
    # An image is wholly like itself, which would pass for the likeness of two sets.
    apart: ClassVar[Pairs] = (("X", "Y"), ("X", "A"), ("Y", "A"))

    kind: Literal["similarity-gap"]
    targets: TwoTargets
    attributes: OneAttribute
    prediction: Absent = None
    sides: Absent = None


class IntraSimilarityTest(BiasTest):
    """How alike X are to each other."""

    kind: Literal["intra-similarity"]
    targets: OneTarget
    attributes: Absent = None
    prediction: Absent = None
    limits: SimilarityLimits = SimilarityLimits()
    control: Absent = None
    scope: Absent = None
    alternative: Absent = None
    evidence: Literal["interval", "point"] | None = None
    sides: Absent = None


class OutcomeGapTest(BiasTest):
    """Whether a classifier errs more often, or says a class more often, of X than of Y."""

    compared: ClassVar[Pairs] = (("X", "Y"),)
    apart: ClassVar[Pairs] = compared

    kind: Literal["outcome-gap"]
    targets: TwoTargets
    attributes: Absent = None
    prediction: Prediction
    limits: OutcomeLimits = OutcomeLimits()
    control: Absent = None
    scope: Absent = None
    sides: Absent = None


KINDS: dict[str, type[BiasTest]] = {
    "ieat": IeatTest,
    "sc-eat": ScEatTest,
    "similarity-gap": SimilarityGapTest,
    "intra-similarity": IntraSimilarityTest,
    "outcome-gap": OutcomeGapTest,
}


def _kind(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) and kind in KINDS else "other"


# Of an unknown kind, a test of any kind tells the other mistakes.
AnyTest = Annotated[
    Annotated[IeatTest, Tag("ieat")]
    | Annotated[ScEatTest, Tag("sc-eat")]
    | Annotated[SimilarityGapTest, Tag("similarity-gap")]
    | Annotated[IntraSimilarityTest, Tag("intra-similarity")]
    | Annotated[OutcomeGapTest, Tag("outcome-gap")]
    | Annotated[SkipJsonSchema[BiasTest], Tag("other")],
    Discriminator(_kind),
]


def part_of(role: str) -> Literal["targets", "attributes"]:
    """Return the part of a test that holds a role."""
    return "targets" if role in Targets.model_fields else "attributes"
