"""The report for a pull request, in Markdown: the verdict first, what passed folded away."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import rank_correlations
from pytest_visualbias.reports.document import provenance
from pytest_visualbias.reports.escaping import html_code, markdown_code, markdown_text
from pytest_visualbias.reports.formatting import (
    FAILING,
    counted,
    deselected,
    faults,
    format_optional,
    group_by_model,
    label,
    rates_text,
    severity,
    verdict,
)
from pytest_visualbias.reports.markdown_sections import (
    LONGEST,
    Section,
    clipped,
    fit_sections,
    folded,
    head,
    row,
    span,
    supplementary_sections,
    test_name,
)
from pytest_visualbias.reports.sentences import result_line, sign_changes, sizes_text
from pytest_visualbias.reports.series_notes import (
    growth_notes,
    numbers_of,
    series_text,
    shown_step,
    span_text,
)
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.results import GrowthRecord, Report, ResultRecord

# What GitHub takes as a comment: so many characters, which are never more than bytes.
COMMENT_LIMIT = 65_536
TITLE = "Bias of vision models"
TROUBLE = (*FAILING, "inconclusive")
NOTE = (
    "A test speaks of its images, its model and the layer that was read. A pass is no proof that "
    "a model is fair.\n"
)


def markdown(report: Report, limit: int = COMMENT_LIMIT) -> str:
    """Return a report in Markdown of at most so many bytes."""
    return fit_sections(list(_sections(report)), limit)


def _sections(report: Report) -> Iterator[Section]:
    title = report.summary.get("title") or TITLE
    yield Section(head=f"## {markdown_text(str(title))}: {verdict(report)}\n\n", content="headings")
    yield Section(head=f"{_counts(report)}\n\n", content="counts")
    lines = [line for fault in faults(report) for line in fault.splitlines() if line]
    if lines:
        rows = [f"- {clipped(line)}" for line in lines]
        yield Section(head="**Could not be collected**\n\n", rows=rows, foot="\n", content="faults")
    trouble = sorted(
        (result for result in report.results if label(result) in TROUBLE), key=severity
    )
    if trouble:
        yield _troubles(trouble)
    accepted = [result for result in report.results if result.accept is not None]
    if accepted:
        yield _waivers(accepted)
    signs = [f"- {clipped(text)}" for text in sign_changes(report.results)]
    if signs:
        yield Section(head="", rows=signs, foot="\n", content="sign changes")
    for group in group_by_model(report.results):
        yield _group(group)
    yield from _growths([result for result in report.results if result.growth is not None])
    yield from _courses(report.results)
    yield from supplementary_sections(report.results)
    yield from _asides(report.results)
    warnings = list(dict.fromkeys(text for result in report.results for text in result.warnings))
    if warnings:
        rows = [f"- {clipped(text)}" for text in warnings]
        yield folded(f"Warnings ({len(warnings)})", "", rows, "warnings")
    rows = [f"- {markdown_text(key)}: {_value(value)}" for key, value in provenance(report)]
    origin = folded("Where this comes from", "", rows, "lines on where this comes from")
    yield dataclasses.replace(origin, is_kept=True)
    yield Section(head=NOTE, content="notes", is_kept=True)


def _counts(report: Report) -> str:
    counts = counted(report.results) or "No item of a spec ran"
    left_out = deselected(report)
    return f"**{counts}**" + (f" ({left_out} deselected)" if left_out else "")


def _troubles(records: Sequence[ResultRecord]) -> Section:
    columns = head(
        "verdict", "test", "model", "effect", "interval", "p adj", "growth", "why", "spec"
    )
    rows = [
        row(
            f"**{label(record)}**",
            markdown_code(test_name(record)),
            _model(record),
            *_numbers(record),
            _change(record.growth),
            clipped(result_line(record)),
            markdown_code(f"{record.spec}:{record.line}"),
        )
        for record in records
    ]
    return Section(head=columns, rows=rows, foot="\n", content="results that need a look")


def _waivers(records: Sequence[ResultRecord]) -> Section:
    columns = "**Waivers**\n\n" + head(
        "verdict", "test", "model", "effect", "up to", "until", "why"
    )
    rows = [
        row(
            label(record),
            markdown_code(test_name(record)),
            _model(record),
            format_optional(record.effect_judged),
            sizes_text(record.accept),
            str(record.accept.until),
            clipped(record.accept.reason),
        )
        for record in records
        if record.accept is not None
    ]
    return Section(head=columns, rows=rows, foot="\n", content="waivers")


def _group(records: Sequence[ResultRecord]) -> Section:
    first = records[0]
    roles = {record.role for record in records}
    role = f" ({first.role})" if len(roles) == 1 and first.role != "gated" else ""
    step = numbers_of(records)
    model = html_code(first.model) + (f", {markdown_text(step)}" if step else "")
    title = f"{html_code(first.spec)} :: {model}{role}: {counted(records)}"
    columns = head("test", "effect", "interval", "p adj", "growth", "verdict")
    rows = [
        row(
            markdown_code(test_name(record)),
            *_numbers(record),
            _change(record.growth),
            label(record),
        )
        for record in records
    ]
    return folded(title, columns, rows, "results")


def _growths(records: Sequence[ResultRecord]) -> Iterator[Section]:
    if not records:
        return
    columns = head("test", "from", "to", "before", "after", "growth", "interval", "shift", "p adj")
    rows = [
        row(
            markdown_code(test_name(record)),
            markdown_code(growth.base),
            _model(record),
            format_effect(growth.before),
            format_effect(growth.after),
            format_effect(growth.value),
            span(growth.ci_low, growth.ci_high),
            format_effect(growth.shift),
            format_p(growth.p_adjusted if growth.p_adjusted is not None else growth.p_verdict),
        )
        for record in records
        if (growth := record.growth) is not None
    ]
    yield folded(f"Growth ({len(records)})", columns, rows, "growths")
    notes = [f"- {note}" for note in growth_notes(records)]
    if notes:
        yield Section(head="", rows=notes, foot="\n", content="notes on growth")
    rows = [
        f"- {markdown_code(correlation.spec)}: {markdown_code(correlation.base)} to "
        f"{markdown_code(correlation.model)} at {markdown_code(correlation.layer)}: "
        f"{format_effect(correlation.spearman)} over {correlation.k} {correlation.of}"
        for correlation in rank_correlations(records)
    ]
    if rows:
        yield folded("Rank correlation of effects before and after", "", rows, "correlations")


def _courses(records: Iterable[ResultRecord]) -> Iterator[Section]:
    rows = [
        f"- {markdown_code(record.spec)}: {markdown_code(test_name(record))} of "
        f"{markdown_code(record.model)}, {markdown_text(span_text(record.series))}: "
        f"{clipped(series_text(record))}"
        for record in records
        if record.series is not None
    ]
    if rows:
        yield folded(f"Over a training run ({len(rows)})", "", rows, "tests over training runs")


def _model(record: ResultRecord) -> str:
    """Return the model, and of a series the checkpoint whose numbers stand beside it."""
    step = shown_step(record)
    return markdown_code(record.model) + (f", {markdown_text(step)}" if step else "")


def _asides(records: Iterable[ResultRecord]) -> Iterator[Section]:
    """Yield the rates of classifiers."""
    rows = [
        f"- {markdown_code(record.spec)}: {markdown_code(test_name(record))} of "
        f"{markdown_code(record.model)}: {clipped(text)}"
        for record in records
        if (text := rates_text(record))
    ]
    if rows:
        title = f"Rates of classifiers ({len(rows)})"
        yield folded(title, "", rows, "rates")


def _numbers(record: ResultRecord) -> tuple[str, str, str]:
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    return format_optional(record.effect_judged), span(record.ci_low, record.ci_high), format_p(p)


def _change(growth: GrowthRecord | None) -> str:
    return "-" if growth is None else format_effect(growth.value)


def _value(value: str) -> str:
    return markdown_code(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")
