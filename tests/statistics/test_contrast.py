"""Tests with one side: SC-EAT and the gap in similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.association import (
    contrast_from_scores,
    sc_eat_test,
    similarity_gap_test,
)
from pytest_visualbias.statistics.contrast_scores import (
    ContrastScores,
    mean_contrast_scores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics.growth import growth_from_scores
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]


def drawn(*sizes: int, seed: int = 0) -> list[Matrix]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, 8)) + rng.standard_normal(8) / 2 for n in sizes]


def cosines(rows: Matrix, columns: Matrix) -> Matrix:
    norms = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(columns, axis=1)
    result: Matrix = rows @ columns.T / norms
    return result


def permuted_p(first: Vector, second: Vector) -> float:
    """Two-sided p by scipy's complete null distribution."""
    null = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=np.inf,
        vectorized=True,
    ).null_distribution
    observed = abs(first.mean() - second.mean()) * (1 - 1e-12)
    return float(np.mean(np.abs(null) >= observed))


class TestScEat:
    def test_the_effect_is_the_mean_of_single_images_effects(self) -> None:
        """The SC-WEAT effect size of each image of X, by the textbook formula."""
        X, A, B = drawn(4, 6, 7)
        near, far = cosines(X, A), cosines(X, B)
        both = np.concatenate([near, far], axis=1)
        single = (near.mean(axis=1) - far.mean(axis=1)) / both.std(axis=1, ddof=1)
        got = sc_eat_test(X, A, B)
        assert got.effect_size == got.effect_judged == pytest.approx(single.mean())
        assert got.gap == pytest.approx(near.mean() - far.mean())
        assert (got.n_x, got.n_y, got.n_a, got.n_b) == (4, None, 6, 7)

    def test_the_labels_of_the_attributes_are_permuted(self) -> None:
        X, A, B = drawn(3, 5, 6, seed=1)
        both = np.concatenate([cosines(X, A), cosines(X, B)], axis=1)
        h = (both / both.std(axis=1, ddof=1, keepdims=True)).mean(axis=0)
        got = sc_eat_test(X, A, B)
        assert got.p_value == pytest.approx(permuted_p(h[:5], h[5:]))
        assert got.p_attributes is None
        welch = stats.ttest_ind(h[:5], h[5:], equal_var=False).pvalue
        assert got.p_welch == pytest.approx(welch)
        assert got.p_verdict == max(got.p_value, got.p_welch or 0, got.p_crossed or 0)

    def test_exchanging_the_attributes_turns_the_sign(self) -> None:
        X, A, B = drawn(3, 5, 6, seed=3)
        one, other = sc_eat_test(X, A, B), sc_eat_test(X, B, A)
        assert other.effect_size == pytest.approx(-one.effect_size)
        assert other.p_verdict == pytest.approx(one.p_verdict)

    def test_one_target_image_is_enough(self) -> None:
        X, A, B = drawn(1, 5, 5)
        assert sc_eat_test(X, A, B).n_x == 1

    def test_a_target_that_tells_no_attributes_apart_is_named(self) -> None:
        X, A, B = drawn(3, 4, 4)
        A[:, 0] = B[:, 0] = 0
        X[1] = np.eye(8)[0]
        with pytest.raises(DegenerateTestError, match="row 1 of X has the same cosine") as raised:
            sc_eat_test(X, A, B)
        assert (raised.value.role, raised.value.row) == ("X", 1)

    def test_one_attribute_image_is_refused(self) -> None:
        X, A, B = drawn(3, 1, 4)
        with pytest.raises(DegenerateTestError, match="A holds 1 image"):
            sc_eat_test(X, A, B)


class TestSimilarityGap:
    def test_the_gap_is_the_difference_of_mean_similarities(self) -> None:
        O, X, Y = drawn(5, 6, 4, seed=4)  # noqa: E741
        to_x, to_y = cosines(O, X), cosines(O, Y)
        h = np.concatenate([to_x.mean(axis=0), to_y.mean(axis=0)])
        got = similarity_gap_test(O, X, Y)
        assert got.gap == pytest.approx(to_x.mean() - to_y.mean())
        assert got.effect_size == pytest.approx(got.gap / h.std(ddof=1))
        assert got.p_value == pytest.approx(permuted_p(h[:6], h[6:]))
        assert (got.n_x, got.n_y, got.n_a, got.n_b) == (6, 4, 5, None)

    def test_embeddings_of_another_length_are_refused(self) -> None:
        O, X, Y = drawn(5, 6, 4)  # noqa: E741
        with pytest.raises(DegenerateTestError, match="all sets must come from one layer"):
            similarity_gap_test(O, X, Y[:, :5])

    @pytest.mark.parametrize(("keys", "name"), [({}, "O"), ({"called": "A"}, "A")])
    def test_an_unusable_row_is_named_by_its_set_as_the_caller_knows_it(
        self, keys: dict[str, str], name: str
    ) -> None:
        O, X, Y = drawn(5, 6, 4)  # noqa: E741
        O[2] = 0
        with pytest.raises(DegenerateTestError, match=f"of {name} ") as raised:
            similarity_gap_scores(O, X, Y, **keys)
        assert (raised.value.role, raised.value.row) == (name, 2)

    def test_equal_scores_are_refused(self) -> None:
        X = np.tile([1.0, 2.0], (4, 1))
        with pytest.raises(DegenerateTestError, match="all images of X and Y"):
            similarity_gap_test(drawn(3)[0][:, :2], X, 3 * X)


class TestFromScores:
    def test_scores_give_what_embeddings_give(self) -> None:
        sets = drawn(4, 6, 7)
        for test, scored in (
            (sc_eat_test, sc_eat_scores),
            (similarity_gap_test, similarity_gap_scores),
        ):
            assert contrast_from_scores(scored(*sets), alternative="less") == test(
                *sets, alternative="less"
            )

    def test_the_effect_of_averaged_trials_is_the_mean_of_theirs(self) -> None:
        trials = [sc_eat_scores(*drawn(4, 6, 7, seed=seed)) for seed in range(3)]
        got = mean_contrast_scores(trials)
        assert got.side.difference == pytest.approx(np.mean([t.side.difference for t in trials]))
        assert got.gap == pytest.approx(np.mean([t.gap for t in trials]))

    def test_trials_of_other_sizes_are_refused(self) -> None:
        trials = [sc_eat_scores(*drawn(4, n, 7)) for n in (6, 5)]
        with pytest.raises(DegenerateTestError, match="A has 6 images in the first trial and 5"):
            mean_contrast_scores(trials)
        with pytest.raises(ValueError, match="at least one trial"):
            mean_contrast_scores([])

    def test_a_score_that_is_not_finite_is_named(self) -> None:
        with pytest.raises(DegenerateTestError, match="score 1 of B is not finite"):
            ContrastScores(
                first=np.ones(2),
                second=np.array([1.0, np.nan]),
                roles=("A", "B"),
                gap=0.0,
                n_other=3,
            )


class TestGrowth:
    def test_its_shift_is_the_difference_of_the_effects(self) -> None:
        before, after = (sc_eat_scores(*drawn(4, 6, 5, seed=seed)) for seed in (5, 6))
        got = growth_from_scores(before, after)
        assert got.shift == pytest.approx(after.side.difference - before.side.difference)
        assert got.p_attributes is None
        assert got.shift_ci_low < got.shift < got.shift_ci_high

    def test_a_model_against_itself_has_not_changed(self) -> None:
        scores = similarity_gap_scores(*drawn(4, 6, 5))
        got = growth_from_scores(scores, scores)
        assert (got.growth, got.shift, got.p_verdict) == (0, 0, 1)

    def test_other_kinds_of_scores_are_refused(self) -> None:
        X, Y, A, B = drawn(4, 6, 5, 5)
        with pytest.raises(ValueError, match="scores of different kinds of tests"):
            growth_from_scores(sc_eat_scores(X, A, B), association_scores(X, Y, A, B))
