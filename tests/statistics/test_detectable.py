"""The effect that is found in 80 % of samples, and the images that show a limit to be kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.statistics.power import detectable_effect, images_for_limit, images_to_show


@pytest.mark.parametrize(
    ("alternative", "tail"), [("two-sided", 0.005), ("greater", 0.01), ("less", 0.01)]
)
def test_the_detectable_effect_is_two_quantiles_of_the_standard_error(
    alternative: str, tail: float
) -> None:
    found = detectable_effect(0.3, 14.0, 0.01, alternative)  # type: ignore[arg-type]
    wanted = (stats.t.ppf(1 - tail, 14.0) + stats.norm.ppf(0.8)) * 0.3
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(("limit", "images"), [(0.5, 138), (1.0, 35), (0.2, 857)])
def test_images_before_data_are_about_34_over_the_squared_limit(limit: float, images: int) -> None:
    assert images_for_limit(limit, 0.05) == images
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.9)
    assert images - 1 < 4 * z**2 / limit**2 <= images, "the next whole number"


def test_a_limit_of_zero_is_shown_by_no_number_of_images() -> None:
    assert images_for_limit(0.0, 0.05) is None
    assert images_to_show(20, 0.2, 0.0, 0.05) is None
    assert images_to_show(20, 0.2, -0.1, 0.05) is None


def test_that_many_images_show_the_limit_in_80_percent_of_samples() -> None:
    """A normal estimate whose variance is that of 20 images, scaled to the number."""
    needed = images_to_show(20, 0.3, 0.25, 0.05)
    assert needed is not None
    error = 0.3 * (20 / needed) ** 0.5
    drawn = np.random.default_rng(0).normal(0.25, error, 20_000)
    shown = drawn + stats.norm.ppf(0.95) * error <= 0.5
    assert shown.mean() == pytest.approx(0.8, abs=0.02)
