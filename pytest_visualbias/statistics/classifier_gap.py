"""Test whether a classifier's rates or scores differ between two groups of images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.evidence import Evidence, compute_p_values
from pytest_visualbias.statistics.intervals import require_level, t_interval, welch_error
from pytest_visualbias.statistics.permutation.exact import (
    is_countable_by_value,
    permutation_test_by_value,
)
from pytest_visualbias.statistics.permutation.sides import (
    Side,
    mean,
    read_only,
    require_alternative,
)
from pytest_visualbias.statistics.rates import newcombe
from pytest_visualbias.statistics.scores import require_same_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.intervals import StandardError
    from pytest_visualbias.statistics.permutation.sides import Alternative, PermutationResult

    Vector = NDArray[np.float64]

_ROLES = ("X", "Y")

# A difference of means of values within [0, 1] is within [-1, 1].
_LARGEST_GAP = 1.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutcomeScores:
    """Output of a classifier for each image of two groups.

    Attributes
    ----------
    first, second : ndarray
        Of X and Y, `(n_x,)` and `(n_y,)`: whether each image is predicted as the class, 0 or 1, or
        the probability of the class; averaged over trials, a share. Read-only float64.
    is_rate : bool
        Whether the values count predictions.
    is_blind : bool
        Whether the classifier does not recognise the class: it predicts the same for all images, or
        predicts the class no more often for images of the class. Then a small gap means nothing.
    classes : int
        Number of classes of the classifier; 0 if unknown.
    trials : tuple of float
        The gap in each of several trials.
    """

    first: Vector
    second: Vector
    is_rate: bool
    is_blind: bool = False
    classes: int = 0
    trials: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Copy the vectors, so that nothing outside can change them; refuse what is no share."""
        for name, role in zip(("first", "second"), _ROLES, strict=True):
            vector = read_only(getattr(self, name), role)
            if vector.min() < 0 or vector.max() > 1:
                raise DegenerateTestError(f"a score of {role} is not within 0 and 1", role=role)
            object.__setattr__(self, name, vector)

    @property
    def side(self) -> Side:
        """The two groups.

        Raises
        ------
        DegenerateTestError
            If a group has fewer than two images. Equal scores are valid: their gap is 0.
        """
        side = Side.of(self.first, self.second, _ROLES)
        fault = side.fault()
        if fault is not None and min(side.sizes) < 2:
            raise fault
        return side

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each group."""
        return dict(zip(_ROLES, (len(self.first), len(self.second)), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeResult(Evidence):
    """Result of a classifier gap test; fields are named as in `AssociationResult`.

    Attributes
    ----------
    effect_size, effect_judged, gap : float
        The rate or mean score of X less that of Y, within [-1, 1]. It is not standardised.
    rate_x, rate_y : float
        Rate or mean score of X, and of Y.
    ci_low, ci_high : float
        Confidence interval of the gap, which is the effect.
    confidence : float
        Of that interval.
    standard_error, degrees_of_freedom : float or None
        Of a difference of mean scores (Welch's); None for rates, whose interval is Newcombe's.
    n_x, n_y : int
        Numbers of images.
    is_blind : bool
        As in `OutcomeScores`.
    """

    effect_size: float
    effect_judged: float
    gap: float
    rate_x: float
    rate_y: float
    ci_low: float
    ci_high: float
    confidence: float
    standard_error: float | None
    degrees_of_freedom: float | None
    n_x: int
    n_y: int
    is_blind: bool

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of the gap at a level between 0 and 1."""
        if self.standard_error is None or self.degrees_of_freedom is None:
            counts = ((self.rate_x * self.n_x, self.n_x), (self.rate_y * self.n_y, self.n_y))
            return newcombe(*counts, confidence=level)
        return _clip_gap(t_interval(self.gap, self.standard_error, self.degrees_of_freedom, level))

    def gap_interval(self, level: float) -> tuple[float, float]:
        """Interval of the gap, which is the effect."""
        return self.interval(level)

    @property
    def bias_corrected(self) -> float:
        """The gap, which is unbiased."""
        return self.gap


def outcome_from_scores(
    scores: OutcomeScores,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> OutcomeResult:
    """Test whether a rate, or a mean score, differs between two groups.

    Parameters
    ----------
    scores : OutcomeScores
        Of one run, of averaged trials, or recorded ones.
    alternative : {"two-sided", "greater", "less"}
        Of the permutation test.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    OutcomeResult

    Raises
    ------
    DegenerateTestError
        If a group has fewer than two images.

    Notes
    -----
    Null hypothesis: the output for an image is independent of its group. For predictions the test
    is Fisher's exact test (`permutation_test_by_value`). It needs no Welch's t: if two rates are
    equal, their variances are equal too. The interval is Newcombe's. For mean scores, and
    predictions averaged over trials, labels are permuted (`permutation_test`), with Welch's t if
    the groups differ in size; the interval of a mean score is Welch's.
    """
    require_level(confidence)
    require_alternative(alternative)
    side = scores.side
    error = None if scores.is_rate else welch_error(side.first, side.second)
    low, high = _interval(side, error, confidence)
    return OutcomeResult(
        effect_size=side.difference,
        effect_judged=side.difference,
        gap=side.difference,
        rate_x=mean(side.first),
        rate_y=mean(side.second),
        ci_low=low,
        ci_high=high,
        confidence=confidence,
        standard_error=None if error is None else error.value,
        degrees_of_freedom=None if error is None else error.freedom,
        n_x=side.sizes[0],
        n_y=side.sizes[1],
        is_blind=scores.is_blind,
        **asdict(_evidence(scores, side, alternative)),
    )


def mean_outcome_scores(trials: Sequence[OutcomeScores]) -> OutcomeScores:
    """Average scores over trials of one recipe, image by image.

    Raises
    ------
    DegenerateTestError
        If the trials differ in their sizes.
    """
    if not trials:
        message = "mean_outcome_scores needs at least one trial"
        raise ValueError(message)
    for trial in trials[1:]:
        require_same_sizes(trials[0].sizes, trial.sizes, ("the first trial", "another"))
        if trial.classes != trials[0].classes:
            raise DegenerateTestError(
                f"trials have other numbers of classes ({trials[0].classes}, {trial.classes})",
                "give them classifiers of the same ones",
            )
    return OutcomeScores(
        first=np.mean([trial.first for trial in trials], axis=0),
        second=np.mean([trial.second for trial in trials], axis=0),
        is_rate=trials[0].is_rate,
        is_blind=any(trial.is_blind for trial in trials),
        classes=trials[0].classes,
        trials=tuple(mean(trial.first) - mean(trial.second) for trial in trials),
    )


def _evidence(scores: OutcomeScores, side: Side, alternative: Alternative) -> Evidence:
    if scores.is_rate and is_countable_by_value(side):
        return single_test_evidence(permutation_test_by_value(side, alternative=alternative))
    return compute_p_values(side, alternative=alternative, sides="targets")


def single_test_evidence(permuted: PermutationResult, welch: float | None = None) -> Evidence:
    """Return the p-values of one permutation test and, if given, of Welch's t."""
    least = 0.0 if welch is None else welch
    return Evidence(
        p_value=permuted.p_value,
        p_low=permuted.p_low,
        p_high=permuted.p_high,
        p_method=permuted.method,
        p_attributes=None,
        p_welch=welch,
        p_verdict=max(permuted.p_value, least),
        p_verdict_low=max(permuted.p_low, least),
        p_verdict_high=max(permuted.p_high, least),
        p_verdict_method=permuted.method,
        p_saddlepoint=permuted.p_saddlepoint,
    )


def _interval(side: Side, error: StandardError | None, level: float) -> tuple[float, float]:
    if error is None:
        counts = ((math.fsum(scores), len(scores)) for scores in (side.first, side.second))
        return newcombe(*counts, confidence=level)
    return _clip_gap(t_interval(side.difference, error.value, error.freedom, level))


def _clip_gap(ends: tuple[float, float]) -> tuple[float, float]:
    return max(ends[0], -_LARGEST_GAP), min(ends[1], _LARGEST_GAP)
