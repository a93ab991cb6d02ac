"""The section of a model card: what was tested and found, and what that does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import markdown_code, markdown_text
from pytest_visualbias.reports.outcomes import counted, deselected, faults, label
from pytest_visualbias.reports.provenance import provenance
from pytest_visualbias.reports.series import numbers_of
from pytest_visualbias.reports.text import headline, sign_text
from pytest_visualbias.reports.trials import growth_notes
from pytest_visualbias.reports.worst import earlier_notes
from pytest_visualbias.spec.kinds import KINDS
from pytest_visualbias.verdict import number, p_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.record import Report, ResultRecord, SetRecord

__all__ = ["section"]

ASKS = {
    "ieat": "are X nearer to A, and Y to B, than the other way round?",
    "sc-eat": "are X nearer to A than to B?",
    "similarity-gap": "are X nearer to A than Y are?",
    "intra-similarity": "how alike are X to each other?",
    "outcome-gap": "does the classifier err, or say a class, more often of X than of Y?",
}
LIMITS = """\
- Tests speak of the images named above, at the layers named above, and of nothing else: other \
groups, other images and other uses of the model were not tested.
- A pass is no proof that the model is fair. An effect smaller than the detectable one may be \
there and pass.
- An effect is an association of embeddings, or a gap between two rates of a classifier. Whether \
it does harm depends on what the model is used for, which was not tested.
- A reported result was measured, and judged by no limit; an accepted one is over its limit by a \
decision of the authors."""


def section(report: Report) -> str:
    """Return the section in Markdown, without its marks.

    Parameters
    ----------
    report : Report
        Only its gated models are shown: the others are what these are compared with.
    """
    records = [one for one in report.results if one.role == "gated"]
    parts = [
        "## Bias evaluation",
        *_opening(report, records),
        *(_results(model, records) for model in dict.fromkeys(one.model for one in records)),
        *_notes(records),
        *_stimuli(records),
        *_method(report, records),
        "### What this does not say",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _opening(report: Report, records: Sequence[ResultRecord]) -> Iterator[str]:
    tool = f"{report.tool.get('name', '')} {report.tool.get('version', '')}".strip()
    counts = counted(records)
    if not records:
        yield f"{markdown_text(tool)} tested no model of this card."
        return
    yield f"Measured by {markdown_text(tool)}. Results: **{counts}**."
    if left_out := deselected(report):
        yield f"**Not all tests were run:** {left_out} were deselected."
    yield from (f"{markdown_text(note)}." for note in earlier_notes(records))
    yield from (f"{note[0].upper()}{note[1:]}." for note in growth_notes(records))
    if faults(report):
        yield "**Not all tests were run:** some specs could not be read."


def _results(model: str, records: Sequence[ResultRecord]) -> str:
    head = ("test", "kind", "of", "effect", "interval", "p adj", "detectable", "growth", "verdict")
    own = [one for one in records if one.model == model]
    step = numbers_of(own)
    title = f"### Results of {markdown_code(model)}" + (f", {markdown_text(step)}" if step else "")
    lines = [title, "", _row(head), _row(["---"] * len(head)), *(_row(_cells(one)) for one in own)]
    return "\n".join(lines)


def _cells(record: ResultRecord) -> list[str]:
    low, high = record.ci_low, record.ci_high
    growth = record.growth
    since = "-" if growth is None else f"{number(growth.value)} since {markdown_code(growth.base)}"
    if growth is not None and growth.flipped:
        since += f", {sign_text(growth)}"
    control = f", {record.control} control" if record.control else ""
    return [
        markdown_code(f"{record.test}[{record.layer}]"),
        record.kind + control,
        ", ".join(f"{role} {markdown_code(name)}" for role, name in record.concepts.items()),
        "-" if record.effect_judged is None else number(record.effect_judged),
        "-" if low is None or high is None else f"{low:+.2f} to {high:+.2f}",
        p_text(record.p_adjusted if record.p_adjusted is not None else record.p_verdict),
        "-" if record.detectable is None else f"{record.detectable:.2f}",
        since,
        label(record) if label(record) in ("pass", "reported") else f"**{label(record)}**",
    ]


def _notes(records: Sequence[ResultRecord]) -> Iterator[str]:
    told = [one for one in records if label(one) not in ("pass", "reported")]
    lines = []
    for one in told:
        waiver = f" Waiver until {one.accept.until}: {one.accept.reason}" if one.accept else ""
        name = markdown_code(f"{one.model}::{one.test}[{one.layer}]")
        lines.append(f"- **{label(one)}** {name}: {markdown_text(headline(one) + waiver)}")
    if lines:
        yield "### What did not pass, or passed by a waiver"
        yield "\n".join(lines)


def _stimuli(records: Sequence[ResultRecord]) -> Iterator[str]:
    sets: dict[tuple[str, str], SetRecord] = {
        (one.concept, one.digest): one for record in records for one in record.sets.values()
    }
    if sets:
        yield "### Stimuli"
        lines = [_row(["set", "images", "digest of the set"]), _row(["---"] * 3)]
        lines += [
            _row([markdown_code(one.concept), str(one.n), f"`{one.digest[:12]}`"])
            for one in sets.values()
        ]
        yield "\n".join(lines)


def _method(report: Report, records: Sequence[ResultRecord]) -> Iterator[str]:
    yield "### How"
    lines = [
        f"- {markdown_code(kind)}: {ASKS.get(kind, 'see the documentation')}"
        for kind in KINDS
        if any(one.kind == kind for one in records)
    ]
    lines += _ways([one for one in records if label(one) != "reported"])
    lines.append(
        "- effect: in standard deviations, the smaller of that seen from targets and from "
        "attributes unless a test says otherwise; visible: the smallest one that is significant in "
        "any case; smaller ones may be, too"
    )
    models = {one.model for one in records}
    lines += [
        f"- {key}: {markdown_code(value)}"
        for key, value in provenance(report, models=models)
        if key in ("commit", "started", "precision", "spec", "model")
    ]
    yield "\n".join(lines)


def _ways(records: Sequence[ResultRecord]) -> Iterator[str]:
    """Yield how tests were judged; which of them, where not all were in one way."""
    ways: dict[str, dict[str, None]] = {}
    for one in records:
        way = (
            f"evidence {one.evidence}, alpha {one.alpha:g}, correction {one.correction}, "
            f"alternative {one.alternative}"
        )
        if one.control:
            way = f"alpha {one.alpha:g}, alternative {one.alternative}, as {one.control} control"
        ways.setdefault(way, {})[one.test] = None
    for way, tests in ways.items():
        names = ", ".join(map(markdown_code, tests))
        yield f"- judged by {markdown_text(way)}" + (f": {names}" if len(ways) > 1 else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
