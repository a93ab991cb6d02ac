"""A test over the checkpoints of a training run, in plain sentences and as a line of bars."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.record import PointRecord, ResultRecord, SeriesRecord

__all__ = ["before_of", "course_lines", "places_of", "series_text", "span_text", "sparkline"]

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
# More ranges of steps than this are counted and not named.
NAMED = 5


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


def _steps(series: SeriesRecord, labels: Sequence[str]) -> str:
    """Return some of the checkpoints, those that follow each other as a range."""
    ranges: list[list[str]] = []
    is_open = False
    for one in series.points:
        if one.label not in labels:
            is_open = False
        elif is_open:
            ranges[-1].append(one.label)
        else:
            ranges.append([one.label])
            is_open = True
    if len(ranges) > NAMED:
        return f"{len(labels)} checkpoints from {series.axis} {labels[0]} to {labels[-1]}"
    return f"{series.axis} {', '.join(map(_range, ranges))}"


def _range(labels: Sequence[str]) -> str:
    return f"{labels[0]} to {labels[-1]}" if len(labels) > 2 else ", ".join(labels)  # noqa: PLR2004


def span_text(series: SeriesRecord) -> str:
    """Return which checkpoints there are: ``epoch 1 to 10, 5 checkpoints``."""
    first, last, count = series.points[0].label, series.points[-1].label, len(series.points)
    if count == 1:
        return visible(f"{series.axis} {last}, 1 checkpoint")
    return visible(f"{series.axis} {first} to {last}, {count} checkpoints")


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
    span = _steps(series, [one.label for one in series.points])
    head = visible(f"{first.spec} :: {first.model}, {span}; {judged}")
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
