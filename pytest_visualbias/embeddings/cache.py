"""Cache vectors on disk and in a shared remote store.

A key is the digest of a network and a layer (`EmbeddingJob.keys` in request.py); below a key, each
vector has the digest of its image.
"""

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
    """The cached vectors and notes of a key."""

    vectors: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingCache:
    """A folder of embeddings; without a folder, a cache in memory for this run."""

    folder: Path | None
    shared: SharedCache | None = None
    is_required: bool = False
    _memory: dict[str, Cached] = field(default_factory=dict, repr=False, compare=False)

    def load(self, key: str, wanted: Collection[str] = ()) -> Cached:
        """Return everything cached under a key."""
        if self._lacks(key, wanted):
            # Another process may have added to the folder since it was last read.
            self._reload(key)
        if (self._lacks(key, wanted) or self._fills) and self._pull(key):
            self._reload(key)
        return self._memory[key]

    def _lacks(self, key: str, wanted: Collection[str]) -> bool:
        return key not in self._memory or not self._memory[key].vectors.keys() >= set(wanted)

    def _reload(self, key: str) -> None:
        known, stored = self._memory.get(key, Cached(vectors={}, notes={})), self._read_all(key)
        self._memory[key] = Cached(
            vectors={**stored.vectors, **known.vectors}, notes=stored.notes or known.notes
        )

    @property
    def _fills(self) -> bool:
        return self.shared is not None and self.shared.fills

    def _read_all(self, key: str) -> Cached:
        vectors: dict[str, np.ndarray] = {}
        notes: Mapping[str, Any] = {}
        for stored in self._read_files(key):
            vectors |= stored.vectors
            notes = stored.notes
        return Cached(vectors=vectors, notes=notes)

    def _pull(self, key: str) -> bool:
        """Download a key from the shared cache; return whether anything was downloaded."""
        if self.folder is None or self.shared is None:
            return False
        return self.shared.pull(key, self.folder / FORMAT / key)

    def load_together(self, key: str, digests: Collection[str]) -> Cached | None:
        """Return vectors that one call stored together, if they include these images."""
        cached = self._find_together(key, digests)
        if (cached is None or self._fills) and self._pull(key):
            cached = self._find_together(key, digests)
        return cached

    def _find_together(self, key: str, digests: Collection[str]) -> Cached | None:
        known = self._memory.get(key)
        candidates = [known] if known is not None else []
        for cached in (*candidates, *self._read_files(key)):
            if cached.vectors.keys() >= set(digests):
                self._memory[key] = cached
                return cached
        return None

    def _read_files(self, key: str) -> Iterator[Cached]:
        """Yield the content of each file of a key, and delete damaged files."""
        if self.folder is None:
            return
        folder = self.folder / FORMAT / key
        with contextlib.suppress(OSError):
            os.utime(folder)  # used now, as far as pruning is concerned
        for path in _vector_files(folder):
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
        """Store vectors ``(dim,)`` by digest of the image."""
        if not vectors:
            return
        known = self.load(key).vectors
        self._memory[key] = Cached(vectors={**known, **vectors}, notes=notes)
        self._write(key, vectors, notes)

    def store_together(
        self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]
    ) -> None:
        """Store vectors that can be compared with each other only."""
        self._memory[key] = Cached(vectors=dict(vectors), notes=notes)
        self._write(key, vectors, notes)

    def append(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Store vectors without reading or remembering the key."""
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
        metadata = {"digests": json.dumps(digests), "notes": json.dumps(notes, sort_keys=True)}
        metadata["sha256"] = _checksum(key, rows, metadata)
        content = _with_sorted_header(safetensors.numpy.save({"vectors": rows}, metadata=metadata))
        path = folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        write_atomically(path, content)
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


def _with_sorted_header(content: bytes) -> bytes:
    """Return a safetensors file with sorted metadata, so that equal vectors make equal files."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _vector_files(folder: Path) -> list[Path]:
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
    """Return notes of the types that `encoder_notes` writes; raise TypeError for others."""
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
    """Return the digest of vectors, with their key and notes."""
    state = hashlib.sha256(f"{key}{rows.shape}".encode())
    state.update(rows.tobytes())
    for name in ("digests", "notes"):
        state.update(f"{name}:{metadata[name]}".encode())
    return state.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically."""
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
CACHE_FILE = re.compile(
    r"(\d+)/([0-9a-f]{64})/(?:[0-9a-f]{64}\.safetensors|numbers\.json)(\.\w+\.part)?"
)
THREADS = 8
DAY = 86_400.0
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteCacheKey:
    """A key in the shared cache."""

    format: str
    key: str
    files: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size or 0 for file in self.files)

    @property
    def written(self) -> float:
        """When the key was last written, in seconds since the epoch; stores do not record reads."""
        return max(file.changed for file in self.files)


@dataclass(kw_only=True, slots=True)
class SharedCache:
    """The cache at a URL."""

    url: Url
    fills: bool = False
    _failed: dict[str, StorageError] = field(default_factory=dict, repr=False)
    _pulled: set[str] = field(default_factory=set, repr=False)

    def check(self) -> None:
        """List the top folder, so that a run fails early if the cache is unreachable."""
        _list(self._store())

    def pull(self, key: str, folder: Path) -> bool:
        """Download the files that a local folder lacks; return whether there were any."""
        if key in self._pulled:
            return False
        was_pulled = self._unless_failed("read", lambda: self._pull(key, folder))
        self._pulled.add(key)
        return was_pulled

    def _pull(self, key: str, folder: Path) -> bool:
        store = self._store()
        entries = _list(store, self._key_path(key, folder))
        self._push_missing(key, folder, {entry.name for entry in entries})
        lacking = [
            entry
            for entry in entries
            if VECTORS.fullmatch(entry.name) and not (folder / entry.name).exists()
        ]
        if not lacking:
            return False
        _make_folder(folder)
        with ThreadPoolExecutor(THREADS) as pool:
            return any([*pool.map(lambda entry: _fetch_file(store, entry, folder), lacking)])

    def _push_missing(self, key: str, folder: Path, remote_names: Collection[str]) -> None:
        local_files = sorted(
            path for path in folder.glob("*.safetensors") if VECTORS.fullmatch(path.name)
        )
        # Who only wants to read need not be able to write.
        with contextlib.nullcontext() if self.fills else contextlib.suppress(StorageError):
            for path in local_files:
                if path.name not in remote_names:
                    self.push(key, path)

    def push(self, key: str, path: Path) -> None:
        """Upload a file of a key."""
        target = f"{self._key_path(key, path.parent)}/{path.name}"
        self._unless_failed("written", lambda: self._store().write(path.read_bytes(), target))

    def drop(self, key: str, path: Path) -> None:
        """Delete a damaged file, if that is allowed."""
        with contextlib.suppress(StorageError):
            store = self._store()
            store.remove(
                [f"{store.root.rstrip('/')}/{self._key_path(key, path.parent)}/{path.name}"]
            )

    def list_keys(self) -> tuple[list[RemoteCacheKey], list[Entry]]:
        """Return the keys, least recently written first, and leftovers of killed runs."""
        store = self._store()
        entries = _list(store, deep=True)
        keys: dict[tuple[str, str], list[Entry]] = {}
        leftovers = []
        for entry in entries:
            match = CACHE_FILE.fullmatch(entry.path.removeprefix(store.root).lstrip("/"))
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

    def _key_path(self, key: str, folder: Path) -> str:
        return f"{folder.parent.name}/{key}"

    def _unless_failed(self, operation: str, action: Callable[[], Result]) -> Result:
        """Run an operation unless one of its kind has failed, as each retry may take long."""
        if operation in self._failed:
            raise self._failed[operation]
        try:
            return action()
        except StorageError as error:
            self._failed[operation] = error
            raise


def _list(store: Store, path: str = "", *, deep: bool = False) -> Sequence[Entry]:
    """Return the entries of a folder; none if the folder does not exist yet."""
    try:
        return store.listing(path, deep=deep)
    except StorageError as error:
        if error.is_missing:
            return ()
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(
            f"{folder} cannot be written ({reason})",
            "say with VISUALBIAS_CACHE where the local part of the cache is",
        ) from None


def _fetch_file(store: Store, entry: Entry, folder: Path) -> bool:
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
