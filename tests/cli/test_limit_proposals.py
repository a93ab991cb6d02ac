"""Limits follow from the numbers of a test, and no others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.cli.limit_measurements import Basis
from pytest_visualbias.cli.limit_proposals import propose, propose_control, propose_similarity
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.power import smallest_detectable_effect

if TYPE_CHECKING:
    from pytest_visualbias.spec.fields import Alternative

TWENTY = ((20, 20), (20, 20))
SIZES = st.integers(3, 60)
EFFECTS = st.floats(-1.5, 1.5)


def basis(
    effect: float = 0.0,
    half: float = 0.1,
    *,
    sides: tuple[tuple[int, int], ...] = TWENTY,
    level: float = 0.05,
    count: int = 1,
    alternative: Alternative = "two-sided",
    untrained: tuple[float, ...] = (),
    trials: tuple[float, ...] = (),
    spreads: tuple[float, ...] = (),
    problem: str = "",
    error: float = 0.0,
    freedom: float = 76.0,
) -> Basis:
    """Return the numbers of a test whose interval reaches so far on both sides."""
    return Basis(
        model="before",
        layer="pooled",
        alternative=alternative,
        level=level,
        count=count,
        sides=sides,
        effect=effect,
        low=effect - half,
        high=effect + half,
        untrained=untrained,
        trials=trials,
        spreads=spreads,
        other="after" if spreads else "",
        problem=problem,
        error=error,
        freedom=freedom,
    )


@given(
    effect=EFFECTS,
    half=st.floats(0, 0.4),
    sides=st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=2).map(tuple),
    count=st.integers(1, 80),
    alternative=st.sampled_from(["two-sided", "greater", "less"]),
    untrained=st.lists(EFFECTS, max_size=3).map(tuple),
    spreads=st.floats(0.01, 2),
)
@pytest.mark.property
def test_every_limit_lets_the_model_pass_is_visible_and_can_be_exceeded(
    effect: float,
    half: float,
    sides: tuple[tuple[int, int], ...],
    count: int,
    alternative: Alternative,
    untrained: tuple[float, ...],
    spreads: float,
) -> None:
    given_numbers = basis(
        effect,
        half,
        sides=sides,
        level=0.05 / count,
        count=count,
        alternative=alternative,
        untrained=untrained,
        spreads=(spreads,) * len(sides),
    )
    found = propose(given_numbers, can_grow=True)
    bound = min(largest_effect(*side) for side in sides)
    assert found.limits or found.refusals
    if (limit := found.limits.get("max_effect")) is not None:
        size = {"two-sided": abs(effect), "greater": effect, "less": -effect}[alternative]
        assert size <= limit.value < bound
        assert all(abs(value) <= limit.value for value in untrained)
        for side in sides:
            seen = smallest_detectable_effect(*side, 0.05 / count, alternative)
            assert seen is not None
            assert seen <= limit.value
    if (limit := found.limits.get("max_growth")) is not None:
        assert 0 < limit.value < bound - abs(effect)
    for limit in found.limits.values():
        assert math.isclose(limit.value / 0.05, round(limit.value / 0.05), abs_tol=1e-6)


def test_each_of_the_three_grounds_can_decide_a_limit_and_is_named() -> None:
    chance = propose(basis(), can_grow=False).limits["max_effect"]
    assert chance.value == 0.65  # a two-sided t with 38 degrees of freedom, by hand: 0.623
    assert chance.reason == ("smaller ones need not be told from chance (20 against 20 images)")
    own = propose(basis(-0.9, 0.2), can_grow=False).limits["max_effect"]
    assert own.value == 1.1
    assert own.reason == "the interval of 'before' is -1.10 to -0.70"
    random = propose(basis(untrained=(0.1, -0.83)), can_grow=False).limits["max_effect"]
    assert random.value == 0.85
    assert random.reason == "an untrained network shows up to 0.83 (2 seeds)"


@pytest.mark.parametrize(("alternative", "tail"), [("two-sided", 0.025), ("greater", 0.05)])
def test_the_standard_error_decides_what_both_sides_at_once_can_tell(
    alternative: Alternative, tail: float
) -> None:
    """At the quantiles of scipy: what is significant, and what is found in 80 % of samples."""
    from scipy import stats

    found = propose(basis(error=0.4, alternative=alternative), can_grow=False)
    t = stats.t.ppf(1 - tail, 76.0)
    assert found.limits["max_effect"].value == pytest.approx(math.ceil(t * 0.4 / 0.05) * 0.05)
    assert found.detectable == pytest.approx((t + stats.norm.ppf(0.8)) * 0.4)


def test_growth_that_chance_cannot_hide_is_a_t_test_of_the_changes() -> None:
    """The difference that is significant one-sided, in deviations of a change within a set.

    Images of both sides are sampled, so that their variances add up.
    """
    from scipy.stats import t as student

    least = student.ppf(1 - 0.05, 38) * math.hypot(0.5, 0.2) * math.sqrt(0.1)
    limit = propose(basis(spreads=(0.5, 0.2)), can_grow=True).limits["max_growth"]
    assert limit.value == pytest.approx(math.ceil(least / 0.05) * 0.05)
    assert limit.reason == (
        "less need not be told from chance (20 against 20 images), as scores change from "
        "'before' to 'after'"
    )
    guessed = propose(basis(), can_grow=True).limits["max_growth"]
    assert guessed.value == 0.8  # 1.686 * sqrt(0.2), by hand: 0.754
    assert guessed.reason.endswith("if scores before and after correlate by 0.5")


def test_trials_that_differ_by_more_than_chance_decide_the_growth() -> None:
    limit = propose(basis(trials=(0.1, -1.0, 0.4)), can_grow=True).limits["max_growth"]
    assert limit.value == 0.9
    assert limit.reason == "3 trials of 'before' differ by 0.90"


def test_without_a_model_before_there_is_no_limit_on_growth() -> None:
    assert [*propose(basis(), can_grow=False).limits] == ["max_effect"]


def test_sets_that_can_show_nothing_get_no_gate_and_are_told_what_could() -> None:
    found = propose(basis(sides=((4, 4),), level=0.05 / 6, count=6), can_grow=True)
    assert found.limits == {}
    assert found.refusals == (
        (
            "no gate is possible: 4 against 4 images cannot tell any effect from chance once p is "
            "corrected over 6; 5 in a set could, or draw fewer tests into a spec"
        ),
    )
    alone = propose(basis(sides=((3, 3), (20, 20))), can_grow=True)
    assert alone.refusals == (
        (
            "no gate is possible: 3 against 3 and 20 against 20 images cannot tell any effect from "
            "chance; 4 in a set could"
        ),
    )


def test_an_effect_that_is_near_the_largest_already_gets_no_limit() -> None:
    found = propose(basis(1.85, 0.1), can_grow=True)
    assert found.limits == {}
    assert found.refusals == (
        (
            "no max_effect: the interval of 'before' is +1.75 to +1.95, and no effect can be over "
            "1.97; gate its growth, or add images"
        ),
        (
            "no max_growth: from +1.85 in 'before' an effect can grow by 0.12 at the most, and "
            "less need not be told from chance (20 against 20 images), if scores before and after "
            "correlate by 0.5"
        ),
    )


@pytest.mark.parametrize(
    ("alternative", "expected"), [("greater", 0.55), ("less", 1.0), ("two-sided", 1.0)]
)
def test_a_direction_that_does_not_count_widens_no_limit(
    alternative: Alternative, expected: float
) -> None:
    found = propose(basis(-0.8, 0.2, alternative=alternative), can_grow=False)
    assert found.limits["max_effect"].value == expected


def test_a_control_has_to_show_half_of_what_is_sure() -> None:
    found = propose_control(basis(1.5, 0.3, alternative="greater", sides=((20, 20),)))
    assert found.limits["min_effect"].value == 0.6
    assert found.limits["min_effect"].reason == (
        "half of what is sure: the interval of 'before' is +1.20 to +1.80"
    )


@pytest.mark.parametrize(("effect", "half"), [(0.3, 0.1), (0.9, 1.0), (-1.5, 0.1)])
def test_a_control_that_the_model_does_not_show_is_refused(effect: float, half: float) -> None:
    found = propose_control(basis(effect, half, alternative="greater", sides=((20, 20),)))
    assert found.limits == {}
    assert "'before' does not show this control" in found.refusals[0]


def test_how_alike_a_set_is_may_move_by_as_much_as_its_interval_does() -> None:
    found = propose_similarity(basis(0.4, 0.05, sides=()), can_grow=True)
    assert found.limits["max_shift"].value == 0.08
    assert propose_similarity(basis(0.4, 0.05, sides=()), can_grow=False).limits == {}


@pytest.mark.parametrize("what", [propose, propose_similarity])
def test_what_was_not_measured_gets_no_limit(what: type) -> None:
    found = what(basis(problem="not measured"), can_grow=True)
    assert (found.limits, found.refusals) == ({}, ("not measured",))
