"""Cache of vectors, on disk and in a shared remote store."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock
import numpy as np
import safetensors.numpy

from pytest_visualbias.errors import EngineError, StorageError
from pytest_visualbias.models.encoder import ReadOut
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.remote import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_visualbias.spec.urls import Url
    from pytest_visualbias.stimuli.remote import Entry, Store

# The name of the folder below the cache's own: another one wherever files are laid out otherwise.
FORMAT = "4"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cached:
    """What the cache has for a key."""

    vectors: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingCache:
    """A folder of embeddings; without a folder, they are kept for this run only."""

    folder: Path | None
    shared: SharedCache | None = None
    is_required: bool = False
    _memory: dict[str, Cached] = field(default_factory=dict, repr=False, compare=False)

    def load(self, key: str, wanted: Collection[str] = ()) -> Cached:
        """Return everything kept under a key; nothing where there is nothing."""
        if self._lacks(key, wanted):
            # Another process may have added to the folder since it was last read.
            self._read_again(key)
        if (self._lacks(key, wanted) or self._fills) and self._pull(key):
            self._read_again(key)
        return self._memory[key]

    def _lacks(self, key: str, wanted: Collection[str]) -> bool:
        return key not in self._memory or not self._memory[key].vectors.keys() >= set(wanted)

    def _read_again(self, key: str) -> None:
        known, stored = self._memory.get(key, Cached(vectors={}, notes={})), self._all(key)
        self._memory[key] = Cached(
            vectors={**stored.vectors, **known.vectors}, notes=stored.notes or known.notes
        )

    @property
    def _fills(self) -> bool:
        return self.shared is not None and self.shared.fills

    def _all(self, key: str) -> Cached:
        vectors: dict[str, np.ndarray] = {}
        notes: Mapping[str, Any] = {}
        for stored in self._whole(key):
            vectors |= stored.vectors
            notes = stored.notes
        return Cached(vectors=vectors, notes=notes)

    def _pull(self, key: str) -> bool:
        """Bring what the shared cache has of a key; return whether there was any."""
        if self.folder is None or self.shared is None:
            return False
        return self.shared.pull(key, self.folder / FORMAT / key)

    def load_together(self, key: str, digests: Collection[str]) -> Cached | None:
        """Return vectors that were stored by one call, those of these images among them."""
        cached = self._together(key, digests)
        if (cached is None or self._fills) and self._pull(key):
            cached = self._together(key, digests)
        return cached

    def _together(self, key: str, digests: Collection[str]) -> Cached | None:
        known = self._memory.get(key)
        candidates = [known] if known is not None else []
        for cached in (*candidates, *self._whole(key)):
            if cached.vectors.keys() >= set(digests):
                self._memory[key] = cached
                return cached
        return None

    def _whole(self, key: str) -> Iterator[Cached]:
        """Yield the content of each file of a key; drop those that are damaged."""
        if self.folder is None:
            return
        folder = self.folder / FORMAT / key
        with contextlib.suppress(OSError):
            os.utime(folder)  # used now, as far as pruning is concerned
        for path in _files(folder):
            try:
                yield _read(path, key)
            except OSError:
                continue  # removed meanwhile, or not ours to read
            except (KeyError, TypeError, ValueError, safetensors.SafetensorError):
                with contextlib.suppress(OSError):
                    path.unlink()  # damaged: computed again
                if self.shared is not None:
                    self.shared.drop(key, path)

    def store(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keep vectors ``(dim,)`` by digest of the image."""
        if not vectors:
            return
        known = self.load(key).vectors
        self._memory[key] = Cached(vectors={**known, **vectors}, notes=notes)
        self._write(key, vectors, notes)

    def store_together(
        self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]
    ) -> None:
        """Keep vectors that may be compared with each other only."""
        self._memory[key] = Cached(vectors=dict(vectors), notes=notes)
        self._write(key, vectors, notes)

    def append(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keep vectors without a look at what is there, and remember none of them."""
        if vectors:
            self._write(key, vectors, notes)

    def _write(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        try:
            self._write_file(self.folder / FORMAT / key, key, vectors, notes)
        except (OSError, StorageError) as error:
            if not self.is_required:
                raise
            raise EngineError(self._unwritten(error)) from None

    def _unwritten(self, error: OSError | StorageError) -> str:
        if isinstance(error, StorageError):
            return f"the cache {error}"
        return (
            f"the cache in {self.folder} cannot be written ({error.strerror or error}); free "
            "space, or name another one with --cache"
        )

    def _write_file(
        self, folder: Path, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        digests = sorted(vectors)
        rows = np.stack([vectors[digest] for digest in digests]).astype(np.float32)
        metadata = {"digests": json.dumps(digests), "notes": json.dumps(notes)}
        metadata["sha256"] = _checksum(key, rows, metadata)
        content = safetensors.numpy.save({"vectors": rows}, metadata=metadata)
        path = folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        write_whole(path, content)
        if self.shared is not None:
            self.shared.push(key, path)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Let one process at a time compute what a key lacks."""
        if self.folder is None:
            yield
            return
        folder = self.folder / FORMAT
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"{key}.lock"):
            yield


def _files(folder: Path) -> list[Path]:
    # The folder may be pruned while it is looked at.
    with contextlib.suppress(OSError):
        return sorted(folder.glob("*.safetensors"))
    return []


def _read(path: Path, key: str) -> Cached:
    with safetensors.safe_open(path, framework="numpy") as stored:
        rows = stored.get_tensor("vectors")
        metadata = stored.metadata()
    if _checksum(key, rows, metadata) != metadata["sha256"]:
        raise ValueError(f"{path} is damaged")
    digests = json.loads(metadata["digests"])
    vectors = dict(zip(digests, rows, strict=True))
    return Cached(vectors=vectors, notes=_checked_notes(json.loads(metadata["notes"])))


def _checked_notes(notes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return notes of the types that `notes_of` writes; raise TypeError for others."""
    types = {"preprocessing": dict, "description": dict, "classes": list, "read_out": dict}
    if not isinstance(notes, dict):
        raise TypeError("notes")
    for name, expected in types.items():
        if not isinstance(notes.get(name, expected()), expected):
            raise TypeError(name)
    read_out = ReadOut(**notes.get("read_out", {}))
    texts = (*notes.get("classes", ()), *dataclasses.astuple(read_out))
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("classes or read_out")
    return notes


def _checksum(key: str, rows: np.ndarray, metadata: Mapping[str, str]) -> str:
    """Return a digest of the vectors, whose they are, and what is noted with them."""
    state = hashlib.sha256(f"{key}{rows.shape}".encode())
    state.update(rows.tobytes())
    for name in ("digests", "notes"):
        state.update(f"{name}:{metadata[name]}".encode())
    return state.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there with all of its bytes or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


VECTORS = re.compile(r"([0-9a-f]{64})\.safetensors")
OURS = re.compile(r"(\d+)/([0-9a-f]{64})/(?:[0-9a-f]{64}\.safetensors|numbers\.json)(\.\w+\.part)?")
THREADS = 8

# Runs write what they have every half a minute, which is far less.
LARGEST = 4 << 30
DAY = 86_400.0
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteCacheKey:
    """One key in the shared cache."""

    format: str
    key: str
    files: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size or 0 for file in self.files)

    @property
    def written(self) -> float:
        """When it was last added to, in seconds since the epoch: who read it, no store says."""
        return max(file.changed for file in self.files)


@dataclass(kw_only=True, slots=True)
class SharedCache:
    """The cache at a URL."""

    url: Url
    fills: bool = False
    _failed: dict[str, StorageError] = field(default_factory=dict, repr=False)
    _seen: set[str] = field(default_factory=set, repr=False)

    def check(self) -> None:
        """Ask for the listing of its top, so that a run that cannot reach it does not begin."""
        with contextlib.suppress(_NullContext):
            _listed(self._store())

    def pull(self, key: str, folder: Path) -> bool:
        """Bring what the local folder of a key lacks; return whether there was any."""
        if key in self._seen:
            return False
        is_present = self._once("read", lambda: self._pull(key, folder))
        self._seen.add(key)
        return is_present

    def _pull(self, key: str, folder: Path) -> bool:
        store = self._store()
        try:
            entries = _listed(store, self._at(key, folder))
        except _NullContext:
            entries = ()
        self._give(key, folder, {entry.name for entry in entries})
        lacking = [
            entry
            for entry in entries
            if VECTORS.fullmatch(entry.name)
            and (entry.size or 0) <= LARGEST
            and not (folder / entry.name).exists()
        ]
        if not lacking:
            return False
        _make(folder)
        with ThreadPoolExecutor(THREADS) as pool:
            return any([*pool.map(lambda entry: _whole(store, entry, folder), lacking)])

    def _give(self, key: str, folder: Path, texts: Collection[str]) -> None:
        local_files = sorted(
            path for path in folder.glob("*.safetensors") if VECTORS.fullmatch(path.name)
        )
        # Who only wants to read need not be able to write.
        with contextlib.nullcontext() if self.fills else contextlib.suppress(StorageError):
            for path in local_files:
                if path.name not in texts:
                    self.push(key, path)

    def push(self, key: str, path: Path) -> None:
        """Put a file of a key there."""
        if path.stat().st_size > LARGEST:
            return
        target = f"{self._at(key, path.parent)}/{path.name}"
        self._once("written", lambda: self._store().write(path.read_bytes(), target))

    def drop(self, key: str, path: Path) -> None:
        """Remove what is damaged there, too, where that is allowed."""
        with contextlib.suppress(StorageError):
            store = self._store()
            store.remove([f"{store.root.rstrip('/')}/{self._at(key, path.parent)}/{path.name}"])

    def survey(self) -> tuple[list[RemoteCacheKey], list[Entry]]:
        """Return the keys there, the longest unwritten first, and what killed runs left."""
        store = self._store()
        try:
            entries = _listed(store, deep=True)
        except _NullContext:
            return [], []
        keys: dict[tuple[str, str], list[Entry]] = {}
        leftovers = []
        for entry in entries:
            match = OURS.fullmatch(entry.path.removeprefix(store.root).lstrip("/"))
            if match is None or entry.is_folder:
                continue  # not ours: never touched
            if match[3] is None:
                keys.setdefault((match[1], match[2]), []).append(entry)
            elif entry.changed < time.time() - DAY:
                leftovers.append(entry)
        held = [
            RemoteCacheKey(format=home, key=key, files=(*some,))
            for (home, key), some in keys.items()
        ]
        return sorted(held, key=lambda cache_key: (cache_key.written, cache_key.key)), leftovers

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove files."""
        self._store().remove([entry.path for entry in entries])

    def _store(self) -> Store:
        return open_store(self.url)

    def _at(self, key: str, folder: Path) -> str:
        return f"{folder.parent.name}/{key}"

    def _once(self, operation: str, action: Callable[[], Result]) -> Result:
        """Do something unless the like has failed: each try may take as long as patience lasts."""
        if operation in self._failed:
            raise self._failed[operation]
        try:
            return action()
        except StorageError as error:
            self._failed[operation] = error
            raise


class _NullContext(Exception):  # noqa: N818 - never leaves this module
    """Nothing is there, which is no fault of a cache."""


def _listed(store: Store, path: str = "", *, deep: bool = False) -> Sequence[Entry]:
    try:
        return store.listing(path, deep=deep)
    except StorageError as error:
        if error.is_missing:
            raise _NullContext from None
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(
            f"{folder} cannot be written ({reason})",
            "say with VISUALBIAS_CACHE where the local part of the cache is",
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
