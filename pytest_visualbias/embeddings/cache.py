"""Embeddings kept by the content of everything they depend on.

A folder for every key (the digest of weights, code, versions, preprocessing, decoding, layer,
pooling and precision) holds safetensors files, each with the vectors of some images by the digest
of the image. Files are written under a temporary name and renamed, never changed; a damaged one
is dropped. Adding an image adds a file with one vector.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import safetensors
import safetensors.numpy

from pytest_visualbias.errors import EngineError, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_visualbias.embeddings.shared import SharedCache

__all__ = ["FORMAT", "Cached", "EmbeddingCache", "write_whole"]

# The name of the folder below the cache's own: another one wherever files are laid out otherwise.
FORMAT = "4"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cached:
    """What the cache has for a key.

    Attributes
    ----------
    vectors : mapping of str to array
        ``(dim,)`` float32 by digest of the image.
    notes : mapping
        What was recorded with them: preprocessing and description of the model.
    """

    vectors: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingCache:
    """A folder of embeddings; without a folder, they are kept for this run only.

    Attributes
    ----------
    folder : Path or None
        Where they are kept on this machine.
    shared : SharedCache or None
        Where several machines keep them, behind the folder.
    is_required : bool
        Whether vectors that cannot be written are an error, not only embedded again next time.
    """

    folder: Path | None
    shared: SharedCache | None = None
    is_required: bool = False
    _memory: dict[str, Cached] = field(default_factory=dict, repr=False, compare=False)

    def load(self, key: str, wanted: Collection[str] = ()) -> Cached:
        """Return everything kept under a key; nothing where there is nothing.

        Where vectors of the wanted images are not in the folder, the shared cache is asked.

        Raises
        ------
        StorageError
            Where the shared cache cannot be read.
        """
        if self._lacks(key, wanted):
            # Another process may have added to the folder since it was last read.
            self._read_again(key)
        if (self._lacks(key, wanted) or self._fills) and self._pull(key):
            self._read_again(key)
        return self._memory[key]

    def _lacks(self, key: str, wanted: Collection[str]) -> bool:
        return key not in self._memory or not self._memory[key].vectors.keys() >= set(wanted)

    def _read_again(self, key: str) -> None:
        known, found = self._memory.get(key, Cached(vectors={}, notes={})), self._all(key)
        self._memory[key] = Cached(
            vectors={**found.vectors, **known.vectors}, notes=found.notes or known.notes
        )

    @property
    def _fills(self) -> bool:
        return self.shared is not None and self.shared.fills

    def _all(self, key: str) -> Cached:
        vectors: dict[str, np.ndarray] = {}
        notes: Mapping[str, Any] = {}
        for found in self._whole(key):
            vectors |= found.vectors
            notes = found.notes
        return Cached(vectors=vectors, notes=notes)

    def _pull(self, key: str) -> bool:
        """Bring what the shared cache has of a key; return whether there was any."""
        if self.folder is None or self.shared is None:
            return False
        return self.shared.pull(key, self.folder / FORMAT / key)

    def load_together(self, key: str, digests: Collection[str]) -> Cached | None:
        """Return vectors that were stored by one call, those of these images among them.

        For vectors that may be compared with those of the same call only.

        Raises
        ------
        StorageError
            Where the shared cache cannot be read.
        """
        found = self._together(key, digests)
        if (found is None or self._fills) and self._pull(key):
            found = self._together(key, digests)
        return found

    def _together(self, key: str, digests: Collection[str]) -> Cached | None:
        known = self._memory.get(key)
        candidates = [known] if known is not None else []
        for found in (*candidates, *self._whole(key)):
            if found.vectors.keys() >= set(digests):
                self._memory[key] = found
                return found
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
        """Keep vectors ``(dim,)`` by digest of the image.

        Raises
        ------
        OSError
            Where the folder cannot be written.
        StorageError
            Where the shared cache cannot.
        EngineError
            For both, if the cache is required.
        """
        if not vectors:
            return
        known = self.load(key).vectors
        self._memory[key] = Cached(vectors={**known, **vectors}, notes=notes)
        self._write(key, vectors, notes)

    def store_together(
        self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]
    ) -> None:
        """Keep vectors that may be compared with each other only.

        Raises
        ------
        OSError
            Where the folder cannot be written.
        StorageError
            Where the shared cache cannot.
        """
        self._memory[key] = Cached(vectors=dict(vectors), notes=notes)
        self._write(key, vectors, notes)

    def append(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keep vectors without a look at what is there, and remember none of them.

        Raises
        ------
        OSError
            Where the folder cannot be written.
        """
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
    return Cached(vectors=vectors, notes=json.loads(metadata["notes"]))


def _checksum(key: str, rows: np.ndarray, metadata: Mapping[str, str]) -> str:
    """Return a digest of the vectors, whose they are, and what is noted with them.

    The key is in it, for a file that strayed into the folder of another network would be taken for
    that one's.
    """
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
