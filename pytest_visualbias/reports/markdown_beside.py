"""What stands beside results in Markdown: untrained networks, trials, labels."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import markdown_code, markdown_text
from pytest_visualbias.reports.labels import labelled
from pytest_visualbias.reports.markdown_parts import clipped, folded, head, row, span, test_name
from pytest_visualbias.reports.trials import seeds_text, trials_text
from pytest_visualbias.verdict import number, p_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.record import ExcessRecord, ResultRecord
    from pytest_visualbias.reports.fitting import Section

__all__ = ["beside"]


def beside(records: Sequence[ResultRecord]) -> Iterator[Section]:
    """Yield what puts results into proportion, each section where there is something in it."""
    for found in (_excesses(records), _trials(records), _labels(records)):
        yield from found


def _excesses(records: Sequence[ResultRecord]) -> Iterator[Section]:
    names = ("test", "model", "untrained", "its effect", "effect", "excess", "interval", "p adj")
    rows = [
        row(
            markdown_code(test_name(one)),
            markdown_code(one.model),
            markdown_code(excess.base),
            _untrained(excess),
            number(excess.after),
            number(excess.value),
            span(excess.ci_low, excess.ci_high),
            p_text(excess.p_adjusted if excess.p_adjusted is not None else excess.p_verdict),
        )
        for one in records
        if (excess := one.excess) is not None
    ]
    if rows:
        title = f"Excess over untrained networks ({len(rows)})"
        yield folded(title, head(*names), rows, "excesses")


def _untrained(excess: ExcessRecord) -> str:
    seeds = seeds_text(excess)
    return number(excess.before) + (f" ({seeds})" if seeds else "")


def _trials(records: Sequence[ResultRecord]) -> Iterator[Section]:
    rows = [
        f"- {markdown_code(one.model)}: {markdown_code(test_name(one))}: {clipped(text)}"
        for one in records
        if (text := trials_text(one)) is not None
    ]
    if rows:
        yield folded(f"Trials ({len(rows)})", "", rows, "tests over trials")


def _labels(records: Sequence[ResultRecord]) -> Iterator[Section]:
    for key, found in groupby(labelled(records), key=lambda one: one.key):
        names = (
            markdown_text(key),
            "models",
            "tests",
            "mean \\|effect\\|",
            "mean growth",
            "failing",
        )
        rows = [
            row(
                markdown_text(one.value),
                str(one.models),
                str(one.tests),
                "-" if one.effect is None else f"{one.effect:.2f}",
                "-" if one.growth is None else number(one.growth),
                str(one.failing),
            )
            for one in found
        ]
        yield folded(f"Models by {markdown_text(key)}", head(*names), rows, "labels")
