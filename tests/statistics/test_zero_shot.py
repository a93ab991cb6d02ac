"""Shares of images by the nearest word, against scipy and counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.zero_shot import assigned, zero_shot


def test_an_image_is_assigned_to_the_nearest_word_by_its_direction() -> None:
    images = [[3.0, 0.1], [0.1, 0.2], [-1.0, 0.2]]
    found = assigned(images, [[100.0, 0.0]], [[0.0, 0.01], [-2.0, 0.0]])
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_shares_and_p_are_those_of_a_table_of_counts() -> None:
    """For sets of one size, p is Fisher's."""
    random = np.random.default_rng(1)
    sets = {role: random.normal(size=(n, 6)) for role, n in zip("xyab", (9, 9, 3, 4), strict=True)}
    sets["x"] += 1.5 * sets["a"][0]
    x, y = (assigned(sets[role], sets["a"], sets["b"]) for role in "xy")
    found = zero_shot([x], [y], 3)
    in_x, in_y = int(x[:, :3].sum()), int(y[:, :3].sum())
    assert in_x != in_y
    assert (found.share_x, found.share_y) == (in_x / 9, in_y / 9)
    assert found.difference == pytest.approx((in_x - in_y) / 9)
    expected = stats.fisher_exact([[in_x, 9 - in_x], [in_y, 9 - in_y]]).pvalue
    assert found.p_value == pytest.approx(expected)
    assert found.p_method == "exact"
    assert found.words_x == tuple(x.mean(axis=0))


def test_p_counts_every_relabelling_also_of_averaged_trials() -> None:
    first, second = np.eye(2)[[0, 0, 0, 1]], np.eye(2)[[1, 1, 0]]
    again, other = np.eye(2)[[0, 1, 0, 0]], np.eye(2)[[1, 1, 1]]
    found = zero_shot([first, again], [second, other], 1)
    pooled = np.concatenate([first + again, second + other])[:, 0] / 2
    assert found.share_x == pytest.approx(pooled[:4].mean())

    def apart(chosen: tuple[int, ...]) -> float:
        rest = [index for index in range(7) if index not in chosen]
        return abs(float(pooled[list(chosen)].mean() - pooled[rest].mean()))

    every = [apart(chosen) for chosen in itertools.combinations(range(7), 4)]
    seen = apart((0, 1, 2, 3))
    assert found.p_value == pytest.approx(np.mean([one >= seen - 1e-9 for one in every]))


def test_exchanging_the_sets_turns_the_difference_round() -> None:
    x, y = np.eye(2)[[0, 0, 1]], np.eye(2)[[1, 1, 0]]
    one, other = zero_shot([x], [y], 1), zero_shot([y], [x], 1)
    assert (one.difference, other.difference) == pytest.approx((1 / 3, -1 / 3))
    assert one.p_value == other.p_value


def test_where_all_images_have_one_word_there_is_nothing_to_tell() -> None:
    x = np.eye(2)[[0, 0, 0]]
    found = zero_shot([x], [x], 1)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_a_vector_without_direction_is_no_word() -> None:
    with pytest.raises(DegenerateTestError, match="row 0 of A is a zero vector"):
        assigned([[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]])


def test_without_a_second_set_there_are_shares_and_nothing_is_compared() -> None:
    x = np.eye(3)[[0, 0, 1, 2]]
    found = zero_shot([x, np.eye(3)[[0, 2, 1, 2]]], None, 2)
    assert found.share_x == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found.words_x == pytest.approx((3 / 8, 2 / 8, 3 / 8))
    assert (found.share_y, found.difference, found.p_value, found.words_y) == (None, None, None, ())
