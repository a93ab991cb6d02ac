"""Outcomes as people read them: worst first, and a whole run in one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.record import Report, ResultRecord

__all__ = [
    "FAILING",
    "ORDER",
    "counted",
    "deselected",
    "faults",
    "label",
    "opening",
    "severity",
    "verdict",
    "was_broken",
    "was_strict",
    "word",
]

FAILING = ("fail", "invalid", "error")
ORDER = (*FAILING, "inconclusive", "accepted", "pass", "reported")


def label(record: ResultRecord) -> str:
    """Return the outcome; a test that no limit judged is not called one that held."""
    return "reported" if record.outcome == "pass" and not _is_judged(record) else record.outcome


def _is_judged(record: ResultRecord) -> bool:
    """Whether a limit could fail this result; a positive control is judged in any trained model."""
    if record.control == "positive":
        return record.role != "random"
    return record.role == "gated" and bool(record.limits)


def severity(record: ResultRecord) -> tuple[int, float]:
    """Return a key that sorts worst first: by outcome, then by the size of the judged effect."""
    effect = record.effect_judged
    return ORDER.index(label(record)), -abs(effect) if effect is not None else 0.0


def counted(records: Iterable[ResultRecord]) -> str:
    """Return how many there are of each outcome, worst first."""
    labels = [label(record) for record in records]
    return ", ".join(f"{labels.count(name)} {name}" for name in ORDER if name in labels)


def word(
    records: Iterable[ResultRecord], *, is_strict: bool = False, is_broken: bool = False
) -> str:
    """Return the verdict on results in a word; nothing that was not measured passes.

    Parameters
    ----------
    records : iterable of ResultRecord
        Of a whole run.
    is_strict : bool
        Whether what is inconclusive fails.
    is_broken : bool
        Whether the run failed for something that no result stands for.
    """
    labels = {label(record) for record in records}
    if labels & {*FAILING} or is_broken:
        return "failed"
    if not labels:
        return "nothing was tested"
    if "inconclusive" in labels:
        return "failed" if is_strict else "inconclusive"
    return "passed"


def opening(
    records: Sequence[ResultRecord], *, is_strict: bool, is_broken: bool
) -> tuple[str, str]:
    """Return what a summary opens with: the verdict in a word, and of how many tests.

    Parameters are those of `word`; there is one record at least.
    """
    verdict = word(records, is_strict=is_strict, is_broken=is_broken)
    tests = "1 test" if len(records) == 1 else f"{len(records)} tests"
    counts = f"({counted(records)})"
    if verdict == "passed":
        return verdict, f"{tests} {counts}"
    told = FAILING if verdict == "failed" and not is_strict else (*FAILING, "inconclusive")
    number = sum(label(record) in told for record in records)
    which = f"{number} of {tests}" if number else f"the run, though none of {tests}"
    return verdict.upper(), f"{which} {counts}"


def was_strict(report: Report) -> bool:
    """Whether what is inconclusive failed a run."""
    return report.environment.get("strict") is True


def was_broken(report: Report) -> bool:
    """Whether a run failed for something that no result stands for."""
    # Interrupted, say: what is missing might have failed. Python code has no exit status.
    status = report.summary.get("exit_status")
    was_stopped = bool(report.results) and status not in (0, 5, None)
    return was_stopped or bool(faults(report))


def faults(report: Report) -> list[str]:
    """Return what was said of specs that could not be collected."""
    found = report.summary.get("collection_errors") or []
    return [str(one) for one in (found if isinstance(found, list) else [found])]


def deselected(report: Report) -> int:
    """Return how many tests were left out of a run."""
    found = report.summary.get("deselected")
    return found if isinstance(found, int) else 0


def verdict(report: Report) -> str:
    """Return the verdict on a whole run; nothing that was not measured passes."""
    return word(report.results, is_strict=was_strict(report), is_broken=was_broken(report))
