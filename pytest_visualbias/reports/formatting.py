"""Words and units of outcomes and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.test_kinds import RATES, class_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.results import Report, ResultRecord

Unit = Literal["effects", "similarities", "gaps"]
UNITS: dict[str, Unit] = {"intra-similarity": "similarities", "outcome-gap": "gaps"}

# What an axis is called on which they lie.
AXES: dict[Unit, str] = {
    "effects": "effect size d",
    "similarities": "mean cosine",
    "gaps": "difference of rates",
}


def unit_of(record: ResultRecord) -> Unit:
    """Return what the effect of a result is: those of one unit can be compared."""
    return UNITS.get(record.kind, "effects")


def is_standardised(record: ResultRecord) -> bool:
    """Whether the effect of a result is in standard deviations."""
    return unit_of(record) == "effects"


def is_counted(record: ResultRecord) -> bool:
    """Whether each image is predicted as a class or not; not so of means over trials."""
    prediction = record.prediction
    return prediction is not None and prediction.rate != "score" and record.trials is None


def judged_limit(record: ResultRecord) -> float | None:
    """Return the limit on the effect that is judged."""
    return record.limits.get("max_gap" if unit_of(record) == "gaps" else "max_effect")


def rates_text(record: ResultRecord) -> str:
    """Say what a classifier made of the two groups; nothing of a test of embeddings."""
    prediction = record.prediction
    if prediction is None:
        return ""
    rate = RATES[prediction.rate].format(class_text(prediction.index, prediction.name))
    return f"{rate}: {prediction.rate_x:.3f} of X, {prediction.rate_y:.3f} of Y"


def rate_lines(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield what classifiers made of the two groups, one line a test: each model beside it."""
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
    yield from (f"{head}: {'; '.join(each)}" for head, each in lines.items())


def limits_of(record: ResultRecord) -> list[float]:
    """Return the limits on the effect itself, with the sign of the way that counts."""
    limit = judged_limit(record)
    if limit is None or record.role != "gated":
        return []
    return {"greater": [limit], "less": [-limit]}.get(record.alternative, [-limit, limit])


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
    """Return the verdict on results in a word; nothing that was not measured passes."""
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
    """Return what a summary opens with: the verdict in a word, and of how many tests."""
    verdict = word(records, is_strict=is_strict, is_broken=is_broken)
    tests = "1 test" if len(records) == 1 else f"{len(records)} tests"
    counts = f"({counted(records)})"
    if verdict == "passed":
        return verdict, f"{tests} {counts}"
    outcomes = FAILING if verdict == "failed" and not is_strict else (*FAILING, "inconclusive")
    number = sum(label(record) in outcomes for record in records)
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
    errors = report.summary.get("collection_errors") or []
    return [str(error) for error in (errors if isinstance(errors, list) else [errors])]


def deselected(report: Report) -> int:
    """Return how many tests were left out of a run."""
    count = report.summary.get("deselected")
    return count if isinstance(count, int) else 0


def verdict(report: Report) -> str:
    """Return the verdict on a whole run; nothing that was not measured passes."""
    return word(report.results, is_strict=was_strict(report), is_broken=was_broken(report))
