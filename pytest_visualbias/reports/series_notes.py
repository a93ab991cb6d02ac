"""State results of trials and training runs as sentences."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, cast

from pytest_visualbias.evaluation.verdict import signed_magnitude
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import judged_limit
from pytest_visualbias.results import PointRecord, ResultRecord, format_effect
from pytest_visualbias.spec.effective_settings import format_steps
from pytest_visualbias.spec.overrides import option_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pytest_visualbias.results import ExcessRecord, SeriesRecord
    from pytest_visualbias.spec.fields import Alternative

# Name of recorded results where a report would name a model.
RECORDED = "baseline"


def trials_text(record: ResultRecord) -> str | None:
    """Return the spread of a result's trials; None with one network."""
    effects = _effects(record)
    if not effects:
        return None
    noun = "seeds" if record.role == "random" else "trials"
    text = f"{len(effects)} {noun} {_effect_range(effects)}, largest {_largest_trial(record)[1]}"
    if record.growth is not None and record.growth.smallest_growth is not None:
        text += f"; smallest growth they can show {format_effect(record.growth.smallest_growth)}"
    return visible(text)


def growth_notes(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield what p-values of growth do not cover, once per run."""
    grown = [
        record.growth for record in records if record.role == "gated" and record.growth is not None
    ]
    if any(growth.p_verdict is not None and growth.p_trials is None for growth in grown):
        yield "the p of growth covers images, not retraining (3 or more 'trials' do)"
    if any(growth.base == RECORDED and growth.p_crossed not in (None, 1.0) for growth in grown):
        yield "growth from recorded results is judged a little more cautiously"


def single_trial_note(records: Iterable[ResultRecord]) -> str | None:
    """Return how many tests do not fail although one trial exceeds the limit; None if none."""
    over = [record for record in records if _is_single_trial_over(record)]
    if not over:
        return None
    worst = max(over, key=lambda record: _largest_trial(record)[0])
    tests = "1 test does" if len(over) == 1 else f"{len(over)} tests do"
    return visible(
        f"{tests} not fail by the mean of the trials, though a single trial is over the limit, the "
        f"farthest in {worst.nodeid}: {_largest_trial(worst)[1]}"
    )


def _is_single_trial_over(record: ResultRecord) -> bool:
    limit = judged_limit(record)
    if limit is None or record.role != "gated" or record.outcome not in ("pass", "inconclusive"):
        return False
    return bool(_effects(record)) and _largest_trial(record)[0] > limit


def _largest_trial(record: ResultRecord) -> tuple[float, str]:
    """Return the largest effect among trials in the counted direction, and its label."""
    alternative = cast("Alternative", record.alternative)
    effects, labels = _effects(record), (record.trials or {}).get("labels", [])
    place = max(
        range(len(effects)), key=lambda index: signed_magnitude(effects[index], alternative)
    )
    return signed_magnitude(
        effects[place], alternative
    ), f"{format_effect(effects[place])}: {labels[place]}"


def _effects(record: ResultRecord) -> list[float]:
    """Return the judged effect of each trial; empty with one network."""
    trials = record.trials or {}
    # An edited report can hold anything here.
    effects = [value for value in trials.get("effect_judged", []) if isinstance(value, float)]
    return effects if len(effects) > 1 and len(trials.get("labels", [])) == len(effects) else []


def seeds_text(excess: ExcessRecord) -> str:
    """Return the range of effects over untrained seeds; empty with one seed."""
    if len(excess.untrained) < 2:  # noqa: PLR2004 - one seed is its own mean
        return ""
    return f"{len(excess.untrained)} seeds {_effect_range(excess.untrained)}"


def _effect_range(effects: Sequence[float]) -> str:
    return f"from {format_effect(min(effects))} to {format_effect(max(effects))}"


# Worst first.
OUTCOMES = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")

ON_CHANGE = {"max_growth", "max_shift", "max_excess"}


def worst_other_checkpoint(record: ResultRecord) -> PointRecord | None:
    """Return the worst checkpoint if all are judged and it is not the last; else None."""
    series = record.series
    if series is None or series.gate != "all":
        return None
    measured = [point for point in series.points if point.effect_judged is not None]
    if not measured:
        return None
    # The last one wins a tie.
    worst = max(reversed(measured), key=lambda point: _severity(record, point))
    return None if worst is series.points[-1] else worst


def _severity(record: ResultRecord, point: PointRecord) -> tuple[int, float]:
    effect = point.effect_judged or 0.0
    effect = {"greater": effect, "less": -effect}.get(record.alternative, abs(effect))
    if record.control == "positive":
        effect = -effect
    elif point.growth is not None and point.over and not point.over.keys() - ON_CHANGE:
        effect = point.growth.value
    return -OUTCOMES.index(point.outcome), effect


def with_judged_numbers(record: ResultRecord) -> ResultRecord:
    """Return a result with the numbers of the checkpoint that decided its verdict."""
    point = worst_other_checkpoint(record)
    if point is None:
        return record
    names = PointRecord.model_fields.keys() & ResultRecord.model_fields.keys() - {"outcome"}
    return record.model_copy(update={name: getattr(point, name) for name in names})


def checkpoint_name(series: SeriesRecord, point: PointRecord) -> str:
    """Return a checkpoint's name, such as ``epoch 4``."""
    return visible(f"{series.axis} {point.label}")


def failing_checkpoint_hint(record: ResultRecord) -> str:
    """Return how to see the worst checkpoint's images; empty if they are shown already."""
    point = worst_other_checkpoint(record)
    if point is None or record.series is None:
        return ""
    file = shlex.quote(f"FOLDER/{point.checkpoint}")
    option = option_for(record.model).replace("CHECKPOINT", file)
    last = checkpoint_name(record.series, record.series.points[-1])
    worst = checkpoint_name(record.series, point)
    return (
        f"the images shown are those of {last}; gate {worst} alone to see which carry "
        f"its effect: {visible(option)}"
    )


def earlier_violation_notes(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield the models that exceeded a limit at an earlier checkpoint only."""
    models: dict[tuple[str, str], tuple[SeriesRecord, dict[str, None]]] = {}
    for record in records:
        series = record.series
        if series is None or series.gate != "last" or record.role != "gated" or record.control:
            continue
        *earlier, last = series.points
        if not any(last.over.values()):
            over = dict.fromkeys(point.label for point in earlier if any(point.over.values()))
            models.setdefault((record.spec, record.model), (series, {}))[1].update(over)
    for (_, model), (series, labels) in models.items():
        if labels:
            steps = format_steps(series.axis, [point.label for point in series.points], labels)
            yield visible(f"'{model}' was over a limit at {steps}, though not at the last")


BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
MISSING = "?"

# Longest sparkline; more checkpoints are thinned to it.
MAX_BARS = 40

# Smallest range of a sparkline: on a smaller one chance would look like a trend.
MIN_SPAN = 1.0

# Larger effects, which only an edited file holds, would make the scale infinite.
MAX_EFFECT = 1e150

# Longer numbers lose precision as floats.
DIGITS = 15


def series_text(record: ResultRecord) -> str:
    """Return at which checkpoints a test exceeds its limits, on one line."""
    series = record.series
    assert series is not None  # noqa: S101 - for the type checker
    parts = [
        _limit_text(record, series, limit)
        for limit in record.limits
        if any(limit in point.over for point in series.points)
    ]
    if not parts and record.limits and not record.control:
        parts = ["never over a limit"]
    if record.control == "positive" and all(point.outcome == "pass" for point in series.points):
        parts = ["the control holds at all of them"]
    for outcome, phrase in (
        ("fail" if record.control == "positive" else "", "the control does not hold"),
        ("invalid", "invalid"),
        ("error", "not measured"),
    ):
        labels = [point.label for point in series.points if point.outcome == outcome]
        if labels:
            parts.append(f"{phrase} at {_steps(series, labels)}")
    is_by_p = record.evidence == "significant" and any(point.over for point in series.points)
    if is_by_p and series.gate == "last":
        parts.append("each by its own p, uncorrected")
    return visible("; ".join(parts) or "no limit")


def _limit_text(record: ResultRecord, series: SeriesRecord, limit: str) -> str:
    over = [point.label for point in series.points if limit in point.over]
    evident = [point.label for point in series.points if point.over.get(limit)]
    violation = f"{limit.removeprefix('max_')} over {record.limits[limit]:g}"
    text = f"{violation} {_when(series, over)}"
    if record.evidence == "point":
        return text
    if evident in ([], over):
        return f"{text}, {'with' if evident else 'without'} evidence"
    return f"{text}, with evidence {_when(series, evident)}"


def _when(series: SeriesRecord, labels: Sequence[str]) -> str:
    """Return since which checkpoint a label holds, or where it holds if not to the end."""
    if labels == [point.label for point in series.points[-len(labels) :]]:
        return f"since {series.axis} {labels[0]}"
    return f"at {_steps(series, labels)}"


def _steps(series: SeriesRecord, labels: Collection[str]) -> str:
    return format_steps(series.axis, [point.label for point in series.points], labels)


def checkpoint_range(series: SeriesRecord) -> str:
    """Return the range of checkpoints: ``epoch 1 to 10, 5 checkpoints``."""
    first, last, count = series.points[0].label, series.points[-1].label, len(series.points)
    if count == 1:
        return visible(f"{series.axis} {last}, 1 checkpoint")
    return visible(f"{series.axis} {first} to {last}, {count} checkpoints")


def shown_checkpoint(record: ResultRecord) -> str:
    """Return the checkpoint whose numbers a result has; empty outside a training run."""
    series = record.series
    return "" if series is None else visible(f"{series.axis} {series.points[-1].label}")


def judged_checkpoints(records: Sequence[ResultRecord]) -> str:
    """Return which checkpoint is shown and which are judged, for a title."""
    series_record = next((record for record in records if record.series is not None), None)
    if series_record is None or series_record.series is None:
        return ""
    series = series_record.series
    first, last = series.points[0].label, series.points[-1].label
    if len(series.points) == 1:
        return visible(f"{series.axis} {last}, the only checkpoint")
    is_last = series.gate == "last"
    judged = f"the last of {first} to {last}" if is_last else f"all of {first} to {last} are judged"
    return visible(f"{series.axis} {last} ({judged})")


def axis_positions(series: SeriesRecord) -> list[float]:
    """Return axis positions of checkpoints: their numbers, else their order."""
    labels = [point.label for point in series.points]
    if all(label.isdecimal() and len(label) <= DIGITS for label in labels):
        return [float(label) for label in labels]
    return [float(place) for place, _ in enumerate(labels)]


def growth_reference(record: ResultRecord) -> tuple[str, float] | None:
    """Return the name and effect that growth is measured from; None without one."""
    points = record.series.points if record.series is not None else []
    references = [
        (point.growth.base, point.growth.before) for point in points if point.growth is not None
    ]
    return references[-1] if references else None


def sparkline(points: Sequence[PointRecord], *, has_unicode: bool) -> str:
    """Return one character per checkpoint, as high as its effect; the scale includes zero."""
    count = min(len(points), MAX_BARS)
    step = (len(points) - 1) / max(count - 1, 1)
    values = [points[round(place * step)].effect_judged for place in range(count)]
    clipped = [
        None if value is None else min(max(value, -MAX_EFFECT), MAX_EFFECT) for value in values
    ]
    known = [0.0, *(value for value in clipped if value is not None)]
    low, high = min(known), max(known)
    padding = max(MIN_SPAN - (high - low), 0.0) / 2
    low, high = low - padding, high + padding
    bars = BARS if has_unicode else PLAIN_BARS

    def glyph(value: float | None) -> str:
        if value is None:
            return MISSING
        return bars[min(int((value - low) / (high - low) * len(bars)), len(bars) - 1)]

    return "".join(map(glyph, clipped))


def training_run_lines(
    records: Sequence[ResultRecord], *, width: int, has_unicode: bool
) -> Iterator[str]:
    """Yield the effects of each test over the training run, one line per test."""
    runs = [(record, record.series) for record in records if record.series is not None]
    if not runs:
        return
    first, series = runs[0]
    judged = "the last is judged" if series.gate == "last" else "all are judged"
    steps = _steps(series, [point.label for point in series.points])
    head = visible(f"{first.spec} :: {first.model}, {steps}; {judged}")
    yield from _wrapped(head, "", width)
    has_layer = len({record.layer for record, _ in runs}) > 1
    for record, run in runs:
        name = visible(f"{record.test} [{record.layer}]" if has_layer else record.test)
        ends = (run.points[0].effect_judged, run.points[-1].effect_judged)
        start, end = ("-" if value is None else format_effect(value) for value in ends)
        bars = sparkline(run.points, has_unicode=has_unicode)
        yield from _wrapped(f"{name}: {start} {bars} {end}", "  ", width)
        yield from _wrapped(series_text(record), "    ", width)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
