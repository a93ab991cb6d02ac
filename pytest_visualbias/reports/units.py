"""In what an effect is measured: standard deviations, a mean cosine, or a difference of rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_visualbias.spec.prediction import RATES, class_text

if TYPE_CHECKING:
    from pytest_visualbias.record import ResultRecord

__all__ = [
    "AXES",
    "Unit",
    "is_counted",
    "is_standardised",
    "judged_limit",
    "rates_text",
    "unit_of",
]

Unit = Literal["effects", "similarities", "gaps"]
UNITS: dict[str, Unit] = {"intra-similarity": "similarities", "outcome-gap": "gaps"}
# What an axis is called on which they lie.
AXES: dict[Unit, str] = {
    "effects": "effect size d",
    "similarities": "mean cosine",
    "gaps": "difference of rates",
}


def unit_of(record: ResultRecord) -> Unit:
    """Return what the effect of a result is: those of one unit can be compared."""
    return UNITS.get(record.kind, "effects")


def is_standardised(record: ResultRecord) -> bool:
    """Whether the effect of a result is in standard deviations."""
    return unit_of(record) == "effects"


def is_counted(record: ResultRecord) -> bool:
    """Whether each image is predicted as a class or not; not so of means over trials."""
    asked = record.prediction
    return asked is not None and asked.rate != "score" and record.trials is None


def judged_limit(record: ResultRecord) -> float | None:
    """Return the limit on the effect that is judged."""
    return record.limits.get("max_gap" if unit_of(record) == "gaps" else "max_effect")


def rates_text(record: ResultRecord) -> str:
    """Say what a classifier made of the two groups; nothing of a test of embeddings."""
    asked = record.prediction
    if asked is None:
        return ""
    what = RATES[asked.rate].format(class_text(asked.index, asked.name))
    return f"{what}: {asked.rate_x:.3f} of X, {asked.rate_y:.3f} of Y"
