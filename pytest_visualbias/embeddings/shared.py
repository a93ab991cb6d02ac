"""The cache of several machines, at a URL: the files of the local one, under the same names.

What the local folder lacks is brought from there by one listing of its key, and what is computed
is put there. A file's name is the digest of its bytes, so what was damaged there is known at once;
it is removed and computed again.
"""

from __future__ import annotations

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.errors import StorageError
from pytest_visualbias.remote.store import open_store
from pytest_visualbias.spec.digests import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from pytest_visualbias.remote.entries import Entry
    from pytest_visualbias.remote.store import Store
    from pytest_visualbias.remote.urls import Url

__all__ = ["Held", "SharedCache"]

VECTORS = re.compile(r"([0-9a-f]{64})\.safetensors")
OURS = re.compile(r"(\d+)/([0-9a-f]{64})/(?:[0-9a-f]{64}\.safetensors|numbers\.json)(\.\w+\.part)?")
NUMBERS = "numbers.json"
THREADS = 8
# Runs write what they have every half a minute, which is far less.
LARGEST = 4 << 30
DAY = 86_400.0
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One key in the shared cache.

    Attributes
    ----------
    format, key : str
        The names of its folders.
    files : tuple of Entry
        What lies there.
    """

    format: str
    key: str
    files: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size or 0 for one in self.files)

    @property
    def written(self) -> float:
        """When it was last added to, in seconds since the epoch: who read it, no store says."""
        return max(one.changed for one in self.files)


@dataclass(kw_only=True, slots=True)
class SharedCache:
    """The cache at a URL.

    Attributes
    ----------
    url : Url
        Where.
    fills : bool
        Whether what lies here already is to be there, too, whoever computed it.
    """

    url: Url
    fills: bool = False
    _failed: dict[str, StorageError] = field(default_factory=dict, repr=False)
    _seen: set[str] = field(default_factory=set, repr=False)

    def check(self) -> None:
        """Ask for the listing of its top, so that a run that cannot reach it does not begin.

        Raises
        ------
        StorageError
            Where it cannot be reached; that nothing is there yet is no fault.
        """
        with contextlib.suppress(_Nothing):
            _listed(self._store())

    def pull(self, key: str, folder: Path) -> bool:
        """Bring what the local folder of a key lacks; return whether there was any.

        What is found to be here only is put there. Asked again for the same key, it brings
        nothing: a run asks for each once.

        Raises
        ------
        StorageError
            Where it cannot be had.
        """
        if key in self._seen:
            return False
        found = self._once("read", lambda: self._pull(key, folder))
        self._seen.add(key)
        return found

    def _pull(self, key: str, folder: Path) -> bool:
        store = self._store()
        try:
            entries = _listed(store, self._at(key, folder))
        except _Nothing:
            entries = ()
        self._give(key, folder, {one.name for one in entries})
        lacking = [
            one
            for one in entries
            if VECTORS.fullmatch(one.name)
            and (one.size or 0) <= LARGEST
            and not (folder / one.name).exists()
        ]
        if not lacking:
            return False
        _make(folder)
        with ThreadPoolExecutor(THREADS) as pool:
            return any([*pool.map(lambda one: _whole(store, one, folder), lacking)])

    def _give(self, key: str, folder: Path, there: Collection[str]) -> None:
        own = sorted(one for one in folder.glob("*.safetensors") if VECTORS.fullmatch(one.name))
        # Who only wants to read need not be able to write.
        with contextlib.nullcontext() if self.fills else contextlib.suppress(StorageError):
            for path in own:
                if path.name not in there:
                    self.push(key, path)

    def pull_numbers(self, key: str, folder: Path) -> None:
        """Bring the results of a family of tests, if they are there; a fault costs time only."""
        with contextlib.suppress(StorageError, _Nothing, OSError):
            self._once("read", lambda: self._numbers(key, folder))

    def _numbers(self, key: str, folder: Path) -> None:
        store = self._store()
        try:
            entry = store.entry(f"{self._at(key, folder)}/{NUMBERS}")
        except StorageError as error:
            if error.is_missing:
                raise _Nothing from None
            raise
        if (entry.size or 0) <= LARGEST:
            _make(folder)
            store.fetch(entry, folder / NUMBERS)

    def push(self, key: str, path: Path) -> None:
        """Put a file of a key there.

        Raises
        ------
        StorageError
            Where it cannot be written.
        """
        if path.stat().st_size > LARGEST:
            return
        target = f"{self._at(key, path.parent)}/{path.name}"
        self._once("written", lambda: self._store().write(path.read_bytes(), target))

    def drop(self, key: str, path: Path) -> None:
        """Remove what is damaged there, too, where that is allowed."""
        with contextlib.suppress(StorageError):
            store = self._store()
            store.remove([f"{store.root.rstrip('/')}/{self._at(key, path.parent)}/{path.name}"])

    def survey(self) -> tuple[list[Held], list[Entry]]:
        """Return the keys there, the longest unwritten first, and what killed runs left.

        Raises
        ------
        StorageError
            Where it cannot be read.
        """
        store = self._store()
        try:
            entries = _listed(store, deep=True)
        except _Nothing:
            return [], []
        keys: dict[tuple[str, str], list[Entry]] = {}
        leftovers = []
        for one in entries:
            found = OURS.fullmatch(one.path.removeprefix(store.root).lstrip("/"))
            if found is None or one.is_folder:
                continue  # not ours: never touched
            if found[3] is None:
                keys.setdefault((found[1], found[2]), []).append(one)
            elif one.changed < time.time() - DAY:
                leftovers.append(one)
        held = [Held(format=home, key=key, files=(*some,)) for (home, key), some in keys.items()]
        return sorted(held, key=lambda one: (one.written, one.key)), leftovers

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove files.

        Raises
        ------
        StorageError
            Where one cannot be removed.
        """
        self._store().remove([one.path for one in entries])

    def _store(self) -> Store:
        return open_store(self.url)

    def _at(self, key: str, folder: Path) -> str:
        return f"{folder.parent.name}/{key}"

    def _once(self, what: str, action: Callable[[], Result]) -> Result:
        """Do something unless the like has failed: each try may take as long as patience lasts."""
        if what in self._failed:
            raise self._failed[what]
        try:
            return action()
        except StorageError as error:
            self._failed[what] = error
            raise


class _Nothing(Exception):  # noqa: N818 - never leaves this module
    """Nothing is there, which is no fault of a cache."""


def _listed(store: Store, path: str = "", *, deep: bool = False) -> Sequence[Entry]:
    try:
        return store.listing(path, deep=deep)
    except StorageError as error:
        if error.is_missing:
            raise _Nothing from None
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise StorageError(
            f"{folder} cannot be written ({what}); say with VISUALBIAS_CACHE where the local part "
            "of the cache is"
        ) from None


def _whole(store: Store, entry: Entry, folder: Path) -> bool:
    """Bring one file of vectors; return whether it is what its name says."""
    target = folder / entry.name
    try:
        store.fetch(entry, target)
    except StorageError as error:
        if error.is_missing:
            return False  # pruned meanwhile
        raise
    if f"{digest_of_file(target)}.safetensors" == entry.name:
        return True
    target.unlink(missing_ok=True)
    with contextlib.suppress(StorageError):  # whoever may only read computes it again every time
        store.remove([entry.path])
    return False
