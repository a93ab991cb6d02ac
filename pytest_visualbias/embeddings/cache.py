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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Cached", "EmbeddingCache"]

FORMAT = "1"


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
    """A folder of embeddings; without a folder, they are kept for this run only."""

    folder: Path | None
    _memory: dict[str, Cached] = field(default_factory=dict, repr=False, compare=False)

    def load(self, key: str) -> Cached:
        """Return everything kept under a key; nothing where there is nothing."""
        if key not in self._memory:
            self._memory[key] = self._load(key)
        return self._memory[key]

    def _load(self, key: str) -> Cached:
        vectors: dict[str, np.ndarray] = {}
        notes: Mapping[str, Any] = {}
        for path in self._files(key):
            try:
                found, said = _read(path)
            except OSError:
                continue  # removed meanwhile, or not ours to read
            except (KeyError, TypeError, ValueError, safetensors.SafetensorError):
                with contextlib.suppress(OSError):
                    path.unlink()  # damaged: computed again
                continue
            vectors |= found
            notes = said
        return Cached(vectors=vectors, notes=notes)

    def store(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keep vectors ``(dim,)`` by digest of the image.

        Raises
        ------
        OSError
            Where the folder cannot be written.
        """
        if not vectors:
            return
        known = self.load(key).vectors
        self._memory[key] = Cached(vectors={**known, **vectors}, notes=notes)
        if self.folder is None:
            return
        folder = self.folder / FORMAT / key
        folder.mkdir(parents=True, exist_ok=True)
        digests = sorted(vectors)
        rows = np.stack([vectors[digest] for digest in digests]).astype(np.float32)
        metadata = {
            "digests": json.dumps(digests),
            "notes": json.dumps(notes),
            "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
        }
        content = safetensors.numpy.save({"vectors": rows}, metadata=metadata)
        _write_whole(folder / f"{hashlib.sha256(content).hexdigest()}.safetensors", content)

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

    def _files(self, key: str) -> list[Path]:
        if self.folder is None:
            return []
        return sorted((self.folder / FORMAT / key).glob("*.safetensors"))


def _read(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    with safetensors.safe_open(path, framework="numpy") as stored:
        rows = stored.get_tensor("vectors")
        metadata = stored.metadata()
    digests = json.loads(metadata["digests"])
    if hashlib.sha256(rows.tobytes()).hexdigest() != metadata["sha256"]:
        raise ValueError(f"{path} is damaged")
    return dict(zip(digests, rows, strict=True)), json.loads(metadata["notes"])


def _write_whole(path: Path, content: bytes) -> None:
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
