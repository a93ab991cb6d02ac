"""Whether the outcomes of a report are those of its own numbers and limits: files can be edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pytest_visualbias.errors import ReportError
from pytest_visualbias.verdict import size

if TYPE_CHECKING:
    from pytest_visualbias.record import Report, ResultRecord
    from pytest_visualbias.spec.schema import Alternative

__all__ = ["check_outcomes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Violation:
    kind: str
    value: float
    limit: float
    is_proven: bool

    @property
    def sentence(self) -> str:
        return f"its {self.kind} {self.value:+.4g} is over {self.limit:g}"


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
    # Intervals may have been computed at another level than those that are reported.
    is_known = row.evidence in ("significant", "point")
    proven = [one for one in violations if one.is_proven and is_known]
    uncovered = [one for one in proven if not _waived(row, one)]
    if row.outcome == "pass" and violations:
        return violations[0].sentence
    if row.outcome == "accepted" and uncovered:
        return f"{uncovered[0].sentence}, and the waiver does not cover that"
    if row.outcome == "inconclusive" and proven and row.accept is None:
        return f"{proven[0].sentence} with evidence"
    is_last = row.series is None or row.series.gate == "last"
    on_growth, on_excess = {"max_growth", "max_shift"}, {"max_excess"}
    is_compared = (row.growth is not None or not row.limits.keys() & on_growth) and (
        row.excess is not None or not row.limits.keys() & on_excess
    )
    if row.outcome == "fail" and row.accept is None and is_last and is_compared:
        unproven = f"{violations[0].sentence} without evidence" if violations and is_known else ""
        return "" if proven else unproven if violations else "no limit is exceeded"
    return ""


def _violations(row: ResultRecord) -> list[_Violation]:
    """Return the limits that the numbers of a result exceed."""
    numbers = [
        ("effect", row.effect_judged, row.p_adjusted, row.alternative),
        ("gap", row.gap, row.p_adjusted, row.alternative),
    ]
    if (growth := row.growth) is not None:
        numbers.append(("growth", growth.value, growth.p_adjusted, "greater"))
        numbers.append(("shift", growth.shift, growth.p_adjusted, "two-sided"))
    if (excess := row.excess) is not None:
        numbers.append(("excess", excess.value, excess.p_adjusted, "greater"))
    found = []
    for kind, value, p, alternative in numbers:
        limit = row.limits.get(f"max_{kind}")
        if limit is None or value is None:
            continue
        if not size(value, cast("Alternative", alternative)) <= limit:
            is_proven = row.evidence == "point" or (p is not None and p <= row.alpha)
            found.append(_Violation(kind=kind, value=value, limit=limit, is_proven=is_proven))
    return found


def _waived(row: ResultRecord, violation: _Violation) -> bool:
    accept = row.accept
    if accept is None:
        return False
    largest = getattr(accept, f"max_{violation.kind}", None)
    if largest is None and row.kind == "outcome-gap" and violation.kind == "gap":
        largest = accept.max_effect
    alternative = "greater" if violation.kind == "growth" else row.alternative
    return (
        largest is not None and size(violation.value, cast("Alternative", alternative)) <= largest
    )
