"""Score two sets of images against one other set."""

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
    sample_std,
)
from pytest_visualbias.statistics.scores import (
    join_cosines,
    read_only_cosines,
    require_same_dim,
    require_same_sizes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.cosines import Embeddings
    from pytest_visualbias.statistics.scores import GrowthBasis

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

_ROUNDING: Final = 4 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContrastScores:
    """Scores of two sets of images against one other set.

    Attributes
    ----------
    first, second : ndarray
        Scores of the two sets that are compared, `(n_1,)` and `(n_2,)`. Read-only float64.
    roles : tuple of str
        The two sets: ``("A", "B")`` in an SC-EAT, ``("X", "Y")`` in a similarity gap.
    gap : float
        Difference of their mean cosines with the other set.
    n_other : int
        Size of the other set: X in an SC-EAT, O in a similarity gap.
    cosines : tuple of ndarray
        Targets by attributes for each trial: `(n_x, n_a + n_b)` in an SC-EAT, `(n_x + n_y, n_o)`
        in a similarity gap; empty in scores from a record. Read-only.
    basis : GrowthBasis or None
        Values recorded with the scores.
    """

    first: Vector
    second: Vector
    roles: tuple[str, str]
    gap: float
    n_other: int
    cosines: tuple[Matrix, ...] = ()
    basis: GrowthBasis | None = None

    def __post_init__(self) -> None:
        """Copy the arrays, so that nothing outside can change them."""
        for name, role in zip(("first", "second"), self.roles, strict=True):
            object.__setattr__(self, name, read_only(getattr(self, name), role))
        compared = len(self.first) + len(self.second)
        shape = (self.n_other, compared) if self.roles == ("A", "B") else (compared, self.n_other)
        copies = tuple(read_only_cosines(cosines, shape) for cosines in self.cosines)
        object.__setattr__(self, "cosines", copies)

    @property
    def side(self) -> Side:
        """The side that is tested.

        Raises
        ------
        DegenerateTestError
            If it has too few images or scores that are all equal.
        """
        side = Side.of(self.first, self.second, self.roles)
        fault = side.fault()
        if fault is not None:
            raise fault
        return side

    @property
    def by_role(self) -> dict[str, int]:
        """Size of each set, by its letter; O counts as A."""
        first, second = self.roles
        other = "X" if self.roles == ("A", "B") else "A"
        return {first: len(self.first), second: len(self.second), other: self.n_other}


def sc_eat_scores(X: Embeddings, A: Embeddings, B: Embeddings) -> ContrastScores:
    """Score each attribute image by its similarity to one target set.

    Parameters
    ----------
    X : array_like
        Embeddings of the target, `(n_x, dim)`.
    A, B : array_like
        Embeddings of the attributes, `(n_a, dim)` and `(n_b, dim)`.

    Returns
    -------
    ContrastScores
        Of A and B.

    Raises
    ------
    DegenerateTestError
        If an array is unusable, or an image of X has the same cosine with all of A and B.

    Notes
    -----
    ``h(a) = mean_x cos(x, a) / std(cos(x, .) over A and B, ddof=1)``, so that ``mean_A h - mean_B
    h`` is the mean over X of the effect sizes of single images, the SC-WEAT of Caliskan et al.
    (2017) for sets of targets.
    """
    x, a, b = starmap(unit_rows, ((X, "X"), (A, "A"), (B, "B")))
    require_same_dim(x, a, b)
    near, far = _cosines(a, x), _cosines(b, x)
    cosines = np.concatenate([near, far]).T
    widths = [sample_std(row) for row in cosines]
    bound = _ROUNDING + max(part.rounding for part in (x, a, b))
    for row, width in enumerate(widths):
        if width <= bound:
            raise DegenerateTestError(
                f"row {row} of X has the same cosine with all of A and B, up to rounding",
                role="X",
                row=row,
            )
    first, second = (_row_means(part / np.array(widths)) for part in (near, far))
    gap = mean(_row_means(near)) - mean(_row_means(far))
    return ContrastScores(
        first=first,
        second=second,
        roles=("A", "B"),
        gap=gap,
        n_other=len(x.rows),
        cosines=(cosines,),
    )


def similarity_gap_scores(
    O: Embeddings,  # noqa: E741 - the paper's letter
    X: Embeddings,
    Y: Embeddings,
    *,
    called: str = "O",
) -> ContrastScores:
    """Score each image of two groups by its mean cosine with another set.

    Parameters
    ----------
    O : array_like
        Embeddings of the images of an object, `(n_o, dim)`.
    X, Y : array_like
        Embeddings of the two groups, `(n_x, dim)` and `(n_y, dim)`.
    called : str
        Name of O in errors.

    Returns
    -------
    ContrastScores
        Of X and Y, in standard deviations over both (ddof 1).

    Raises
    ------
    DegenerateTestError
        If an array is unusable, or all scores are equal up to rounding.

    Notes
    -----
    ``h(x) = mean_o cos(x, o)``; ``mean_X h - mean_Y h`` is ``sim(O, X) - sim(O, Y)`` [1]_.

    References
    ----------
    .. [1] J. Ranjit, T. Wang, B. Ray, V. Ordonez, "Variation of Gender Biases in Visual Recognition
       Models Before and After Finetuning", 2023, arXiv 2303.07615.
    """
    o, x, y = starmap(unit_rows, ((O, called), (X, "X"), (Y, "Y")))
    require_same_dim(o, x, y)
    first, second = x.along(o.centroid), y.along(o.centroid)
    width = sample_std(np.concatenate([first, second]))
    if width <= _ROUNDING + max(part.rounding for part in (o, x, y)):
        raise constant_scores(("X", "Y"))
    return ContrastScores(
        first=first / width,
        second=second / width,
        roles=("X", "Y"),
        gap=mean(first) - mean(second),
        n_other=len(o.rows),
        cosines=(compute_cosines((x, y), (o,)),),
    )


def mean_contrast_scores(trials: Sequence[ContrastScores]) -> ContrastScores:
    """Average scores over trials of one recipe, image by image.

    Raises
    ------
    DegenerateTestError
        If the trials differ in their sizes.
    """
    if not trials:
        message = "mean_contrast_scores needs at least one trial"
        raise ValueError(message)
    for trial in trials[1:]:
        require_same_sizes(trials[0].by_role, trial.by_role, ("the first trial", "another"))
    return ContrastScores(
        first=np.mean([trial.first for trial in trials], axis=0),
        second=np.mean([trial.second for trial in trials], axis=0),
        roles=trials[0].roles,
        gap=mean(trial.gap for trial in trials),
        n_other=trials[0].n_other,
        cosines=join_cosines([trial.cosines for trial in trials]),
    )


def _cosines(rows: UnitRows, columns: UnitRows) -> Matrix:
    """Return cosines `(rows, columns)`; the rounding of each depends on its two vectors only."""
    return np.stack([rows.along(column) for column in columns.rows], axis=1)


def _row_means(values: Matrix) -> Vector:
    """Return the mean of each row, independent of the order of the columns."""
    return np.array([mean(row) for row in values])
