"""Standardised scores of four sets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Sets = list["NDArray[np.float64]"]
RNG = np.random.default_rng(12)


def four_sets(*sizes: int, dim: int = 8) -> Sets:
    return [RNG.standard_normal((n, dim)) + 0.3 * i for i, n in enumerate(sizes or (5, 5, 4, 4))]


def make(x: object = (1, 2), y: object = (3, 5), a: object = (1, 2), b: object = (4, 6)) -> Scores:
    return Scores(x=x, y=y, a=a, b=b, gap=0.5)  # type: ignore[arg-type]


class TestAssociationScores:
    def test_scores_equal_plain_loops_over_cosines(self) -> None:
        X, Y, A, B = four_sets(3, 4, 5, 6)

        def raw(w: NDArray[np.float64], near: Sets, far: Sets) -> float:
            def cos(v: NDArray[np.float64]) -> float:
                return float(w @ v / np.sqrt((w @ w) * (v @ v)))

            return sum(map(cos, near)) / len(near) - sum(map(cos, far)) / len(far)

        s = [raw(w, list(A), list(B)) for w in [*X, *Y]]
        h = [raw(w, list(X), list(Y)) for w in [*A, *B]]
        got = association_scores(X, Y, A, B)
        assert np.allclose([*got.x, *got.y], np.array(s) / np.std(s, ddof=1), rtol=1e-12)
        assert np.allclose([*got.a, *got.b], np.array(h) / np.std(h, ddof=1), rtol=1e-12)
        assert got.gap == pytest.approx(np.mean(s[:3]) - np.mean(s[3:]), rel=1e-12)
        assert got.gap == pytest.approx(np.mean(h[:5]) - np.mean(h[5:]), rel=1e-12)

    def test_scores_have_standard_deviation_one_on_both_sides(self) -> None:
        scores = association_scores(*four_sets())
        assert np.std([*scores.x, *scores.y], ddof=1) == pytest.approx(1)
        assert np.std([*scores.a, *scores.b], ddof=1) == pytest.approx(1)

    def test_vectors_are_read_only_and_the_value_is_frozen(self) -> None:
        scores = association_scores(*four_sets())
        with pytest.raises(ValueError, match="read-only"):
            scores.x[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            scores.gap = 0.0  # type: ignore[misc]

    def test_different_lengths_of_embeddings_name_the_set_at_fault(self) -> None:
        X, Y, A, B = four_sets()
        with pytest.raises(DegenerateTestError, match="A has embeddings of length 7 where X has 8"):
            association_scores(X, Y, A[:, 1:], B)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("dim", [2, 16, 512])
    def test_targets_one_ulp_apart_are_constant(self, dtype: DTypeLike, dim: int) -> None:
        """Rounding must not make an effect out of images that are the same."""
        _, _, A, B = (rows.astype(dtype) for rows in four_sets(dim=dim))
        rows = np.repeat(RNG.standard_normal((1, dim)), 10, axis=0).astype(dtype)
        noisy = np.where(RNG.random(rows.shape) < 0.5, rows, np.nextafter(rows, rows.dtype.type(9)))
        with pytest.raises(DegenerateTestError, match="all images of X and Y have the same"):
            association_scores(noisy[:5], noisy[5:], A, B)

    def test_targets_that_differ_in_length_only_are_constant(self) -> None:
        _, _, A, B = four_sets()
        rows = RNG.standard_normal(8) * RNG.uniform(0.1, 10, (10, 1))
        with pytest.raises(DegenerateTestError, match="all images of X and Y have the same"):
            association_scores(rows[:5], rows[5:], A, B)

    def test_attributes_that_are_the_same_set_leave_no_score(self) -> None:
        X, Y, A, _ = four_sets()
        with pytest.raises(DegenerateTestError, match="all images of X and Y have the same"):
            association_scores(X, Y, A, A[::-1])

    def test_constant_attributes_are_an_error_only_where_they_count(self) -> None:
        """A and B hold one repeated image each, both equally far from X and from Y."""
        X = np.array([[1.0, 1, 0], [1, -1, 0]])
        Y = np.array([[1.0, 2, 0], [1, -2, 0]])
        A, B = np.tile([1.0, 1, 1], (2, 1)), np.tile([1.0, -1, 1], (2, 1))
        with pytest.raises(DegenerateTestError, match="all images of A and B have the same"):
            association_scores(X, Y, A, B)
        scores = association_scores(X, Y, A, B, sides="targets")
        assert not scores.a.any()
        assert not scores.b.any()

    def test_small_real_differences_are_not_taken_for_rounding(self) -> None:
        """Cosines near one, a millionth apart, as untrained networks give them."""
        base = RNG.standard_normal(64)
        sets = [(base + 1e-3 * RNG.standard_normal((6, 64))).astype(np.float32) for _ in range(4)]
        assert np.isfinite(association_scores(*sets).x).all()


class TestScores:
    def test_anything_array_like_is_copied(self) -> None:
        given = np.array([1.0, 2.0])
        scores = make(x=given)
        given[0] = 7
        assert scores.x.tolist() == [1, 2]
        assert scores.y.dtype == np.float64

    @pytest.mark.parametrize(
        ("values", "row", "sentence"),
        [
            ([], None, r"the scores of X must be of shape \(images,\), not \(0,\)"),
            ([[1.0]], None, r"the scores of X must be of shape \(images,\), not \(1, 1\)"),
            ([1.0, np.nan], 1, "score 1 of X is not finite"),
        ],
    )
    def test_unusable_scores_are_named(
        self, values: object, row: int | None, sentence: str
    ) -> None:
        with pytest.raises(DegenerateTestError, match=sentence) as raised:
            make(x=values)
        assert (raised.value.role, raised.value.row) == ("X", row)


class TestMeanScores:
    def test_the_effect_of_the_mean_is_the_mean_of_the_effects(self) -> None:
        trials = [association_scores(*four_sets()) for _ in range(3)]
        averaged = mean_scores(trials)
        effects = [trial.targets.difference for trial in trials]
        assert averaged.targets.difference == pytest.approx(np.mean(effects))
        assert averaged.gap == pytest.approx(np.mean([trial.gap for trial in trials]))
        assert averaged.a.flags.writeable is False

    def test_one_trial_stays_what_it_is(self) -> None:
        trial = association_scores(*four_sets())
        assert np.array_equal(mean_scores([trial]).x, trial.x)

    def test_no_trial_is_a_mistake_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="at least one trial"):
            mean_scores([])

    def test_trials_of_other_images_are_refused(self) -> None:
        with pytest.raises(
            DegenerateTestError,
            match="B has 2 images in the first trial and 3 in another; the same images",
        ) as raised:
            mean_scores([make(), make(b=(4, 5, 6))])
        assert raised.value.role == "B"

    def test_an_attribute_side_missing_in_one_trial_is_missing_in_the_mean(self) -> None:
        averaged = mean_scores([make(), make(a=(0, 0), b=(0, 0))])
        assert not averaged.a.any()
        assert not averaged.b.any()
        assert averaged.x.tolist() == [1, 2]
