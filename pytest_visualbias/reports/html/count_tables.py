"""Tabulate how many tests have a p-value below each threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import bias_counts
from pytest_visualbias.reports.html.curves import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.reports.bias_counts import BiasCounts
    from pytest_visualbias.results import ResultRecord

THRESHOLDS = (0.001, 0.01, 0.05, 0.1)


def count_tables(records: Sequence[ResultRecord]) -> dict[tuple[str, str], Table]:
    """Return a table for each spec and layer."""
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for counts in bias_counts(records, THRESHOLDS, p="p_verdict"):
        rows.setdefault((counts.spec, counts.layer), []).extend(_rows(counts))
    head = ("", *(f"p < {threshold:g}" for threshold in THRESHOLDS))
    return {place: Table(head=head, rows=tuple(lines)) for place, lines in rows.items()}


def _rows(counts: BiasCounts) -> Iterator[tuple[str, ...]]:
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
