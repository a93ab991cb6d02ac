"""Plot effects of single tests over the checkpoints of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from pytest_visualbias.reports.figures.gathering import group_by_layer, has_unit
from pytest_visualbias.reports.figures.style import (
    GREY,
    LIMIT,
    SHADE,
    UNITS,
    axis_limit,
    clip,
    describe,
    legend,
    limit_mark,
    model_looks,
    outcome_colour,
    outcome_marks,
    panels_of,
    title,
)
from pytest_visualbias.reports.formatting import failing_ranges, label, limits_of
from pytest_visualbias.reports.series_notes import axis_positions, growth_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

COLUMNS, HEIGHT = 3, 1.6
ON_A_PAGE = 24

# Most checkpoint labels below a panel if they are not numbers.
MOST_NAMES = 8


def training_run_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of each test over a training run: spec, layer and figure."""
    in_series = [
        record for record in records if record.series is not None and has_unit(record, unit)
    ]
    for spec, layer, members in group_by_layer(in_series):
        tests = list(dict.fromkeys(record.test for record in members))
        for start in range(0, len(tests), ON_A_PAGE):
            selected = [
                record for record in members if record.test in tests[start : start + ON_A_PAGE]
            ]
            yield spec, layer, _figure(spec, layer, selected, model_looks(members), unit)


def _figure(
    spec: str,
    layer: str,
    records: Sequence[ResultRecord],
    looks: Mapping[str, Mapping[str, Any]],
    unit: Unit,
) -> Figure:
    tests = list(dict.fromkeys(record.test for record in records))
    reach = axis_limit((end for record in records for end in _ends(record)), unit)
    figure, panels = panels_of(len(tests), COLUMNS, height=HEIGHT)
    for axes, test in zip(panels, tests, strict=True):
        axes.set_title(clip(test, 30), fontsize=7)
        axes.axhline(0, color=GREY, lw=0.8, zorder=0)
        axes.set_ylim(-reach, reach)
        for record in (record for record in records if record.test == test):
            _line(axes, record, looks[record.model], reach)
    axis = clip(
        " or ".join(sorted({record.series.axis for record in records if record.series is not None}))
    )
    for axes in panels[-COLUMNS:]:
        axes.set_xlabel(axis, fontsize=7)
    figure.supylabel(UNITS[unit][0], fontsize=8)
    title(figure, f"{unit.capitalize()} over training, with their intervals", spec, layer)
    marks: list[Artist] = [
        Line2D([], [], ms=3.5, **look, label=clip(model)) for model, look in looks.items()
    ]
    marks += outcome_marks(records)
    if any(growth_reference(record) is not None for record in records):
        marks.append(Line2D([], [], color=GREY, ls="--", label="before"))
    if any(limits_of(record) for record in records):
        marks.append(limit_mark())
    legend(figure, marks)
    describe(figure, map(_numbers, records))
    return figure


def _numbers(record: ResultRecord) -> str:
    points = record.series.points if record.series is not None else []
    effects = (
        f"{point.label} {point.effect_judged:+.2f}"
        for point in points
        if point.effect_judged is not None
    )
    return f"{record.test}, {record.model}: {', '.join(effects)}, {label(record)}"


def _ends(record: ResultRecord) -> list[float]:
    points = record.series.points if record.series is not None else []
    ends = [end for point in points for end in (point.effect_judged, point.ci_low, point.ci_high)]
    before = growth_reference(record)
    known = [end for end in ends if end is not None]
    return [*known, *limits_of(record), *([] if before is None else [before[1]])]


def _line(axes: Axes, record: ResultRecord, look: Mapping[str, Any], reach: float) -> None:
    series = record.series
    assert series is not None  # noqa: S101 - for the type checker
    places = axis_positions(series)
    missing = float("nan")
    effects, lows, highs = (
        [missing if value is None else value for value in values]
        for values in (
            [point.effect_judged for point in series.points],
            [point.ci_low for point in series.points],
            [point.ci_high for point in series.points],
        )
    )
    colour = outcome_colour(label(record))
    axes.plot(places, effects, ms=2.5, lw=1, **{**look, "color": colour})
    axes.fill_between(places, lows, highs, color=colour, alpha=0.15, lw=0)
    before = growth_reference(record)
    if before is not None:
        axes.axhline(before[1], color=GREY, ls="--", lw=1, zorder=1)
    for start, end in failing_ranges(record, -reach, reach):
        axes.axhspan(start, end, color=LIMIT, alpha=SHADE, lw=0, zorder=0, gid="limit")
    labels = [point.label for point in series.points]
    if any(str(int(place)) != label for place, label in zip(places, labels, strict=True)):
        step = -(-len(labels) // MOST_NAMES)
        tick_labels = [clip(label, 12) for label in labels[::step]]
        axes.set_xticks(places[::step], tick_labels, rotation=90)
