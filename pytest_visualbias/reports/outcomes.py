"""Outcomes as people read them: worst first, and a whole run in one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.record import Report, ResultRecord

__all__ = ["FAILING", "ORDER", "counted", "label", "severity", "verdict"]

FAILING = ("fail", "invalid", "error")
ORDER = (*FAILING, "inconclusive", "accepted", "pass", "reported")


def label(record: ResultRecord) -> str:
    """Return the outcome; a test that no limit judged is not called one that held."""
    is_unjudged = record.outcome == "pass" and any("reported only" in one for one in record.reasons)
    return "reported" if is_unjudged else record.outcome


def severity(record: ResultRecord) -> tuple[int, float]:
    """Return a key that sorts worst first: by outcome, then by the size of the judged effect."""
    effect = record.effect_judged
    return ORDER.index(label(record)), -abs(effect) if effect is not None else 0.0


def counted(records: Iterable[ResultRecord]) -> str:
    """Return how many there are of each outcome, worst first."""
    labels = [label(record) for record in records]
    return ", ".join(f"{labels.count(name)} {name}" for name in ORDER if name in labels)


def verdict(report: Report) -> str:
    """Return the verdict on a whole run; nothing that was not measured passes."""
    labels = {label(record) for record in report.results}
    if labels & {*FAILING} or report.summary.get("collection_errors"):
        return "failed"
    if not labels:
        return "nothing was tested"
    if report.summary.get("exit_status", 0) not in (0, 5):
        return "failed"  # interrupted, say: what is missing might have failed
    if "inconclusive" in labels:
        return "failed" if report.environment.get("strict") is True else "inconclusive"
    return "passed"
