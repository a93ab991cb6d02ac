"""Two reports beside each other: what appeared, vanished, grew, shrank, or got another verdict."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_visualbias.baseline.entries import TOLERANCE, difference, entry_of
from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.outcomes import FAILING, label
from pytest_visualbias.reports.worst import as_judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.baseline.entries import Entry
    from pytest_visualbias.record import Report, ResultRecord

__all__ = ["TOLERANCE", "Change", "Comparison", "compare"]

How = Literal[
    "appeared", "vanished", "not comparable", "grew", "shrank", "turned", "verdict", "same"
]
# From good to bad; what could not be measured says as little for a model as a failure does.
RANKS = {"pass": 0, "reported": 0, "accepted": 1, "inconclusive": 2} | dict.fromkeys(FAILING, 3)

# Which checkpoints of a training run are judged.
ALL, LAST = "all checkpoints", "the last checkpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One test of one model at one layer, in two reports.

    Attributes
    ----------
    spec, model, test, layer : str
        Which.
    how : str
        ``appeared`` and ``vanished``: it is in one report only. ``not comparable``: measured on
        something else, or not at all. ``grew``, ``shrank``: the absolute judged effect, by more
        than the tolerance. ``turned``: the effect changed its sign, and hardly its size.
        ``verdict``: nothing but the verdict changed. ``same``: nothing did.
    unlike : str or None
        In what they differ that must agree.
    effects : tuple of float or None
        The judged effects.
    verdicts : tuple of str or None
        The outcomes.
    is_worse : bool
        Whether it is a step back, or hides one.
    gates : tuple of str, or None
        Which checkpoints of a training run are judged, where that is not the same in both. The
        effects are of the last one then; else, where all are judged, of the worst.
    """

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
        """The node id, which is the same in both."""
        return f"{self.spec}::{self.model}::{self.test}[{self.layer}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All changes between two reports.

    Attributes
    ----------
    tolerance : float
        How far an effect may move and count as the same.
    changes : tuple of Change
        In the order of the later report; what vanished comes last.
    """

    tolerance: float
    changes: tuple[Change, ...]

    @property
    def is_worse(self) -> bool:
        """Whether anything is."""
        return any(one.is_worse for one in self.changes)

    def counts(self) -> dict[str, int]:
        """Return how many changes there are of each kind."""
        kinds = [one.how for one in self.changes]
        return {how: kinds.count(how) for how in dict.fromkeys(kinds)}

    def plain(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "visualbias_comparison": 1,
            "is_worse": self.is_worse,
            "tolerance": self.tolerance,
            "counts": self.counts(),
            "changes": [dataclasses.asdict(one) for one in self.changes],
        }


def compare(old: Report, new: Report, tolerance: float = TOLERANCE) -> Comparison:
    """Return what changed from one run to another.

    Parameters
    ----------
    old, new : Report
        Tests are the same where spec, model, test and layer are called the same.
    tolerance : float
        How far the absolute judged effect may rise.

    Returns
    -------
    Comparison
        Worse where a verdict got worse, a failing test appeared, a test vanished, is not
        comparable or is no longer judged, or the effect of a gated model rose; the effect of a
        control may.
    """
    before, after = _rows(old), _rows(new)
    changes = [_change(before.get(key), row, (old, new), tolerance) for key, row in after.items()]
    changes += [_vanished(row) for key, row in before.items() if key not in after]
    return Comparison(tolerance=tolerance, changes=tuple(changes))


def _rows(report: Report) -> dict[tuple[str, str, str, str], ResultRecord]:
    return {(one.spec, one.model, one.test, one.layer): one for one in report.results}


def _change(
    old: ResultRecord | None,
    new: ResultRecord,
    reports: tuple[Report, Report],
    tolerance: float,
) -> Change:
    if old is None:
        is_worse = new.outcome in FAILING
        appeared = (None, new.effect_judged)
        return _of(new, "appeared", appeared, (None, label(new)), is_worse=is_worse)
    unlike = _unlike(old, new, reports)
    gates = (_gate(old), _gate(new))
    if gates[0] == gates[1]:
        old, new = as_judged(old), as_judged(new)
    effects = (old.effect_judged, new.effect_judged)
    verdicts = (label(old), label(new))
    is_fallen = RANKS[label(new)] > RANKS[label(old)]
    if unlike is not None:
        # What was not measured then cannot have got worse, only what was and cannot be compared.
        is_worse = is_fallen or bool(old.scores)
        return _of(new, "not comparable", effects, verdicts, is_worse=is_worse, unlike=unlike)
    how = _moved(old, new, tolerance)
    # What no limit judges describes a model; where it goes is for a reader to weigh.
    is_judged = label(new) != "reported" and new.role == "gated" and new.control is None
    is_risen = how == "grew" and is_judged
    is_worse = is_fallen or is_risen or _is_freed(old, new)
    return dataclasses.replace(
        _of(new, how, effects, verdicts, is_worse=is_worse),
        gates=gates if gates[0] != gates[1] else None,
    )


def _gate(record: ResultRecord) -> str:
    """Return which checkpoints are judged, if there are several."""
    is_all = record.series is not None and record.series.gate == "all"
    return ALL if is_all else LAST


def _is_freed(old: ResultRecord, new: ResultRecord) -> bool:
    """Whether a test can no longer fail that could: whatever it shows now is hidden."""
    could, can = (bool(one.limits) and one.role == "gated" for one in (old, new))
    is_looser = new.series is not None and (_gate(old), _gate(new)) == (ALL, LAST)
    return could and (not can or is_looser)


def _moved(old: ResultRecord, new: ResultRecord, tolerance: float) -> How:
    one, other = old.effect_judged or 0.0, new.effect_judged or 0.0
    if abs(abs(other) - abs(one)) > tolerance:
        return "grew" if abs(other) > abs(one) else "shrank"
    if abs(other - one) > tolerance:
        return "turned"
    return "same" if label(old) == label(new) else "verdict"


def _vanished(old: ResultRecord) -> Change:
    return _of(old, "vanished", (old.effect_judged, None), (label(old), None), is_worse=True)


def _of(
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


def _unlike(old: ResultRecord, new: ResultRecord, reports: tuple[Report, Report]) -> str | None:
    """Return in what two results differ that must agree, in the words of the gate."""
    entries: list[Entry] = []
    for row, report, when in zip((old, new), reports, ("then", "now"), strict=True):
        plain = row.model_dump(mode="json", by_alias=True)
        # What is invalid has its numbers, though nothing is recorded of it.
        is_measured = row.effect_size is not None and row.effect_judged is not None
        if not (row.scores and is_measured):
            return f"not measured {when}"
        entries.append(_entry(plain, _model(report, row)))
    # The first says that it is something else; a line of a table has no room for all.
    return next((one.text for one in difference(entries[0], entries[1])), None)


def _model(report: Report, row: ResultRecord) -> dict[str, Any]:
    for one in report.models:
        if (one.spec, one.model) == (row.spec, row.model):
            return one.model_dump(mode="json")
    raise ReportError(
        f"a report has results of '{row.model}' and does not say what that is; make it anew"
    )


def _entry(result: Mapping[str, Any], model: Mapping[str, Any]) -> Entry:
    trials: Sequence[Mapping[str, Any]] = model["trials"]
    # Fingerprints are not compared: other weights are what a comparison is for.
    named = [{"fingerprint": str(one.get("fingerprint", ""))} for one in trials]
    return entry_of(result, {**model, "trials": named})
