"""Intervals of proportions against scipy's, published ones, and simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.statistics.rates import PairedRates, difference_interval, newcombe, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]


@pytest.mark.parametrize("successes", [0, 1, 7, 599, 600])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_it_is_the_interval_of_scipy(successes: int, confidence: float) -> None:
    expected = stats.binomtest(successes, 600).proportion_ci(confidence, method="wilson")
    assert wilson(successes, 600, confidence=confidence) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("successes", "trials", "confidence"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)]
)
def test_what_is_no_proportion_is_refused(successes: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"no proportion|confidence"):
        wilson(successes, trials, confidence=confidence)


class TestNewcombe:
    def test_it_is_the_published_interval(self) -> None:
        """Newcombe 1998, Statistics in Medicine 17, 873-890, table II (a), method 10."""
        assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)

    @pytest.mark.parametrize(
        "counts", [(9, 10, 3, 10), (6, 7, 2, 7), (5, 56, 0, 29), (0, 10, 0, 20)]
    )
    def test_its_ends_are_as_far_as_those_of_either_proportion(
        self, counts: tuple[int, int, int, int]
    ) -> None:
        """The formula of the paper, over the intervals of scipy."""
        a, n, b, m = counts
        one = stats.binomtest(a, n).proportion_ci(0.9, method="wilson")
        other = stats.binomtest(b, m).proportion_ci(0.9, method="wilson")
        low = a / n - b / m - np.hypot(a / n - one.low, other.high - b / m)
        high = a / n - b / m + np.hypot(one.high - a / n, b / m - other.low)
        assert newcombe((a, n), (b, m), confidence=0.9) == pytest.approx((low, high))

    def test_it_is_turned_by_exchanging_the_groups(self) -> None:
        low, high = newcombe((7, 34), (1, 34))
        assert newcombe((1, 34), (7, 34)) == pytest.approx((-high, -low))

    @pytest.mark.parametrize("rates", [(0.1, 0.1), (0.3, 0.05), (0.5, 0.5)])
    def test_it_covers_what_it_says(self, rates: tuple[float, float]) -> None:
        rng = np.random.default_rng(7)
        counts = zip(
            rng.binomial(30, rates[0], 2000), rng.binomial(50, rates[1], 2000), strict=True
        )
        ends = (newcombe((int(a), 30), (int(b), 50)) for a, b in counts)
        covered = np.mean([low <= rates[0] - rates[1] <= high for low, high in ends])
        assert 0.935 <= covered <= 0.985


class TestPaired:
    @staticmethod
    def trials(both: int, first: int, second: int, none: int) -> tuple[Vector, Vector]:
        """Return two predictions of the same images, by how many of each pair there are."""
        one = [1.0] * (both + first) + [0.0] * (second + none)
        other = [1.0] * both + [0.0] * first + [1.0] * second + [0.0] * none
        return np.array(one), np.array(other)

    def test_it_is_the_published_interval(self) -> None:
        """Newcombe 1998, Statistics in Medicine 17, 2635-2650, 36/12/2/0, method 10."""
        assert PairedRates.of(*self.trials(36, 12, 2, 0)).interval(0.95) == pytest.approx(
            (0.0569, 0.3404), abs=5e-5
        )

    def test_it_is_not_empty_where_nothing_changed(self) -> None:
        low, high = PairedRates.of(*self.trials(18, 0, 0, 32)).interval(0.95)
        assert low < 0 < high

    def test_it_is_turned_by_exchanging_the_predictions(self) -> None:
        one, other = self.trials(20, 9, 3, 14)
        low, high = PairedRates.of(one, other).interval(0.95)
        assert PairedRates.of(other, one).interval(0.95) == pytest.approx((-high, -low))

    def test_agreement_narrows_it(self) -> None:
        agreeing, apart = self.trials(20, 4, 0, 26), self.trials(11, 13, 9, 17)
        widths = [
            high - low
            for low, high in (PairedRates.of(*one).interval(0.95) for one in (agreeing, apart))
        ]
        assert widths[0] < widths[1]


def test_two_independent_estimates_add_as_squares() -> None:
    assert difference_interval((0.5, (0.2, 0.9)), (0.1, (-0.2, 0.5))) == pytest.approx(
        (0.4 - np.hypot(0.3, 0.4), 0.4 + np.hypot(0.4, 0.3))
    )
