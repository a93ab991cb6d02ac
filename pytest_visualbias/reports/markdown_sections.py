"""Sections of a Markdown report."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import label_summaries
from pytest_visualbias.reports.escaping import markdown_code, markdown_text
from pytest_visualbias.reports.series_notes import seeds_text, trials_text
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.results import ExcessRecord, ResultRecord

# Room for the sentence that says what was left out.
RESERVE = 600
QUARTER = 0.25
ELSE = "the JSON report has everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Lines that stand together."""

    head: str
    rows: Sequence[str] = ()
    foot: str = ""
    content: str = "lines"
    is_kept: bool = False

    @property
    def whole(self) -> str:
        """All of it."""
        return self.head + "".join(f"{row}\n" for row in self.rows) + self.foot


def fit_sections(sections: Sequence[Section], limit: int) -> str:
    """Return sections as one text of at most so many bytes of UTF-8."""
    text, omitted = _within(sections, limit)
    if not omitted:
        return text
    text, omitted = _within(sections, limit - RESERVE)
    counts = ", ".join(f"{count} {content}" for content, count in omitted.items())
    text += f"\n**Left out to stay within {limit:,} bytes: {counts}; {ELSE}.**\n"
    return text if _size(text) <= limit else ""


def _within(sections: Sequence[Section], budget: int) -> tuple[str, dict[str, int]]:
    text, omitted = "", dict[str, int]()
    sizes = {
        index: _size(section.whole) for index, section in enumerate(sections) if section.is_kept
    }
    kept = sizes if sum(sizes.values()) <= budget * QUARTER else {}
    budget -= sum(kept.values())
    for index, section in enumerate(sections):
        if index in kept:
            text += section.whole
            continue
        part, rows = _shown(section, budget)
        budget -= _size(part)
        text += part
        missing = len(section.rows) - rows if part else max(1, len(section.rows))
        if missing:
            omitted[section.content] = omitted.get(section.content, 0) + missing
    return text, omitted


def _shown(section: Section, budget: int) -> tuple[str, int]:
    """Return a section with as many rows as there is room for, and how many; none without room."""
    budget -= _size(section.head) + _size(section.foot)
    rows: list[str] = []
    for row in section.rows:
        budget -= _size(row) + 1
        if budget < 0:
            break
        rows.append(f"{row}\n")
    if budget < 0 and not rows:
        return "", 0
    return section.head + "".join(rows) + section.foot, len(rows)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


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


def folded(title: str, head: str, rows: Sequence[str], content: str) -> Section:
    """Return a section that is closed until somebody opens it."""
    start = f"<details><summary>{title}</summary>\n\n{head}"
    return Section(head=start, rows=rows, foot="\n</details>\n\n", content=content)


def span(low: float | None, high: float | None) -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def clipped(text: str) -> str:
    """Return any text as Markdown of a length that a table bears."""
    return markdown_text(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def supplementary_sections(records: Sequence[ResultRecord]) -> Iterator[Section]:
    """Yield what puts results into proportion, each section where there is something in it."""
    for sections in (_excesses(records), _trials(records), _labels(records)):
        yield from sections


def _excesses(records: Sequence[ResultRecord]) -> Iterator[Section]:
    names = ("test", "model", "untrained", "its effect", "effect", "excess", "interval", "p adj")
    rows = [
        row(
            markdown_code(test_name(record)),
            markdown_code(record.model),
            markdown_code(excess.base),
            _untrained(excess),
            format_effect(excess.after),
            format_effect(excess.value),
            span(excess.ci_low, excess.ci_high),
            format_p(excess.p_adjusted if excess.p_adjusted is not None else excess.p_verdict),
        )
        for record in records
        if (excess := record.excess) is not None
    ]
    if rows:
        title = f"Excess over untrained networks ({len(rows)})"
        yield folded(title, head(*names), rows, "excesses")


def _untrained(excess: ExcessRecord) -> str:
    seeds = seeds_text(excess)
    return format_effect(excess.before) + (f" ({seeds})" if seeds else "")


def _trials(records: Sequence[ResultRecord]) -> Iterator[Section]:
    rows = [
        f"- {markdown_code(record.model)}: {markdown_code(test_name(record))}: {clipped(text)}"
        for record in records
        if (text := trials_text(record)) is not None
    ]
    if rows:
        yield folded(f"Trials ({len(rows)})", "", rows, "tests over trials")


def _labels(records: Sequence[ResultRecord]) -> Iterator[Section]:
    for key, summaries in groupby(label_summaries(records), key=lambda summary: summary.key):
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
                markdown_text(summary.value),
                str(summary.models),
                str(summary.tests),
                "-" if summary.effect is None else f"{summary.effect:.2f}",
                "-" if summary.growth is None else format_effect(summary.growth),
                str(summary.failing),
            )
            for summary in summaries
        ]
        yield folded(f"Models by {markdown_text(key)}", head(*names), rows, "labels")
