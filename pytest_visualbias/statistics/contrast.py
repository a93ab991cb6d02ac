"""Tests of one side: an association of one target set, and a gap in similarity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.statistics.contrast_scores import (
    ContrastScores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics.crossed import crossed_p
from pytest_visualbias.statistics.evidence import weigh
from pytest_visualbias.statistics.sampled_effect import SampledEffect, sampling

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pytest_visualbias.statistics.tail import Alternative

__all__ = ["ContrastResult", "contrast_from_scores", "sc_eat_test", "similarity_gap_test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastResult(SampledEffect):
    """What a test of one side found; p-values and intervals are those of `SampledEffect`.

    Attributes
    ----------
    effect_size, effect_judged : float
        Difference of the mean scores of the two sets that are compared.
    gap : float
        The same in cosines.
    n_x, n_y, n_a, n_b : int or None
        Sizes of the sets; None for the one that there is not.
    """

    effect_size: float
    n_x: int | None
    n_y: int | None
    n_a: int | None
    n_b: int | None


def sc_eat_test(
    X: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Test whether one target set is nearer to A than to B.

    Parameters
    ----------
    X : array_like
        Embeddings of the target, `(n_x, dim)`.
    A, B : array_like
        Embeddings of the attributes, `(n_a, dim)` and `(n_b, dim)`.
    alternative : {"two-sided", "greater", "less"}
        Of the permutation test.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    ContrastResult
        `n_y` and what concerns a second side are None.

    Raises
    ------
    DegenerateTestError
        If no effect follows from the numbers; it names the set and, where one is, the row.

    Notes
    -----
    Null hypothesis: the labels of A and B are exchangeable, given X. Scores and effect: see
    `sc_eat_scores`. The smallest p depends on the sizes of A and B.
    """
    scores = sc_eat_scores(X, A, B)
    return contrast_from_scores(scores, alternative=alternative, confidence=confidence)


def similarity_gap_test(
    O: ArrayLike,  # noqa: E741 - the paper's letter
    X: ArrayLike,
    Y: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Test whether images of one kind are nearer to X than to Y.

    Parameters
    ----------
    O : array_like
        Embeddings of the images of an object, `(n_o, dim)`.
    X, Y : array_like
        Embeddings of the two groups, `(n_x, dim)` and `(n_y, dim)`.
    alternative, confidence
        As in `sc_eat_test`.

    Returns
    -------
    ContrastResult
        `n_a` is the size of O; `n_b` and what concerns a second side are None. `gap` is the
        statistic of the paper, `effect_size` the same in standard deviations.

    Raises
    ------
    DegenerateTestError
        If no effect follows from the numbers.

    Notes
    -----
    Null hypothesis: the labels of X and Y are exchangeable, given O. Scores: see
    `similarity_gap_scores`.
    """
    scores = similarity_gap_scores(O, X, Y)
    return contrast_from_scores(scores, alternative=alternative, confidence=confidence)


def contrast_from_scores(
    scores: ContrastScores,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Run a test of one side on scores: of one run, of averaged trials, or recorded ones.

    Parameters are those of `sc_eat_test`, with `scores` in place of the embeddings.
    """
    side = scores.side
    crossed = crossed_p(scores, alternative=alternative)
    evidence = weigh(side, alternative=alternative, sides="targets", crossed=crossed)
    sizes = scores.by_role
    return ContrastResult(
        effect_size=side.difference,
        effect_judged=side.difference,
        gap=scores.gap,
        confidence=confidence,
        n_x=sizes.get("X"),
        n_y=sizes.get("Y"),
        n_a=sizes.get("A"),
        n_b=sizes.get("B"),
        **asdict(evidence),
        **sampling(scores, side.difference, "targets", confidence),
    )
