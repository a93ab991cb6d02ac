"""Name outcomes, verdicts and units of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.test_kinds import RATES, class_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.results import Report, ResultRecord

Unit = Literal["effects", "similarities", "gaps"]
UNITS: dict[str, Unit] = {"intra-similarity": "similarities", "outcome-gap": "gaps"}

# Axis titles.
AXES: dict[Unit, str] = {
    "effects": "effect size d",
    "similarities": "mean cosine",
    "gaps": "difference of rates",
}


def unit_of(record: ResultRecord) -> Unit:
    """Return the unit of a result's effect; only effects of one unit are comparable."""
    return UNITS.get(record.kind, "effects")


def is_standardised(record: ResultRecord) -> bool:
    """Return whether the effect is in standard deviations."""
    return unit_of(record) == "effects"


def is_counted(record: ResultRecord) -> bool:
    """Return whether images are counted as predicted or not, instead of averaged."""
    prediction = record.prediction
    return prediction is not None and prediction.rate != "score" and record.trials is None


def judged_limit(record: ResultRecord) -> float | None:
    """Return the limit on the judged effect."""
    return record.limits.get("max_gap" if unit_of(record) == "gaps" else "max_effect")


def describe_rates(record: ResultRecord) -> str:
    """Return a classifier's rates for X and Y; empty without a classifier."""
    prediction = record.prediction
    if prediction is None:
        return ""
    rate = RATES[prediction.rate].format(class_text(prediction.index, prediction.name))
    return f"{rate}: {prediction.rate_x:.3f} of X, {prediction.rate_y:.3f} of Y"


def rate_lines(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield the classifier rates of all models, one line per test."""
    classified = [
        record for record in records if record.prediction is not None and record.role != "random"
    ]
    has_spec = len({record.spec for record in classified}) > 1
    has_layer = len({record.layer for record in classified}) > 1
    lines: dict[str, list[str]] = {}
    for record in classified:
        prediction = record.prediction
        assert prediction is not None  # noqa: S101 - for the type checker
        class_name = f"'{prediction.name}'" if prediction.name else class_text(prediction.index)
        spec = f"{record.spec}::" if has_spec else ""
        layer = f" [{record.layer}]" if has_layer else ""
        rates = (
            f"X {prediction.rate_x:.3g} of {record.n_x}, Y {prediction.rate_y:.3g} of {record.n_y}"
        )
        head = f"{spec}{record.test}{layer}: {prediction.rate} of {class_name}"
        lines.setdefault(head, []).append(f"{record.model} {rates}")
    yield from (f"{head}: {'; '.join(texts)}" for head, texts in lines.items())


def limits_of(record: ResultRecord) -> list[float]:
    """Return the limits on the effect, signed by the test's alternative."""
    limit = judged_limit(record)
    if limit is None or record.role != "gated":
        return []
    return {"greater": [limit], "less": [-limit]}.get(record.alternative, [-limit, limit])


def failing_ranges(record: ResultRecord, low: float, high: float) -> list[tuple[float, float]]:
    """Return where between two values the effect exceeds its limit or misses its minimum."""
    if not _is_judged(record):
        return []
    minimum = record.limits.get("min_effect")
    if record.control == "positive" and minimum is not None:
        below = low if record.alternative == "greater" else -minimum
        above = high if record.alternative == "less" else minimum
        return [(below, above)]
    limit = judged_limit(record)
    if limit is None:
        return []
    ranges = [] if record.alternative == "greater" else [(low, -limit)]
    ranges += [] if record.alternative == "less" else [(limit, high)]
    return [(start, end) for start, end in ranges if start < end]


def group_by_model(records: Iterable[ResultRecord]) -> list[list[ResultRecord]]:
    """Return the results of each spec and model together."""
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        groups.setdefault((record.spec, record.model), []).append(record)
    return list(groups.values())


def format_count(count: int, noun: str) -> str:
    """Return a number of things: ``1 image``, ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_optional(value: float | None) -> str:
    """Return an effect, or a dash where there is none."""
    return "-" if value is None else format_effect(value)


FAILING = ("fail", "invalid", "error")
ORDER = (*FAILING, "inconclusive", "accepted", "pass", "reported")


def label(record: ResultRecord) -> str:
    """Return the outcome; a pass that no limit judged is 'reported'."""
    return "reported" if record.outcome == "pass" and not _is_judged(record) else record.outcome


def _is_judged(record: ResultRecord) -> bool:
    """Return whether a limit or control could fail this result."""
    if record.control == "positive":
        return record.role != "random"
    return record.role == "gated" and bool(record.limits)


def severity(record: ResultRecord) -> tuple[int, float]:
    """Return a sort key, worst first: outcome, then size of the judged effect."""
    effect = record.effect_judged
    return ORDER.index(label(record)), -abs(effect) if effect is not None else 0.0


def count_outcomes(records: Iterable[ResultRecord]) -> str:
    """Return the number of results of each outcome, worst first."""
    labels = [label(record) for record in records]
    return ", ".join(f"{labels.count(name)} {name}" for name in ORDER if name in labels)


def overall_verdict(
    records: Iterable[ResultRecord], *, is_strict: bool = False, is_broken: bool = False
) -> str:
    """Return the verdict on results in a word; without results nothing passes."""
    labels = {label(record) for record in records}
    if labels & {*FAILING} or is_broken:
        return "failed"
    if not labels:
        return "nothing was tested"
    if "inconclusive" in labels:
        return "failed" if is_strict else "inconclusive"
    return "passed"


def summarize_verdict(
    records: Sequence[ResultRecord], *, is_strict: bool, is_broken: bool
) -> tuple[str, str]:
    """Return the overall verdict, and how many tests led to it."""
    verdict = overall_verdict(records, is_strict=is_strict, is_broken=is_broken)
    tests = "1 test" if len(records) == 1 else f"{len(records)} tests"
    counts = f"({count_outcomes(records)})"
    if verdict == "passed":
        return verdict, f"{tests} {counts}"
    outcomes = FAILING if verdict == "failed" and not is_strict else (*FAILING, "inconclusive")
    number = sum(label(record) in outcomes for record in records)
    which = f"{number} of {tests}" if number else f"the run, though none of {tests}"
    return verdict.upper(), f"{which} {counts}"


def was_strict(report: Report) -> bool:
    """Return whether inconclusive results failed the run."""
    return report.environment.get("strict") is True


def was_broken(report: Report) -> bool:
    """Return whether the run failed for a reason that no result states."""
    # After an interrupt, missing tests might have failed. An audit in Python has no exit status.
    status = report.summary.get("exit_status")
    was_stopped = bool(report.results) and status not in (0, 5, None)
    return was_stopped or bool(collection_errors(report))


def collection_errors(report: Report) -> list[str]:
    """Return the errors of specs that could not be collected."""
    errors = report.summary.get("collection_errors") or []
    return [str(error) for error in (errors if isinstance(errors, list) else [errors])]


def count_deselected(report: Report) -> int:
    """Return how many tests were deselected."""
    count = report.summary.get("deselected")
    return count if isinstance(count, int) else 0


def report_verdict(report: Report) -> str:
    """Return the verdict on a whole run; without results nothing passes."""
    return overall_verdict(
        report.results, is_strict=was_strict(report), is_broken=was_broken(report)
    )
