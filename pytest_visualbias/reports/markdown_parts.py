"""Pieces that the report in Markdown is made of: tables, and sections that are folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import markdown_text
from pytest_visualbias.reports.fitting import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.record import ResultRecord

__all__ = ["LONGEST", "clipped", "folded", "head", "row", "span", "test_name"]

LONGEST = 1000


def test_name(record: ResultRecord) -> str:
    """Return the test and its layer."""
    return f"{record.test}[{record.layer}]"


def head(*names: str) -> str:
    """Return the head of a table."""
    return f"{row(*names)}\n{row(*('---' for _ in names))}\n"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def folded(title: str, head: str, rows: Sequence[str], what: str) -> Section:
    """Return a section that is closed until somebody opens it."""
    start = f"<details><summary>{title}</summary>\n\n{head}"
    return Section(head=start, rows=rows, foot="\n</details>\n\n", what=what)


def span(low: float | None, high: float | None) -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def clipped(text: str) -> str:
    """Return any text as Markdown of a length that a table bears."""
    return markdown_text(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
