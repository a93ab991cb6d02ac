"""Hold the scores of two sets whose labels are permuted, and the tails of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pytest_visualbias.errors import DegenerateTestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

Sides = Literal["both", "targets"]


def require_sides(sides: Sides) -> None:
    """Raise if a choice of sides does not exist."""
    if sides not in ("both", "targets"):
        message = f"sides is 'both' or 'targets', not {sides!r}"
        raise ValueError(message)


PMethod = Literal["exact", "bounded", "sampled", "approximate"]
_BY_PROOF: Final[tuple[PMethod, ...]] = ("exact", "bounded", "sampled", "approximate")


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationResult:
    """A p-value with the bracket that holds the true one.

    Attributes
    ----------
    p_value : float
        Share of relabellings at least as extreme as the one observed, which counts itself; unless
        it is exact, a number that this share does not exceed.
    p_low, p_high : float
        What is known of the share; `p_high` is `p_value`. Equal if p is exact, a proven bracket if
        it is bounded, a 99.9 % confidence interval if it is sampled, the approximation without and
        with its allowance if it is approximate.
    method : {"exact", "bounded", "sampled", "approximate"}
        How p was computed.
    p_saddlepoint : float or None
        Saddlepoint approximation, for comparison only; None if p is exact.
    """

    p_value: float
    p_low: float
    p_high: float
    method: PMethod
    p_saddlepoint: float | None = None


def least_certain_method(methods: list[PMethod]) -> PMethod:
    """Return the least certain of the methods by which several p-values were computed."""
    return max(methods, key=_BY_PROOF.index)


_CONSTANT: Final = 1e-12
_LARGEST: Final = 1e100
_SMALLEST: Final = 1e-100


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean, correctly rounded and so independent of the order."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def sample_std(values: Vector) -> float:
    """Return the sample standard deviation (ddof 1) of `(n,)`, independent of the order."""
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
        raise DegenerateTestError(
            f"the scores of {role} must be of shape (images,), not {vector.shape}", role=role
        )
    finite = np.isfinite(vector)
    if not finite.all():
        row = int((~finite).argmax())
        raise DegenerateTestError(f"score {row} of {role} is not finite", role=role, row=row)
    if np.abs(vector).max() > _LARGEST:
        raise DegenerateTestError(
            f"the scores of {role} exceed {_LARGEST:g}",
            "standardise them before the test",
            role=role,
        )
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
        """Return why this side cannot be tested, or None."""
        # One image has no variance, which unequal sizes need; 1 against 1 always gives d = 1.41.
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
        if sample_std(pooled) <= _CONSTANT * largest:
            return constant_scores(self.roles)
        return None


def constant_scores(roles: tuple[str, str]) -> DegenerateTestError:
    """Return the error for scores that are all equal, which have no effect size."""
    return DegenerateTestError(
        f"all images of {roles[0]} and {roles[1]} have the same association with the other side "
        "up to rounding, so no effect size follows",
        "look for repeated images or a collapsed model",
    )


Alternative = Literal["two-sided", "greater", "less"]
_TIE: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tail:
    """Subsets of `size` scores whose sum is at least `threshold`.

    Attributes
    ----------
    scores : ndarray
        `(n,)`, ascending, of mean zero, turned so that large sums are the extreme ones.
    size : int
        Of the subsets; at most half of n.
    threshold : float
        The observed sum, less what rounding may take from it.
    ways : int
        How often the tail counts: twice where its mirror image holds as many subsets.
    tolerance : float
        What was taken: sums that differ by less are tied.
    """

    scores: Vector
    size: int
    threshold: float
    ways: int = 1
    tolerance: float = 0.0

    @property
    def log_subsets(self) -> float:
        """Logarithm of the number of subsets of this size."""
        return log_subsets(len(self.scores), self.size)


def log_subsets(n: int, size: int) -> float:
    """Logarithm of the number of subsets of `size` out of n."""
    return math.lgamma(n + 1) - math.lgamma(size + 1) - math.lgamma(n - size + 1)


def tails_of(side: Side, alternative: Alternative) -> tuple[Tail, ...]:
    """Find the tails that hold the relabellings as extreme as the observed one.

    Parameters
    ----------
    side : Side
        Scores of the two sets, `(n_1,)` and `(n_2,)`.
    alternative : {"two-sided", "greater", "less"}
        Which relabellings are as extreme: those with ``|T| >= |T_obs|``, ``T >= T_obs`` or
        ``T <= T_obs``, where ``T`` is the difference of the two means.

    Returns
    -------
    tuple of Tail
        Disjoint; empty where every relabelling is as extreme as the observed one.

    Notes
    -----
    Scores sum to zero once centred, so ``T`` is proportional to the sum over either set alone: the
    smaller one is followed, with its sign. For equal sizes the complement of a subset has the
    opposite sum, so both tails of a two-sided test hold the same number and one is enough.
    """
    require_alternative(alternative)
    pooled = np.sort(side.pooled)
    centre = math.fsum(pooled) / len(pooled)
    centred = pooled - centre
    # Either sum would do, but half the difference is the same to the last bit for exchanged sets.
    observed = (math.fsum(side.first - centre) - math.fsum(side.second - centre)) / 2
    size = min(side.sizes)
    is_first = len(side.first) == size
    tolerance = _TIE * side.magnitude
    if alternative == "two-sided":
        return _both_tails(
            centred, size, abs(observed), tolerance, equal=side.sizes == (size, size)
        )
    threshold = (observed if alternative == "greater" else -observed) - tolerance
    upwards = (alternative == "greater") == is_first
    scores = centred if upwards else _mirrored(centred)
    return (Tail(scores=scores, size=size, threshold=threshold, tolerance=tolerance),)


def require_alternative(alternative: Alternative) -> None:
    """Raise if an alternative does not exist."""
    if alternative not in ("two-sided", "greater", "less"):
        message = f"alternative is 'two-sided', 'greater' or 'less', not {alternative!r}"
        raise ValueError(message)


def _both_tails(
    centred: Vector, size: int, observed: float, tolerance: float, *, equal: bool
) -> tuple[Tail, ...]:
    """Both tails of a two-sided test."""
    threshold = observed - tolerance
    if threshold <= 0:
        return ()
    # Exchanging A and B turns every sign; taking the mirror images in an order of their own gives
    # both questions the same answer to the last bit.
    lesser, greater = sorted((centred, _mirrored(centred)), key=tuple)
    halves, ways = ((lesser,), 2) if equal else ((lesser, greater), 1)
    return tuple(
        Tail(scores=half, size=size, threshold=threshold, ways=ways, tolerance=tolerance)
        for half in halves
    )


def _mirrored(scores: Vector) -> Vector:
    """Scores of opposite sign, ascending again."""
    return -scores[::-1]
