"""Cases that a review by fresh eyes found wanting: nothing may crash, and every bracket holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.association import (
    association_from_scores,
    association_test,
    similarity_gap_test,
)
from pytest_visualbias.statistics.growth import growth_test
from pytest_visualbias.statistics.intra_similarity import intra_similarity
from pytest_visualbias.statistics.leave_one_out import influence_from_scores
from pytest_visualbias.statistics.multiple_testing import adjust
from pytest_visualbias.statistics.permutation.bounds import bracket, on_lattice
from pytest_visualbias.statistics.permutation.exact import count_tail_subsets
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side, tails_of
from pytest_visualbias.statistics.scores import Scores, association_scores

NAMES = ("X", "Y")


@pytest.mark.parametrize("alternative", ["less", "greater"])
@pytest.mark.parametrize("n", [40, 100])
def test_an_effect_that_points_the_other_way_has_a_p_near_one(n: int, alternative: str) -> None:
    """As where a positive control is inverted."""
    random = np.random.default_rng(0)
    X, Y, A, B = random.standard_normal((4, n, 16))
    sign = 1 if alternative == "less" else -1
    for rows, side in ((X, sign), (A, 1), (Y, -sign), (B, -1)):
        rows[:, 0] += side
    found = association_test(X, Y, A, B, alternative=alternative)  # type: ignore[arg-type]
    assert 0.999 < found.p_low <= found.p_value <= 1.0
    assert found.p_verdict <= 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alternative", ["less", "greater"])
def test_the_bracket_of_a_large_p_holds_the_counted_one(seed: int, alternative: str) -> None:
    """Where most relabellings are as extreme, what is left out is bracketed instead."""
    random = np.random.default_rng(seed)
    shift = -0.4 if alternative == "greater" else 0.4
    side = Side.of(random.normal(size=9) + shift, random.normal(size=11), NAMES)
    (tail,) = tails_of(side, alternative)  # type: ignore[arg-type]
    truth = count_tail_subsets(tail) / math.comb(20, 9)
    found = bracket((tail,))
    assert found is not None
    low, high = found
    assert low <= truth <= high <= 1.0
    assert high - low <= max(0.01 * high, 1e-4)


def test_a_complete_count_of_repeated_scores_is_no_more_than_one() -> None:
    for seed in range(12):
        random = np.random.default_rng(seed)
        scores = np.sort(random.integers(0, 2 + seed % 3, 200).astype(float))
        side = Side.of(scores[100:], scores[:100], NAMES)
        found = permutation_test(side, alternative="less")
        assert found.p_value <= 1.0
        assert adjust([found.p_value], "holm") == (found.p_value,)


@pytest.mark.parametrize("sizes", [(30, 30), (60, 10), (22, 24)])
def test_scores_on_a_lattice_are_bracketed(sizes: tuple[int, int]) -> None:
    """Their rounding errors on a grid can be all equal."""
    random = np.random.default_rng(0)
    n, m = sizes
    for _ in range(6):
        whole = random.integers(0, 1500, n + m).astype(float)
        scores = Scores(
            x=whole[:n], y=whole[n:], a=np.array([1.0, 2, 3]), b=np.array([0.0, 1, 5]), gap=1.0
        )
        found = association_from_scores(scores)
        assert 0 < found.p_low <= found.p_value <= 1.0


def test_the_similarity_of_identical_images_is_one_and_inside_its_interval() -> None:
    for seed in range(20):
        row = np.random.default_rng(seed).normal(size=7)
        found = intra_similarity(np.tile(row, (5, 1)))
        assert found.ci_low <= found.effect_size <= found.ci_high <= 1.0


def test_sides_that_do_not_exist_are_refused() -> None:
    X, Y, A, B = np.random.default_rng(0).normal(size=(4, 5, 6))
    with pytest.raises(ValueError, match="sides"):
        association_scores(X, Y, A, B, sides="target")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sides"):
        influence_from_scores(association_scores(X, Y, A, B), sides="target")  # type: ignore[arg-type]


def test_scores_that_are_no_numbers_or_of_another_shape_are_refused() -> None:
    one = np.array([1.0, 2, 4])
    with pytest.raises(DegenerateTestError, match="gap of the scores"):
        Scores(x=one, y=one, a=one, b=one, gap=float("nan"))
    for cosines in (np.full((6, 6), np.nan), np.zeros((6, 5))):
        with pytest.raises(
            DegenerateTestError, match=r"cosines must be finite and of shape \(6, 6\)"
        ):
            Scores(x=one, y=one, a=one, b=one, gap=0.1, cosines=(cosines,))


def test_cosines_cannot_be_changed_from_outside() -> None:
    outside = np.zeros((6, 6))
    one = np.array([1.0, 2, 4])
    scores = Scores(x=one, y=one, a=one, b=one, gap=0.1, cosines=(outside[:],))
    outside[0] = 5
    assert not scores.cosines[0].any()
    assert not scores.cosines[0].flags.writeable


def _counted_on_integers(first: list[int], second: list[int], alternative: str) -> float:
    """Count all relabellings by adding integers one at a time, without any rounding."""
    pooled = first + second
    size, lowest = len(first), min(pooled)
    ways: list[dict[int, int]] = [{0: 1}] + [{} for _ in range(size)]
    for value in pooled:
        for taken in range(size, 0, -1):
            for total, count_ in ways[taken - 1].items():
                here = total + value - lowest
                ways[taken][here] = ways[taken].get(here, 0) + count_
    observed = len(pooled) * sum(first) - size * sum(pooled)

    def is_extreme(total: int) -> bool:
        moved = len(pooled) * (total + size * lowest) - size * sum(pooled)
        if alternative == "two-sided":
            return abs(moved) >= abs(observed)
        return moved >= observed if alternative == "greater" else moved <= observed

    hits = sum(count_ for total, count_ in ways[size].items() if is_extreme(total))
    return hits / math.comb(len(pooled), size)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3, 7e-5])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([2 * i for i in range(30)], [2 * i + 1 for i in range(30)]),
        ([*range(28)], [i + 4 for i in range(28)]),
        ([*range(0, 90, 9)], [*range(3, 183, 3)]),
        ([*range(0, 100, 10)], [(i * i) % 97 for i in range(40)]),
    ],
    ids=["offset-by-one", "shifted", "10v60", "squares"],
)
def test_scores_on_a_lattice_tie_exactly(
    first: list[int], second: list[int], alternative: str, scale: float
) -> None:
    """Ties hold much of the probability there, and a bracket has to take them as what they are."""
    truth = _counted_on_integers(first, second, alternative)
    side = Side.of(scale * np.array(first), scale * np.array(second), NAMES)
    found = permutation_test(side, alternative=alternative)  # type: ignore[arg-type]
    assert found.p_low * (1 - 1e-9) <= truth <= found.p_high * (1 + 1e-9)
    assert found.p_high - found.p_low <= max(0.01 * found.p_high, 1e-4)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_a_lattice_counts_as_the_listing_does(alternative: str) -> None:
    """Sizes at which everything can be listed, but asked as a bracket."""
    random = np.random.default_rng(5)
    for _ in range(20):
        first, second = random.integers(0, 40, 7) / 8, random.integers(0, 50, 8) / 8
        tails = tails_of(Side.of(first, second, NAMES), alternative)  # type: ignore[arg-type]
        if not tails:
            continue
        truth = sum(tail.ways * count_tail_subsets(tail) for tail in tails) / math.comb(15, 7)
        found = bracket(tails)
        assert found is not None
        assert found[0] * (1 - 1e-9) <= truth <= found[1] * (1 + 1e-9)


def test_scores_without_a_common_unit_are_left_alone() -> None:
    """A lattice that is only near would prove something about other scores."""
    whole = np.arange(40.0)
    side = Side.of(whole[::2], whole[1::2] + 1e-7 * np.sqrt(np.arange(20)), NAMES)
    (tail,) = tails_of(side, "two-sided")
    assert on_lattice(tail) is None
    (exact,) = tails_of(Side.of(whole[::2], whole[1::2], NAMES), "two-sided")
    found = on_lattice(exact)
    assert found is not None
    assert found[1] == pytest.approx(1.0)
    np.testing.assert_allclose(found[0].scores % 1, 0)


@pytest.mark.parametrize("scale", [1e-300, 1e-120, 1e120, 1e300])
def test_scores_far_from_standardised_are_refused_in_a_sentence(scale: float) -> None:
    """Squares of such numbers leave the range of a float, and with them any effect."""
    values = scale * np.random.default_rng(0).standard_normal((4, 6))
    with pytest.raises(DegenerateTestError, match="standardise them"):
        association_from_scores(Scores(**dict(zip("xyab", values, strict=True)), gap=0.0))


def test_errors_name_the_arguments_of_the_test_that_was_called() -> None:
    """O is an argument of the similarity gap, and A is not."""
    rows = np.random.default_rng(0).standard_normal((6, 4))
    zero = np.zeros((6, 4))
    with pytest.raises(DegenerateTestError, match="row 0 of O") as caught:
        similarity_gap_test(zero, rows, rows)
    assert caught.value.role == "O"


def test_growth_takes_four_arrays_of_real_numbers_each() -> None:
    """Three arrays, or complex ones, get a sentence."""
    rows = np.random.default_rng(0).standard_normal((4, 6, 8))
    with pytest.raises(ValueError, match="before must be the four arrays"):
        growth_test(tuple(rows[:3]), tuple(rows))
    with pytest.raises(DegenerateTestError, match="X must be an array of real numbers"):
        association_test(rows[0] * 1j, *rows[1:])
