"""Build sections of a Markdown report and fit them into a byte limit."""

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

# Bytes for the sentence that states what was left out.
RESERVED_BYTES = 600
QUARTER = 0.25
FULL_REPORT = "the JSON report has everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A table or list with its heading."""

    head: str
    rows: Sequence[str] = ()
    foot: str = ""
    content: str = "lines"
    is_kept: bool = False

    @property
    def whole(self) -> str:
        """The complete section."""
        return self.head + "".join(f"{row}\n" for row in self.rows) + self.foot


def fit_sections(sections: Sequence[Section], limit: int) -> str:
    """Return sections as one text of at most `limit` UTF-8 bytes."""
    text, omitted = _fill(sections, limit)
    if not omitted:
        return text
    text, omitted = _fill(sections, limit - RESERVED_BYTES)
    counts = ", ".join(f"{count} {content}" for content, count in omitted.items())
    text += f"\n**Left out to stay within {limit:,} bytes: {counts}; {FULL_REPORT}.**\n"
    return text if _size(text) <= limit else ""


def _fill(sections: Sequence[Section], budget: int) -> tuple[str, dict[str, int]]:
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
        part, rows = _truncate(section, budget)
        budget -= _size(part)
        text += part
        missing = len(section.rows) - rows if part else max(1, len(section.rows))
        if missing:
            omitted[section.content] = omitted.get(section.content, 0) + missing
    return text, omitted


def _truncate(section: Section, budget: int) -> tuple[str, int]:
    """Return a section with as many rows as fit, and their number."""
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


MAX_TEXT = 1000


def test_name(record: ResultRecord) -> str:
    """Return the test and its layer."""
    return f"{record.test}[{record.layer}]"


def table_head(*names: str) -> str:
    """Return the header and separator rows of a table."""
    return f"{table_row(*names)}\n{table_row(*('---' for _ in names))}\n"


def table_row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def collapsible(title: str, head: str, rows: Sequence[str], content: str) -> Section:
    """Return a section that starts collapsed."""
    start = f"<details><summary>{title}</summary>\n\n{head}"
    return Section(head=start, rows=rows, foot="\n</details>\n\n", content=content)


def format_interval(low: float | None, high: float | None) -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def clip(text: str) -> str:
    """Return a text as Markdown, cut to a length that fits a table."""
    return markdown_text(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…")


def supplementary_sections(records: Sequence[ResultRecord]) -> Iterator[Section]:
    """Yield sections on excess, trials and labels, if there are any."""
    for sections in (_excesses(records), _trials(records), _labels(records)):
        yield from sections


def _excesses(records: Sequence[ResultRecord]) -> Iterator[Section]:
    names = ("test", "model", "untrained", "its effect", "effect", "excess", "interval", "p adj")
    rows = [
        table_row(
            markdown_code(test_name(record)),
            markdown_code(record.model),
            markdown_code(excess.base),
            _untrained(excess),
            format_effect(excess.after),
            format_effect(excess.value),
            format_interval(excess.ci_low, excess.ci_high),
            format_p(excess.p_adjusted if excess.p_adjusted is not None else excess.p_verdict),
        )
        for record in records
        if (excess := record.excess) is not None
    ]
    if rows:
        title = f"Excess over untrained networks ({len(rows)})"
        yield collapsible(title, table_head(*names), rows, "excesses")


def _untrained(excess: ExcessRecord) -> str:
    seeds = seeds_text(excess)
    return format_effect(excess.before) + (f" ({seeds})" if seeds else "")


def _trials(records: Sequence[ResultRecord]) -> Iterator[Section]:
    rows = [
        f"- {markdown_code(record.model)}: {markdown_code(test_name(record))}: {clip(text)}"
        for record in records
        if (text := trials_text(record)) is not None
    ]
    if rows:
        yield collapsible(f"Trials ({len(rows)})", "", rows, "tests over trials")


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
            table_row(
                markdown_text(summary.value),
                str(summary.models),
                str(summary.tests),
                "-" if summary.effect is None else f"{summary.effect:.2f}",
                "-" if summary.growth is None else format_effect(summary.growth),
                str(summary.failing),
            )
            for summary in summaries
        ]
        yield collapsible(f"Models by {markdown_text(key)}", table_head(*names), rows, "labels")
