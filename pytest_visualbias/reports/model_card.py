"""Write results into a Hugging Face model card."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.document import provenance
from pytest_visualbias.reports.escaping import markdown_code, markdown_text, visible
from pytest_visualbias.reports.formatting import (
    collection_errors,
    count_deselected,
    count_outcomes,
    format_optional,
    label,
    unit_of,
)
from pytest_visualbias.reports.markdown_sections import format_interval, table_head, table_row
from pytest_visualbias.reports.sentences import result_line, sign_text
from pytest_visualbias.reports.series_notes import (
    checkpoint_name,
    earlier_violation_notes,
    growth_notes,
    judged_checkpoints,
    with_judged_numbers,
    worst_other_checkpoint,
)
from pytest_visualbias.results import format_effect, format_p
from pytest_visualbias.spec.test_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from huggingface_hub import ModelCardData

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import Report, ResultRecord, SetRecord

KEY = "model-index"

# Dataset type that identifies our results in a card.
MARK = "pytest-visualbias"
EMBEDDING = ("image-feature-extraction", "Bias, by association of embeddings")
CLASSIFYING = ("image-classification", "Bias, by predictions of two groups")
METRICS: dict[Unit, str] = {
    "effects": "association-effect-size",
    "similarities": "mean-similarity",
    "gaps": "outcome-gap",
}
COLUMNS = ("test", "kind", "of", "effect", "interval", "p adj", "detectable", "growth", "verdict")
Results = list[dict[str, Any]]


def card_entries(report: Report) -> dict[str, Results]:
    """Return the evaluation results of gated models in the format of huggingface_hub."""
    from huggingface_hub import ModelCardData

    groups: dict[str, list[ResultRecord]] = {}
    for record in report.results:
        if record.role == "gated":
            groups.setdefault(record.model, []).append(record)
    entries = {}
    for model, records in groups.items():
        name, results = visible(model), list(_eval_results(records))
        if results:
            card = ModelCardData(model_name=name, eval_results=results)
            entries[name] = _plain(card)["results"]
    return entries


def _plain(card: ModelCardData) -> dict[str, Any]:
    """Return the entry of a card in builtin types."""
    data: dict[str, Any] = card.to_dict()  # type: ignore[no-untyped-call]
    entry: dict[str, Any] = json.loads(json.dumps(data[KEY][0]))
    return entry


def _eval_results(records: Sequence[ResultRecord]) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    for record in map(with_judged_numbers, records):
        if record.effect_judged is not None:
            task = CLASSIFYING if unit_of(record) == "gaps" else EMBEDDING
            yield EvalResult(
                task_type=task[0],
                task_name=task[1],
                dataset_type=MARK,
                dataset_name=visible(record.spec),
                dataset_config=visible(record.spec),
                dataset_revision=record.spec_digest,
                metric_type=METRICS[unit_of(record)],
                metric_name=visible(f"{record.test}[{record.layer}]"),
                metric_value=round(record.effect_judged, 4),
                metric_args=_arguments(record),
            )


def _arguments(record: ResultRecord) -> dict[str, Any]:
    """Return the verdict, interval, p-value, growth and limits of an effect."""
    arguments: dict[str, Any] = {"verdict": label(record), "kind": record.kind}
    if record.ci_low is not None and record.ci_high is not None:
        arguments["interval"] = [round(record.ci_low, 4), round(record.ci_high, 4)]
    if record.p_adjusted is not None:
        arguments["p_adjusted"] = float(f"{record.p_adjusted:.3g}")
    if record.growth is not None:
        arguments["growth"] = round(record.growth.value, 4)
        arguments["growth_from"] = visible(record.growth.base)
    if record.series is not None:
        point = worst_other_checkpoint(record) or record.series.points[-1]
        arguments["checkpoint"] = checkpoint_name(record.series, point)
    return arguments | record.limits


def merge_metadata(existing: Any, ours: Mapping[str, Results]) -> Results:  # noqa: ANN401 - from a file
    """Return a card's entries with results of earlier runs replaced by ours."""
    entries = _read_index(existing)
    kept = [{**entry, "results": _foreign_results(entry)} for entry in entries]
    if len(kept) == len(ours) == 1:
        kept[0]["results"] += next(iter(ours.values()))
        return kept
    for name, results in ours.items():
        matches = [entry for entry in kept if entry["name"] == name]
        if matches:
            matches[0]["results"] += results
        else:
            kept.append({"name": name, "results": list(results)})
    # Remove an entry that held only our earlier results.
    emptied = {id(new) for old, new in zip(entries, kept, strict=False) if old["results"]}
    return [entry for entry in kept if entry["results"] or id(entry) not in emptied]


def _foreign_results(entry: dict[str, Any]) -> Results:
    return [result for result in entry["results"] if not _is_ours(result)]


def _read_index(existing: Any) -> Results:  # noqa: ANN401 - from a file
    if existing is None:
        return []
    is_list = isinstance(existing, list) and all(
        isinstance(entry, dict) and "name" in entry and isinstance(entry.get("results"), list)
        for entry in existing
    )
    if not is_list:
        raise ReportError(
            f"the model card stays as it is: its '{KEY}' is no list of models with a name and "
            "results",
            "mend it",
        )
    return list(existing)


def _is_ours(result: Any) -> bool:  # noqa: ANN401 - from a file
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("type") == MARK


QUESTIONS = {
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


def bias_section(report: Report) -> str:
    """Return the Markdown section without its markers."""
    records = [result for result in report.results if result.role == "gated"]
    parts = [
        "## Bias evaluation",
        *_summary_lines(report, records),
        *(_results(model, records) for model in dict.fromkeys(record.model for record in records)),
        *_notes(records),
        *_stimuli(records),
        *_method(report, records),
        "### What this does not say",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _summary_lines(report: Report, records: Sequence[ResultRecord]) -> Iterator[str]:
    tool = f"{report.tool.get('name', '')} {report.tool.get('version', '')}".strip()
    counts = count_outcomes(records)
    if not records:
        yield f"{markdown_text(tool)} tested no model of this card."
        return
    yield f"Measured by {markdown_text(tool)}. Results: **{counts}**."
    if left_out := count_deselected(report):
        yield f"**Not all tests were run:** {left_out} were deselected."
    yield from (f"{markdown_text(note)}." for note in earlier_violation_notes(records))
    yield from (f"{note[0].upper()}{note[1:]}." for note in growth_notes(records))
    if collection_errors(report):
        yield "**Not all tests were run:** some specs could not be read."


def _results(model: str, records: Sequence[ResultRecord]) -> str:
    rows = [record for record in records if record.model == model]
    step = judged_checkpoints(rows)
    title = f"### Results of {markdown_code(model)}" + (f", {markdown_text(step)}" if step else "")
    lines = [
        title,
        "",
        table_head(*COLUMNS).rstrip("\n"),
        *(table_row(*_cells(record)) for record in rows),
    ]
    return "\n".join(lines)


def _cells(record: ResultRecord) -> list[str]:
    growth = record.growth
    since = "-"
    if growth is not None:
        sign = f", {sign_text(growth)}" if growth.flipped else ""
        since = f"{format_effect(growth.value)} since {markdown_code(growth.base)}{sign}"
    control = f", {record.control} control" if record.control else ""
    return [
        markdown_code(f"{record.test}[{record.layer}]"),
        record.kind + control,
        ", ".join(f"{role} {markdown_code(name)}" for role, name in record.concepts.items()),
        format_optional(record.effect_judged),
        format_interval(record.ci_low, record.ci_high),
        format_p(record.p_adjusted if record.p_adjusted is not None else record.p_verdict),
        "-" if record.detectable is None else f"{record.detectable:.2f}",
        since,
        label(record) if label(record) in ("pass", "reported") else f"**{label(record)}**",
    ]


def _notes(records: Sequence[ResultRecord]) -> Iterator[str]:
    notable = [result for result in records if label(result) not in ("pass", "reported")]
    lines = []
    for result in notable:
        waiver = (
            f" Waiver until {result.accept.until}: {result.accept.reason}" if result.accept else ""
        )
        name = markdown_code(f"{result.model}::{result.test}[{result.layer}]")
        lines.append(f"- **{label(result)}** {name}: {markdown_text(result_line(result) + waiver)}")
    if lines:
        yield "### What did not pass, or passed by a waiver"
        yield "\n".join(lines)


def _stimuli(records: Sequence[ResultRecord]) -> Iterator[str]:
    sets: dict[tuple[str, str], SetRecord] = {
        (stimuli.concept, stimuli.digest): stimuli
        for record in records
        for stimuli in record.sets.values()
    }
    if sets:
        yield "### Stimuli"
        lines = [table_head("set", "images", "digest of the set").rstrip("\n")]
        lines += [
            table_row(markdown_code(stimuli.concept), str(stimuli.n), f"`{stimuli.digest[:12]}`")
            for stimuli in sets.values()
        ]
        yield "\n".join(lines)


def _method(report: Report, records: Sequence[ResultRecord]) -> Iterator[str]:
    yield "### How"
    lines = [
        f"- {markdown_code(kind)}: {QUESTIONS.get(kind, 'see the documentation')}"
        for kind in KINDS
        if any(record.kind == kind for record in records)
    ]
    lines += _judging_lines([record for record in records if label(record) != "reported"])
    lines.append(
        "- effect: in standard deviations, the smaller of that seen from targets and from "
        "attributes unless a test says otherwise; visible: the smallest one that is significant in "
        "any case; smaller ones may be, too"
    )
    models = {record.model for record in records}
    lines += [
        f"- {key}: {markdown_code(value)}"
        for key, value in provenance(report, models=models)
        if key in ("commit", "started", "precision", "spec", "model")
    ]
    yield "\n".join(lines)


def _judging_lines(records: Sequence[ResultRecord]) -> Iterator[str]:
    """Yield how tests were judged, naming tests if they differ."""
    rules: dict[str, dict[str, None]] = {}
    for record in records:
        rule = (
            f"evidence {record.evidence}, alpha {record.alpha:g}, correction {record.correction}, "
            f"alternative {record.alternative}"
        )
        if record.control:
            control = f"as {record.control} control"
            rule = f"alpha {record.alpha:g}, alternative {record.alternative}, {control}"
        rules.setdefault(rule, {})[record.test] = None
    for rule, tests in rules.items():
        names = ", ".join(map(markdown_code, tests))
        yield f"- judged by {markdown_text(rule)}" + (f": {names}" if len(rules) > 1 else "")


BEGIN = "<!-- pytest-visualbias:begin -->"
END = "<!-- pytest-visualbias:end -->"
TITLE = "Model card"
FRONT = re.compile(r"\A(\ufeff?---[ \t]*\n)(.*?)(^---[ \t]*(?:\n|\Z))", re.DOTALL | re.MULTILINE)
MARKERS = re.compile(rf"^{re.escape(BEGIN)}[ \t]*$|^{re.escape(END)}[ \t]*(?:\n|\Z)", re.MULTILINE)


def model_card(report: Report, existing: str) -> str:
    """Return a model card with a bias evaluation section."""
    is_crlf = "\r\n" in existing
    text = existing.replace("\r\n", "\n")
    match = FRONT.match(text)
    start, front, end = match.groups() if match else ("---\n", "", "---\n")
    body = text[match.end() :] if match else text
    title = markdown_text(str(report.summary.get("title") or TITLE))
    if not existing.strip():
        body = f"\n# {title}\n"
    card = (
        start
        + _update_metadata(front, card_entries(report))
        + end
        + _update_body(body, bias_section(report))
    )
    return card.replace("\n", "\r\n") if is_crlf else card


def _update_metadata(front: str, ours: dict[str, list[dict[str, Any]]]) -> str:
    """Return the metadata with our results; all other lines stay unchanged."""
    try:
        before = yaml.safe_load(front) if front.strip() else {}
        root = yaml.compose(front, Loader=yaml.SafeLoader) if front.strip() else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, say
        raise _metadata_error(f"is not YAML ({' '.join(str(error).split())})") from None
    is_flow = isinstance(root, yaml.MappingNode) and root.flow_style
    if not isinstance(before, dict) or is_flow:
        raise _metadata_error("is no list of 'key: value' lines")
    index = merge_metadata(before.get(KEY), ours)
    if index == before.get(KEY, []):
        return front  # the results of the same run again: not a letter changes
    lines = front.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    first, last = _span(root, lines)
    dumped = yaml.safe_dump({KEY: index}, sort_keys=False, allow_unicode=True, width=1000)
    text = "".join([*lines[:first], dumped if index else "", *lines[last:]])
    _check(before, index, text)
    return text


def _span(root: Any, lines: list[str]) -> tuple[int, int]:  # noqa: ANN401 - a node of YAML
    """Return the first line of the results and the line after them; the end without results."""
    pairs = root.value if root is not None else []
    places = [place for place, (key, _) in enumerate(pairs) if key.value == KEY]
    if len(places) > 1:
        raise _metadata_error(f"has '{KEY}' twice")
    if not places:
        return len(lines), len(lines)
    (place,) = places
    behind = pairs[place + 1][0].start_mark.line if place + 1 < len(pairs) else len(lines)
    first = pairs[place][0].start_mark.line
    # Comments and blank lines before the next key belong to it.
    while behind > first + 1 and re.fullmatch(r"(#.*)?\s*", lines[behind - 1]):
        behind -= 1
    return first, behind


def _check(before: dict[str, Any], index: list[Any], text: str) -> None:
    """Raise if the new metadata is not the old metadata plus our results."""
    try:
        after = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        after = None
    others = {key: value for key, value in before.items() if key != KEY}
    if after != {**others, **({KEY: index} if index else {})}:
        raise _metadata_error("cannot be added to without changing it")


def _update_body(body: str, ours: str) -> str:
    markers = list(MARKERS.finditer(body))
    block = f"{BEGIN}\n{ours}{END}\n"
    if not markers:
        return f"{body.rstrip()}\n\n{block}" if body.strip() else f"\n{block}"
    kinds = [marker[0].startswith(BEGIN) for marker in markers]
    if kinds != [True, False]:
        raise ReportError(
            "the model card stays as it is: its marks of pytest-visualbias, "
            f"'{BEGIN}' and '{END}', do not stand there once each in this order",
            "mend them",
        )
    return body[: markers[0].start()] + block + body[markers[1].end() :]


def _metadata_error(problem: str) -> ReportError:
    return ReportError(
        f"the model card stays as it is: the metadata between its first two '---' {problem}",
        "mend it",
    )
