"""Describe one result of a report in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.reports.formatting import describe_rates
from pytest_visualbias.reports.sentences import sign_text
from pytest_visualbias.reports.series_notes import checkpoint_range, series_text, shown_checkpoint
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.explaining.subject import Node, Subject
    from pytest_visualbias.results import GrowthRecord, Report, ResultRecord

OUTCOMES = {
    "pass": "passed",
    "accepted": "was over a limit, and is accepted by a waiver",
    "fail": "failed",
    "inconclusive": "is inconclusive: over a limit, but chance is not excluded",
    "invalid": "is invalid",
    "error": "was not measured",
}


def results_of(report: Report, node: Node, subject: Subject) -> tuple[ResultRecord, ...]:
    """Return the results of a test in a report."""
    rows = [
        row
        for row in report.results
        if row.test == subject.test.name
        and row.layer in subject.layers
        and row.model in subject.models
        and _same(row.spec, node.spec)
    ]
    if not rows:
        raise UsageError(
            f"the report has no result of '{subject.test.name}' in {node.spec}",
            "run it, or name another report",
        )
    return tuple(rows)


def _same(first: str, second: str) -> bool:
    """Return whether two paths may be of one spec: reports name it as seen from pytest's root."""
    parts = [text.replace("\\", "/").removeprefix("./").split("/") for text in (first, second)]
    short, long = sorted(parts, key=len)
    return long[-len(short) :] == short


def result_paragraphs(row: ResultRecord) -> Iterator[str]:
    """Yield a result in paragraphs."""
    step = shown_checkpoint(row)
    suffix = f", {step}," if step else ""
    where = f"'{printable(row.model)}'{suffix} at '{printable(row.layer)}'"
    yield f"{where} {OUTCOMES[row.outcome]}{_why(row)}."
    if row.effect_judged is None:
        return
    if row.series is not None and row.series.gate == "all":
        yield f"All checkpoints are judged; the numbers here are those of the last, {step}."
    if row.p_value is None:
        yield (
            f"Two different images of '{_concept(row, 'X')}' have a mean cosine of "
            f"{row.effect_judged:.3f}{_interval(row)}."
        )
    else:
        yield _effect(row)
        yield _evidence(row)
    if row.growth is not None:
        yield _change(row.growth, "Since")
    if row.excess is not None:
        yield _change(row.excess, "Compared with the untrained")
    if row.series is not None:
        yield f"Over {checkpoint_range(row.series)}: {series_text(row)}."
    if row.accept is not None:
        yield f"The waiver says: {printable(row.accept.reason)}"
    yield from (f"Warning: {printable(text)}" for text in row.warnings)


def _why(row: ResultRecord) -> str:
    reasons = "; ".join(printable(reason) for reason in row.reasons)
    return f" ({reasons})" if reasons else ""


def _concept(row: ResultRecord, role: str) -> str:
    return printable(row.concepts.get(role, role))


def _effect(row: ResultRecord) -> str:
    effect = row.effect_judged or 0.0
    roles = {role: f"'{_concept(row, role)}'" for role in row.concepts}
    if row.kind == "ieat":
        pair = ("A", "B") if effect >= 0 else ("B", "A")
        goes = f"{roles['X']} go with {roles[pair[0]]} and {roles['Y']} with {roles[pair[1]]}"
    elif row.kind == "sc-eat":
        goes = f"{roles['X']} go with {roles['A' if effect >= 0 else 'B']}"
    elif row.prediction is not None:
        more, less = ("X", "Y") if effect >= 0 else ("Y", "X")
        goes = f"it is larger for {roles[more]} than for {roles[less]} ({describe_rates(row)})"
    else:
        near, far = ("X", "Y") if effect >= 0 else ("Y", "X")
        goes = f"{roles[near]} are nearer to {roles['A']} than {roles[far]} are"
    text = f"The effect is {format_effect(effect)}: as far as there is one, {goes}{_interval(row)}."
    if not effect:
        rates = f" ({describe_rates(row)})" if row.prediction is not None else ""
        text = f"There is no effect: it is {format_effect(effect)}{rates}{_interval(row)}."
    if row.sides == "both" and row.effect_size is not None:
        other = row.effect_size_attributes
        attributes = "none" if other is None else format_effect(other)
        targets = format_effect(row.effect_size)
        text += f" It is {targets} from the targets and {attributes} from the attributes."
    if row.gap is not None and row.prediction is None:
        text += f" In cosines the difference is {row.gap:+.4f}."
    return text


def _interval(row: ResultRecord) -> str:
    if row.ci_low is None or row.ci_high is None:
        return ""
    low, high = format_effect(row.ci_low), format_effect(row.ci_high)
    return f" ({1 - row.alpha:.0%} interval {low} to {high})"


def _evidence(row: ResultRecord) -> str:
    text = f"The chance of that without any effect is p = {format_p(row.p_verdict)}"
    if row.p_adjusted is not None:
        text += f", and {format_p(row.p_adjusted)} corrected over {row.family_size} p"
    text += "."
    if row.detectable is not None:
        text += (
            f" The smallest detectable effect is {row.detectable:.2f}: such samples find it in "
            "80 % of draws."
        )
    if row.images_needed is not None:
        text += f" About {row.images_needed} images a set would show that the limit is kept."
    return text


def _change(change: GrowthRecord, relation: str) -> str:
    grown = "grown" if change.value > 0 else "shrunk" if change.value < 0 else "stayed the same"
    by = f" by {abs(change.value):.2f}" if change.value else ""
    text = (
        f"{relation} '{printable(change.base)}' the size of the effect has {grown}{by}, from "
        f"{format_effect(change.before)} to {format_effect(change.after)}"
    )
    if change.flipped:
        text += f" ({sign_text(change)})"
    p = change.p_adjusted if change.p_adjusted is not None else change.p_verdict
    return text + ("." if p is None else f"; p = {format_p(p)}.")
