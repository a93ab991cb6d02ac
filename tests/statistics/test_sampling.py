"""Seeded random relabellings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.statistics.permutation import permutation_test as sampling
from pytest_visualbias.statistics.permutation.permutation_test import (
    DRAWS,
    clopper_pearson,
    permutation_test,
    sampled_count,
)
from pytest_visualbias.statistics.permutation.sides import Side, tails_of

if TYPE_CHECKING:
    from pytest_visualbias.statistics.permutation.sides import Alternative


def drawn(n: int, m: int, shift: float, seed: int = 0) -> Side:
    rng = np.random.default_rng([n, m, seed])
    return Side.of(rng.standard_normal(n) + shift, rng.standard_normal(m), ("X", "Y"))


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(("n", "m", "shift"), [(6, 6, 0.8), (8, 10, 0.5), (10, 8, -1.5)])
def test_the_exact_p_lies_in_the_interval(
    n: int, m: int, shift: float, alternative: Alternative
) -> None:
    side = drawn(n, m, shift)
    hits = sampled_count(tails_of(side, alternative))
    low, high = clopper_pearson(hits, DRAWS)
    assert low <= permutation_test(side, alternative=alternative).p_value <= high


@pytest.mark.parametrize("hits", [0, 1, 500, 99_999, 100_000])
def test_the_interval_is_that_of_clopper_and_pearson(hits: int) -> None:
    theirs = stats.binomtest(hits, 100_000).proportion_ci(0.999, method="exact")
    assert clopper_pearson(hits, 100_000) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_neither_order_nor_sign_nor_size_of_block_changes_the_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = drawn(14, 14, 0.3)
    reference = sampled_count(tails_of(side, "two-sided"))
    for first, second in (
        (side.first[::-1], side.second),
        (side.second, side.first),
        (-side.first, -side.second),
        (side.first * (1 + 1e-15), side.second),
    ):
        assert sampled_count(tails_of(Side.of(first, second, ("X", "Y")), "two-sided")) == reference
    for cells in (28_000_003, 50_000):
        monkeypatch.setattr(sampling, "_BLOCK_CELLS", cells)
        assert sampled_count(tails_of(side, "two-sided")) == reference


def test_other_scores_draw_other_samples() -> None:
    one = drawn(14, 14, 0.3)
    other = Side.of(one.first + 1e-4, one.second, ("X", "Y"))
    counts = [sampled_count(tails_of(side, "two-sided")) for side in (one, other)]
    assert counts[0] != counts[1]
