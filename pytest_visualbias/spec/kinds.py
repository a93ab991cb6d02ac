"""The tests of a spec: their sets and their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_visualbias.spec.values import (
    Alternative,
    Evidence,
    Limit,
    Name,
    Sides,
    Strict,
    TagName,
)

__all__ = ["Attributes", "BiasTest", "Limits", "Targets"]


class Targets(Strict):
    """The two target concepts."""

    X: Name
    Y: Name


class Attributes(Strict):
    """The two attribute concepts."""

    A: Name
    B: Name


class Limits(Strict):
    """What a test may show; every key is optional, and none means "reported only".

    Attributes
    ----------
    max_effect, max_gap : float
        On the judged effect and on the gap in cosines.
    max_growth, max_shift : float
        On the growth of the absolute effect since ``before``, and on its change either way.
    min_effect : float
        What a positive control must show.
    """

    max_effect: Limit | None = None
    max_gap: Limit | None = None
    max_growth: Limit | None = None
    max_shift: Limit | None = None
    min_effect: Limit | None = None

    @property
    def on_effect(self) -> bool:
        """Whether a limit uses the p of the effect."""
        return self.max_effect is not None or self.max_gap is not None

    @property
    def on_growth(self) -> bool:
        """Whether a limit uses the p of the growth."""
        return self.max_growth is not None or self.max_shift is not None


class BiasTest(Strict):
    """One association test and its limits."""

    name: Name
    kind: Literal["ieat"]
    targets: Targets
    attributes: Attributes
    limits: Limits = Limits()
    control: Literal["positive"] | None = None
    scope: Literal["attributes", "model"] | None = None
    alternative: Alternative | None = None
    evidence: Evidence | None = None
    sides: Sides | None = None
    growth_from: Name | None = None
    tags: Annotated[tuple[TagName, ...], Field(strict=False)] = ()
