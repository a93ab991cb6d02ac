"""Read and write baseline files: strictly, and whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import ValidationError

from pytest_visualbias.errors import BaselineError, StorageError, UsageError
from pytest_visualbias.evaluation.baseline.entry import (
    BaselineEntry,
    entry_key,
    entry_of,
    is_recordable,
)
from pytest_visualbias.results import READ_VERSIONS
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.urls import Url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.evaluation.baseline.entry import Entries
    from pytest_visualbias.stimuli.mirror import Mirror

FOLDER = "__visualbias__"
VERSION = 2

# Entries of version 1 lack the read-out and what growth is tested with; record them again.
KNOWN_VERSIONS = (1, VERSION)
MARK = "visualbias_baseline"
REPORT_MARK = "schema_version"
SUFFIXES = (".bias.yaml", ".bias.yml")

# A list of numbers over several lines; no line ends within a string of JSON.
NUMBER_LIST = re.compile(r"\[\n([^][{}\"]*)\n *\]")
RECORD_ANEW = "restore it, or delete it and record it anew"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contents:
    """The contents of a file: the entries of one spec, or the results of all specs of a run."""

    is_report: bool
    specs: Mapping[str, Entries]

    def of(self, spec: str) -> Entries:
        """Return the entries of a spec."""
        return self.specs.get(spec if self.is_report else "", {})


def spec_name(spec: Path) -> str:
    """Return the name of a spec file without its suffix."""
    suffix = next(filter(spec.name.endswith, SUFFIXES), spec.suffix)
    return spec.name.removesuffix(suffix)


def default_path(spec: Path) -> Path:
    """Return the default path of the baseline of a spec."""
    return spec.parent / FOLDER / f"{spec_name(spec)}.json"


def is_report(path: Path) -> bool:
    """Return whether a file is the JSON report of a run."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        stored = json.loads(path.read_bytes())
        return isinstance(stored, dict) and REPORT_MARK in stored
    return False


def read_baseline(path: Path, shown: str) -> Contents:
    """Read a baseline file, or the JSON report of a run."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaselineError(f"{shown} cannot be read ({reason})", "correct the path") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{shown} is not UTF-8", RECORD_ANEW) from None
    try:
        return _contents(load_strict(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {describe_error(first)}"
    except (AttributeError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
    except ValueError as error:
        what = str(error)
    raise BaselineError(f"{shown} is no baseline that can be used ({what})", RECORD_ANEW)


def _contents(stored: Any) -> Contents:  # noqa: ANN401 - what a file holds can be anything
    if not isinstance(stored, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - about a file
    if REPORT_MARK in stored:
        return Contents(is_report=True, specs=_of_report(stored))
    version = stored.get(MARK)
    if version not in KNOWN_VERSIONS:
        raise ValueError(f"'{MARK}' is {version}, not {VERSION}")
    if extra := stored.keys() - {MARK, "entries"}:
        raise ValueError(f"unknown key '{min(extra)}'")
    entries = {key: BaselineEntry.model_validate(entry) for key, entry in stored["entries"].items()}
    return Contents(is_report=False, specs={"": entries})


def _of_report(stored: Mapping[str, Any]) -> dict[str, dict[str, BaselineEntry]]:
    if stored[REPORT_MARK] not in READ_VERSIONS:
        known = " or ".join(map(str, READ_VERSIONS))
        raise ValueError(f"'{REPORT_MARK}' is {stored[REPORT_MARK]}, not {known}")
    models = {(row["spec"], row["model"]): row for row in stored["models"]}
    specs: dict[str, dict[str, BaselineEntry]] = {}
    for row in stored["results"]:
        if is_recordable(row):
            key = entry_key(row["model"], row["test"], row["layer"])
            entry = entry_of(row, models[row["spec"], row["model"]])
            specs.setdefault(row["spec"], {})[key] = entry
    return specs


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a baseline file, so that reading and writing are one step."""
    name = f"visualbias-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]}.lock"
    try:
        lock = FileLock(Path(tempfile.gettempdir()) / name)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise BaselineError(
            f"the lock {name} among the temporary files cannot be taken ({what}), so nothing was "
            "recorded",
            "remove that file, or set TMPDIR to another folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_baseline(path: Path, entries: Entries) -> None:
    """Write entries sorted, so that versions differ only in lines of changed entries."""
    stored = {MARK: VERSION, "entries": {key: entry.written() for key, entry in entries.items()}}
    text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    lines = NUMBER_LIST.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    write_whole(path, f"{lines}\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, making its folder; line breaks stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        # A pipe or /dev/stdout is written to; to rename onto it would put a file in its place.
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        return
    # A link goes on pointing to where it does.
    goal = path.resolve()
    # Not by tempfile, whose files nobody else may read: this one is shared.
    temporary = goal.with_name(f".{goal.name[:100]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        temporary.replace(goal)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def load_strict(text: str) -> Any:  # noqa: ANN401 - what a file holds can be anything
    """Parse JSON strictly: no duplicate keys, no NaN."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate keys, which a bad merge leaves and of which the last would win."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' stands twice")
    return unique


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def named_baseline(named: Path | Url, option: str, mirror: Mirror) -> Path:
    """Return the path that an option names, or a local copy of a URL."""
    if isinstance(named, Url):
        try:
            return mirror.file(named)
        except StorageError as error:
            raise UsageError(error.problem, error.remedy, place=option) from None
    if not named.exists():
        raise UsageError(
            f"{named} does not exist",
            "correct the path, or record it with --visualbias-update",
            place=option,
        )
    return named
