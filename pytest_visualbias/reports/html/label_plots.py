"""Plot effects and growth of models by label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import label_summaries
from pytest_visualbias.reports.html.scales import scale_around
from pytest_visualbias.reports.html.strips import Strip, line_extent
from pytest_visualbias.reports.html.wording import optional_effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.reports.bias_counts import LabelSummary
    from pytest_visualbias.reports.html.scales import Scale, Tick
    from pytest_visualbias.results import ResultRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """Mean effect and growth of the models of one label, as marks and text."""

    row: LabelSummary
    effect: Strip | None
    growth: Strip | None
    cells: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelPlot:
    """The plot of one label key."""

    key: str
    effect_ticks: tuple[Tick, ...]
    growth_ticks: tuple[Tick, ...]
    rows: tuple[LabelRow, ...]


def label_plots(records: Iterable[ResultRecord]) -> list[LabelPlot]:
    """Return a plot for each label key, with numeric values in order."""
    groups: dict[str, list[LabelSummary]] = {}
    for row in label_summaries(records):
        groups.setdefault(row.key, []).append(row)
    return [_label_plot(key, _sorted_rows(rows)) for key, rows in groups.items()]


def _sorted_rows(rows: Sequence[LabelSummary]) -> Sequence[LabelSummary]:
    """Return rows sorted by number if every label is a number, else unchanged."""
    try:
        return sorted(rows, key=lambda row: _parse_number(row.value))
    except (ValueError, ZeroDivisionError):
        return rows


def _parse_number(text: str) -> float | Fraction:
    """Return a label as a number; fractions are exact."""
    # Fraction("1e999999999") would have a billion digits.
    number = Fraction(text) if "/" in text else float(text)
    if math.isnan(number):
        raise ValueError
    return number


def _label_plot(key: str, rows: Sequence[LabelSummary]) -> LabelPlot:
    effects = scale_around([row.effect for row in rows if row.effect is not None], minimum=0.5)
    growths = scale_around([row.growth for row in rows if row.growth is not None], minimum=0.2)
    effects, growths = effects.drawn(2.0, 98.0), growths.drawn(2.0, 98.0)
    return LabelPlot(
        key=key,
        effect_ticks=tuple(effects.ticks()),
        growth_ticks=tuple(growths.ticks()),
        rows=tuple(
            LabelRow(
                row=row,
                effect=_bar(effects, row.effect),
                growth=_bar(growths, row.growth),
                cells=(
                    "–" if row.effect is None else f"{row.effect:.2f}",
                    optional_effect(row.growth),
                ),
            )
            for row in rows
        ),
    )


def _bar(scale: Scale, value: float | None) -> Strip | None:
    if value is None:
        return None
    return Strip(
        zero=scale.at(0.0), dot=scale.at(value), range=line_extent(scale.at(0.0), scale.at(value))
    )
