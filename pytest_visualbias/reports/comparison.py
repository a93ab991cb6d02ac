"""Compare two reports."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from rich import box
from rich.table import Table
from rich.text import Text

from pytest_visualbias.errors import ReportError, without_commands
from pytest_visualbias.evaluation.baseline_file import TOLERANCE, difference, entry_of
from pytest_visualbias.evaluation.verdict import signed_magnitude
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import FAILING, label
from pytest_visualbias.reports.series_notes import with_judged_numbers
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.evaluation.baseline_file import BaselineEntry
    from pytest_visualbias.reports.tables import Screen
    from pytest_visualbias.results import Report, ResultRecord
    from pytest_visualbias.spec.fields import Alternative


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
    """Refuse a report whose outcomes contradict its numbers."""
    for row in report.results:
        if row.role == "gated" and row.effect_judged is not None:
            problem = (
                _control_contradiction(row) if row.control == "positive" else _contradiction(row)
            )
            if problem:
                raise ReportError(
                    f"{row.nodeid} is '{row.outcome}' in the report, but {problem}: it was edited",
                    "run the gate again",
                )


def _control_contradiction(row: ResultRecord) -> str:
    """Return why a positive control cannot have passed; empty if it can."""
    minimum = row.limits.get("min_effect", 0.0)
    value = signed_magnitude(row.effect_judged or 0.0, cast("Alternative", row.alternative))
    is_shown = row.p_verdict is not None and row.p_verdict <= row.alpha
    is_held = value >= minimum and is_shown
    return "" if row.outcome != "pass" or is_held else f"its effect does not reach {minimum:g}"


def _contradiction(row: ResultRecord) -> str:
    """Return why a result cannot have its reported outcome; empty if it can."""
    violations = _violations(row)
    # Verdicts by interval may use another level than the reported interval.
    is_known = row.evidence in ("significant", "point")
    proven = [violation for violation in violations if violation.is_proven and is_known]
    uncovered = [violation for violation in proven if not _is_waived(row, violation)]
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
    """Return the limits that a result exceeds."""
    numbers = [
        ("effect", row.effect_judged, row.p_adjusted, row.alternative),
        ("gap", row.gap, row.p_adjusted, row.alternative),
    ]
    if (growth := row.growth) is not None:
        numbers.append(("growth", growth.value, growth.p_adjusted, "greater"))
        numbers.append(("shift", growth.shift, growth.p_adjusted, "two-sided"))
    if (excess := row.excess) is not None:
        numbers.append(("excess", excess.value, excess.p_adjusted, "greater"))
    violations = []
    for kind, value, p, alternative in numbers:
        limit = row.limits.get(f"max_{kind}")
        if limit is None or value is None:
            continue
        if not signed_magnitude(value, cast("Alternative", alternative)) <= limit:
            is_proven = row.evidence == "point" or (p is not None and p <= row.alpha)
            violations.append(_Violation(kind=kind, value=value, limit=limit, is_proven=is_proven))
    return violations


def _is_waived(row: ResultRecord, violation: _Violation) -> bool:
    accept = row.accept
    if accept is None:
        return False
    largest = getattr(accept, f"max_{violation.kind}", None)
    if largest is None and row.kind == "outcome-gap" and violation.kind == "gap":
        largest = accept.max_effect
    alternative = "greater" if violation.kind == "growth" else row.alternative
    return (
        largest is not None
        and signed_magnitude(violation.value, cast("Alternative", alternative)) <= largest
    )


How = Literal[
    "appeared", "vanished", "not comparable", "grew", "shrank", "turned", "verdict", "same"
]

# From good to bad; an error counts as a failure.
RANKS = {"pass": 0, "reported": 0, "accepted": 1, "inconclusive": 2} | dict.fromkeys(FAILING, 3)

# Which checkpoints of a training run are judged.
ALL, LAST = "all checkpoints", "the last checkpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One test of one model at one layer, in two reports."""

    spec: str
    model: str
    test: str
    layer: str
    how: How
    unlike: str | None = None
    effects: tuple[float | None, float | None]
    verdicts: tuple[str | None, str | None]
    is_worse: bool
    gates: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The node id, the same in both reports."""
        return f"{self.spec}::{self.model}::{self.test}[{self.layer}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All changes between two reports."""

    tolerance: float
    changes: tuple[Change, ...]

    @property
    def is_worse(self) -> bool:
        """Whether any change is for the worse."""
        return any(change.is_worse for change in self.changes)

    def counts(self) -> dict[str, int]:
        """Return how many changes there are of each kind."""
        kinds = [change.how for change in self.changes]
        return {how: kinds.count(how) for how in dict.fromkeys(kinds)}

    def plain(self) -> dict[str, Any]:
        """Return the comparison as JSON data."""
        return {
            "visualbias_comparison": 1,
            "is_worse": self.is_worse,
            "tolerance": self.tolerance,
            "counts": self.counts(),
            "changes": [dataclasses.asdict(change) for change in self.changes],
        }


def compare(old: Report, new: Report, tolerance: float = TOLERANCE) -> Comparison:
    """Return what changed from one run to another."""
    before, after = _rows(old), _rows(new)
    changes = [_change(before.get(key), row, (old, new), tolerance) for key, row in after.items()]
    changes += [_vanished_change(row) for key, row in before.items() if key not in after]
    return Comparison(tolerance=tolerance, changes=tuple(changes))


def _rows(report: Report) -> dict[tuple[str, str, str, str], ResultRecord]:
    return {
        (result.spec, result.model, result.test, result.layer): result for result in report.results
    }


def _change(
    old: ResultRecord | None, new: ResultRecord, reports: tuple[Report, Report], tolerance: float
) -> Change:
    if old is None:
        is_worse = new.outcome in FAILING
        appeared = (None, new.effect_judged)
        return _build_change(new, "appeared", appeared, (None, label(new)), is_worse=is_worse)
    unlike = _not_comparable_reason(old, new, reports)
    gates = (_gate(old), _gate(new))
    if gates[0] == gates[1]:
        old, new = with_judged_numbers(old), with_judged_numbers(new)
    effects = (old.effect_judged, new.effect_judged)
    verdicts = (label(old), label(new))
    is_fallen = RANKS[label(new)] > RANKS[label(old)]
    if unlike is not None:
        # Only a test that was measured before can become worse by not being comparable.
        is_worse = is_fallen or bool(old.scores)
        return _build_change(
            new, "not comparable", effects, verdicts, is_worse=is_worse, unlike=unlike
        )
    how = _direction(old, new, tolerance)
    # Without a limit, growth is described but not called worse.
    is_judged = label(new) != "reported" and new.role == "gated" and new.control is None
    is_risen = how == "grew" and is_judged
    is_worse = is_fallen or is_risen or _is_ungated(old, new)
    return dataclasses.replace(
        _build_change(new, how, effects, verdicts, is_worse=is_worse),
        gates=gates if gates[0] != gates[1] else None,
    )


def _gate(record: ResultRecord) -> str:
    """Return which checkpoints of a training run are judged."""
    is_all = record.series is not None and record.series.gate == "all"
    return ALL if is_all else LAST


def _is_ungated(old: ResultRecord, new: ResultRecord) -> bool:
    """Return whether a test that could fail before can no longer fail."""
    was_gated, is_gated = (bool(record.limits) and record.role == "gated" for record in (old, new))
    is_looser = new.series is not None and (_gate(old), _gate(new)) == (ALL, LAST)
    return was_gated and (not is_gated or is_looser)


def _direction(old: ResultRecord, new: ResultRecord, tolerance: float) -> How:
    before, after = old.effect_judged or 0.0, new.effect_judged or 0.0
    if abs(abs(after) - abs(before)) > tolerance:
        return "grew" if abs(after) > abs(before) else "shrank"
    if abs(after - before) > tolerance:
        return "turned"
    return "same" if label(old) == label(new) else "verdict"


def _vanished_change(old: ResultRecord) -> Change:
    return _build_change(
        old, "vanished", (old.effect_judged, None), (label(old), None), is_worse=True
    )


def _build_change(
    row: ResultRecord,
    how: How,
    effects: tuple[float | None, float | None],
    verdicts: tuple[str | None, str | None],
    *,
    is_worse: bool,
    unlike: str | None = None,
) -> Change:
    return Change(
        spec=row.spec,
        model=row.model,
        test=row.test,
        layer=row.layer,
        how=how,
        unlike=unlike,
        effects=effects,
        verdicts=verdicts,
        is_worse=is_worse,
    )


def _not_comparable_reason(
    old: ResultRecord, new: ResultRecord, reports: tuple[Report, Report]
) -> str | None:
    """Return why two results cannot be compared; None if they can."""
    entries: list[BaselineEntry] = []
    for row, report, when in zip((old, new), reports, ("then", "now"), strict=True):
        plain = row.model_dump(mode="json", by_alias=True)
        # An invalid result has numbers but no scores.
        is_measured = row.effect_size is not None and row.effect_judged is not None
        if not (row.scores and is_measured):
            return f"not measured {when}"
        entries.append(_entry(plain, _model(report, row)))
    # One reason is enough for a line of the table.
    return next((mismatch.text for mismatch in difference(entries[0], entries[1])), None)


def _model(report: Report, row: ResultRecord) -> dict[str, Any]:
    for model in report.models:
        if (model.spec, model.model) == (row.spec, row.model):
            return model.model_dump(mode="json")
    raise ReportError(
        f"a report has results of '{row.model}' and does not say what that is", "make it anew"
    )


def _entry(result: Mapping[str, Any], model: Mapping[str, Any]) -> BaselineEntry:
    trials: Sequence[Mapping[str, Any]] = model["trials"]
    # Fingerprints are not compared: the two reports are of different weights.
    named = [{"fingerprint": str(trial.get("fingerprint", ""))} for trial in trials]
    return entry_of(result, {**model, "trials": named})


def render_comparison(comparison: Comparison, screen: Screen, *, shows_all: bool) -> str:
    """Return the changes between two reports as a table, worst first."""
    stream = io.StringIO()
    console = screen.console(stream)
    changes = [
        change
        for change in comparison.changes
        if shows_all or change.how != "same" or change.is_worse or change.gates
    ]
    if changes:
        console.print(_table_rows(sorted(changes, key=lambda change: not change.is_worse), screen))
    for change in (change for change in changes if change.unlike is not None):
        text = f"{change.name}: not comparable: {change.unlike}"
        console.print(Text(visible(text), style="yellow"), soft_wrap=True)
    for change in (change for change in changes if change.gates is not None):
        before, after = change.gates or ("", "")
        text = f"{change.name}: judged is {after}, and was {before}; the effects are of the last"
        console.print(Text(visible(text), style="yellow"), soft_wrap=True)
    console.print(Text(_summary_line(comparison)), soft_wrap=True)
    text = without_commands(stream.getvalue())
    return screen.encodable(text)


def _table_rows(changes: list[Change], screen: Screen) -> Table:
    arrow = "→" if screen.has_unicode else "->"
    change_table = Table(
        box=box.SIMPLE_HEAD if screen.has_unicode else box.ASCII2, show_edge=False, pad_edge=False
    )
    change_table.add_column("test", overflow="fold", ratio=1)
    for name in ("effect", "|effect| by"):
        change_table.add_column(name, justify="right", no_wrap=True)
    for name in ("verdict", "what"):
        change_table.add_column(name, no_wrap=True)
    for change in changes:
        style = "bold red" if change.is_worse else ""
        cells = [
            visible(change.name),
            f" {arrow} ".join("-" if d is None else format_effect(d) for d in change.effects),
            _format_rise(change),
            _verdicts(change, arrow),
        ]
        how = f"{change.how}, worse" if change.is_worse else change.how
        change_table.add_row(*(Text(cell) for cell in cells), Text(how, style=style))
    return change_table


def _format_rise(change: Change) -> str:
    old, new = change.effects
    if old is None or new is None or change.unlike is not None:
        return "-"
    rise = abs(new) - abs(old)
    # Two decimals would show so small a rise as zero.
    return format_effect(rise) if rise == 0 or abs(rise) >= 0.005 else f"{rise:+.1e}"  # noqa: PLR2004


def _verdicts(change: Change, arrow: str) -> str:
    old, new = (verdict if verdict is not None else "-" for verdict in change.verdicts)
    return new if old == new else f"{old} {arrow} {new}"


def _summary_line(comparison: Comparison) -> str:
    counts = ", ".join(f"{count} {how}" for how, count in comparison.counts().items())
    if not counts:
        return "no results in either report"
    worse = sum(change.is_worse for change in comparison.changes)
    return f"{counts}; {f'{worse} worse' if worse else 'nothing is worse'}"
