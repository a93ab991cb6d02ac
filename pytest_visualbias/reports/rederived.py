"""Whether the outcomes of a report are those of its own numbers and limits: files can be edited."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pytest_visualbias.errors import ReportError
from pytest_visualbias.spec.limits import Limits
from pytest_visualbias.verdict import CorrectedP, Rule, exceeded, size

if TYPE_CHECKING:
    from pytest_visualbias.record import GrowthRecord, Report, ResultRecord
    from pytest_visualbias.spec.schema import Alternative, Evidence
    from pytest_visualbias.verdict import Violation

__all__ = ["check_outcomes"]

# What a change has besides its size.
INTERVALS = ("shift", "ci_low", "ci_high", "shift_ci_low", "shift_ci_high")


def check_outcomes(report: Report) -> None:
    """Refuse a report that calls a result better or worse than its numbers are.

    What a report does not hold, such as the other checkpoints of a series, decides nothing here.

    Raises
    ------
    ReportError
        With the first result that disagrees.
    """
    for row in report.results:
        if row.role == "gated" and row.effect_judged is not None:
            wrong = _wrong_control(row) if row.control == "positive" else _wrong(row)
            if wrong:
                raise ReportError(
                    f"{row.nodeid} is '{row.outcome}' in the report, but {wrong}: it was edited; "
                    "run the gate again"
                )


def _wrong_control(row: ResultRecord) -> str:
    """Return why a positive control cannot have passed."""
    least = row.limits.get("min_effect", 0.0)
    value = size(row.effect_judged or 0.0, cast("Alternative", row.alternative))
    is_shown = row.p_verdict is not None and row.p_verdict <= row.alpha
    is_held = value >= least and is_shown
    return "" if row.outcome != "pass" or is_held else f"its effect does not reach {least:g}"


def _wrong(row: ResultRecord) -> str:
    """Return why a test cannot have the outcome that stands there."""
    violations = _violations(row)
    proven = [one for one in violations if one.evidence]
    uncovered = [one for one in proven if not _waived(row, one)]
    # Intervals may have been computed at another level than those that are reported.
    is_known = row.evidence in ("significant", "point")
    if row.outcome == "pass" and violations:
        return _named(violations[0])
    if row.outcome == "accepted" and uncovered:
        return f"{_named(uncovered[0])}, and the waiver does not cover that"
    if row.outcome == "inconclusive" and proven and is_known and row.accept is None:
        return f"{_named(proven[0])} with evidence"
    is_last = row.series is None or row.series.gate == "last"
    if row.outcome == "fail" and not violations and row.accept is None and is_last:
        return "no limit is exceeded"
    return ""


def _violations(row: ResultRecord) -> tuple[Violation, ...]:
    rule = Rule(
        limits=Limits.model_construct(None, **row.limits),
        evidence=cast("Evidence", row.evidence),
        alternative=cast("Alternative", row.alternative),
        alpha=row.alpha,
    )
    corrected = CorrectedP(
        effect=row.p_adjusted,
        growth=None if row.growth is None else row.growth.p_adjusted,
        excess=None if row.excess is None else row.excess.p_adjusted,
    )
    effect, growth, excess = cast("Any", row), _change(row.growth), _change(row.excess)
    return exceeded(effect, growth, rule, corrected, excess=excess)


def _change(record: GrowthRecord | None) -> Any:  # noqa: ANN401 - what a change has that is judged
    if record is None:
        return None
    plain = record.model_dump()
    return SimpleNamespace(growth=record.value, **{key: plain[key] for key in INTERVALS})


def _waived(row: ResultRecord, violation: Violation) -> bool:
    accept = row.accept
    if accept is None or violation.value is None:
        return False
    largest = getattr(accept, f"max_{violation.kind}", None)
    if largest is None and row.kind == "outcome-gap" and violation.kind == "gap":
        largest = accept.max_effect
    value = violation.value
    if violation.kind != "growth":
        value = size(value, cast("Alternative", row.alternative))
    return largest is not None and value <= largest


def _named(violation: Violation) -> str:
    return f"its {violation.kind} {violation.value or 0:+.4g} is over {violation.limit:g}"
