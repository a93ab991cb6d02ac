"""Scale embeddings to unit norm and compute their cosines.

An association ``mean_a cos(w, a) - mean_b cos(w, b)`` is the inner product of the unit vector of
``w`` with the difference of two centroids of unit vectors, so no matrix of cosines is formed. This
also keeps precision if all cosines are near 0.95 and differ by 1e-4: the centroids are subtracted
before the product, not after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pytest_visualbias.errors import DegenerateTestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from numpy.typing import ArrayLike, NDArray

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]

_SCALING: Final = 4 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UnitRows:
    """Embeddings of one set, scaled to length one.

    Attributes
    ----------
    role : str
        The set: ``X``, ``Y``, ``A`` or ``B``.
    rows : ndarray
        `(n, dim)`, float64, every row of Euclidean norm one, or the mean of such rows.
    rounding : float
        Relative rounding error of one number: the machine epsilon of the input's dtype, plus the
        error of scaling in float64.
    """

    role: str
    rows: Matrix
    rounding: float

    @property
    def centroid(self) -> Vector:
        """Mean unit vector, `(dim,)`, bitwise independent of the order of the rows."""
        total: Vector = np.sort(self.rows, axis=0).sum(axis=0)
        return total / len(self.rows)

    def along(self, direction: Vector) -> Vector:
        """Return the inner product of each row with `direction` `(dim,)`, as `(n,)`."""
        # A product by BLAS would round a row by its position and by the machine.
        products: Vector = (self.rows * direction).sum(axis=1)
        return products


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupedRows:
    """Embeddings of one set with the group that each image belongs to.

    Attributes
    ----------
    rows : ndarray
        `(n, dim)`.
    groups : tuple of str
        `(n,)`.
    """

    rows: NDArray[np.generic]
    groups: tuple[str, ...]

    def means(self, values: Matrix) -> Matrix:
        """Average values `(n, ...)` over each group, in the order of their names."""
        names = np.array(self.groups)
        return np.stack([values[names == name].mean(axis=0) for name in np.unique(names)])


Embeddings: TypeAlias = "ArrayLike | GroupedRows"


def unit_rows(embeddings: Embeddings, role: str) -> UnitRows:
    """Scale embeddings to unit norm in float64; for groups, return the mean unit vectors.

    Parameters
    ----------
    embeddings : array_like or GroupedRows
        `(n, dim)`, one row per image.
    role : str
        The set, for messages: ``X``, ``Y``, ``A`` or ``B``.

    Returns
    -------
    UnitRows

    Raises
    ------
    DegenerateTestError
        If the array is not two-dimensional, is empty, or has a row that is not finite or is zero.
    """
    if isinstance(embeddings, GroupedRows):
        images = unit_rows(embeddings.rows, role)
        return replace(images, rows=embeddings.means(images.rows))
    given = np.asarray(embeddings)
    _require_matrix(given, role)
    rows = np.array(given, dtype=np.float64, order="C")
    peaks = np.abs(rows).max(axis=1, keepdims=True)
    _refuse_row(~np.isfinite(peaks[:, 0]), role, "holds a NaN or an infinity")
    _refuse_row(peaks[:, 0] == 0, role, "is a zero vector, which has no direction")
    # Dividing by the largest entry first keeps the squares of very large or small rows in range.
    rows /= peaks
    rows /= np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    dtype = given.dtype if np.issubdtype(given.dtype, np.floating) else rows.dtype
    rounding = float(np.finfo(dtype).eps) + _SCALING
    return UnitRows(role=role, rows=rows, rounding=rounding)


def compute_cosines(rows: Sequence[UnitRows], columns: Sequence[UnitRows]) -> Matrix:
    """Return all cosines between the images of two lists of sets, `(rows, columns)`."""
    cosines: Matrix = (
        np.concatenate([part.rows for part in rows])
        @ np.concatenate([part.rows for part in columns]).T
    )
    return cosines


def _require_matrix(given: NDArray[np.generic], role: str) -> None:
    """Raise if an array is not a non-empty matrix of real numbers."""
    if not np.can_cast(given.dtype, np.float64, casting="same_kind"):
        raise DegenerateTestError(
            f"{role} must be an array of real numbers, not of {given.dtype}", role=role
        )
    if given.ndim != 2:
        raise DegenerateTestError(
            f"{role} must be an array of shape (images, dim), not {given.shape}", role=role
        )
    if given.shape[0] == 0:
        raise DegenerateTestError(
            f"{role} is empty", "an association needs at least two images in it", role=role
        )
    if given.shape[1] == 0:
        raise DegenerateTestError(
            f"{role} has embeddings of length zero, shape {given.shape}", role=role
        )


def _refuse_row(faulty: NDArray[np.bool_], role: str, problem: str) -> None:
    """Raise for the first faulty row, if there is one."""
    if faulty.any():
        row = int(faulty.argmax())
        raise DegenerateTestError(
            f"row {row} of {role} {problem}", "check that image and the model", role=role, row=row
        )
