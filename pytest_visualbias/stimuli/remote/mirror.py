"""Local copies of what lies at URLs, by the URL and by what the store says of the content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote.names import refuse_unsafe
from pytest_visualbias.stimuli.remote.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.stimuli.remote.entries import Entry
    from pytest_visualbias.stimuli.remote.store import Store

FETCHED = "fetched"
MATCHES = "matches.json"
SHORT = 16
OFFLINE = "and this run is offline; fetch it once with a network"


class Passing:
    """A folder that goes when nobody holds this any more, or when Python ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="visualbias-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(kw_only=True, slots=True)
class Mirror:
    """Brings files from URLs, once for each version of their content."""

    folder: Path | None = None
    offline: bool = False
    _origins: dict[Path, Url] = field(default_factory=dict, repr=False)
    _passing: Passing | None = field(default=None, repr=False)
    _known: dict[str, list[Path]] = field(default_factory=dict, repr=False)
    _failed: dict[str, StorageError] = field(default_factory=dict, repr=False)

    def files(self, text: str) -> list[Path]:
        """Return local copies of the file at a URL, or of all files that a pattern matches."""
        return self.once(text, lambda: self._files(Url(text)))

    def file(self, url: Url) -> Path:
        """Return a local copy of the file at a URL."""
        if url.has_magic:
            raise StorageError(f"{url} is a pattern", "name one file")
        # By itself: of a folder, another thing is to be done than for `files`.
        return self.once(f"file {url.text}", lambda: [self._file(url)])[0]

    def once(self, key: str, find: Callable[[], list[Path]]) -> list[Path]:
        """Return what was found before, or raise again what went wrong then: asking takes time."""
        if key in self._failed:
            raise self._failed[key]
        if key not in self._known:
            try:
                self._known[key] = find()
            except StorageError as error:
                self._failed[key] = error
                raise
        return self._known[key]

    def _files(self, url: Url) -> list[Path]:
        if not url.has_magic:
            return [self._file(url, f", or a pattern such as {url / '*'}")]
        if self.must_stay(url):
            return [self._noted(one, self._latest(one)) for one in self._matched(url)]
        store = open_store(url)
        found = [(Url(store.url_of(entry)), entry) for entry in store.matching()]
        if not found:
            raise StorageError(f"{url} matches no file", "correct the pattern", is_missing=True)
        paths = [self._bring(one, store, entry, entry.name) for one, entry in found]
        text = json.dumps([one.text for one, _ in found])
        try:
            with self.alone(url):
                (self.home(url) / MATCHES).write_text(text, encoding="ascii")
        except OSError as error:
            raise unwritable(self.home(url), error) from None
        return paths

    def _matched(self, url: Url) -> list[Url]:
        """Return what a pattern matched when it was last looked for."""
        with contextlib.suppress(OSError, TypeError, ValueError):
            names = json.loads((self.home(url) / MATCHES).read_bytes())
            return [Url(str(name)) for name in names]
        raise StorageError(f"{url} was not fetched yet, {OFFLINE}")

    def _file(self, url: Url, instead: str = "") -> Path:
        if self.must_stay(url):
            return self._noted(url, self._latest(url))
        store = open_store(url)
        entry = store.entry()
        if entry.is_folder:
            raise StorageError(f"{url} is a folder", f"name a file{instead}")
        return self._bring(url, store, entry, url.name)  # the store's may end in a signature

    def origin(self, path: Path) -> str:
        """Return the URL that a local copy came from, as shown to people; else nothing."""
        return self._origins[path].shown if path in self._origins else ""

    def must_stay(self, url: Url) -> bool:
        """Whether a URL must not be asked for anything."""
        return self.offline and not url.is_near

    def _bring(self, url: Url, store: Store, entry: Entry, name: str) -> Path:
        refuse_unsafe(name, url)
        # Where nothing tells one content from another, it is fetched every time.
        stamp = entry.stamp or os.urandom(SHORT).hex()
        target = self.home(url) / _digest(stamp)[:SHORT] / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.alone(url):
                if not _is_whole(target, entry):
                    store.fetch(entry, target)
            os.utime(target.parent)  # the last that was used, for a run without a network
            os.utime(self.home(url))
        except OSError as error:
            raise unwritable(self.home(url), error) from None
        return self._noted(url, target)

    def _latest(self, url: Url) -> Path:
        """Return the copy that was used last."""
        with contextlib.suppress(OSError):
            versions = [one for one in self.home(url).iterdir() if one.is_dir()]
            for folder in sorted(versions, key=lambda one: -one.stat().st_mtime_ns):
                if (path := folder / url.name).is_file():
                    return path
        raise StorageError(f"{url} was not fetched yet, {OFFLINE}")

    def _noted(self, url: Url, path: Path) -> Path:
        self._origins[path] = url
        return path

    def home(self, url: Url) -> Path:
        """Return the folder for everything of a URL."""
        return self._root() / FETCHED / _digest(url.without_signature)

    def _root(self) -> Path:
        if self.folder is not None:
            return self.folder
        if self._passing is None:
            self._passing = Passing()
        return self._passing.folder

    @contextlib.contextmanager
    def alone(self, url: Url) -> Iterator[None]:
        """Let one process of this machine at a time change the copies of a URL."""
        home = self.home(url)
        home.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            # Some file systems know no locks; then a file may be fetched twice.
            with contextlib.suppress(NotImplementedError):
                held.enter_context(filelock.FileLock(home / ".lock"))
            yield


def unwritable(folder: Path, error: OSError) -> StorageError:
    """Return that a local copy cannot be written."""
    what = error.strerror or type(error).__name__
    return StorageError(f"{folder} cannot be written ({what})", "choose another --visualbias-cache")


def _is_whole(path: Path, entry: Entry) -> bool:
    try:
        size = path.stat().st_size
    except OSError:
        return False
    return entry.size is None or size == entry.size


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
