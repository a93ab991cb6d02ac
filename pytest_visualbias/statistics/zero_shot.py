"""Assign images to the nearest word, and test whether two sets of images differ in that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.cosines import compute_cosines, unit_rows
from pytest_visualbias.statistics.permutation.exact import (
    is_countable_by_value,
    permutation_test_by_value,
)
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.permutation.sides import PMethod

    Matrix = NDArray[np.float64]

_ROLES = ("X", "Y")


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroShotResult:
    """Shares of images that are nearest to a word of A; comparisons are None without Y.

    Attributes
    ----------
    share_x, share_y : float
        Of X and of Y; the rest is nearest to a word of B.
    difference : float or None
        The first less the second.
    p_value : float or None
        Two-sided, of that difference; an upper bound where it could not be counted.
    p_method : {"exact", "bounded", "sampled", "approximate"} or None
        How `p_value` was computed.
    words_x, words_y : tuple of float
        Share of X, and of Y, that is nearest to each word, those of A first; empty without Y.
    """

    share_x: float
    words_x: tuple[float, ...]
    share_y: float | None = None
    difference: float | None = None
    p_value: float | None = None
    p_method: PMethod | None = None
    words_y: tuple[float, ...] = ()


def assigned(images: ArrayLike, first: ArrayLike, second: ArrayLike) -> Matrix:
    """Assign each image to the nearest word, by cosine.

    Parameters
    ----------
    images : array_like
        `(n, dim)`.
    first, second : array_like
        The words of A and of B, `(n_a, dim)` and `(n_b, dim)`.

    Returns
    -------
    ndarray
        `(n, n_a + n_b)`: 1 for the nearest word, the first of equally near ones, and 0.
    """
    words = [unit_rows(first, "A"), unit_rows(second, "B")]
    cosines = compute_cosines([unit_rows(images, "images")], words)
    nearest: Matrix = np.zeros(cosines.shape)
    nearest[np.arange(len(nearest)), cosines.argmax(axis=1)] = 1.0
    return nearest


def zero_shot(x: Sequence[Matrix], y: Sequence[Matrix] | None, n_a: int) -> ZeroShotResult:
    """Test whether images of X are nearest to words of A as often as images of Y.

    Parameters
    ----------
    x, y : sequence of ndarray
        Results of `assigned` for the images of X and Y, for each trial; they are averaged. Without
        Y nothing is tested.
    n_a : int
        Number of words of A.

    Returns
    -------
    ZeroShotResult

    Notes
    -----
    Null hypothesis: the word that an image is nearest to is independent of its set. Labels of X and
    Y are permuted; for one trial all permutations are counted (`permutation_test_by_value`). This
    is the classification of images by prompts [1]_, with shares of the sets instead of a ranking.

    References
    ----------
    .. [1] H. Berg et al., "A Prompt Array Keeps the Bias Away: Debiasing Vision-Language Models
       with Adversarial Learning", AACL-IJCNLP 2022.
    """
    first = np.mean(x, axis=0)
    words_x = tuple(map(float, first.mean(axis=0)))
    if y is None:
        share = float(first[:, :n_a].sum(axis=1).mean())
        return ZeroShotResult(share_x=share, words_x=words_x)
    second = np.mean(y, axis=0)
    side = Side.of(first[:, :n_a].sum(axis=1), second[:, :n_a].sum(axis=1), _ROLES)
    is_counted = is_countable_by_value(side)
    permuted = permutation_test_by_value(side) if is_counted else permutation_test(side)
    shares = [float(scores.mean()) for scores in (side.first, side.second)]
    return ZeroShotResult(
        share_x=shares[0],
        share_y=shares[1],
        difference=side.difference,
        p_value=permuted.p_value,
        p_method=permuted.method,
        words_x=words_x,
        words_y=tuple(map(float, second.mean(axis=0))),
    )
