"""Plot effects of single tests over layers."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from pytest_visualbias.reports.figures.gathering import has_unit
from pytest_visualbias.reports.figures.style import (
    GREY,
    LIMIT,
    SHADE,
    UNITS,
    axis_limit,
    clip,
    describe,
    draw_points,
    legend,
    limit_mark,
    model_looks,
    outcome_marks,
    panels_of,
    title,
)
from pytest_visualbias.reports.formatting import failing_ranges, label

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

COLUMNS, HEIGHT = 4, 1.35

# Most panels on a page.
ON_A_PAGE = 24

# Intervals of more models would hide each other.
WITH_INTERVALS = 4
RECORDED: Mapping[str, Any] = {"color": GREY, "marker": ".", "ms": 4, "lw": 1, "linestyle": ":"}


def layer_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of each test over the layers: spec, no layer, and figure."""
    specs: dict[str, list[ResultRecord]] = defaultdict(list)
    for record in records:
        if has_unit(record, unit):
            specs[record.spec].append(record)
    for spec, members in specs.items():
        layers = list(dict.fromkeys(record.layer for record in members))
        tests = list(dict.fromkeys(record.test for record in members))
        if len(layers) < 2:  # noqa: PLR2004 - of one layer there is no line
            continue
        for start in range(0, len(tests), ON_A_PAGE):
            selected = tests[start : start + ON_A_PAGE]
            yield spec, "", _figure(spec, members, selected, layers, unit)


def _figure(
    spec: str,
    records: Sequence[ResultRecord],
    tests: Sequence[str],
    layers: Sequence[str],
    unit: Unit,
) -> Figure:
    looks = model_looks(records)
    recorded = _recorded(records, looks)
    members = [record for record in records if record.test in tests]
    has_intervals = len(looks) <= WITH_INTERVALS
    ends = [end for record in members for end in _ends(record, has_intervals=has_intervals)]
    ends += [
        end for test in tests for line in recorded.get(test, {}).values() for end in line.values()
    ]
    reach = axis_limit(ends, unit)
    figure, panels = panels_of(len(tests), COLUMNS, height=HEIGHT)
    # All panels share their axes, and each change of an axis costs time in all panels.
    panels[0].set_xlim(-0.25, len(layers) - 0.75)
    panels[0].set_ylim(-reach, reach)
    panels[0].set_xticks(range(len(layers)), [clip(layer, 16) for layer in layers])
    for axes, test in zip(panels, tests, strict=True):
        axes.set_autoscale_on(False)
        axes.tick_params(axis="x", rotation=90)
        axes.set_title(clip(test, 30), fontsize=7)
        axes.axhline(0, color=GREY, lw=0.8, zorder=0)
        for model, look in looks.items():
            points = [record for record in members if (record.test, record.model) == (test, model)]
            points.sort(key=lambda record: layers.index(record.layer))
            for start, end in {
                failing for record in points for failing in failing_ranges(record, -reach, reach)
            }:
                axes.axhspan(start, end, color=LIMIT, alpha=SHADE, lw=0, zorder=0, gid="limit")
            _line(axes, points, layers, look, has_intervals=has_intervals)
        for base, line in recorded.get(test, {}).items():
            axes.plot(
                [layers.index(layer) for layer in line], list(line.values()), **RECORDED, gid=base
            )
    figure.supylabel(UNITS[unit][0], fontsize=8)
    suffix = ", with their intervals" if has_intervals else ""
    title(figure, f"{unit.capitalize()} over the layers{suffix}", spec)
    marks = _marks(members, looks, recorded)
    if any(failing_ranges(record, -reach, reach) for record in members):
        marks.append(limit_mark())
    legend(figure, marks)
    describe(figure, _numbers(members))
    return figure


def _marks(
    records: Iterable[ResultRecord],
    looks: Mapping[str, Mapping[str, Any]],
    recorded: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[Artist]:
    """Return the legend entries of models and outcomes."""
    marks: list[Artist] = [
        Line2D([], [], ms=3.5, **look, label=clip(model)) for model, look in looks.items()
    ]
    bases = dict.fromkeys(base for ends in recorded.values() for base in ends)
    marks += [Line2D([], [], **RECORDED, label=f"{clip(base)} (recorded)") for base in bases]
    return [*marks, *outcome_marks(records)]


def _numbers(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield each test and model with its effects and outcomes by layer."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        effect = f"{record.layer} {record.effect_judged:+.2f} {label(record)}"
        lines[record.test, record.model].append(effect)
    return (f"{test}, {model}: {', '.join(line)}" for (test, model), line in lines.items())


def _recorded(
    records: Iterable[ResultRecord], known: Container[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return recorded effects before, by test, model and layer, of models not measured here."""
    by_test: dict[str, dict[str, dict[str, float]]] = {}
    for record in records:
        if record.growth is not None and record.growth.base not in known:
            bases = by_test.setdefault(record.test, {})
            bases.setdefault(record.growth.base, {})[record.layer] = record.growth.before
    return by_test


def _ends(record: ResultRecord, *, has_intervals: bool) -> list[float]:
    ends = [record.effect_judged]
    if has_intervals:
        ends += [record.ci_low, record.ci_high]
    return [end for end in ends if end is not None]


def _line(
    axes: Axes,
    points: Sequence[ResultRecord],
    layers: Sequence[str],
    look: Mapping[str, Any],
    *,
    has_intervals: bool,
) -> None:
    xs = [layers.index(point.layer) for point in points]
    effects = [value for point in points if (value := point.effect_judged) is not None]
    axes.plot(
        xs,
        effects,
        lw=1,
        color=look["color"],
        linestyle=look["linestyle"],
        gid="line",
    )
    draw_points(axes, zip(xs, effects, map(label, points), strict=True), look["marker"])
    triples = [(x, point.ci_low, point.ci_high) for x, point in zip(xs, points, strict=True)]
    spans = [(x, low, high) for x, low, high in triples if low is not None and high is not None]
    if has_intervals and spans:
        ends, lows, highs = zip(*spans, strict=True)
        axes.fill_between(ends, lows, highs, color=look["color"], alpha=0.15, lw=0)
