"""How effects of one model go with those of another, with labels, and with accuracy."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pytest_visualbias.reports.bias_counts import label_summaries, rank_correlations
from pytest_visualbias.reports.figures.gathering import by_place, is_of
from pytest_visualbias.reports.figures.style import (
    COLOURS,
    GREY,
    UNITS,
    legend,
    panels_of,
    plain,
    title,
    widest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.bias_counts import LabelSummary, RankCorrelation
    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

COLUMNS = 3
ON_A_PAGE = 9

# So many tests that changed most are named.
NAMED = 3


def transfer_figures(
    records: Iterable[ResultRecord], unit: Unit = "effects"
) -> Iterator[tuple[str, str, Figure]]:
    """Yield the effect of each test before against after: spec, layer and figure."""
    grown = [
        record
        for record in records
        if record.growth is not None and record.outcome != "invalid" and is_of(record, unit)
    ]
    for spec, layer, own in by_place(grown):
        found = rank_correlations(own)
        for start in range(0, len(found), ON_A_PAGE):
            shown = [(one, _members(one, own)) for one in found[start : start + ON_A_PAGE]]
            figure, panels = panels_of(len(shown), COLUMNS, height=2.7)
            reach = widest((end for _, ours in shown for our in ours for end in _ends(our)), unit)
            for axes, (transfer, ours) in zip(panels, shown, strict=True):
                _scatter(axes, transfer, ours, reach)
            for axes in panels[::COLUMNS]:
                axes.set_ylabel(f"after: {UNITS[unit][0]}")
            title(figure, f"{unit.capitalize()} before and after", spec, layer)
            yield spec, layer, figure


def _members(transfer: RankCorrelation, records: Iterable[ResultRecord]) -> list[ResultRecord]:
    pair = transfer.base, transfer.model
    return [
        record for record in records if record.growth and (record.growth.base, record.model) == pair
    ]


def _ends(record: ResultRecord) -> tuple[float, float]:
    assert record.growth is not None  # noqa: S101 - only such are handed on
    return record.growth.before, record.growth.after


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
    ends = [_ends(record) for record in records]
    axes.plot(*zip(*ends, strict=True), "o", ms=3.5, color=COLOURS[0], alpha=0.8)
    _name(axes, records)
    said = f"Spearman's ρ = {transfer.spearman:+.2f} (k = {transfer.k})"
    axes.set_title(f"{plain(transfer.base, 18)} → {plain(transfer.model, 18)}\n{said}")
    axes.set_xlabel(f"before: {UNITS[transfer.of][0]}")


def _name(axes: Axes, records: Sequence[ResultRecord]) -> None:
    """Mark the tests that moved most by a number, and name them in a corner."""
    moved = sorted(records, key=lambda one: -abs(_ends(one)[1] - _ends(one)[0]))[:NAMED]
    for number, record in enumerate(moved, 1):
        axes.plot(*([end] for end in _ends(record)), "o", ms=3.5, color=COLOURS[1])
        axes.annotate(
            str(number),
            _ends(record),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=6,
        )
    names = "\n".join(f"{number} {plain(one.test, 26)}" for number, one in enumerate(moved, 1))
    axes.text(
        *(0.98, 0.02, f"moved most\n{names}"),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=6,
    )


def label_figures(records: Sequence[ResultRecord]) -> Iterator[tuple[str, str, Figure]]:
    """Yield what the models of each label show: the label's key, no layer, and figure."""
    singles: dict[str, list[ResultRecord]] = defaultdict(list)
    for record in records:
        singles[record.model].append(record)
    points: dict[tuple[str, str], list[LabelSummary]] = defaultdict(list)
    for single in singles.values():
        for row in label_summaries(single):
            points[row.key, row.value].append(row)
    for key, rows in groupby(label_summaries(records), key=lambda one: one.key):
        values = sorted(rows, key=_order)
        yield key, "", _labels(key, values, [points[key, value.value] for value in values])


def _order(row: LabelSummary) -> float:
    """Sort labels that are numbers by size, before the others in their order."""
    try:
        found = float(row.value)
    except ValueError:
        found = math.nan
    return math.inf if math.isnan(found) else found


def _labels(
    key: str, rows: Sequence[LabelSummary], points: Sequence[Sequence[LabelSummary]]
) -> Figure:
    names = [("effect", "mean |d|"), ("growth", "mean growth of |d|")]
    shown = [
        (name, said) for name, said in names if any(getattr(one, name) is not None for one in rows)
    ]
    figure, panels = panels_of(len(shown), 2, height=2.4, share_y=False)
    for axes, (name, said) in zip(panels, shown, strict=True):
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_ylabel(f"{said} (standard deviations)")
        axes.set_xlabel(plain(key))
        ticks = [
            f"{plain(one.value, 18)}\n{one.models} model{'s' * (one.models != 1)}" for one in rows
        ]
        axes.set_xticks(range(len(rows)), ticks)
        axes.set_xlim(-0.6, len(rows) - 0.4)
        for place, (row, own) in enumerate(zip(rows, points, strict=True)):
            if (mean := getattr(row, name)) is not None:
                axes.hlines(mean, place - 0.3, place + 0.3, color="k", lw=2)
            ys = [y for one in own if (y := getattr(one, name)) is not None]
            axes.plot(_spread(place, len(ys)), ys, "o", ms=4, color=COLOURS[0], alpha=0.7)
    title(figure, f"Models by {plain(key)}")
    marks = [
        Line2D([], [], color="k", lw=2, label="mean over all results"),
        Line2D([], [], color=COLOURS[0], marker="o", ms=4, ls="", label="one model"),
    ]
    legend(figure, marks)
    return figure


def _spread(place: float, count: int) -> list[float]:
    """Return places beside each other, so that points with one value can be told apart."""
    return [
        place + (index - (count - 1) / 2) * min(0.08, 0.5 / max(1, count)) for index in range(count)
    ]
