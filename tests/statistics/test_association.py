"""The association test as a whole, and its laws."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.association import association_from_scores, association_test
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.association import AssociationResult

Sets = tuple["NDArray[np.float64]", ...]
# Four of the sizes that exact tests can count, and embeddings from a seed: hypothesis shrinks both.
sizes = st.tuples(*[st.integers(2, 6)] * 4)
seeds = st.integers(0, 2**32 - 1)
property_settings = settings(deadline=None, max_examples=15)


def drawn(n: tuple[int, ...], seed: int, dim: int = 5) -> Sets:
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((4, dim))
    return tuple(rng.standard_normal((k, dim)) + mean for k, mean in zip(n, means, strict=True))


def numbers(result: AssociationResult) -> dict[str, float]:
    return {k: v for k, v in dataclasses.asdict(result).items() if isinstance(v, float)}


class TestLaws:
    @pytest.mark.property
    @given(sizes, seeds)
    @property_settings
    def test_exchanging_targets_turns_the_sign(self, n: tuple[int, ...], seed: int) -> None:
        X, Y, A, B = drawn(n, seed)
        one, other = association_test(X, Y, A, B), association_test(Y, X, A, B)
        assert other.effect_size == pytest.approx(-one.effect_size, rel=1e-12, abs=1e-12)
        assert other.effect_judged == pytest.approx(-one.effect_judged, rel=1e-12, abs=1e-12)
        assert other.gap == pytest.approx(-one.gap, rel=1e-12, abs=1e-14)
        assert (other.p_value, other.p_attributes) == (one.p_value, one.p_attributes)
        low, high = one.interval(0.95)
        assert (other.ci_low, other.ci_high) == pytest.approx((-high, -low), abs=1e-9)
        less = association_test(Y, X, A, B, alternative="less")
        greater = association_test(X, Y, A, B, alternative="greater")
        assert less.p_verdict == pytest.approx(greater.p_verdict)

    @pytest.mark.property
    @given(sizes, seeds)
    @property_settings
    def test_exchanging_attributes_turns_the_sign(self, n: tuple[int, ...], seed: int) -> None:
        X, Y, A, B = drawn(n, seed)
        one, other = association_test(X, Y, A, B), association_test(X, Y, B, A)
        assert other.effect_size == -one.effect_size
        assert other.p_value == one.p_value
        assert other.p_verdict == pytest.approx(one.p_verdict)

    @pytest.mark.property
    @given(sizes, seeds)
    @property_settings
    def test_exchanging_roles_exchanges_the_sides(self, n: tuple[int, ...], seed: int) -> None:
        X, Y, A, B = drawn(n, seed)
        one, other = association_test(X, Y, A, B), association_test(A, B, X, Y)
        assert (one.effect_size, one.p_value) == (other.effect_size_attributes, other.p_attributes)
        assert (one.effect_size_attributes, one.p_attributes) == (other.effect_size, other.p_value)
        assert one.gap == pytest.approx(other.gap, rel=1e-9, abs=1e-12)
        assert other.p_verdict == pytest.approx(one.p_verdict, rel=1e-9)

    @pytest.mark.property
    @given(sizes, seeds)
    @property_settings
    def test_neither_scale_of_a_row_nor_order_matters(self, n: tuple[int, ...], seed: int) -> None:
        rng = np.random.default_rng(seed)
        sets = drawn(n, seed)
        changed = [rng.permutation(rows * rng.uniform(0.01, 100, (len(rows), 1))) for rows in sets]
        one, other = association_test(*sets), association_test(*changed)
        assert numbers(other) == pytest.approx(numbers(one), rel=1e-9, abs=1e-12)

    @pytest.mark.property
    @given(sizes, seeds)
    @property_settings
    def test_duplicated_attributes_leave_the_target_side_as_it_is(
        self, n: tuple[int, ...], seed: int
    ) -> None:
        X, Y, A, B = drawn(n, seed)
        twice = association_test(X, Y, np.repeat(A, 2, axis=0), np.repeat(B, 2, axis=0))
        once = association_test(X, Y, A, B)
        assert twice.effect_size == pytest.approx(once.effect_size, rel=1e-9, abs=1e-12)
        assert twice.p_value == once.p_value

    @pytest.mark.property
    @given(sizes, seeds, st.sampled_from(["two-sided", "greater", "less"]))
    @property_settings
    def test_numbers_keep_their_bounds(
        self, n: tuple[int, ...], seed: int, alternative: str
    ) -> None:
        got = association_test(*drawn(n, seed), alternative=alternative)  # type: ignore[arg-type]
        assert got.effect_size_attributes is not None
        assert got.p_attributes is not None
        assert abs(got.effect_size) <= largest_effect(n[0], n[1]) * (1 + 1e-12)
        assert abs(got.effect_size_attributes) <= largest_effect(n[2], n[3]) * (1 + 1e-12)
        assert abs(got.effect_judged) == min(abs(got.effect_size), abs(got.effect_size_attributes))
        assert 1 / math.comb(n[0] + n[1], n[0]) <= got.p_value <= 1
        assert 1 / math.comb(n[2] + n[3], n[2]) <= got.p_attributes <= 1
        assert got.p_crossed is not None
        assert 0 < got.p_crossed <= 1
        assert got.p_verdict == max(got.p_value, got.p_attributes, got.p_welch or 0, got.p_crossed)
        assert (got.p_welch is None) == (n[0] == n[1] and n[2] == n[3])
        low, high = got.interval(0.95)
        assert (got.ci_low, got.ci_high) == (got.wide_low, got.wide_high) == (low, high)
        assert low <= got.effect_judged <= high
        assert (got.n_x, got.n_y, got.n_a, got.n_b) == n


class TestSides:
    def test_targets_only_judges_the_target_side(self) -> None:
        sets = drawn((4, 6, 3, 5), 3)
        both, targets = association_test(*sets), association_test(*sets, sides="targets")
        assert targets.effect_judged == targets.effect_size == both.effect_size
        assert targets.effect_size_attributes == both.effect_size_attributes
        assert targets.p_value == both.p_value
        assert (targets.p_attributes, targets.p_crossed) == (None, None)
        assert targets.p_verdict == max(targets.p_value, targets.p_welch or 0)

    def test_meaningless_attributes_do_not_decide_when_both_sides_count(self) -> None:
        """A tight class against another is at the bound of d for any two attribute sets."""
        rng = np.random.default_rng(5)
        X = np.eye(30)[0] + 0.01 * rng.standard_normal((8, 30))
        Y = np.eye(30)[1] + 0.01 * rng.standard_normal((8, 30))
        A, B = rng.standard_normal((2, 8, 30))
        got = association_test(X, Y, A, B)
        assert abs(got.effect_size) > 1.9
        assert got.p_value < 0.001
        assert abs(got.effect_judged) < 1
        assert got.p_verdict > 0.05

    def test_an_attribute_side_without_spread_is_null_where_it_has_no_say(self) -> None:
        scores = Scores(x=[1, 2], y=[3, 5], a=[0, 0], b=[0, 0], gap=0.1)  # type: ignore[arg-type]
        got = association_from_scores(scores, sides="targets")
        assert got.effect_size_attributes is None
        assert got.p_attributes is None
        assert got.effect_judged == got.effect_size == -2.5

    def test_one_attribute_image_is_enough_where_attributes_have_no_say(self) -> None:
        X, Y, A, B = drawn((4, 4, 3, 3), 1)
        got = association_test(X, Y, A[:1], B[:1], sides="targets")
        assert got.effect_size_attributes is None
        assert got.n_a == 1

    def test_an_unknown_choice_is_refused(self) -> None:
        with pytest.raises(ValueError, match="sides is 'both' or 'targets', not 'all'"):
            association_test(*drawn((3, 3, 3, 3), 1), sides="all")  # type: ignore[arg-type]


class TestDegenerate:
    @pytest.mark.parametrize(
        ("n", "role"),
        [((1, 1, 3, 3), "X"), ((3, 1, 3, 3), "Y"), ((3, 3, 1, 3), "A"), ((3, 3, 3, 1), "B")],
    )
    def test_a_set_of_one_image_is_named(self, n: tuple[int, ...], role: str) -> None:
        with pytest.raises(
            DegenerateTestError, match=f"{role} holds 1 image; at least two are needed"
        ) as raised:
            association_test(*drawn(n, 1))
        assert raised.value.role == role

    def test_recorded_scores_that_are_constant_are_refused(self) -> None:
        scores = Scores(x=[1, 1], y=[1, 1], a=[1, 2], b=[1, 2], gap=0)  # type: ignore[arg-type]
        with pytest.raises(DegenerateTestError, match="all images of X and Y"):
            association_from_scores(scores)
        turned = Scores(x=scores.a, y=scores.b, a=scores.x, b=scores.y, gap=0)
        with pytest.raises(DegenerateTestError, match="all images of A and B"):
            association_from_scores(turned)

    def test_a_bad_row_is_named_by_set_and_row(self) -> None:
        X, Y, A, B = drawn((3, 3, 3, 3), 1)
        B[2, 0] = np.nan
        with pytest.raises(DegenerateTestError, match="row 2 of B") as raised:
            association_test(X, Y, A, B)
        assert (raised.value.role, raised.value.row) == ("B", 2)

    def test_complete_separation_has_a_finite_interval(self) -> None:
        scores = Scores(x=[1, 1, 1], y=[0, 0, 0], a=[1, 1], b=[0, 0], gap=1)  # type: ignore[arg-type]
        got = association_from_scores(scores)
        assert all(map(math.isfinite, numbers(got).values()))


def test_trials_are_averaged_before_they_are_tested() -> None:
    trials = [association_scores(*drawn((5, 5, 4, 4), seed)) for seed in (1, 2, 3)]
    single = [association_from_scores(trial) for trial in trials]
    got = association_from_scores(mean_scores(trials))
    assert got.effect_size == pytest.approx(np.mean([result.effect_size for result in single]))


def test_results_are_frozen_builtin_numbers() -> None:
    got = association_test(*drawn((3, 4, 3, 3), 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.gap = 0.0  # type: ignore[misc]
    kinds = {type(value) for value in dataclasses.asdict(got).values()}
    assert kinds == {float, int, str, type(None)}


def test_another_process_finds_the_same_p_and_imports_little() -> None:
    code = (
        "import sys, numpy as np\n"
        "from pytest_visualbias.statistics.association import association_test\n"
        "print({'scipy.stats', 'torch', 'pydantic', 'yaml'} & set(sys.modules))\n"
        "print(association_test(*np.random.default_rng(1).standard_normal((4, 14, 5))).p_verdict)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported, p = done.stdout.splitlines()
    assert imported == "set()"
    here = association_test(*np.random.default_rng(1).standard_normal((4, 14, 5))).p_verdict
    assert float(p) == here
