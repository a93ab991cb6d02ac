"""Which recorded results belong to which spec, and what to do where one is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.errors import BaselineError, UsageError
from pytest_visualbias.evaluation.baseline.entry import is_changed
from pytest_visualbias.evaluation.baseline.file import (
    Contents,
    default_path,
    read_baseline,
    spec_name,
)
from pytest_visualbias.spec.overrides import option_for

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.evaluation.baseline.entry import BaselineEntry, Entries

Recording = Literal["changed", "new"]
NOTHING = Contents(is_report=False, specs={})


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
    problem: str | None = None

    @property
    def is_explicit(self) -> bool:
        """Whether the command line names it, so that it goes before any model."""
        return bool(self.option)

    @property
    def is_expected(self) -> bool:
        """Whether there is something to measure growth from, or will be after this run."""
        return self.is_explicit or self.exists or self.recording is not None

    def entry(self, key: str) -> BaselineEntry | None:
        """Return the entry of this key, if there is one."""
        if self.problem is not None:
            raise BaselineError(self.problem)
        return self.entries.get(key)

    def records(self, key: str, entry: BaselineEntry) -> bool:
        """Whether this run is to record a result."""
        if self.recording is None or self.problem is not None:
            return False
        old = self.entries.get(key)
        return old is None or (self.recording == "changed" and is_changed(old, entry))

    def remedy(self, flag: str, model: str) -> str:
        """Return what to do about an entry of a model that is missing or stale."""
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
        contents = self._contents(path) if exists or self.path is not None else NOTHING
        problem = None
        if isinstance(contents, BaselineError):
            problem, contents = str(contents), NOTHING
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
                self._read[path] = error if _is_there(path) else NOTHING
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
    """Whether a file exists, or is in a folder that must not be entered; to read it says so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
