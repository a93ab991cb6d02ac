"""Corrections for the number of tests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics import adjust, adjust_brackets, undecided
from pytest_visualbias.statistics.multiplicity import _largest

if TYPE_CHECKING:
    from pytest_visualbias.statistics import Correction

families = st.lists(st.floats(0, 1), min_size=1, max_size=12)
corrections = st.sampled_from(["holm", "bh", "none"])


def test_holm_by_hand() -> None:
    assert adjust([0.01, 0.04, 0.03, 0.005], "holm") == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_holm_never_exceeds_one() -> None:
    assert adjust([0.9, 0.6], "holm") == (1.0, 1.0)


@pytest.mark.property
@given(families)
def test_bh_equals_scipy(p_values: list[float]) -> None:
    expected = stats.false_discovery_control(p_values, method="bh")
    assert adjust(p_values, "bh") == pytest.approx(expected, rel=1e-12)


@pytest.mark.property
@given(families, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_its_steps_reject(p_values: list[float], alpha: float) -> None:
    """Smallest first, each against alpha over what is left, until one is not rejected."""
    expected = set()
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        expected.add(i)
    assert {i for i, p in enumerate(adjust(p_values, "holm")) if p <= alpha} == expected


@pytest.mark.property
@given(families, corrections, st.randoms(use_true_random=False))
def test_adjusted_is_at_least_raw_at_most_one_and_follows_the_order(
    p_values: list[float], correction: Correction, random: object
) -> None:
    adjusted = adjust(p_values, correction)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)
    assert adjust([p_values[i] for i in order], correction) == tuple(adjusted[i] for i in order)


@pytest.mark.property
@given(families, corrections, st.data())
def test_raising_one_p_lowers_no_adjusted_p(
    p_values: list[float], correction: Correction, data: st.DataObject
) -> None:
    i = data.draw(st.integers(0, len(p_values) - 1))
    raised = [*p_values]
    raised[i] = data.draw(st.floats(p_values[i], 1))
    pairs = zip(adjust(p_values, correction), adjust(raised, correction), strict=True)
    assert all(lower <= higher * (1 + 1e-15) for lower, higher in pairs)


@pytest.mark.parametrize("correction", ["holm", "bh", "none"])
def test_a_family_of_one_or_none_stays_as_it_is(correction: Correction) -> None:
    assert adjust([0.3], correction) == (0.3,)
    assert adjust([], correction) == ()


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="p-values lie between 0 and 1"):
        adjust([0.5, bad], "none")


def test_an_unknown_correction_is_refused() -> None:
    with pytest.raises(ValueError, match="correction is 'holm', 'bh' or 'none', not 'bonferroni'"):
        adjust([0.5], "bonferroni")  # type: ignore[arg-type]


def test_holm_and_bh_equal_those_of_statsmodels() -> None:
    """`multipletests` of statsmodels 0.15.0, methods "holm" and "fdr_bh", on these five."""
    raw = [0.0012, 0.034, 0.0007, 0.21, 0.034]
    assert adjust(raw, "holm") == pytest.approx((0.0048, 0.102, 0.0035, 0.21, 0.102))
    assert adjust(raw, "bh") == pytest.approx((0.003, 0.0425, 0.003, 0.21, 0.0425))


class TestBrackets:
    @pytest.mark.property
    @given(st.data(), corrections)
    @settings(deadline=None)
    def test_any_p_in_the_brackets_adjusts_into_the_adjusted_brackets(
        self, data: st.DataObject, correction: Correction
    ) -> None:
        lows = data.draw(families)
        highs = [data.draw(st.floats(low, 1)) for low in lows]
        true = [data.draw(st.floats(low, high)) for low, high in zip(lows, highs, strict=True)]
        for p, (low, high) in zip(
            adjust(true, correction), adjust_brackets(lows, highs, correction), strict=True
        ):
            assert low * (1 - 1e-15) <= p <= high * (1 + 1e-15)

    @pytest.mark.property
    @given(st.data(), corrections, st.sampled_from([0.01, 0.05]))
    @settings(deadline=None)
    def test_deciding_at_the_levels_named_decides_every_verdict(
        self, data: st.DataObject, correction: Correction, alpha: float
    ) -> None:
        true = data.draw(st.lists(st.floats(0, 0.2), min_size=1, max_size=8))
        brackets = [(p * 0.8, min(1.0, p * 1.2 + 0.001)) for p in true]
        for _ in range(100):
            lows, highs = zip(*brackets, strict=True)
            levels = undecided(lows, highs, correction, alpha)
            if not any(level is not None for level in levels):
                break
            for i, level in enumerate(levels):
                if level is not None:
                    low, high = brackets[i]
                    brackets[i] = (
                        (low, level) if true[i] <= level else (math.nextafter(level, 1), high)
                    )
        lows, highs = zip(*brackets, strict=True)
        adjusted = adjust_brackets(lows, highs, correction)
        verdicts = [high <= alpha for _, high in adjusted]
        assert verdicts == [low <= alpha for low, _ in adjusted]

    @pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
    def test_a_level_is_the_largest_float_that_its_step_takes(self, alpha: float) -> None:
        """Or a bracket could be decided at it, and the verdict still be open."""
        for count in range(1, 60):
            for rank in range(1, count + 1):
                level = _largest(alpha, rank, count)
                assert level * count / rank <= alpha < math.nextafter(level, 1) * count / rank

    def test_only_brackets_around_a_level_are_named_and_only_while_a_verdict_is_open(self) -> None:
        assert undecided([0.02, 0.3], [0.03, 0.4], "holm", 0.05) == (0.025, None)
        assert undecided([0.02, 0.3], [0.024, 0.4], "holm", 0.05) == (None, None)
        # The smaller one is not significant, so it does not matter on which side of .05 this is.
        assert undecided([0.03, 0.049], [0.031, 0.051], "holm", 0.05) == (None, None)
        assert undecided([0.04], [0.06], "none", 0.05) == (0.05,)
        assert undecided([0.02, 0.3], [0.03, 0.4], "bh", 0.05) == (0.025, None)

    def test_a_bracket_that_ends_before_it_begins_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"a bracket ends at 0\.1, before its beginning 0\.2"):
            adjust_brackets([0.2], [0.1], "holm")
