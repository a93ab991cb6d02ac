"""Of a training run, the checkpoint that a verdict is about, and what the verdict leaves out."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.spec.overrides import option_for
from pytest_visualbias.spec.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.record import PointRecord, ResultRecord, SeriesRecord

__all__ = ["as_judged", "earlier_notes", "gate_alone", "step_of", "worst_elsewhere"]

# Worst first.
OUTCOMES = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")
# What a checkpoint has of a result.
NUMBERS = (
    *("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "ci_high"),
    *("p_value", "p_attributes", "p_welch", "p_crossed", "p_verdict", "p_adjusted", "growth"),
)
ON_CHANGE = {"max_growth", "max_shift", "max_excess"}


def worst_elsewhere(record: ResultRecord) -> PointRecord | None:
    """Return the worst checkpoint of a series that is judged whole, unless it is the last one.

    A result has the numbers of the last one, so what is shown of it says nothing of that.
    """
    series = record.series
    if series is None or series.gate != "all":
        return None
    measured = [one for one in series.points if one.effect_judged is not None]
    if not measured:
        return None
    # Of those alike, the last one.
    worst = max(reversed(measured), key=lambda one: _badness(record, one))
    return None if worst is series.points[-1] else worst


def _badness(record: ResultRecord, point: PointRecord) -> tuple[int, float]:
    effect = point.effect_judged or 0.0
    effect = {"greater": effect, "less": -effect}.get(record.alternative, abs(effect))
    if record.control == "positive":
        effect = -effect
    elif point.growth is not None and point.over and not point.over.keys() - ON_CHANGE:
        effect = point.growth.value
    return -OUTCOMES.index(point.outcome), effect


def as_judged(record: ResultRecord) -> ResultRecord:
    """Return a result with the numbers of the checkpoint that its verdict is about."""
    point = worst_elsewhere(record)
    if point is None:
        return record
    return record.model_copy(update={name: getattr(point, name) for name in NUMBERS})


def step_of(series: SeriesRecord, point: PointRecord) -> str:
    """Return a checkpoint as people know it: ``epoch 4``."""
    return visible(f"{series.axis} {point.label}")


def gate_alone(record: ResultRecord) -> str:
    """Return how the images of the worst checkpoint are seen; nothing where they are shown."""
    point = worst_elsewhere(record)
    if point is None or record.series is None:
        return ""
    file = shlex.quote(f"FOLDER/{point.checkpoint}")
    option = option_for(record.model).replace("CHECKPOINT", file)
    last = step_of(record.series, record.series.points[-1])
    return (
        f"the images shown are those of {last}; gate {step_of(record.series, point)} alone to see "
        f"which carry its effect: {visible(option)}"
    )


def earlier_notes(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield which models were over a limit at checkpoints that are not judged, and no more at last.

    Parameters
    ----------
    records : iterable of ResultRecord
        Of a run.
    """
    found: dict[tuple[str, str], tuple[SeriesRecord, dict[str, None]]] = {}
    for record in records:
        series = record.series
        if series is None or series.gate != "last" or record.role != "gated" or record.control:
            continue
        *earlier, last = series.points
        if not any(last.over.values()):
            over = dict.fromkeys(one.label for one in earlier if any(one.over.values()))
            found.setdefault((record.spec, record.model), (series, {}))[1].update(over)
    for (_, model), (series, labels) in found.items():
        if labels:
            steps = span(series.axis, [one.label for one in series.points], labels)
            yield visible(f"'{model}' was over a limit at {steps}, though not at the last")
