"""The tests of a spec: for each kind its sets, what it compares, and what may be said of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from pytest_visualbias.spec.limits import (
    Absent,
    Accept,
    Limits,
    OutcomeLimits,
    SimilarityLimits,
)
from pytest_visualbias.spec.prediction import Prediction
from pytest_visualbias.spec.values import (
    Alternative,
    Evidence,
    Name,
    Sides,
    Strict,
    TagName,
)

__all__ = [
    "KINDS",
    "AnyTest",
    "Attributes",
    "BiasTest",
    "IeatTest",
    "IntraSimilarityTest",
    "OneAttribute",
    "OneTarget",
    "OutcomeGapTest",
    "ScEatTest",
    "SimilarityGapTest",
    "Targets",
    "TwoAttributes",
    "TwoTargets",
    "part_of",
]

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
    """One test and its limits; of which kind, the classes below say.

    Attributes
    ----------
    compared : tuple of (str, str)
        The roles whose labels are permuted, a pair for each side. Without any there is no p.
    apart : tuple of (str, str)
        The roles that may not share an image.
    """

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
    evidence: Evidence | None = None
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
    """Return the part of a test in which the concept of a role stands."""
    return "targets" if role in Targets.model_fields else "attributes"
