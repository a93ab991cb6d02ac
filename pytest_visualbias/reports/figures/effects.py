"""Plot effects of single tests: forests, and before against after finetuning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from pytest_visualbias.reports.bias_counts import POSITIVE
from pytest_visualbias.reports.figures.gathering import group_by_layer, has_unit
from pytest_visualbias.reports.figures.style import (
    GREY,
    GRID,
    INK,
    LIMIT,
    SHADE,
    UNITS,
    WIDTH,
    axis_limit,
    clip,
    legend,
    limit_mark,
    model_looks,
    outcome_colour,
    outcome_marks,
    panels_of,
    title,
)
from pytest_visualbias.reports.formatting import failing_ranges, label
from pytest_visualbias.reports.series_notes import shown_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import GrowthRecord, ResultRecord

# Panels side by side; more models go into another figure.
COLUMNS = 12

# Inches for test names and for a panel if the page is too narrow for all.
NAMES, PANEL = 2.3, 1.25

# Most panels that leave space for growth in numbers.
WITH_NUMBERS, WITH_UNIT = 2, 3
ROW = 0.19
SHORT: dict[Unit, str] = {"effects": "effect d", "similarities": "cosine", "gaps": "gap"}
TITLES: dict[Unit, str] = {
    "effects": "Effects of all tests",
    "similarities": "Similarities within sets",
    "gaps": "Gaps of a classifier's rates",
}

# Growth is of the absolute effect.
GROWING: dict[Unit, str] = {"effects": "|d|", "similarities": "|cosine|", "gaps": "|gap|"}


def forest_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield forest plots of effects of one unit: spec, layer and figure."""
    for spec, layer, members in group_by_layer(
        record for record in records if has_unit(record, unit)
    ):
        looks = model_looks(members)
        models = list(looks)
        for start in range(0, len(models), COLUMNS):
            selected = models[start : start + COLUMNS]
            yield (
                spec,
                layer,
                _forest(spec, layer, members, {name: looks[name] for name in selected}, unit),
            )


def _forest(
    spec: str,
    layer: str,
    records: Sequence[ResultRecord],
    looks: Mapping[str, Mapping[str, Any]],
    unit: Unit,
) -> Figure:
    tests = list(dict.fromkeys(record.test for record in records))
    figure, panels = _side_by_side(len(looks), len(tests))
    members = [record for record in records if record.model in looks]
    reach = axis_limit([value for record in members for value in _extent(record)], unit)
    for axes, (model, look) in zip(panels, looks.items(), strict=True):
        axes.set_title(_named(model, (record for record in members if record.model == model)))
        _rows(axes, tests, reach)
        axes.set_xlabel(UNITS[unit][0] if len(looks) <= WITH_UNIT else SHORT[unit])
        for record in (record for record in members if record.model == model):
            _point(axes, tests.index(record.test), record, look, reach)
    _name_tests(panels[0], tests, members)
    has_intervals = any(record.ci_low is not None for record in members)
    title(figure, f"{TITLES[unit]}{' with intervals' * has_intervals}", spec, layer)
    marks = list(_marks(members, has_intervals=has_intervals))
    if marks:
        legend(figure, marks)
    return figure


def _marks(records: Sequence[ResultRecord], *, has_intervals: bool) -> Iterator[Artist]:
    """Yield the legend entries of a forest plot."""
    style: dict[str, Any] = {"color": "k", "marker": "o", "ms": 4}
    style["linestyle"] = "-" if has_intervals else ""
    if any(record.p_verdict is not None for record in records):
        yield Line2D([], [], **style, label="p at most alpha (corrected for limits)")
        yield Line2D([], [], **style, mfc="white", label="p above alpha")
    yield from outcome_marks(records)
    if any(_limits(record) for record in records):
        yield limit_mark()


def _side_by_side(count: int, tests: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with one row of panels, each with a row per test."""
    width = max(WIDTH, NAMES + PANEL * count)
    return panels_of(count, COLUMNS, height=ROW * tests + 0.5, width=width)


def _extent(record: ResultRecord) -> list[float]:
    values = (record.effect_judged, record.ci_low, record.ci_high, *_limits(record))
    return [value for value in values if value is not None]


def _limits(record: ResultRecord) -> list[float]:
    """Return the positions of the limits on the effect."""
    inner = failing_ranges(record, -math.inf, math.inf)
    return [end for ends in inner for end in ends if math.isfinite(end)]


def _rows(axes: Axes, tests: Sequence[str], reach: float) -> None:
    """Prepare an axis with one row per test, the first on top."""
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(tests) - 0.4, -0.6)
    axes.axvline(0, color=GREY, lw=0.8, zorder=0)
    axes.grid(axis="y", color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _named(model: str, records: Iterable[ResultRecord]) -> str:
    """Return the model's name, with the drawn checkpoint of a training run."""
    step = next(filter(None, map(shown_checkpoint, records)), "")
    return f"{clip(model, 24)}, {clip(step, 14)}" if step else clip(model, 26)


def _name_tests(axes: Axes, tests: Sequence[str], records: Iterable[ResultRecord]) -> None:
    controls = {record.test for record in records if record.control in POSITIVE}
    names = [clip(test) + (" (control)" if test in controls else "") for test in tests]
    axes.set_yticks(range(len(tests)), names)


def _shade(axes: Axes, row: int, ranges: Iterable[tuple[float, float]]) -> None:
    """Shade where a row's value fails."""
    for start, end in ranges:
        axes.fill_betweenx(
            [row - 0.45, row + 0.45], start, end, color=LIMIT, alpha=SHADE, lw=0, gid=f"limit-{row}"
        )


def _point(
    axes: Axes, row: int, record: ResultRecord, look: Mapping[str, Any], reach: float
) -> None:
    if record.effect_judged is None:
        return
    _shade(axes, row, failing_ranges(record, -reach, reach))
    colour = outcome_colour(label(record))
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    is_filled = p is None or p <= record.alpha
    if record.ci_low is not None and record.ci_high is not None:
        axes.hlines(row, record.ci_low, record.ci_high, color=colour, lw=1.2)
    axes.plot(
        [record.effect_judged],
        [row],
        marker=look["marker"],
        color=colour,
        mfc=colour if is_filled else "white",
        ms=4,
        ls="",
        gid=f"effect-{row}",
    )


def before_after_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of effects before and after, one panel per model: spec, layer and figure."""
    grown = (record for record in records if record.growth is not None and has_unit(record, unit))
    for spec, layer, members in group_by_layer(grown):
        pairs: dict[tuple[str, str], list[tuple[ResultRecord, GrowthRecord]]] = {}
        for record in members:
            if record.growth is not None:
                pair = pairs.setdefault((record.growth.base, record.model), [])
                pair.append((record, record.growth))
        names = list(pairs)
        for start in range(0, len(names), COLUMNS):
            selected = names[start : start + COLUMNS]
            yield (
                spec,
                layer,
                _dumbbell(spec, layer, {pair: pairs[pair] for pair in selected}, unit),
            )


def _dumbbell(
    spec: str,
    layer: str,
    pairs: Mapping[tuple[str, str], Sequence[tuple[ResultRecord, GrowthRecord]]],
    unit: Unit,
) -> Figure:
    tests = list(dict.fromkeys(record.test for pair in pairs.values() for record, _ in pair))
    changes = [growth for changed in pairs.values() for _, growth in changed]
    reach = axis_limit((end for growth in changes for end in (growth.before, growth.after)), unit)
    figure, panels = _side_by_side(len(pairs), len(tests))
    for axes, ((base, model), changed) in zip(panels, pairs.items(), strict=True):
        axes.set_title(f"{clip(base, 24)} → {_named(model, (record for record, _ in changed))}")
        _rows(axes, tests, reach)
        axes.set_xlabel(UNITS[unit][0])
        for record, growth in changed:
            row = tests.index(record.test)
            _shade(axes, row, _failing_growth(record, growth, reach))
            _change(axes, row, record, growth, has_number=len(pairs) <= WITH_NUMBERS)
    _name_tests(panels[0], tests, [record for changed in pairs.values() for record, _ in changed])
    size = GROWING[unit]
    suffix = f", and growth of {size} with its interval" if len(pairs) <= WITH_NUMBERS else ""
    title(figure, f"{unit.capitalize()} before and after{suffix}", spec, layer)
    drawn = [record for changed in pairs.values() for record, _ in changed]
    marks: list[Artist] = [
        Line2D([], [], color=GREY, marker="o", mfc="white", label="before"),
        Line2D([], [], color=INK, marker="o", label=f"after, {size} grew"),
        Line2D([], [], color=INK, marker="s", label=f"after, {size} did not grow"),
        *outcome_marks(drawn),
    ]
    if any(
        _failing_growth(record, growth, reach)
        for changed in pairs.values()
        for record, growth in changed
    ):
        marks.append(limit_mark())
    legend(figure, marks)
    return figure


def _failing_growth(
    record: ResultRecord, growth: GrowthRecord, reach: float
) -> list[tuple[float, float]]:
    """Return where the effect after exceeds the limit on growth, else that on the effect."""
    limit = record.limits.get("max_growth")
    if limit is None:
        return failing_ranges(record, -reach, reach)
    edge = abs(growth.before) + limit
    return [(-reach, -edge), (edge, reach)] if edge < reach else []


def _change(
    axes: Axes, row: int, record: ResultRecord, growth: GrowthRecord, *, has_number: bool
) -> None:
    has_grown = growth.value > 0
    colour = outcome_colour(label(record))
    axes.hlines(row, growth.before, growth.after, color=colour, lw=1.2, alpha=0.7)
    axes.plot([growth.before], [row], "o", color=GREY, mfc="white", ms=4, gid=f"before-{row}")
    marker = "o" if has_grown else "s"
    axes.plot([growth.after], [row], marker, color=colour, ms=4, gid=f"after-{row}")
    if not has_number:
        return
    axes.annotate(
        f"{growth.value:+.2f} [{growth.ci_low:+.2f}, {growth.ci_high:+.2f}]",
        (1.01, row),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=6,
        family="DejaVu Sans Mono",
    )
