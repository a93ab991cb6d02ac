"""Chart the effect of one test over the checkpoints of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import AXES, limits_of, unit_of
from pytest_visualbias.reports.html.curves import (
    Chart,
    Line,
    Point,
    Table,
    horizontal,
    segments,
    vertical,
)
from pytest_visualbias.reports.html.scales import Scale, Tick, scale_around
from pytest_visualbias.reports.html.wording import optional_effect, span
from pytest_visualbias.reports.series_notes import (
    axis_positions,
    checkpoint_range,
    growth_reference,
    series_text,
)
from pytest_visualbias.results import format_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.results import PointRecord, ResultRecord, SeriesRecord

# Most checkpoint labels that fit below an axis.
MOST_NAMES = 6
LONGEST = 9


def series_curve(record: ResultRecord) -> Chart | None:
    """Return the chart of a training run; None for other models."""
    series = record.series
    if series is None or all(point.effect_judged is None for point in series.points):
        return None
    places = axis_positions(series)
    x = horizontal(_around_places(places))
    ends = [
        end for point in series.points for end in (point.effect_judged, point.ci_low, point.ci_high)
    ]
    before, limits = growth_reference(record), limits_of(record)
    known = [value for value in ends if value is not None]
    values = [*known, *limits, *([] if before is None else [before[1]])]
    y = vertical(scale_around(values, minimum=0.1))
    lines = [_effects(record.model, series, [x.at(place) for place in places], y)]
    if before is not None:
        name, effect = before
        level = segments([(x.start, y.at(effect)), (x.end, y.at(effect))])
        lines.append(Line(name=name, hue=1, is_dashed=True, paths=level))
    return Chart(
        title=(record.spec, record.test, record.model, record.layer),
        about=f"Effect over {checkpoint_range(series)}: {series_text(record)}.",
        x_name=series.axis,
        y_name=AXES[unit_of(record)],
        x_ticks=tuple(_names(series, places, x)),
        y_ticks=tuple(y.ticks()),
        lines=tuple(lines),
        zero=y.at(0.0),
        limits=tuple(y.at(limit) for limit in limits),
        table=_table(series),
    )


def _around_places(places: Sequence[float]) -> Scale:
    low, high = min(places), max(places)
    margin = (high - low) * 0.04 or 0.5
    return Scale(low=low - margin, high=high + margin)


def _names(series: SeriesRecord, places: Sequence[float], x: Scale) -> Iterator[Tick]:
    """Yield the labels that fit, always including the last."""
    last = len(places) - 1
    spacing = (x.end - x.start) / MOST_NAMES
    positions: list[float] = []
    for place in (last, *range(last)):
        at, label = x.at(places[place]), series.points[place].label
        if all(abs(at - other) >= spacing for other in positions):
            positions.append(at)
            yield Tick(at=at, text=label if len(label) <= LONGEST else f"…{label[1 - LONGEST :]}")


def _effects(name: str, series: SeriesRecord, xs: Sequence[float], y: Scale) -> Line:
    positions = [
        None if point.effect_judged is None else (x, y.at(point.effect_judged))
        for x, point in zip(xs, series.points, strict=True)
    ]
    points = tuple(
        Point(x=place[0], y=place[1], text=_told(series, point))
        for point, place in zip(series.points, positions, strict=True)
        if place is not None
    )
    return Line(
        name=f"{name}, with interval",
        hue=0,
        paths=segments(positions),
        points=points,
        bands=tuple(_bands(series, xs, y)),
    )


def _told(series: SeriesRecord, point: PointRecord) -> str:
    interval = span(point.ci_low, point.ci_high)
    return f"{series.axis} {point.label}: {optional_effect(point.effect_judged)} ({interval})"


def _bands(series: SeriesRecord, xs: Sequence[float], y: Scale) -> Iterator[str]:
    """Yield the outlines of intervals of consecutive checkpoints."""
    upper: list[str] = []
    lower: list[str] = []
    for x, point in [*zip(xs, series.points, strict=True), (0.0, None)]:
        if point is not None and point.ci_low is not None and point.ci_high is not None:
            upper.append(f"{x:g},{y.at(point.ci_high):g}")
            lower.append(f"{x:g},{y.at(point.ci_low):g}")
            continue
        if len(upper) > 1:
            yield " ".join([*upper, *reversed(lower)])
        upper, lower = [], []


def _table(series: SeriesRecord) -> Table:
    # A checkpoint that is only shown has no verdict, so its outcome is by its own p.
    ends = ("p", "growth", "by itself")
    if series.gate == "all":
        ends = ("p adj", "growth", "verdict")
    return Table(
        head=(series.axis, "effect", "interval", *ends),
        rows=tuple(
            (
                point.label,
                optional_effect(point.effect_judged),
                span(point.ci_low, point.ci_high),
                format_p(point.p_adjusted if point.p_adjusted is not None else point.p_verdict),
                optional_effect(None if point.growth is None else point.growth.value),
                point.outcome,
            )
            for point in series.points
        ),
    )
