"""Results of tests that were computed before from the very same numbers.

To count a hundred billion relabellings takes a tenth of a second, and a suite over six layers and
two models asks for a thousand such counts. The results of a family are kept beside its embeddings,
each under the digest of everything that it follows from: all scores and cosines to the last bit,
the plan of the test, and the versions of what computed it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pytest_visualbias.embeddings.cache import FORMAT, write_whole
from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.digests import digest_of_mapping, digest_of_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.shared import SharedCache

__all__ = ["Remembered"]

NAME = "numbers.json"
VERSIONS = ("numpy", "pytest-visualbias", "scipy")
R = TypeVar("R")


class Remembered:
    """The results of one family.

    Parameters
    ----------
    folder : Path or None
        Of the cache; None to compute everything anew.
    shared : SharedCache or None
        Where several machines keep theirs. It need not be reached: that costs time only.
    family : mapping of str to str
        What tells this family from others.
    """

    def __init__(
        self, folder: Path | None, shared: SharedCache | None = None, /, **family: str
    ) -> None:
        self._key, self._shared = digest_of_mapping(family), shared
        self._path = None if folder is None else folder / FORMAT / self._key / NAME
        self._versions = {name: _version(name) for name in VERSIONS}
        self._known = self._load()
        self._used: dict[str, dict[str, Any]] = {}

    @classmethod
    def inside(cls, cache: EmbeddingCache | None, **family: str) -> Remembered:
        """Return the results of a family that lie in a cache."""
        if cache is None:
            return cls(None, **family)
        return cls(cache.folder, cache.shared, **family)

    def of(self, kind: type[R], compute: Callable[[], R], *basis: object) -> R:
        """Return a result, computed only where it is not known.

        Parameters
        ----------
        kind : type
            A dataclass of plain values.
        compute : callable
            Gives it.
        basis : object
            Everything that it follows from: arrays, dataclasses of them, plain values.
        """
        if self._path is None:
            return compute()
        key = _digest((kind.__qualname__, self._versions, basis))
        fields = self._known.get(key)
        if fields is not None:
            with contextlib.suppress(ValidationError):  # fields of another version of us
                self._used[key] = fields
                return TypeAdapter(kind).validate_python(fields)
        result = compute()
        self._used[key] = dataclasses.asdict(cast("Any", result))
        return result

    def save(self) -> None:
        """Keep what was used, and nothing else; a disk that refuses costs the next run time."""
        if self._path is None or self._used == self._known:
            return
        text = json.dumps(self._used)
        content = json.dumps({"results": text, "sha256": digest_of_text(text)})
        with contextlib.suppress(OSError, StorageError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, content.encode())
            if self._shared is not None:
                self._shared.push(self._key, self._path)

    def _load(self) -> dict[str, dict[str, Any]]:
        if self._path is None:
            return {}
        if self._shared is not None and not self._path.exists():
            self._shared.pull_numbers(self._key, self._path.parent)
        try:
            stored = json.loads(self._path.read_bytes())
            os.utime(self._path.parent)  # used now, as far as pruning is concerned
            if stored["sha256"] != digest_of_text(stored["results"]):
                return {}
            return cast("dict[str, dict[str, Any]]", json.loads(stored["results"]))
        except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
            return {}  # not there, or damaged: computed again


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest(value: object) -> str:
    state = hashlib.sha256()
    for piece in _pieces(value):
        state.update(len(piece).to_bytes(8, "little"))
        state.update(piece)
    return state.hexdigest()


def _pieces(value: object) -> list[bytes]:
    """Return bytes from which a value could be rebuilt, so that no two values share them."""
    if isinstance(value, np.ndarray):
        return [f"{value.dtype.str}{value.shape}".encode(), np.ascontiguousarray(value).tobytes()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return [type(value).__qualname__.encode(), *_pieces(fields)]
    if isinstance(value, dict):
        return [b"dict", *_pieces([part for pair in sorted(value.items()) for part in pair])]
    if isinstance(value, list | tuple):
        parts = [_pieces(part) for part in value]
        return [
            f"list{[len(part) for part in parts]}".encode(),
            *(p for part in parts for p in part),
        ]
    if value is None or isinstance(value, str | int | float):
        return [f"{type(value).__name__}:{value!r}".encode()]
    raise TypeError(f"{type(value).__name__} cannot be digested")
