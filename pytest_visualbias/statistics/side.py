"""One side of an association: the scores of two sets whose labels a permutation exchanges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import DegenerateTestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

__all__ = ["Side", "constant_scores", "mean", "read_only", "spread"]

_CONSTANT: Final = 1e-12
_LARGEST: Final = 1e100
_SMALLEST: Final = 1e-100


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean, correctly rounded and so the same in any order."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def spread(values: Vector) -> float:
    """Sample standard deviation (ddof 1) of `(n,)`, the same in any order."""
    centred = values - mean(values)
    return math.sqrt(math.fsum(centred * centred) / (len(values) - 1))


def read_only(values: ArrayLike, role: str) -> Vector:
    """Copy `values` into a read-only float64 vector `(n,)`.

    Raises
    ------
    DegenerateTestError
        If they are not one-dimensional, none at all, not all finite, or so large that their
        squares are not.
    """
    vector: Vector = np.array(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        message = f"the scores of {role} must be of shape (images,), not {vector.shape}"
        raise DegenerateTestError(message, role=role)
    finite = np.isfinite(vector)
    if not finite.all():
        row = int((~finite).argmax())
        message = f"score {row} of {role} is not finite"
        raise DegenerateTestError(message, role=role, row=row)
    if np.abs(vector).max() > _LARGEST:
        message = f"the scores of {role} exceed {_LARGEST:g}; standardise them before the test"
        raise DegenerateTestError(message, role=role)
    vector.flags.writeable = False
    return vector


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Side:
    """Scores of the two sets that are compared.

    Attributes
    ----------
    first, second : ndarray
        Scores, `(n_1,)` and `(n_2,)`.
    roles : tuple of str
        What the two sets are called: ``("X", "Y")`` or ``("A", "B")``.
    magnitude : float
        Sum of the absolute values whose rounding the scores carry; ties are judged relative to it.
    """

    first: Vector
    second: Vector
    roles: tuple[str, str]
    magnitude: float

    @classmethod
    def of(cls, first: Vector, second: Vector, roles: tuple[str, str]) -> Side:
        """Make a side whose scores carry the rounding of their own size only."""
        magnitude = float(np.abs(first).sum() + np.abs(second).sum())
        return cls(first=first, second=second, roles=roles, magnitude=magnitude)

    @property
    def pooled(self) -> Vector:
        """Scores of both sets together, `(n_1 + n_2,)`."""
        return np.concatenate([self.first, self.second])

    @property
    def difference(self) -> float:
        """Difference of the two means: of standardised scores, the effect size."""
        return mean(self.first) - mean(self.second)

    @property
    def sizes(self) -> tuple[int, int]:
        """Sizes of the two sets."""
        return len(self.first), len(self.second)

    def fault(self) -> DegenerateTestError | None:
        """Say why this side cannot be tested, if it cannot.

        A set of one image has no variance of its own, without which unequal sizes cannot be judged
        (and 1 against 1 reads d = 1.41 whatever the image).
        """
        for role, size in zip(self.roles, self.sizes, strict=True):
            if size < 2:
                message = f"{role} holds {size} image; at least two are needed in each set compared"
                return DegenerateTestError(message, role=role)
        pooled = self.pooled
        largest = float(np.abs(pooled).max())
        if 0 < largest < _SMALLEST:
            message = (
                f"the scores of {self.roles[0]} and {self.roles[1]} are all below {_SMALLEST:g}; "
                "standardise them before the test"
            )
            return DegenerateTestError(message)
        if spread(pooled) <= _CONSTANT * largest:
            return constant_scores(self.roles)
        return None


def constant_scores(roles: tuple[str, str]) -> DegenerateTestError:
    """Make the error for scores that are all equal, which have no effect size."""
    return DegenerateTestError(
        f"all images of {roles[0]} and {roles[1]} have the same association with the other side "
        "up to rounding, so no effect size follows; look for repeated images or a collapsed model"
    )
