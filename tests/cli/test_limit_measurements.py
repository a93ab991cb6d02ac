"""How much scores change is measured where growth does not make itself look like noise."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_visualbias.cli.limit_measurements import Basis, _spread


def scores(x: list[float], y: list[float]) -> dict[str, dict[str, float]]:
    named = {"X": x, "Y": y}
    return {
        role: {f"{role}{index}": value for index, value in enumerate(values)}
        for role, values in named.items()
    }


def test_the_spread_of_changes_is_pooled_within_the_sets() -> None:
    before = scores([0.0, 0.0, 0.0], [0.0, 0.0])
    after = scores([1.0, 2.0, 6.0], [-4.0, -6.0])
    within = [np.array([1.0, 2.0, 6.0]), np.array([-4.0, -6.0])]
    squares = sum(((part - part.mean()) ** 2).sum() for part in within)
    assert _spread(before, after, ("X", "Y")) == pytest.approx(np.sqrt(squares / 3))


def test_a_set_that_moves_as_a_whole_adds_no_spread() -> None:
    before = scores([0.1, 0.5, -0.3], [0.2, 0.0, 0.4])
    after = scores([5.1, 5.5, 4.7], [-4.8, -5.0, -4.6])
    assert _spread(before, after, ("X", "Y")) == pytest.approx(0)


def test_other_images_have_no_spread() -> None:
    one, other = scores([0.0, 1.0], [0.0, 1.0]), scores([0.0, 1.0, 2.0], [0.0, 1.0])
    assert _spread(one, other, ("X", "Y")) is None
    assert _spread(one, {}, ("X", "Y")) is None


@pytest.mark.parametrize(
    ("low", "high", "largest", "smallest"),
    [(-0.2, 0.5, 0.5, 0.0), (-0.9, -0.3, 0.9, 0.3), (0.3, 0.9, 0.9, 0.3)],
)
def test_the_ends_of_an_interval_are_those_of_the_size(
    low: float, high: float, largest: float, smallest: float
) -> None:
    found = Basis(model="m", layer="l", low=low, high=high)
    assert (found.largest, found.smallest) == (largest, smallest)
