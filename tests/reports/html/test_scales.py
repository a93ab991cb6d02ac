"""Where numbers lie on an axis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.reports.html.scales import Scale, scale_around


def test_the_ends_of_an_axis_lie_at_its_ends_and_the_middle_between_them() -> None:
    scale = Scale(low=-2.0, high=2.0, start=10.0, end=90.0)
    assert [scale.at(value) for value in (-2.0, -1.0, 0.0, 2.0)] == [10.0, 30.0, 50.0, 90.0]


def test_what_lies_beyond_an_end_is_drawn_at_it() -> None:
    scale = Scale(low=-2.0, high=2.0)
    assert (scale.at(-5.0), scale.at(7.0)) == (0.0, 100.0)


def test_an_axis_upwards_turns_its_places_round() -> None:
    scale = Scale(low=0.0, high=4.0).drawn(170.0, 10.0)
    assert [scale.at(value) for value in (0.0, 1.0, 4.0)] == [170.0, 130.0, 10.0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-2.0, 2.0, ["-2", "-1", "0", "1", "2"]),
        (-0.01, 0.31, ["0", "0.1", "0.2", "0.3"]),
        (0.0, 39.0, ["0", "10", "20", "30"]),
        (0.0, 5.0, ["0", "1", "2", "3", "4", "5"]),
    ],
)
def test_the_numbers_on_an_axis_are_round(low: float, high: float, expected: list[str]) -> None:
    assert [tick.text for tick in Scale(low=low, high=high).ticks()] == expected


@pytest.mark.property
@given(st.lists(st.floats(-1e6, 1e6), max_size=8))
def test_an_axis_around_values_holds_them_all_and_zero(values: list[float]) -> None:
    """And has some numbers on it, but not so many that they touch."""
    scale = scale_around(values)
    assert scale.low < 0.0 < scale.high
    assert all(scale.low <= value <= scale.high for value in values)
    assert 2 <= len(scale.ticks()) <= 12


def test_an_axis_reaches_as_far_as_it_is_told_to() -> None:
    assert scale_around([0.1], minimum=0.5).high >= 0.5
    assert scale_around([0.1], minimum=0.5).low > -0.1
    assert scale_around([-0.1], minimum=0.5).low <= -0.5
