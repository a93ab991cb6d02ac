"""Maps too large to be kept: their cosines are, as the vectors of a smaller space.

A flattened feature map can have a million values. All that a test needs of some hundred of them is
their cosines, and from these follow vectors of as many dimensions as there are images.
"""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["LARGEST", "Spilled", "isometric"]

LARGEST: Final = 100_000
BLOCK_BYTES: Final = 2**26


class Spilled:
    """Large rows in a temporary file, which is gone when this is.

    Parameters
    ----------
    folder : Path or None
        Where the file lies; None for the system's place.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this object
        self.names: list[str] = []

    def add(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Append rows ``(n, dim)``.

        Raises
        ------
        OSError
            Where the disk is full.
        """
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.names += names

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def rows(self) -> np.ndarray:
        """Return all rows ``(n, dim)``, read from the file as they are needed."""
        self._file.flush()
        flat = np.memmap(self._file, dtype=np.float32, mode="r")
        return flat.reshape(len(self.names), -1)


def isometric(rows: np.ndarray) -> np.ndarray:
    """Find shorter rows that have the same cosines with each other.

    Parameters
    ----------
    rows : ndarray
        ``(n, dim)``, float32; only some columns of it are read at a time.

    Returns
    -------
    ndarray
        ``(n, n)``, float32, of unit norm. A zero row stays zero and one with a NaN or an infinity
        becomes NaN, so that a test still refuses them.

    Notes
    -----
    With ``G`` the matrix of all cosines and ``G = Q diag(w) Q'``, the rows of ``Q sqrt(w)`` have
    the inner products ``G``. Products are added up in float64, block by block of columns.
    """
    squares, products = _products(rows)
    finite = np.isfinite(squares)
    norms = np.sqrt(np.where(finite & (squares > 0), squares, 1.0))
    cosines = np.where(np.outer(finite, finite), products, 0.0) / np.outer(norms, norms)
    values, vectors = np.linalg.eigh((cosines + cosines.T) / 2)
    found: np.ndarray = vectors * np.sqrt(np.maximum(values, 0.0))
    found[squares == 0] = 0.0
    found[~finite] = np.nan
    return found.astype(np.float32)


def _products(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared norms ``(n,)`` and inner products ``(n, n)`` of all rows."""
    count, dim = rows.shape
    width = max(1, math.floor(BLOCK_BYTES / (8 * count)))
    products = np.zeros((count, count))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, dim, width):
            block = rows[:, start : start + width].astype(np.float64)
            products += block @ block.T
    return np.diagonal(products).copy(), products
