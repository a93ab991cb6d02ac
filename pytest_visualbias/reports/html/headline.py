"""Summarize the verdict: what failed, by how much, on what evidence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import (
    AXES,
    collection_errors,
    count_deselected,
    format_count,
    unit_of,
)
from pytest_visualbias.reports.html.strips import scale_of, strip
from pytest_visualbias.reports.html.wording import OUTCOMES, optional_effect, span
from pytest_visualbias.reports.series_notes import (
    checkpoint_name,
    earlier_violation_notes,
    growth_notes,
    with_judged_numbers,
    worst_other_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.reports.html.rows import Row
    from pytest_visualbias.reports.html.scales import Tick
    from pytest_visualbias.reports.html.strips import Strip
    from pytest_visualbias.results import Report

FAILED = {"fail": "over a limit", "invalid": "invalid", "error": "not measured"}

# Number of failures shown in detail; the others get a line each.
TOLD = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureSummary:
    """A test that needs attention."""

    row: Row
    also: tuple[Row, ...]
    strip: Strip | None
    ticks: tuple[Tick, ...]
    about: str
    shown: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """The top of the page: verdict, counts and failures."""

    state: str
    sentence: str
    notes: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    told: tuple[FailureSummary, ...]
    rest: tuple[FailureSummary, ...]
    waived: tuple[Row, ...]
    collection_errors: tuple[str, ...]


def headline_of(report: Report, rows: Sequence[Row]) -> Headline:
    """Return the headline of a report."""
    names = [row.outcome for row in rows]
    counts = {name: names.count(name) for name in OUTCOMES if name in names}
    errors = tuple(collection_errors(report))
    state = _state(report, counts, errors)
    stories = _failure_summaries(rows)
    return Headline(
        state=state,
        sentence=_sentence(state, counts, errors),
        notes=tuple(_notes(report, state, counts)),
        counts=tuple(counts.items()),
        told=tuple(stories[:TOLD]),
        rest=tuple(stories[TOLD:]),
        waived=tuple(row for row in rows if row.record.accept is not None),
        collection_errors=errors,
    )


def _failure_summaries(rows: Sequence[Row]) -> list[FailureSummary]:
    """Return a summary for each test and model that needs attention, worst first."""
    failures = [row for row in rows if row.outcome in (*FAILED, "inconclusive")]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(failures, key=lambda row: (row.order, -_ratio(row))):
        record = row.record
        groups.setdefault((record.spec, record.model, record.test), []).append(row)
    return [_failure_summary(first, others) for first, *others in groups.values()]


def _failure_summary(first: Row, others: Sequence[Row]) -> FailureSummary:
    judged, worst = with_judged_numbers(first.record), worst_other_checkpoint(first.record)
    record, series = judged, judged.series
    # If all checkpoints are judged, the verdict can be about another one than the last.
    at = (
        f" at {checkpoint_name(series, worst)}, the worst of those judged,"
        if series and worst
        else ""
    )
    scale = scale_of([record])
    drawn = strip(scale, record) if record.effect_judged is not None else None
    missed = "not reached" if record.control == "positive" else "exceeded"
    shaded = f", and shaded where the limit is {missed}" if drawn and drawn.bands else ""
    return FailureSummary(
        row=first,
        also=tuple(others),
        strip=drawn,
        ticks=tuple(scale.ticks()),
        about=f"{AXES[unit_of(record)]}{at} with its interval{shaded}",
        shown=(optional_effect(record.effect_judged), span(record.ci_low, record.ci_high)),
    )


def _ratio(row: Row) -> float:
    """Return the larger ratio of effect or growth to its limit."""
    record, limits = with_judged_numbers(row.record), row.record.limits
    values = {
        "max_effect": record.effect_judged,
        "max_gap": record.gap,
        "max_growth": record.growth.value if record.growth else None,
        "max_shift": record.growth.shift if record.growth else None,
        "max_excess": record.excess.value if record.excess else None,
    }
    ratios = [
        abs(value) / limits[name]
        for name, value in values.items()
        if value is not None and limits.get(name)
    ]
    return max(ratios, default=0.0)


def _state(report: Report, counts: Mapping[str, int], errors: Sequence[str]) -> str:
    is_strict = report.environment.get("strict") is True
    if errors or any(counts.get(name) for name in FAILED):
        return "failed"
    if counts.get("inconclusive"):
        return "failed" if is_strict else "inconclusive"
    if report.summary.get("exit_status", 0) not in (0, 5):
        return "failed"
    return "passed" if any(name != "reported" for name in counts) else "nothing"


def _sentence(state: str, counts: Mapping[str, int], errors: Sequence[str]) -> str:
    total = format_count(sum(counts.values()), "result")
    if state == "passed":
        judged = format_count(sum(counts.values()) - counts.get("reported", 0), "judged result")
        return f"Passed: {judged}, and none fails."
    if state == "nothing":
        measured = "no limit judged what was measured" if counts else "nothing was measured"
        return f"Nothing was gated: {measured}."
    failed = sum(counts.get(name, 0) for name in FAILED)
    if failed:
        outcomes = [words for name, words in FAILED.items() if counts.get(name)]
        return f"Failed: {failed} of {total} {_are(failed)} {' or '.join(outcomes)}."
    if errors:
        return f"Failed: {format_count(len(errors), 'spec')} could not be read."
    if open_ones := counts.get("inconclusive", 0):
        start = "Failed" if state == "failed" else "Inconclusive"
        over = "over a limit, but chance is not excluded"
        return f"{start}: {open_ones} of {total} {_are(open_ones)} {over}."
    return "Failed, though no result did."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _notes(report: Report, state: str, counts: Mapping[str, int]) -> Iterator[str]:
    summary = report.summary
    is_failed = any(counts.get(name) for name in FAILED)
    unread = len(collection_errors(report))
    if unread and is_failed:
        yield f"{format_count(unread, 'spec')} could not be read."
    if is_failed and (open_ones := counts.get("inconclusive", 0)):
        yield f"{open_ones} more {_are(open_ones)} over a limit, but chance is not excluded."
    if (
        state == "failed"
        and counts.get("inconclusive")
        and report.environment.get("strict") is True
    ):
        yield "This run is strict: what is inconclusive fails, too."
    yield from (f"{note}." for note in earlier_violation_notes(report.results))
    yield from (f"{note[0].upper()}{note[1:]}." for note in growth_notes(report.results))
    if left_out := count_deselected(report):
        yield f"{format_count(left_out, 'result')} deselected: not in this report."
    status = summary.get("exit_status")
    if status not in (None, 0, 5) and not (is_failed or unread or counts.get("inconclusive")):
        yield f"pytest's exit status was {status}, for something else: see its output."
