"""Whether a classifier treats the images of two groups alike: gaps of rates, and of scores."""

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
from pytest_visualbias.statistics.scores import require_alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.intervals import StandardError
    from pytest_visualbias.statistics.permutation.sides import Alternative, PermutationResult

    Vector = NDArray[np.float64]

_ROLES = ("X", "Y")

# A difference of means of values within [0, 1] is within [-1, 1].
_MOST = 1.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutcomeScores:
    """What a classifier makes of each image of two groups.

    Attributes
    ----------
    first, second : ndarray
        Of X and Y, `(n_x,)` and `(n_y,)`: whether each image is predicted as the class, 0 or 1, or
        its probability; averaged over trials, a share. Read-only float64.
    is_rate : bool
        Whether they count predictions.
    is_blind : bool
        Whether the classifier does not tell the class from others: says the same of all images, or
        says the class no more often of those that are of it. A small gap means nothing then.
    classes : int
        How many classes the classifier has; 0 where that is not known.
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
            Where one has fewer than two images. Equal scores are no fault: their gap is 0.
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
    """What was found; fields are named as in `AssociationResult`.

    Attributes
    ----------
    effect_size, effect_judged, gap : float
        The rate or mean score of X less that of Y, within [-1, 1]. It is not standardised.
    rate_x, rate_y : float
        The two.
    ci_low, ci_high : float
        Confidence interval of the gap, which is the effect.
    confidence : float
        Of that interval.
    standard_error, degrees_of_freedom : float or None
        Of a difference of mean scores (Welch's); None for rates, whose interval is Newcombe's.
    n_x, n_y : int
        Images that count.
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
        return _within(t_interval(self.gap, self.standard_error, self.degrees_of_freedom, level))

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
        Where a group has fewer than two images.

    Notes
    -----
    Null hypothesis: what the classifier makes of an image has nothing to do with its group. For
    predictions it is Fisher's exact test (`permutation_test_by_value`), which needs no Welch's t
    beside it: where two rates are equal, so is the spread. The interval is Newcombe's. For mean
    scores, and predictions averaged over trials, labels are permuted as everywhere, with Welch's t
    where the groups differ in size; the interval of a mean score is Welch's.
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
        require_alike(trials[0].sizes, trial.sizes, ("the first trial", "another"))
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
        trials=tuple(mean(one.first) - mean(one.second) for one in trials),
    )


def _evidence(scores: OutcomeScores, side: Side, alternative: Alternative) -> Evidence:
    if scores.is_rate and is_countable_by_value(side):
        return single_test_evidence(permutation_test_by_value(side, alternative=alternative))
    return compute_p_values(side, alternative=alternative, sides="targets")


def single_test_evidence(permuted: PermutationResult, welch: float | None = None) -> Evidence:
    """Return the evidence of one permutation test, perhaps with Welch's t beside it."""
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
        counts = ((math.fsum(one), len(one)) for one in (side.first, side.second))
        return newcombe(*counts, confidence=level)
    return _within(t_interval(side.difference, error.value, error.freedom, level))


def _within(ends: tuple[float, float]) -> tuple[float, float]:
    return max(ends[0], -_MOST), min(ends[1], _MOST)
