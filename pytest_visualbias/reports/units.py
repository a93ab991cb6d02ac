"""In what an effect is measured: standard deviations, a mean cosine, or a difference of rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_visualbias.spec.prediction import RATES, class_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.record import ResultRecord

__all__ = [
    "AXES",
    "Unit",
    "is_counted",
    "is_standardised",
    "judged_limit",
    "rate_lines",
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


def rate_lines(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield what classifiers made of the two groups, one line a test: each model beside it.

    Parameters
    ----------
    records : iterable of ResultRecord
        Of a run; untrained networks know no class, and have no place here.
    """
    found = [one for one in records if one.prediction is not None and one.role != "random"]
    has_spec = len({one.spec for one in found}) > 1
    has_layer = len({one.layer for one in found}) > 1
    lines: dict[str, list[str]] = {}
    for one in found:
        asked = one.prediction
        assert asked is not None  # noqa: S101 - for the type checker
        of = f"'{asked.name}'" if asked.name else class_text(asked.index)
        spec = f"{one.spec}::" if has_spec else ""
        layer = f" [{one.layer}]" if has_layer else ""
        rates = f"X {asked.rate_x:.3g} of {one.n_x}, Y {asked.rate_y:.3g} of {one.n_y}"
        head = f"{spec}{one.test}{layer}: {asked.rate} of {of}"
        lines.setdefault(head, []).append(f"{one.model} {rates}")
    yield from (f"{head}: {'; '.join(each)}" for head, each in lines.items())
