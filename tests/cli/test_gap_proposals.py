"""Limits for rates follow from the rates before, and from what so many images can see."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_visualbias.cli.limit_measurements import Basis
from pytest_visualbias.cli.limit_proposals import propose_gap
from pytest_visualbias.statistics.power import smallest_visible_gap

BASIS = Basis(
    model="before",
    layer="logits",
    sides=((60, 60),),
    effect=0.02,
    low=-0.04,
    high=0.08,
    rates=(0.05, 0.03),
    within=0.2,
)


def test_the_gap_may_be_what_such_rates_let_so_many_images_see() -> None:
    limit = propose_gap(BASIS, can_grow=False).limits["max_gap"]
    seen = smallest_visible_gap(60, 60, 0.03, 0.05, "two-sided")
    assert seen is not None
    assert seen <= limit.value < seen + 0.01
    assert limit.reason.endswith("from chance (60 against 60 images), beside such rates")


def test_or_the_far_end_of_the_interval_before() -> None:
    wide = dataclasses.replace(BASIS, low=-0.31)
    limit = propose_gap(wide, can_grow=False).limits["max_gap"]
    assert (limit.value, limit.reason) == (0.31, "the interval of 'before' is -0.31 to +0.08")


def test_what_an_untrained_network_says_is_no_ground() -> None:
    untrained = dataclasses.replace(BASIS, untrained=(0.9,))
    assert propose_gap(untrained, can_grow=True) == propose_gap(BASIS, can_grow=True)


def test_growth_is_never_less_than_what_shows_where_few_predictions_turn() -> None:
    least = smallest_visible_gap(60, 60, 0.0, 0.05, "two-sided")
    assert least is not None
    for spread, is_least in ((0.0, True), (0.6, False)):
        moved = dataclasses.replace(BASIS, spreads=(spread,), other="after")
        limit = propose_gap(moved, can_grow=True).limits["max_growth"]
        assert (limit.value < least + 0.01) == is_least
        assert "as predictions change from 'before' to 'after'" in limit.reason


def test_mean_probabilities_are_held_against_their_spread() -> None:
    scores = dataclasses.replace(BASIS, rates=None, within=0.4)
    twice = dataclasses.replace(scores, within=0.8)
    one, other = (
        propose_gap(basis, can_grow=False).limits["max_gap"].value for basis in (scores, twice)
    )
    assert other == pytest.approx(2 * one, abs=0.011)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sides": ((3, 3),)}, "no gate is possible: 3 against 3 images cannot tell any effect"),
        ({"problem": "no logits"}, "no logits"),
        ({"low": -0.97}, "no max_gap: the interval of 'before' is -0.97 to +0.08, and no gap can"),
        ({"effect": 0.95}, "no max_growth: from +0.95 in 'before' a gap has no such room, and "),
    ],
)
def test_where_none_is_proposed_it_says_why(changes: dict[str, object], said: str) -> None:
    basis = dataclasses.replace(BASIS, **changes)  # type: ignore[arg-type]
    refusals = propose_gap(basis, can_grow=True).refusals
    assert any(text.startswith(said) for text in refusals), refusals
