"""The record beside fetched files: what came, from where, when, and how far it was verified."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from pytest_visualbias.errors import FetchError
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.fields import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LEDGER = "FETCHED.json"
WORK = ".fetching"  # hidden, so that no set takes it for one of its own
JOURNAL = "journal.jsonl"
MEND = "restore it, or move it away to trust the files as they are"


class Record(Strict):
    """One file that is there."""

    url: str | None
    came_from: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int
    format: str
    date: str
    checked: Literal["manifest", "first use"]
    tool: str


class Absence(Strict):
    """One file that its server says it does not have."""

    url: str
    date: str
    reason: str


class Ledger(Strict):
    """All that is known about a folder of fetched stimuli."""

    version: Literal[1]
    suite: str
    title: str
    source: str
    licence: str
    citation: str
    manifest: str
    accepted: str
    tool: str
    files: dict[str, Record]
    gone: dict[str, Absence]
    due: list[str]


class _Line(Strict):
    """One line of the journal: what became of one file since the ledger was written."""

    path: str
    record: Record | None = None
    absence: Absence | None = None


def now() -> str:
    """Return the time, in UTC, to the second."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_ledger(folder: Path) -> Ledger | None:
    """Return the ledger of a folder, with what a killed run still noted; None without one."""
    path = folder / LEDGER
    try:
        ledger = Ledger.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})", MEND) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {describe_error(first)}" if place else describe_error(first)
        raise FetchError(f"{path}: is no record of fetched files ({what})", MEND) from None
    return _folded(ledger, folder / WORK / JOURNAL)


def _folded(ledger: Ledger, journal: Path) -> Ledger:
    files, gone = dict(ledger.files), dict(ledger.gone)
    try:
        content = journal.read_bytes()
    except OSError:
        return ledger
    # What follows the last line break was being written when its process was killed.
    for line in content.split(b"\n")[:-1]:
        try:
            noted = _Line.model_validate_json(line)
        except ValidationError:
            continue
        _note(files, gone, noted)
    due = [path for path in ledger.due if path not in files and path not in gone]
    return ledger.model_copy(update={"files": files, "gone": gone, "due": due})


def _note(files: dict[str, Record], gone: dict[str, Absence], noted: _Line) -> None:
    if noted.record is not None:
        files[noted.path] = noted.record
        gone.pop(noted.path, None)
    elif noted.absence is not None:
        gone[noted.path] = noted.absence


class Book:
    """A ledger being written: line by line into a journal, and whole now and then."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        self._files = dict(ledger.files)
        self._gone = dict(ledger.gone)
        self._due = {*ledger.due}
        self.save()

    @property
    def files(self) -> Mapping[str, Record]:
        """What is recorded, by path."""
        return self._files

    def expect(self, paths: Iterable[str]) -> None:
        """Note what is about to be asked for: until it comes, its sets are not whole."""
        self._due |= {*paths}
        self.save()

    def add(self, path: str, record: Record) -> None:
        """Note a file before it is put into its place."""
        self._write(_Line(path=path, record=record))

    def miss(self, path: str, absence: Absence) -> None:
        """Note that a file is gone upstream."""
        self._write(_Line(path=path, absence=absence))

    def _write(self, line: _Line) -> None:
        _note(self._files, self._gone, line)
        self._due.discard(line.path)
        try:
            with (self._folder / WORK / JOURNAL).open("a", encoding="utf-8") as stream:
                stream.write(line.model_dump_json() + "\n")
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def save(self) -> None:
        """Write the whole ledger, so that it is there with all of its bytes or as it was."""
        files = {path: self._files[path].model_dump() for path in sorted(self._files)}
        gone = {path: self._gone[path].model_dump() for path in sorted(self._gone)}
        due = sorted(self._due)
        whole = {**self._ledger.model_dump(), "files": files, "gone": gone, "due": due}
        try:
            temporary = self._folder / WORK / f"{LEDGER}.part"
            temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self._folder / LEDGER)
            (self._folder / WORK / JOURNAL).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from None


def _unwritable(folder: Path, error: OSError) -> FetchError:
    return FetchError(f"{folder}: cannot be written ({error.strerror})", "free space or permit it")
