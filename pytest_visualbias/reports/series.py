"""A test over the checkpoints of a training run, in plain sentences and as a line of bars."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.spec.spans import span
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_visualbias.record import PointRecord, ResultRecord, SeriesRecord

__all__ = [
    "before_of",
    "course_lines",
    "numbers_of",
    "places_of",
    "series_text",
    "shown_step",
    "span_text",
    "sparkline",
]

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
MISSING = "?"
# Characters of a line of bars; of more checkpoints as many are shown.
WIDEST = 40
# The least that a line of bars spans: chance would look like a trend.
LEAST = 1.0
# Of larger effects, which only a file that was edited holds, the scale would be infinite.
FURTHEST = 1e150
# A longer number is no place on an axis.
DIGITS = 15


def series_text(record: ResultRecord) -> str:
    """Return since when a test is over its limits, in one line without its names."""
    series = record.series
    assert series is not None  # noqa: S101 - for the type checker
    parts = [
        _limit_text(record, series, limit)
        for limit in record.limits
        if any(limit in one.over for one in series.points)
    ]
    if not parts and record.limits and not record.control:
        parts = ["never over a limit"]
    if record.control == "positive" and all(one.outcome == "pass" for one in series.points):
        parts = ["the control holds at all of them"]
    for outcome, what in (
        ("fail" if record.control == "positive" else "", "the control does not hold"),
        ("invalid", "invalid"),
        ("error", "not measured"),
    ):
        at = [one.label for one in series.points if one.outcome == outcome]
        if at:
            parts.append(f"{what} at {_steps(series, at)}")
    is_by_p = record.evidence == "significant" and any(one.over for one in series.points)
    if is_by_p and series.gate == "last":
        parts.append("each by its own p, uncorrected")
    return visible("; ".join(parts) or "no limit")


def _limit_text(record: ResultRecord, series: SeriesRecord, limit: str) -> str:
    over = [one.label for one in series.points if limit in one.over]
    evident = [one.label for one in series.points if one.over.get(limit)]
    what = f"{limit.removeprefix('max_')} over {record.limits[limit]:g}"
    text = f"{what} {_when(series, over)}"
    if record.evidence == "point":
        return text
    if evident in ([], over):
        return f"{text}, {'with' if evident else 'without'} evidence"
    return f"{text}, with evidence {_when(series, evident)}"


def _when(series: SeriesRecord, labels: Sequence[str]) -> str:
    """Return since when, or where something came and went again."""
    if labels == [one.label for one in series.points[-len(labels) :]]:
        return f"since {series.axis} {labels[0]}"
    return f"at {_steps(series, labels)}"


def _steps(series: SeriesRecord, labels: Collection[str]) -> str:
    return span(series.axis, [one.label for one in series.points], labels)


def span_text(series: SeriesRecord) -> str:
    """Return which checkpoints there are: ``epoch 1 to 10, 5 checkpoints``."""
    first, last, count = series.points[0].label, series.points[-1].label, len(series.points)
    if count == 1:
        return visible(f"{series.axis} {last}, 1 checkpoint")
    return visible(f"{series.axis} {first} to {last}, {count} checkpoints")


def shown_step(record: ResultRecord) -> str:
    """Return the checkpoint of a series whose numbers a result has; nothing of another model."""
    series = record.series
    return "" if series is None else visible(f"{series.axis} {series.points[-1].label}")


def numbers_of(records: Sequence[ResultRecord]) -> str:
    """Return, for a title, whose numbers are shown of a series and which checkpoints are judged.

    Parameters
    ----------
    records : sequence of ResultRecord
        Of one spec and model.

    Returns
    -------
    str
        ``epoch 4 (all of 1 to 4 are judged)``; nothing of another model.
    """
    found = next((one for one in records if one.series is not None), None)
    if found is None or found.series is None:
        return ""
    series = found.series
    first, last = series.points[0].label, series.points[-1].label
    if len(series.points) == 1:
        return visible(f"{series.axis} {last}, the only checkpoint")
    is_last = series.gate == "last"
    whole = f"the last of {first} to {last}" if is_last else f"all of {first} to {last} are judged"
    return visible(f"{series.axis} {last} ({whole})")


def places_of(series: SeriesRecord) -> list[float]:
    """Return where checkpoints stand on an axis: at their number, else one after the other."""
    labels = [one.label for one in series.points]
    if all(label.isdecimal() and len(label) <= DIGITS for label in labels):
        return [float(label) for label in labels]
    return [float(place) for place, _ in enumerate(labels)]


def before_of(record: ResultRecord) -> tuple[str, float] | None:
    """Return the name and the effect of what growth is measured from, where there is one."""
    points = record.series.points if record.series is not None else []
    found = [(one.growth.base, one.growth.before) for one in points if one.growth is not None]
    return found[-1] if found else None


def sparkline(points: Sequence[PointRecord], *, has_unicode: bool) -> str:
    """Return a character for each checkpoint, as high as its effect; the scale holds zero."""
    count = min(len(points), WIDEST)
    step = (len(points) - 1) / max(count - 1, 1)
    drawn = [points[round(place * step)].effect_judged for place in range(count)]
    shown = [None if value is None else min(max(value, -FURTHEST), FURTHEST) for value in drawn]
    known = [0.0, *(value for value in shown if value is not None)]
    low, high = min(known), max(known)
    slack = max(LEAST - (high - low), 0.0) / 2
    low, high = low - slack, high + slack
    bars = BARS if has_unicode else PLAIN_BARS

    def glyph(value: float | None) -> str:
        if value is None:
            return MISSING
        return bars[min(int((value - low) / (high - low) * len(bars)), len(bars) - 1)]

    return "".join(map(glyph, shown))


def course_lines(
    records: Sequence[ResultRecord], *, width: int, has_unicode: bool
) -> Iterator[str]:
    """Yield the effects of tests over their series, none longer than a screen where words allow it.

    Parameters
    ----------
    records : sequence of ResultRecord
        Of one spec and model.
    width : int
        Of the screen, in columns.
    has_unicode : bool
        Whether it shows more than ASCII.
    """
    found = [(one, one.series) for one in records if one.series is not None]
    if not found:
        return
    first, series = found[0]
    judged = "the last is judged" if series.gate == "last" else "all are judged"
    steps = _steps(series, [one.label for one in series.points])
    head = visible(f"{first.spec} :: {first.model}, {steps}; {judged}")
    yield from _wrapped(head, "", width)
    has_layer = len({one.layer for one, _ in found}) > 1
    for one, own in found:
        name = visible(f"{one.test} [{one.layer}]" if has_layer else one.test)
        ends = (own.points[0].effect_judged, own.points[-1].effect_judged)
        start, end = ("-" if value is None else number(value) for value in ends)
        bars = sparkline(own.points, has_unicode=has_unicode)
        yield from _wrapped(f"{name}: {start} {bars} {end}", "  ", width)
        yield from _wrapped(series_text(one), "    ", width)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
