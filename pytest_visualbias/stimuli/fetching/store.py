"""The folder that stimuli are fetched into: one writer at a time, no half of a file in sight."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import filelock

from pytest_visualbias.errors import FetchError
from pytest_visualbias.stimuli.fetching.ledger import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_visualbias.stimuli.fetching.outcomes import Wanted

LOCK = "lock"
AT_ONCE = 0.1  # seconds after which a lock counts as another's
MEND = "free space or permit it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What was said about a file when its transfer began."""

    url: str
    validator: str | None
    total: int | None
    came_from: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A file on its way: the bytes so far, and what they are of."""

    data: Path
    state: Path

    def begun(self, url: str) -> Begun | None:
        """Return what the bytes so far are of; None where there are none of this URL."""
        try:
            begun = Begun(**json.loads(self.state.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            return None
        return begun if begun.url == url and self.data.is_file() else None

    @property
    def size(self) -> int:
        """How many bytes there are."""
        try:
            return self.data.stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, begun: Begun) -> None:
        """Begin from nothing."""
        self.discard()
        fields = {name: getattr(begun, name) for name in Begun.__slots__}
        with _told(self.data):
            self.state.write_text(json.dumps(fields), encoding="utf-8")

    @contextlib.contextmanager
    def appended(self) -> Iterator[BinaryIO]:
        """Yield the file, open to take more."""
        with _told(self.data):
            stream = self.data.open("ab")
        with stream:
            yield stream

    def discard(self) -> None:
        """Forget all of it."""
        with _told(self.data):
            # The bytes first: those of one version must never meet the notes on another.
            self.data.unlink(missing_ok=True)
            self.state.unlink(missing_ok=True)


class Store:
    """A folder of stimuli."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._work = folder / WORK

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the folder; others who want it wait, and are told so."""
        with _told(self.folder):
            self._work.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self._work / LOCK)
        try:
            try:
                lock.acquire(timeout=AT_ONCE)
            except filelock.Timeout:
                waiting()
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise FetchError(
                f"{self.folder}: cannot be locked ({error})", "choose one elsewhere with --data"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def path(self, name: str) -> Path:
        """Return where a file of the manifest goes."""
        path = self.folder
        parts = name.split("/")
        for index, part in enumerate(parts):
            path /= part
            with _told(path):
                is_link, is_there, is_folder = path.is_symlink(), path.exists(), path.is_dir()
            is_last = index == len(parts) - 1
            if is_link:
                raise FetchError(f"{path} is a link", "remove it")
            if is_there and is_folder == is_last:
                what = "a folder" if is_last else "not a folder"
                raise FetchError(f"{path} is {what}", "move it away")
        return path

    def part(self, wanted: Wanted) -> Part:
        """Return where a file is kept while it comes."""
        name = hashlib.sha256(wanted.entry.path.encode("utf-8")).hexdigest()[:32]
        return Part(data=self._work / f"{name}.part", state=self._work / f"{name}.json")

    def place(self, part: Part, name: str) -> None:
        """Put a whole file where it belongs."""
        path = self.path(name)
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.data.replace(path)
            part.state.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the disk says into a sentence."""
    try:
        yield
    except OSError as error:
        raise FetchError(f"{path}: cannot be written ({error.strerror})", MEND) from None
