"""Plot effects after against before finetuning, and effects by label."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pytest_visualbias.reports.bias_counts import label_summaries, rank_correlations
from pytest_visualbias.reports.figures.gathering import group_by_layer, has_unit
from pytest_visualbias.reports.figures.style import (
    GREY,
    INK,
    UNITS,
    axis_limit,
    clip,
    describe,
    draw_points,
    legend,
    outcome_marks,
    panels_of,
    title,
)
from pytest_visualbias.reports.formatting import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.bias_counts import LabelSummary, RankCorrelation
    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

COLUMNS = 3
ON_A_PAGE = 9

# Number of named tests, those that changed most.
NAMED = 3


def transfer_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of effects after against before: spec, layer and figure."""
    grown = [
        record
        for record in records
        if record.growth is not None and record.outcome != "invalid" and has_unit(record, unit)
    ]
    for spec, layer, members in group_by_layer(grown):
        correlations = rank_correlations(members)
        for start in range(0, len(correlations), ON_A_PAGE):
            page = [
                (correlation, _members(correlation, members))
                for correlation in correlations[start : start + ON_A_PAGE]
            ]
            figure, panels = panels_of(len(page), COLUMNS, height=2.7)
            reach = axis_limit(
                (end for _, results in page for result in results for end in _ends(result)), unit
            )
            for axes, (transfer, results) in zip(panels, page, strict=True):
                _scatter(axes, transfer, results, reach)
            for axes in panels[::COLUMNS]:
                axes.set_ylabel(f"after: {UNITS[unit][0]}")
            title(figure, f"{unit.capitalize()} before and after", spec, layer)
            drawn = [record for _, results in page for record in results]
            legend(figure, outcome_marks(drawn))
            describe(figure, map(_numbers, drawn))
            yield spec, layer, figure


def _members(transfer: RankCorrelation, records: Iterable[ResultRecord]) -> list[ResultRecord]:
    pair = transfer.base, transfer.model
    return [
        record for record in records if record.growth and (record.growth.base, record.model) == pair
    ]


def _ends(record: ResultRecord) -> tuple[float, float]:
    assert record.growth is not None  # noqa: S101 - only such are handed on
    return record.growth.before, record.growth.after


def _numbers(record: ResultRecord) -> str:
    before, after = _ends(record)
    return f"{record.test}, {record.model}: {before:+.2f} to {after:+.2f} {label(record)}"


def _scatter(
    axes: Axes, transfer: RankCorrelation, records: Sequence[ResultRecord], reach: float
) -> None:
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.axhline(0, color=GREY, lw=0.6)
    axes.axvline(0, color=GREY, lw=0.6)
    axes.plot([-reach, reach], [-reach, reach], color=GREY, lw=0.8, ls=":")
    draw_points(axes, ((*_ends(record), label(record)) for record in records), "o")
    _name(axes, records)
    caption = f"Spearman's ρ = {transfer.spearman:+.2f} (k = {transfer.k})"
    axes.set_title(f"{clip(transfer.base, 18)} → {clip(transfer.model, 18)}\n{caption}")
    axes.set_xlabel(f"before: {UNITS[transfer.of][0]}")


def _name(axes: Axes, records: Sequence[ResultRecord]) -> None:
    """Mark the tests that changed most by a number, and name them in a corner."""
    moved = sorted(records, key=lambda record: -abs(_ends(record)[1] - _ends(record)[0]))[:NAMED]
    for number, record in enumerate(moved, 1):
        axes.annotate(
            str(number),
            _ends(record),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=6,
        )
    names = "\n".join(f"{number} {clip(record.test, 26)}" for number, record in enumerate(moved, 1))
    axes.text(
        *(0.98, 0.02, f"moved most\n{names}"),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=6,
    )


def label_figures(records: Sequence[ResultRecord]) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of effect and growth by label: key, no layer, and figure."""
    singles: dict[str, list[ResultRecord]] = defaultdict(list)
    for record in records:
        singles[record.model].append(record)
    points: dict[tuple[str, str], list[LabelSummary]] = defaultdict(list)
    for single in singles.values():
        for row in label_summaries(single):
            points[row.key, row.value].append(row)
    for key, rows in groupby(label_summaries(records), key=lambda summary: summary.key):
        values = sorted(rows, key=_order)
        if all(value.effect is None and value.growth is None for value in values):
            continue
        yield key, "", _labels(key, values, [points[key, value.value] for value in values])


def _order(row: LabelSummary) -> float:
    """Return a sort key that puts numeric labels first, by size."""
    try:
        number = float(row.value)
    except ValueError:
        number = math.nan
    return math.inf if math.isnan(number) else number


def _labels(
    key: str, rows: Sequence[LabelSummary], points: Sequence[Sequence[LabelSummary]]
) -> Figure:
    names = [("effect", "mean |d|"), ("growth", "mean growth of |d|")]
    measured = [
        (name, caption)
        for name, caption in names
        if any(getattr(row, name) is not None for row in rows)
    ]
    figure, panels = panels_of(len(measured), 2, height=2.4, share_y=False)
    for axes, (name, caption) in zip(panels, measured, strict=True):
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_ylabel(f"{caption} (standard deviations)")
        axes.set_xlabel(clip(key))
        ticks = [
            f"{clip(row.value, 18)}\n{row.models} model{'s' * (row.models != 1)}" for row in rows
        ]
        axes.set_xticks(range(len(rows)), ticks)
        axes.set_xlim(-0.6, len(rows) - 0.4)
        for place, (row, summaries) in enumerate(zip(rows, points, strict=True)):
            if (mean := getattr(row, name)) is not None:
                axes.hlines(mean, place - 0.3, place + 0.3, color="k", lw=2)
            ys = [y for summary in summaries if (y := getattr(summary, name)) is not None]
            axes.plot(_spread(place, len(ys)), ys, "o", ms=4, color=INK, alpha=0.7)
    title(figure, f"Models by {clip(key)}")
    marks = [
        Line2D([], [], color="k", lw=2, label="mean over all results"),
        Line2D([], [], color=INK, marker="o", ms=4, ls="", label="one model"),
    ]
    legend(figure, marks)
    return figure


def _spread(place: float, count: int) -> list[float]:
    """Return positions side by side, so that equal points stay distinguishable."""
    return [
        place + (index - (count - 1) / 2) * min(0.08, 0.5 / max(1, count)) for index in range(count)
    ]
