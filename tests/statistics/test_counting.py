"""Counting by meeting in the middle against listing every subset."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.statistics.permutation import exact
from pytest_visualbias.statistics.permutation.exact import count_tail_subsets, is_countable
from pytest_visualbias.statistics.permutation.sides import Tail

# Quarters are exact in floats, so that brute force knows every tie.
quarters = st.integers(-20, 20).map(lambda value: value / 4)


def tail(scores: list[float], size: int, threshold: float) -> Tail:
    return Tail(scores=np.sort(np.array(scores, dtype=float)), size=size, threshold=threshold)


@pytest.mark.property
@given(st.lists(quarters, min_size=2, max_size=11), st.data())
@settings(deadline=None)
def test_meeting_in_the_middle_counts_what_listing_counts(
    scores: list[float], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(scores) - 1))
    asked = tail(scores, size, data.draw(quarters))
    expected = sum(sum(subset) >= asked.threshold for subset in combinations(scores, size))
    assert count_tail_subsets(asked) == expected
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exact, "_MAX_LISTED", 0)
        assert count_tail_subsets(asked) == expected


@pytest.mark.parametrize(("n", "size"), [(15, 7), (16, 8), (17, 3), (18, 6)])
def test_both_ways_agree_on_scores_that_do_not_repeat(
    monkeypatch: pytest.MonkeyPatch, n: int, size: int
) -> None:
    rng = np.random.default_rng([n, size])
    asked = [tail(rng.standard_normal(n).tolist(), size, t) for t in (-9.0, -1.0, 0.0, 1.5, 9.0)]
    monkeypatch.setattr(exact, "_MAX_LISTED", 10**6)
    listed = [count_tail_subsets(one) for one in asked]
    monkeypatch.setattr(exact, "_MAX_LISTED", 0)
    assert [count_tail_subsets(one) for one in asked] == listed
    assert listed[0] == math.comb(n, size)
    assert listed[-1] == 0


def test_twenty_against_twenty_has_the_hypergeometric_law_for_two_distinct_scores() -> None:
    asked = tail([0.0] * 22 + [1.0] * 18, 20, 12)
    expected = sum(math.comb(18, k) * math.comb(22, 20 - k) for k in range(12, 19))
    assert count_tail_subsets(asked) == expected


def test_all_subsets_of_twenty_of_forty_are_counted() -> None:
    """1.4e11 of them: every one is above a low threshold, and none above a high one."""
    scores = np.random.default_rng(2).standard_normal(40).tolist()
    assert count_tail_subsets(tail(scores, 20, -100)) == math.comb(40, 20)
    assert count_tail_subsets(tail(scores, 20, 100)) == 0


def test_complements_hold_the_rest_of_twenty_of_forty() -> None:
    """As many subsets sum to t or more as to the total less t or less."""
    scores = np.random.default_rng(3).standard_normal(40)
    over = count_tail_subsets(tail(scores.tolist(), 20, 4))
    under = count_tail_subsets(tail((-scores).tolist(), 20, 4 - scores.sum()))
    assert over == under > 0


@pytest.mark.parametrize(
    ("distinct", "repeats", "size", "expected"),
    [
        (34, 1, 17, True),
        (36, 1, 18, False),
        (300, 1, 2, True),
        (300, 1, 3, False),
        (5000, 1, 1, True),
        (3, 100, 150, True),
        (30, 10, 150, False),
        (2, 2000, 2000, False),
    ],
)
def test_what_is_countable_follows_from_distinct_scores(
    distinct: int, repeats: int, size: int, expected: bool
) -> None:
    assert is_countable(tail(list(np.arange(distinct) ** 1.5) * repeats, size, 0)) == expected


def test_scores_that_differ_by_rounding_count_as_repeated() -> None:
    scores = [0.1 + 0.2] * 30 + [0.3] * 30 + [1.0] * 30 + [2.0] * 30
    assert is_countable(tail(scores, 60, 0))
    assert count_tail_subsets(tail(scores, 60, -1)) == pytest.approx(math.comb(120, 60), rel=1e-12)
