"""Wilson's interval against scipy's."""

from __future__ import annotations

import pytest
from scipy import stats

from pytest_visualbias.statistics import wilson


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
