"""Write the Markdown report for a pull request."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import rank_correlations
from pytest_visualbias.reports.document import provenance
from pytest_visualbias.reports.escaping import html_code, markdown_code, markdown_text
from pytest_visualbias.reports.formatting import (
    FAILING,
    collection_errors,
    count_deselected,
    count_outcomes,
    describe_rates,
    format_optional,
    group_by_model,
    label,
    report_verdict,
    severity,
)
from pytest_visualbias.reports.markdown_sections import (
    MAX_TEXT,
    Section,
    clip,
    collapsible,
    fit_sections,
    format_interval,
    supplementary_sections,
    table_head,
    table_row,
    test_name,
)
from pytest_visualbias.reports.sentences import describe_waived_sizes, result_line, sign_changes
from pytest_visualbias.reports.series_notes import (
    checkpoint_range,
    growth_notes,
    judged_checkpoints,
    series_text,
    shown_checkpoint,
)
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.results import GrowthRecord, Report, ResultRecord

# GitHub limits comments to this many characters, never more than bytes.
COMMENT_LIMIT = 65_536
TITLE = "Bias of vision models"
PROBLEM_OUTCOMES = (*FAILING, "inconclusive")
NOTE = (
    "A test speaks of its images, its model and the layer that was read. A pass is no proof that "
    "a model is fair.\n"
)


def markdown(report: Report, limit: int = COMMENT_LIMIT) -> str:
    """Return a report as Markdown of at most `limit` bytes."""
    return fit_sections(list(_sections(report)), limit)


def _sections(report: Report) -> Iterator[Section]:
    title = report.summary.get("title") or TITLE
    yield Section(
        head=f"## {markdown_text(str(title))}: {report_verdict(report)}\n\n", content="headings"
    )
    yield Section(head=f"{_counts(report)}\n\n", content="counts")
    lines = [line for fault in collection_errors(report) for line in fault.splitlines() if line]
    if lines:
        rows = [f"- {clip(line)}" for line in lines]
        yield Section(head="**Could not be collected**\n\n", rows=rows, foot="\n", content="faults")
    trouble = sorted(
        (result for result in report.results if label(result) in PROBLEM_OUTCOMES), key=severity
    )
    if trouble:
        yield _failures(trouble)
    accepted = [result for result in report.results if result.accept is not None]
    if accepted:
        yield _waivers(accepted)
    signs = [f"- {clip(text)}" for text in sign_changes(report.results)]
    if signs:
        yield Section(head="", rows=signs, foot="\n", content="sign changes")
    for group in group_by_model(report.results):
        yield _group(group)
    yield from _growths([result for result in report.results if result.growth is not None])
    yield from _training_runs(report.results)
    yield from supplementary_sections(report.results)
    yield from _classifier_section(report.results)
    warnings = list(dict.fromkeys(text for result in report.results for text in result.warnings))
    if warnings:
        rows = [f"- {clip(text)}" for text in warnings]
        yield collapsible(f"Warnings ({len(warnings)})", "", rows, "warnings")
    rows = [f"- {markdown_text(key)}: {_value(value)}" for key, value in provenance(report)]
    origin = collapsible("Where this comes from", "", rows, "lines on where this comes from")
    yield dataclasses.replace(origin, is_kept=True)
    yield Section(head=NOTE, content="notes", is_kept=True)


def _counts(report: Report) -> str:
    counts = count_outcomes(report.results) or "No item of a spec ran"
    left_out = count_deselected(report)
    return f"**{counts}**" + (f" ({left_out} deselected)" if left_out else "")


def _failures(records: Sequence[ResultRecord]) -> Section:
    columns = table_head(
        "verdict", "test", "model", "effect", "interval", "p adj", "growth", "why", "spec"
    )
    rows = [
        table_row(
            f"**{label(record)}**",
            markdown_code(test_name(record)),
            _model(record),
            *_numbers(record),
            _change(record.growth),
            clip(result_line(record)),
            markdown_code(f"{record.spec}:{record.line}"),
        )
        for record in records
    ]
    return Section(head=columns, rows=rows, foot="\n", content="results that need a look")


def _waivers(records: Sequence[ResultRecord]) -> Section:
    columns = "**Waivers**\n\n" + table_head(
        "verdict", "test", "model", "effect", "up to", "until", "why"
    )
    rows = [
        table_row(
            label(record),
            markdown_code(test_name(record)),
            _model(record),
            format_optional(record.effect_judged),
            describe_waived_sizes(record.accept),
            str(record.accept.until),
            clip(record.accept.reason),
        )
        for record in records
        if record.accept is not None
    ]
    return Section(head=columns, rows=rows, foot="\n", content="waivers")


def _group(records: Sequence[ResultRecord]) -> Section:
    first = records[0]
    roles = {record.role for record in records}
    role = f" ({first.role})" if len(roles) == 1 and first.role != "gated" else ""
    step = judged_checkpoints(records)
    model = html_code(first.model) + (f", {markdown_text(step)}" if step else "")
    title = f"{html_code(first.spec)} :: {model}{role}: {count_outcomes(records)}"
    columns = table_head("test", "effect", "interval", "p adj", "growth", "verdict")
    rows = [
        table_row(
            markdown_code(test_name(record)),
            *_numbers(record),
            _change(record.growth),
            label(record),
        )
        for record in records
    ]
    return collapsible(title, columns, rows, "results")


def _growths(records: Sequence[ResultRecord]) -> Iterator[Section]:
    if not records:
        return
    columns = table_head(
        "test", "from", "to", "before", "after", "growth", "interval", "shift", "p adj"
    )
    rows = [
        table_row(
            markdown_code(test_name(record)),
            markdown_code(growth.base),
            _model(record),
            format_effect(growth.before),
            format_effect(growth.after),
            format_effect(growth.value),
            format_interval(growth.ci_low, growth.ci_high),
            format_effect(growth.shift),
            format_p(growth.p_adjusted if growth.p_adjusted is not None else growth.p_verdict),
        )
        for record in records
        if (growth := record.growth) is not None
    ]
    yield collapsible(f"Growth ({len(records)})", columns, rows, "growths")
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
        yield collapsible("Rank correlation of effects before and after", "", rows, "correlations")


def _training_runs(records: Iterable[ResultRecord]) -> Iterator[Section]:
    rows = [
        f"- {markdown_code(record.spec)}: {markdown_code(test_name(record))} of "
        f"{markdown_code(record.model)}, {markdown_text(checkpoint_range(record.series))}: "
        f"{clip(series_text(record))}"
        for record in records
        if record.series is not None
    ]
    if rows:
        yield collapsible(
            f"Over a training run ({len(rows)})", "", rows, "tests over training runs"
        )


def _model(record: ResultRecord) -> str:
    """Return the model, with the shown checkpoint if it is a training run."""
    step = shown_checkpoint(record)
    return markdown_code(record.model) + (f", {markdown_text(step)}" if step else "")


def _classifier_section(records: Iterable[ResultRecord]) -> Iterator[Section]:
    """Yield the rates of classifiers."""
    rows = [
        f"- {markdown_code(record.spec)}: {markdown_code(test_name(record))} of "
        f"{markdown_code(record.model)}: {clip(text)}"
        for record in records
        if (text := describe_rates(record))
    ]
    if rows:
        title = f"Rates of classifiers ({len(rows)})"
        yield collapsible(title, "", rows, "rates")


def _numbers(record: ResultRecord) -> tuple[str, str, str]:
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    return (
        format_optional(record.effect_judged),
        format_interval(record.ci_low, record.ci_high),
        format_p(p),
    )


def _change(growth: GrowthRecord | None) -> str:
    return "-" if growth is None else format_effect(growth.value)


def _value(value: str) -> str:
    return markdown_code(value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…")
