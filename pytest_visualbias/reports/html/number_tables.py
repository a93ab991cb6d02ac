"""Tabulate the numbers of figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import bias_counts, label_summaries
from pytest_visualbias.reports.html.wording import optional_effect, span
from pytest_visualbias.results import format_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.reports.bias_counts import BiasCounts
    from pytest_visualbias.results import ResultRecord, SeriesRecord

THRESHOLDS = (0.001, 0.01, 0.05, 0.1)

Rows = tuple[tuple[str, ...], ...]
Tables = dict[tuple[str, str], "Table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Numbers with the names of their columns."""

    head: tuple[str, ...]
    rows: Rows


def count_tables(records: Sequence[ResultRecord]) -> Tables:
    """Return how many tests have a p-value below each threshold, by spec and layer."""
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for counts in bias_counts(records, THRESHOLDS, p="p_verdict"):
        rows.setdefault((counts.spec, counts.layer), []).extend(_count_rows(counts))
    head = ("model", *(f"p < {threshold:g}" for threshold in THRESHOLDS))
    return {place: Table(head=head, rows=tuple(lines)) for place, lines in rows.items()}


def _count_rows(counts: BiasCounts) -> Iterator[tuple[str, ...]]:
    """Yield a model's counts: raw, by direction, corrected, and summed effects."""
    state = "" if counts.control == "none" else f" (control {counts.control})"
    thresholds = counts.counts
    yield (f"{counts.model}{state}, raw", *(str(count.raw) for count in thresholds))
    above = (f"{count.positive} / {count.negative}" for count in thresholds)
    yield (f"{counts.model}, effect above / below zero", *above)
    yield (f"{counts.model}, corrected", *(str(count.holm) for count in thresholds))
    beyond = [count.beyond_random for count in thresholds]
    if None not in beyond:
        yield (f"{counts.model}, beyond untrained networks", *map(str, beyond))
    yield (f"{counts.model}, sum of |effect|", *(f"{count.strength:.2f}" for count in thresholds))


def label_tables(records: Sequence[ResultRecord]) -> Tables:
    """Return the means of the models of each label, by its key."""
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for row in label_summaries(records):
        effect = "–" if row.effect is None else f"{row.effect:.2f}"
        numbers = (row.models, row.tests, row.failing)
        cells = (row.value, effect, optional_effect(row.growth), *map(str, numbers))
        rows.setdefault((row.key, ""), []).append(cells)
    head = ("mean |effect|", "mean growth", "models", "tests", "failing")
    return {
        place: Table(head=(place[0], *head), rows=tuple(lines)) for place, lines in rows.items()
    }


def series_table(series: SeriesRecord | None) -> Table | None:
    """Return the numbers of a training run by checkpoint; None for other models."""
    if series is None or all(point.effect_judged is None for point in series.points):
        return None
    # A checkpoint that is only shown has no verdict, so its outcome is by its own p.
    ends = ("p adj", "growth", "verdict") if series.gate == "all" else ("p", "growth", "by itself")
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
