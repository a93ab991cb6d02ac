"""Vectors as they come from a network: gathered, and written to the cache now and then."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.embeddings.gram import LARGEST, Spilled, isometric
from pytest_visualbias.errors import EncoderError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["Keeper"]

# A killed run loses less than this much of its work.
EVERY_S: Final = 30.0


class Keeper:
    """Takes the vectors of a model, layer by layer.

    Parameters
    ----------
    cache : EmbeddingCache
        Where they are kept.
    keys : mapping of str to (str, str)
        By the name of the layer: the key of its vectors, and that of vectors which stand for maps
        too large to be kept.
    known : mapping of str to set of str
        Identities whose vectors the cache has, by the name of the layer: not kept again.
    notes : mapping
        What is recorded with them.

    Attributes
    ----------
    vectors : dict
        By the name of the layer, ``(dim,)`` by identity; complete after `finish`.
    unwritten : str
        Why the cache could not be written, where it could not.
    """

    def __init__(
        self,
        cache: EmbeddingCache,
        keys: Mapping[str, tuple[str, str]],
        known: Mapping[str, set[str]],
        notes: Mapping[str, Any],
    ) -> None:
        self._cache, self._keys, self._known, self._notes = cache, keys, known, notes
        self.unwritten = ""
        self._pending: dict[str, dict[str, np.ndarray]] = {name: {} for name in keys}
        self._spilled: dict[str, Spilled] = {}
        self._flushed = time.monotonic()
        self.vectors: dict[str, dict[str, np.ndarray]] = {name: {} for name in keys}

    def add(self, layer: LayerPoint, identities: Sequence[str], rows: np.ndarray) -> None:
        """Take the rows ``(n, dim)`` of some images at a layer.

        Raises
        ------
        EncoderError
            Where maps too large to be kept do not even fit on the disk for a while.
        """
        if layer.pooling == "flatten" and rows.shape[1] > LARGEST:
            self._spill(layer, identities, rows)
            return
        for identity, row in zip(identities, rows, strict=True):
            if identity not in self._known[layer.name]:
                # A view would keep the whole batch alive.
                self._pending[layer.name][identity] = row.copy()
        if time.monotonic() - self._flushed > EVERY_S:
            self.flush()

    def _spill(self, layer: LayerPoint, identities: Sequence[str], rows: np.ndarray) -> None:
        folder = self._cache.folder
        try:
            if layer.name not in self._spilled:
                # Beside the cache there is room; where it cannot be written, the system's place.
                can_write = folder is not None and os.access(folder, os.W_OK)
                self._spilled[layer.name] = Spilled(folder if can_write else None)
            self._spilled[layer.name].add(identities, rows)
        except OSError as error:
            raise EncoderError(
                f"layer '{layer.name}' gives {rows.shape[1]:,} values for each image, which pass "
                f"through a file ({error.strerror}); free space, or use another pooling"
            ) from None

    def flush(self) -> None:
        """Write what is not written; a full disk costs the next run time, never this its result."""
        for name, vectors in self._pending.items():
            self.vectors[name] |= vectors
            try:
                self._cache.store(self._keys[name][0], vectors, self._notes)
            except (OSError, StorageError) as error:
                self.unwritten = _reason(error)
            self._pending[name] = {}
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Write everything, with the vectors that stand for large maps."""
        self.flush()
        for name, spilled in self._spilled.items():
            rows = isometric(spilled.rows())
            spilled.close()
            self.vectors[name] = dict(zip(spilled.names, rows, strict=True))
            try:
                self._cache.store_together(self._keys[name][1], self.vectors[name], self._notes)
            except (OSError, StorageError) as error:
                self.unwritten = _reason(error)

    def close(self) -> None:
        """Keep what was computed, whatever happened then."""
        self.flush()
        for spilled in self._spilled.values():
            spilled.close()


def _reason(error: OSError | StorageError) -> str:
    return error.reason if isinstance(error, StorageError) else error.strerror or str(error)
