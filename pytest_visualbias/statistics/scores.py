"""Compute the standardised association scores that the tests need from embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.cosines import UnitRows, compute_cosines, unit_rows
from pytest_visualbias.statistics.permutation.sides import (
    Side,
    constant_scores,
    mean,
    read_only,
    require_sides,
    sample_std,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.cosines import Embeddings
    from pytest_visualbias.statistics.permutation.sides import Sides

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GrowthBasis:
    """What a growth test needs besides scores if the cosines are unknown.

    Attributes
    ----------
    within : tuple of float
        Pooled standard deviation within X and Y of the target scores in cosines, and within A and B
        of the attribute scores; empty for tests that compare one pair of sets.
    without : mapping of str to tuple of ndarray
        By the letter of the set, the effect of each side without each of its images, `(n,)`.
    trials : tuple of tuple of float
        Effect of each side in each trial.
    """

    within: tuple[float, ...]
    without: Mapping[str, tuple[Vector, ...]]
    trials: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores:
    """Standardised scores of every image, on both sides of an association.

    Attributes
    ----------
    x, y : ndarray
        Target side, `(n_x,)` and `(n_y,)`: association with A minus that with B, divided by its
        standard deviation over both sets. Read-only float64; anything array-like is accepted.
    a, b : ndarray
        Attribute side, `(n_a,)` and `(n_b,)`: the same with the roles exchanged. All zero if that
        side has no spread and does not count.
    gap : float
        Difference of the mean associations of X and Y, in cosines; shared by both sides.
    x_ab, y_ab : float or None
        These two means, in cosines, which show the set that drives the gap. None in scores from a
        record.
    cosines : tuple of ndarray
        `(n_x + n_y, n_a + n_b)` for each trial, for methods that resample both sides; empty in
        scores from a record. Read-only.
    basis : GrowthBasis or None
        Values recorded with the scores.
    """

    x: Vector
    y: Vector
    a: Vector
    b: Vector
    gap: float
    x_ab: float | None = None
    y_ab: float | None = None
    cosines: tuple[Matrix, ...] = ()
    basis: GrowthBasis | None = None

    def __post_init__(self) -> None:
        """Copy the arrays, so that nothing outside changes them, and refuse non-finite values."""
        for name in ("x", "y", "a", "b"):
            object.__setattr__(self, name, read_only(getattr(self, name), name.upper()))
        if not np.isfinite([self.gap, self.x_ab or 0.0, self.y_ab or 0.0]).all():
            raise DegenerateTestError(
                "the gap of the scores, or one of the means that it is made of, is not finite"
            )
        n_x, n_y, n_a, n_b = self.sizes
        copies = tuple(
            read_only_cosines(cosines, (n_x + n_y, n_a + n_b)) for cosines in self.cosines
        )
        object.__setattr__(self, "cosines", copies)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Sizes of X, Y, A and B."""
        return len(self.x), len(self.y), len(self.a), len(self.b)

    @property
    def by_role(self) -> dict[str, int]:
        """Sizes by the letters of the sets."""
        return dict(zip("XYAB", self.sizes, strict=True))

    @property
    def targets(self) -> Side:
        """Side of X and Y."""
        return Side.of(self.x, self.y, ("X", "Y"))

    @property
    def attributes(self) -> Side:
        """Side of A and B."""
        return Side.of(self.a, self.b, ("A", "B"))


def read_only_cosines(cosines: Matrix, shape: tuple[int, int]) -> Matrix:
    """Copy the cosines of one trial, finite and of the shape that the scores have."""
    copy = np.array(cosines, dtype=np.float64)
    if copy.shape != shape or not np.isfinite(copy).all():
        raise DegenerateTestError(f"cosines must be finite and of shape {shape}, not {copy.shape}")
    copy.flags.writeable = False
    return copy


def association_scores(
    X: Embeddings, Y: Embeddings, A: Embeddings, B: Embeddings, *, sides: Sides = "both"
) -> Scores:
    """Score every image by its association with the two sets of the other side.

    Parameters
    ----------
    X, Y : array_like
        Embeddings of the targets, `(n_x, dim)` and `(n_y, dim)`.
    A, B : array_like
        Embeddings of the attributes, `(n_a, dim)` and `(n_b, dim)`.
    sides : {"both", "targets"}
        With ``"targets"`` an attribute side without spread is allowed: its scores are zero.

    Returns
    -------
    Scores

    Raises
    ------
    DegenerateTestError
        If an array is unusable, or all scores of a side that counts are equal up to rounding.

    Notes
    -----
    ``s(w, A, B) = mean_a cos(w, a) - mean_b cos(w, b)`` in float64 and
    ``z(w) = s(w) / std(s over X and Y, ddof=1)``, so that the effect size of Caliskan et al. is
    ``mean_X z - mean_Y z``. The order of rows within a set does not change the other scores.

    References
    ----------
    .. [1] A. Caliskan, J. J. Bryson, A. Narayanan, "Semantics derived automatically from language
       corpora contain human-like biases", Science 356, 183-186, 2017.
    .. [2] R. Steed, A. Caliskan, "Image Representations Learned With Unsupervised Pre-Training
       Contain Human-like Biases", FAccT 2021.
    """
    require_sides(sides)
    x, y, a, b = starmap(unit_rows, ((X, "X"), (Y, "Y"), (A, "A"), (B, "B")))
    require_same_dim(x, y, a, b)
    targets = _standardised(x, y, (a, b))
    if targets is None:
        raise constant_scores(("X", "Y"))
    attributes = _standardised(a, b, (x, y))
    if attributes is None:
        if sides == "both":
            raise constant_scores(("A", "B"))
        attributes = np.zeros(len(a.rows)), np.zeros(len(b.rows))
    x_ab, y_ab = (mean(rows.along(a.centroid - b.centroid)) for rows in (x, y))
    return Scores(
        x=targets[0],
        y=targets[1],
        a=attributes[0],
        b=attributes[1],
        gap=x_ab - y_ab,
        x_ab=x_ab,
        y_ab=y_ab,
        cosines=(compute_cosines((x, y), (a, b)),),
    )


def mean_scores(trials: Sequence[Scores]) -> Scores:
    """Average scores over trials of one recipe, image by image.

    Parameters
    ----------
    trials : sequence of Scores
        One or more, of the same images in the same order.

    Returns
    -------
    Scores
        Its effect size is the mean of the trials' effect sizes. Its standard deviation is below 1
        if the trials disagree, and is not rescaled. An attribute side without spread in any trial
        is zero.

    Raises
    ------
    DegenerateTestError
        If the trials differ in their sizes.
    """
    if not trials:
        message = "mean_scores needs at least one trial"
        raise ValueError(message)
    for trial in trials[1:]:
        require_same_sizes(trials[0].by_role, trial.by_role, ("the first trial", "another"))
    known = all(trial.a.any() or trial.b.any() for trial in trials)
    return Scores(
        x=np.mean([trial.x for trial in trials], axis=0),
        y=np.mean([trial.y for trial in trials], axis=0),
        a=np.mean([trial.a for trial in trials], axis=0) * known,
        b=np.mean([trial.b for trial in trials], axis=0) * known,
        gap=mean(trial.gap for trial in trials),
        x_ab=_mean_of_known([trial.x_ab for trial in trials]),
        y_ab=_mean_of_known([trial.y_ab for trial in trials]),
        cosines=join_cosines([trial.cosines for trial in trials]),
    )


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None if a value is unknown."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def join_cosines(cosines: Sequence[tuple[Matrix, ...]]) -> tuple[Matrix, ...]:
    """Return the cosines of all trials, or none if those of a trial are unknown."""
    return tuple(matrix for trial in cosines for matrix in trial) if all(cosines) else ()


def require_same_sizes(
    first: Mapping[str, int], second: Mapping[str, int], names: tuple[str, str]
) -> None:
    """Raise if two sets of scores cannot be of the same images because their sizes differ."""
    if first.keys() != second.keys():
        message = f"scores of different kinds of tests: sets {[*first]} and {[*second]}"
        raise ValueError(message)
    for role, size in first.items():
        if size != second[role]:
            raise DegenerateTestError(
                f"{role} has {size} images in {names[0]} and {second[role]} in {names[1]}",
                "the same images in the same order are needed",
                role=role,
            )


def require_same_dim(*sets: UnitRows) -> None:
    """Refuse embeddings of different lengths."""
    reference = sets[0]
    for other in sets[1:]:
        dims = reference.rows.shape[1], other.rows.shape[1]
        if dims[0] != dims[1]:
            raise DegenerateTestError(
                f"{other.role} has embeddings of length {dims[1]} where {reference.role} has "
                f"{dims[0]}",
                "all sets must come from one layer of one model",
                role=other.role,
            )


def _standardised(
    first: UnitRows, second: UnitRows, poles: tuple[UnitRows, UnitRows]
) -> tuple[Vector, Vector] | None:
    """Return the scores of two sets in standard deviations; None if they vary by rounding only."""
    direction = poles[0].centroid - poles[1].centroid
    raw = first.along(direction), second.along(direction)
    width = sample_std(np.concatenate(raw))
    if width <= _rounding_bound(first, second, poles):
        return None
    return raw[0] / width, raw[1] / width


def _rounding_bound(first: UnitRows, second: UnitRows, poles: tuple[UnitRows, UnitRows]) -> float:
    """Bound the spread of scores that rounding of the embeddings alone can cause.

    Errors of single numbers are independent, so they add up as squares over the components; those
    of the centroids are averaged over their rows. Twice that is above the spread of rows one ulp
    apart, and four orders of magnitude below the smallest one in iEAT's float32 embeddings.
    """
    near, far = poles[0].centroid, poles[1].centroid
    fewest = min(len(pole.rows) for pole in poles)
    per_component = np.abs(near - far) + (np.abs(near) + np.abs(far)) / np.sqrt(fewest)
    rows = np.concatenate([first.rows, second.rows])
    largest = float(np.sqrt(((rows * per_component) ** 2).sum(axis=1).max()))
    given = max(part.rounding for part in (first, second, *poles))
    return 2 * given * largest
