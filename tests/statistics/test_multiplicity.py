"""Corrections for the number of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics.multiple_testing import adjust

if TYPE_CHECKING:
    from pytest_visualbias.statistics.multiple_testing import Correction

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
