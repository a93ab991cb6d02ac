"""What a run adds to recorded results, and takes from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import BaselineError, printable
from pytest_visualbias.evaluation.baseline.entry import (
    TOLERANCE,
    entry_key,
    entry_of,
    is_recordable,
)
from pytest_visualbias.evaluation.baseline.file import locked, read_baseline, write_baseline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.evaluation.baseline.entry import BaselineEntry, Entries
    from pytest_visualbias.evaluation.baseline.sources import Baseline, Baselines


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedEntries:
    """The entries that the tests of a spec claim, selected or not."""

    path: Path
    file: str
    keys: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineUpdate:
    """What became of the recorded results of one spec."""

    shown: str
    recorded: int = 0
    changed: int = 0
    pruned: int = 0
    risen: tuple[str, float] | None = None
    unclaimed: tuple[str, ...] = ()
    problem: str | None = None
    is_asked: bool

    @property
    def sentences(self) -> list[str]:
        """What to print about it."""
        if self.problem is not None:
            return [self.problem]
        counts = {"recorded": self.recorded, "changed": self.changed, "pruned": self.pruned}
        done = [f"{count} {what}" for what, count in counts.items() if count]
        lines = []
        if done:
            lines.append(f"{self.shown}: {', '.join(done)}; commit it")
        elif self.is_asked:
            lines.append(f"{self.shown}: nothing to record or to prune")
        if self.risen is not None:
            # Whoever commits it agrees to a larger effect.
            key, rise = self.risen
            lines.append(
                f"{self.shown}: |effect| rose, most in {key} by {rise:.2f}; see it is meant"
            )
        if self.unclaimed:
            lines.append(unclaimed_text(self.shown, self.unclaimed))
        return lines

    def plain(self) -> dict[str, Any]:
        """Return the entry of the JSON report."""
        return {
            "file": self.shown,
            "recorded": self.recorded,
            "changed": self.changed,
            "pruned": self.pruned,
            "risen": dict([self.risen]) if self.risen is not None else {},
            "unclaimed": list(self.unclaimed),
        }


def unclaimed_text(shown: str, keys: Iterable[str]) -> str:
    """Say which entries of a file no test claims, and what to do."""
    names = printable(", ".join(keys))
    return f"{shown}: no test claims {names}; drop what is gone with --visualbias-prune"


def update_baseline(
    specs: Iterable[ExpectedEntries],
    rows: Sequence[Mapping[str, Any]],
    baselines: Baselines,
    *,
    prunes: bool,
) -> list[BaselineUpdate]:
    """Record the results of a run where it is asked for, and say what no test claims."""
    updates = []
    for claims in sorted(specs, key=lambda claims: claims.file):
        baseline = baselines.of(claims.path, claims.file)
        is_asked = baseline.recording is not None or prunes
        if baseline.is_report or not (baseline.exists or is_asked):
            continue
        if baseline.problem is not None:
            problem = baseline.problem if is_asked else None
            updates.append(BaselineUpdate(shown=baseline.shown, problem=problem, is_asked=is_asked))
            continue
        measured = _measured(row for row in rows if row["result"]["spec"] == claims.file)
        updates.append(_keep(baseline, measured, claims, prunes=prunes))
    return updates


def _measured(rows: Iterable[Mapping[str, Any]]) -> dict[str, BaselineEntry]:
    """Return the entries of what was measured well, of models that are gated."""
    entries = {}
    for row in rows:
        result, model = row["result"], row["model"]
        if model is not None and result["role"] == "gated" and is_recordable(result):
            key = entry_key(result["model"], result["test"], result["layer"])
            entries[key] = entry_of(result, model)
    return entries


def _keep(
    baseline: Baseline, measured: Entries, claims: ExpectedEntries, *, prunes: bool
) -> BaselineUpdate:
    chosen = {key: entry for key, entry in measured.items() if baseline.records(key, entry)}
    entries = {**baseline.entries, **chosen}
    unclaimed = sorted(entries.keys() - claims.keys)
    if prunes:
        entries = {key: entry for key, entry in entries.items() if key in claims.keys}
    is_asked = baseline.recording is not None or prunes
    if chosen or len(entries) != len(baseline.entries):
        dropped = frozenset(unclaimed) if prunes else frozenset()
        problem = _write(baseline, chosen, dropped)
        if problem is not None:
            return BaselineUpdate(shown=baseline.shown, problem=problem, is_asked=is_asked)
    changed = len(chosen.keys() & baseline.entries.keys())
    return BaselineUpdate(
        shown=baseline.shown,
        recorded=len(chosen) - changed,
        changed=changed,
        pruned=len(unclaimed) if prunes else 0,
        risen=_risen(baseline.entries, chosen),
        unclaimed=() if prunes else tuple(unclaimed),
        is_asked=is_asked,
    )


def _write(baseline: Baseline, chosen: Entries, dropped: frozenset[str]) -> str | None:
    """Update a file; return why that is impossible."""
    try:
        with locked(baseline.path):
            exists = baseline.path.is_file()
            old = read_baseline(baseline.path, baseline.shown).of("") if exists else {}
            kept = {key: entry for key, entry in old.items() if key not in dropped}
            is_new_only = baseline.recording == "new"
            write_baseline(baseline.path, {**chosen, **kept} if is_new_only else {**kept, **chosen})
    except BaselineError as error:
        return str(error)
    except OSError as error:
        what = error.strerror or str(error)
        return f"{baseline.shown} cannot be written ({what}); nothing was recorded"
    return None


def _risen(old: Entries, new: Entries) -> tuple[str, float] | None:
    rises = {
        key: abs(entry.effect_judged) - abs(old[key].effect_judged)
        for key, entry in new.items()
        if key in old
    }
    key = max(rises, key=rises.__getitem__, default=None)
    return (key, rises[key]) if key is not None and rises[key] > TOLERANCE else None
