"""What a test may show: its limits, and the waiver of one."""

from __future__ import annotations

from typing import Annotated

from pydantic.json_schema import SkipJsonSchema

from pytest_visualbias.spec.values import Day, Limit, Names, Said, Strict

__all__ = ["Absent", "Accept", "Limits", "OutcomeLimits", "SimilarityLimits"]

# What other kinds have. For editors it is no key at all, and where it is written nevertheless a
# sentence of its own says so (`faults`).
Absent = Annotated[None, SkipJsonSchema()]


class Limits(Strict):
    """What a test may show; every key is optional, and none means "reported only".

    Attributes
    ----------
    max_effect, max_gap : float
        On the judged effect and on the gap in cosines.
    max_growth, max_shift : float
        On the growth of the absolute effect since ``before``, and on its change either way.
    max_excess : float
        On how far the absolute effect goes beyond that of an untrained network.
    min_effect : float
        What a positive control must show.
    """

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
    """A waiver: a bias that is known, accepted up to a size and a day.

    Attributes
    ----------
    max_effect, max_gap, max_growth : float, optional
        The largest value that is accepted, each for the limit of the same name; one at least.
    reason : str
        Why, for whoever reads the report.
    until : date
        The last day on which it is.
    models, layers : tuple of str, optional
        Where; without them for every gated model, and at every layer.
    """

    max_effect: Limit | None = None
    max_gap: Limit | None = None
    max_growth: Limit | None = None
    reason: Said
    until: Day
    models: Names | None = None
    layers: Names | None = None

    def sizes(self, limits: Limits) -> dict[str, float]:
        """Return what is accepted by the kind of limit.

        If the gap is the effect, `max_effect` means the gap.
        """
        max_effect, max_gap = self.max_effect, self.max_gap
        if isinstance(limits, OutcomeLimits):
            max_effect, max_gap = None, max_effect if max_gap is None else max_gap
        sizes = {"effect": max_effect, "gap": max_gap, "growth": self.max_growth}
        return {kind: value for kind, value in sizes.items() if value is not None}

    def speaks_of(self, model: str, layer: str) -> bool:
        """Whether it is about a model at a layer."""
        return (self.models is None or model in self.models) and (
            self.layers is None or layer in self.layers
        )
