"""Write GitHub Actions annotations and step summaries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.reports.escaping import annotation_data, annotation_property
from pytest_visualbias.reports.formatting import FAILING, severity
from pytest_visualbias.reports.markdown import markdown
from pytest_visualbias.reports.sentences import failure_text, group_by_message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.reports.sentences import SharedMessage
    from pytest_visualbias.results import Report, ResultRecord

# GitHub silently drops further annotations of a level in one step.
MOST = 10

# GitHub rejects a longer step summary whole.
SUMMARY_LIMIT = 1_048_576
LONGEST = 4000
Level = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    level: Level
    title: str
    text: str
    file: str
    line: int | None = None
    column: int | None = None


def workflow_commands(
    results: Iterable[ResultRecord],
    faults: Iterable[LocatedFault],
    *,
    root: Path,
    workspace: Path | None,
    is_strict: bool,
) -> list[str]:
    """Return workflow commands that annotate failures, at most ten errors and ten warnings."""
    notes = [_fault_note(fault, "bias spec cannot be used") for fault in faults]
    for outcome, group in groupby(sorted(results, key=severity), key=lambda record: record.outcome):
        if outcome == "error":
            notes += map(_error_note, group_by_message(group))
        else:
            notes += [_result_note(record, is_strict=is_strict) for record in group]
    lines = []
    for level in ("error", "warning"):
        level_notes = [note for note in dict.fromkeys(notes) if note.level == level and note.text]
        lines += [_format_command(note, root, workspace) for note in level_notes[:MOST]]
        if len(level_notes) > MOST:
            lines.append(
                f"{len(level_notes) - MOST} more {level}s of specs are not marked; see above"
            )
    return lines


def _fault_note(fault: LocatedFault, title: str) -> _Note:
    return _Note(
        level="error",
        title=title,
        text=fault.text,
        file=fault.file,
        line=fault.line,
        column=fault.column,
    )


def _error_note(error: SharedMessage) -> _Note:
    """Return the note on an error, at its own line if it has one."""
    first, *others = error.records
    subject = error.where if others else f"{first.model}::{first.test}[{first.layer}]"
    if first.fault is not None:
        return _fault_note(first.fault, f"error: {subject}")
    return _Note(
        level="error",
        title=f"error: {subject}",
        text=error.text if others else failure_text(first),
        file=first.spec,
        line=first.line,
    )


def _result_note(record: ResultRecord, *, is_strict: bool) -> _Note:
    is_open = record.outcome == "inconclusive"
    is_told = is_open or record.outcome in FAILING
    return _Note(
        level="warning" if is_open and not is_strict else "error",
        title=f"{record.outcome}: {record.model}::{record.test}[{record.layer}]",
        text=failure_text(record) if is_told else "",
        file=record.spec,
        line=record.line,
    )


def _format_command(note: _Note, root: Path, workspace: Path | None) -> str:
    place = {"file": _relative(root / note.file, workspace), "line": note.line, "col": note.column}
    parts = {**place, "title": note.title} if place["file"] else {"title": note.title}
    head = ",".join(
        f"{name}={annotation_property(str(value))}"
        for name, value in parts.items()
        if value is not None
    )
    text = note.text if len(note.text) <= LONGEST else f"{note.text[:LONGEST]}…"
    return f"::{note.level} {head}::{annotation_data(text)}"


def _relative(path: Path, workspace: Path | None) -> str | None:
    """Return a path relative to the checkout; None if it lies outside."""
    if workspace is None:
        return path.as_posix()
    try:
        return path.resolve().relative_to(workspace.resolve()).as_posix()
    except ValueError:
        return None


def append_summary(report: Report, path: Path) -> None:
    """Append a report to the step summary, within GitHub's size limit."""
    size = path.stat().st_size if path.exists() else 0
    text = markdown(report, SUMMARY_LIMIT - size - len("\n\n"))
    if text:
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            stream.write(f"\n{text}\n" if size else f"{text}\n")
