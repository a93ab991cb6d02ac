"""Find the recorded results of each spec, and record the results of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_visualbias.errors import BaselineError, UsageError, printable
from pytest_visualbias.evaluation.baseline_file import (
    TOLERANCE,
    Contents,
    default_path,
    entry_key,
    entry_of,
    is_changed,
    is_recordable,
    locked,
    read_baseline,
    spec_name,
    write_baseline,
)
from pytest_visualbias.spec.overrides import option_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.evaluation.baseline_file import BaselineEntry, Entries

Recording = Literal["changed", "new"]
NO_RESULTS = Contents(is_report=False, specs={})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Baseline:
    """The recorded results of one spec."""

    path: Path
    shown: str
    option: str = ""
    is_report: bool = False
    exists: bool = False
    recording: Recording | None = None
    entries: Entries
    problem: BaselineError | None = None

    @property
    def is_explicit(self) -> bool:
        """Whether the command line names the baseline, so that it precedes any model."""
        return bool(self.option)

    @property
    def is_expected(self) -> bool:
        """Whether results are recorded, or will be after this run."""
        return self.is_explicit or self.exists or self.recording is not None

    def entry(self, key: str) -> BaselineEntry | None:
        """Return the entry of a key, if it exists."""
        if self.problem is not None:
            raise self.problem
        return self.entries.get(key)

    def records(self, key: str, entry: BaselineEntry) -> bool:
        """Return whether this run records a result."""
        if self.recording is None or self.problem is not None:
            return False
        old = self.entries.get(key)
        return old is None or (self.recording == "changed" and is_changed(old, entry))

    def remedy(self, flag: str, model: str) -> str:
        """Return what to do about a missing or stale entry of a model."""
        if self.is_report:
            return "make the report anew with this spec"
        return (
            "record it from the model to measure from: `pytest "
            f"--visualbias{self.option} {option_for(model)} --visualbias-{flag}`, and commit"
        )


@dataclass(kw_only=True, slots=True)
class Baselines:
    """The recorded results of a run; each file is read once."""

    project: Path
    path: Path | None = None
    recording: Recording | None = None
    origin: str = ""
    _read: dict[Path, Contents | BaselineError] = field(default_factory=dict)
    _taken: dict[Path, Path] = field(default_factory=dict)

    def of(self, spec: Path, file: str) -> Baseline:
        """Return the recorded results of a spec."""
        path = self._path_of(spec)
        exists = _is_there(path)
        contents = self._contents(path) if exists or self.path is not None else NO_RESULTS
        problem = None
        if isinstance(contents, BaselineError):
            problem, contents = contents, NO_RESULTS
        if not contents.is_report and (exists or self.recording is not None):
            self._take(path, spec)
        option = "" if self.path is None else f" --visualbias-baseline={self._shown(self.path)}"
        return Baseline(
            path=path,
            shown=self._shown(path),
            option=option,
            is_report=contents.is_report,
            exists=exists,
            recording=self.recording,
            entries=contents.of(file),
            problem=problem,
        )

    def _path_of(self, spec: Path) -> Path:
        if self.path is None:
            return default_path(spec)
        is_folder = self.path.is_dir() or not (self.path.exists() or self.path.suffix == ".json")
        return self.path / f"{spec_name(spec)}.json" if is_folder else self.path

    def _contents(self, path: Path) -> Contents | BaselineError:
        if path not in self._read:
            try:
                self._read[path] = self._usable(path)
            except BaselineError as error:
                # Not there at all is a matter of each entry, which the gate finds missing.
                self._read[path] = error if _is_there(path) else NO_RESULTS
        return self._read[path]

    def _usable(self, path: Path) -> Contents:
        contents = read_baseline(path, self._shown(path))
        if contents.is_report and path != self.path:
            raise BaselineError(
                f"{self._shown(path)} is the report of a run, not a baseline",
                "give it to --visualbias-baseline, or delete it and record anew",
            )
        return contents

    def _take(self, path: Path, spec: Path) -> None:
        other = self._taken.setdefault(path, spec)
        if other != spec:
            raise UsageError(
                f"{self._shown(path)} cannot hold the results of both {self._shown(other)} and "
                f"{self._shown(spec)}",
                "name a folder, give the specs different names, or run one",
            )

    def _shown(self, path: Path) -> str:
        if self.origin and path == self.path:
            return self.origin
        try:
            return path.relative_to(self.project).as_posix()
        except ValueError:
            return path.as_posix()


def _is_there(path: Path) -> bool:
    """Return whether a file exists or cannot be accessed; reading it gives the error."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedEntries:
    """The entries that the tests of a spec claim, selected or not."""

    path: Path
    file: str
    keys: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineUpdate:
    """The changes of the baseline of one spec."""

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
    """Return which entries of a file no test claims, and what to do."""
    names = printable(", ".join(keys))
    return f"{shown}: no test claims {names}; drop what is gone with --visualbias-prune"


def update_baseline(
    specs: Iterable[ExpectedEntries],
    rows: Sequence[Mapping[str, Any]],
    baselines: Baselines,
    *,
    prunes: bool,
) -> list[BaselineUpdate]:
    """Record the results of a run if requested, and report entries that no test claims."""
    updates = []
    for claims in sorted(specs, key=lambda claims: claims.file):
        baseline = baselines.of(claims.path, claims.file)
        is_asked = baseline.recording is not None or prunes
        if baseline.is_report or not (baseline.exists or is_asked):
            continue
        if baseline.problem is not None:
            problem = str(baseline.problem) if is_asked else None
            updates.append(BaselineUpdate(shown=baseline.shown, problem=problem, is_asked=is_asked))
            continue
        measured = _measured(row for row in rows if row["result"]["spec"] == claims.file)
        updates.append(_keep(baseline, measured, claims, prunes=prunes))
    return updates


def _measured(rows: Iterable[Mapping[str, Any]]) -> dict[str, BaselineEntry]:
    """Return the entries of valid results of gated models."""
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
