"""What a report keeps of one test over the checkpoints of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.judging import rule_of
from pytest_visualbias.pipeline.records import growth_record
from pytest_visualbias.record import PointRecord, SeriesRecord
from pytest_visualbias.verdict import exceeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.pipeline.measured import Trial
    from pytest_visualbias.spec.schema import BiasSpec

__all__ = ["point_of", "series_of"]

FIELDS = (
    *("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "ci_high"),
    *("p_value", "p_attributes", "p_welch", "p_crossed", "p_verdict"),
)


def point_of(
    spec: BiasSpec, label: str, trial: Trial, judged: Judged, *, is_gated: bool
) -> PointRecord:
    """Return one test of one checkpoint.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    label : str
        The step.
    trial : Trial
        The checkpoint.
    judged : Judged
        Its result.
    is_gated : bool
        Whether the p was corrected over all checkpoints; of those that are shown only, it is not.
    """
    growth = growth_record(judged)
    if growth is not None and not is_gated:
        growth = growth.model_copy(update={"p_adjusted": None})
    effect = judged.numbers.effect
    return PointRecord.model_validate(
        {
            "label": label,
            "checkpoint": trial.label,
            "digest": trial.facts.get("checkpoint", ""),
            "fingerprint": trial.fingerprint,
            **{name: getattr(effect, name, None) for name in FIELDS},
            "p_adjusted": judged.p.effect if is_gated else None,
            "growth": growth,
            "over": _over(spec, judged),
            "outcome": judged.verdict.outcome,
        }
    )


def _over(spec: BiasSpec, judged: Judged) -> dict[str, bool]:
    """Return the limits that a checkpoint is over; what is invalid says nothing."""
    effect, test = judged.numbers.effect, judged.test
    if effect is None or test.is_positive or judged.verdict.outcome in ("invalid", "error"):
        return {}
    numbers = judged.numbers
    violations = exceeded(
        effect, numbers.growth, rule_of(spec, test), judged.p, excess=numbers.excess
    )
    return {f"max_{one.kind}": one.evidence for one in violations if one.exceeds}


def series_of(
    spec: BiasSpec, axis: str, points: Sequence[PointRecord], *, is_gated: bool
) -> SeriesRecord:
    """Return a test over its checkpoints, with the first that is over each limit."""
    over = [(limit, one.label) for one in points for limit in one.over]
    evident = [(limit, one.label) for one in points for limit, shown in one.over.items() if shown]
    return SeriesRecord(
        axis=axis,
        gate="all" if is_gated else "last",
        correction=spec.settings.correction if is_gated else "none",
        points=list(points),
        first_over=dict(reversed(over)),
        first_evident=dict(reversed(evident)),
    )
