"""Growth: the same images seen by two models."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.association import association_from_scores
from pytest_visualbias.statistics.contrast_scores import sc_eat_scores, similarity_gap_scores
from pytest_visualbias.statistics.growth import growth_from_scores, growth_test, shift_from_scores
from pytest_visualbias.statistics.growth_endpoints import growth_basis
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores
from tests.statistics.growth_reference import Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.growth import GrowthResult
    from pytest_visualbias.statistics.permutation.sides import Alternative, Sides

    Rows = NDArray[np.float64]
    Sets = tuple[Rows, Rows, Rows, Rows]

sizes = st.tuples(*[st.integers(2, 6)] * 4)
seeds = st.integers(0, 2**32 - 1)
P_VALUES = ("p_value", "p_attributes", "p_welch", "p_crossed", "p_verdict")
SIGNS = (1, -1, 1, -1)


def drawn(
    n: tuple[int, ...], seed: int, push: tuple[float, ...] = (0, 0, 0, 0), noise: float = 0.3
) -> tuple[Sets, Sets]:
    """Two models of the same images; what each set moves by along a common direction, after."""
    rng = np.random.default_rng(seed)
    before = [rng.standard_normal((k, 12)) for k in n]
    common = np.eye(12)[0]
    after = [
        rows + much * sign * common + noise * rng.standard_normal(rows.shape)
        for rows, much, sign in zip(before, push, SIGNS, strict=True)
    ]
    return (before[0], before[1], before[2], before[3]), (after[0], after[1], after[2], after[3])


def models(n: tuple[int, ...], seed: int, push: float = 0.0) -> tuple[Sets, Sets]:
    return drawn(n, seed, (push,) * 4)


def associated(
    rng: np.random.Generator, n: int, push: tuple[float, float], shared: Rows | None = None
) -> Sets:
    """Draw X and A, Y and B, apart along a common direction, around vectors that models share."""
    common = np.eye(32)[0]
    much = (push[0], push[0], push[1], push[1])
    base = rng.standard_normal((4, n, 32))
    if shared is not None:
        base = 0.9 * shared + np.sqrt(1 - 0.9**2) * base
    x, y, a, b = (
        rows + size * sign * common for rows, size, sign in zip(base, much, SIGNS, strict=True)
    )
    return x, y, a, b


def numbers(result: GrowthResult) -> dict[str, float]:
    return {k: v for k, v in dataclasses.asdict(result).items() if isinstance(v, float)}


def assert_same(got: object, want: dict[str, float | None]) -> None:
    """Compare p-values, of which some may be absent."""
    for name, p in want.items():
        value = getattr(got, name)
        assert (value is None) == (p is None), name
        assert p is None or value == pytest.approx(p, rel=1e-6), name


class TestAgainstTheDefinition:
    @pytest.mark.slow
    def test_a_hundred_random_and_degenerate_cases_agree(self) -> None:
        """Sets of two, sets of equal vectors (one side does not vary), and repeated images."""
        for seed in range(100):
            rng = np.random.default_rng(seed)
            n = tuple(int(k) for k in rng.integers(2, 6, 4))
            much = float(rng.choice([0, 0.5, 2]))
            before, after = drawn(n, seed, (much,) * 4, noise=float(rng.choice([0.1, 1])))
            if seed % 10 == 0:
                before[0][:], before[1][:] = before[0][0], before[1][0]
            if seed % 10 == 1:
                after[2][:], after[3][:] = after[2][0], after[3][0]
            if seed % 10 == 2:
                before[0][1] = before[0][0]
            sides: Sides = "targets" if seed % 3 == 2 else "both"
            way: Alternative = ("two-sided", "greater", "less")[seed % 5 % 3]
            self.compare(before, after, sides, way)

    @staticmethod
    def compare(before: Sets, after: Sets, sides: Sides, way: Alternative) -> None:
        reference = Reference(before, after, sides, way)
        got = growth_test(before, after, sides=sides, alternative=way)
        want = reference.p(reference.signs, "greater")
        assert_same(got, want)
        assert got.p_verdict == pytest.approx(max(p for p in want.values() if p is not None))
        assert got.growth == pytest.approx(reference.growth, abs=1e-9)
        if way == "two-sided":
            for level in (0.8, 0.95):
                assert got.interval(level) == pytest.approx(
                    reference.growth_interval(level), rel=1e-6, abs=1e-9
                )
        assert got.shift_interval(0.9) == pytest.approx(
            reference.interval(0.9, lambda a, b: a.effect - b.effect), rel=1e-6, abs=1e-9
        )
        scores = (association_scores(*sets, sides=sides) for sets in (before, after))
        shift = shift_from_scores(*scores, sides=sides)
        assert_same(shift, reference.p([1.0, 1.0], "two-sided"))


class TestEffects:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    def test_growth_and_shift_are_differences_of_the_judged_effects(self, sides: Sides) -> None:
        before, after = models((6, 6, 5, 5), 1, push=0.6)
        got = growth_test(before, after, sides=sides)
        one, other = (
            association_from_scores(association_scores(*sets, sides=sides), sides=sides)
            for sets in (before, after)
        )
        assert (got.before, got.after) == (one.effect_judged, other.effect_judged)
        assert got.shift == got.after - got.before
        assert got.growth == pytest.approx(abs(got.after) - abs(got.before))

    def test_a_flip_without_growth_is_a_shift_and_no_growth(self) -> None:
        """From -1.2 to +1.2 nothing grows: the p of the shift is tiny, that of growth is not."""
        found = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            X, Y, A, B = associated(rng, 12, (1.2, 1.2))
            x, y, a, b = associated(rng, 12, (1.2, 1.2))
            got = growth_test((X, Y, A, B), (y, x, a, b))
            assert got.flipped
            assert got.shift < -1
            found.append(got.p_verdict <= 0.05)
            scores = association_scores(X, Y, A, B), association_scores(y, x, a, b)
            assert shift_from_scores(*scores).p_verdict < 0.05
        assert sum(found) <= 3

    def test_turned_round_exactly_nothing_has_grown(self) -> None:
        _, (X, Y, A, B) = models((8, 8, 8, 8), 2, push=1.5)
        got = growth_test((X, Y, A, B), (Y, X, A, B))
        assert got.flipped
        assert got.growth == pytest.approx(0, abs=1e-12)
        assert got.shift == pytest.approx(-2 * got.before)
        assert got.p_verdict > 0.4

    def test_an_effect_of_the_other_direction_counts_as_none(self) -> None:
        """From -0.95 to +1.03 under 'greater' is a growth of 1.03, and it is found."""
        rng = np.random.default_rng(4)
        X, Y, A, B = associated(rng, 20, (1.2, 1.2))
        x, y, a, b = associated(rng, 20, (1.2, 1.2))
        before, after = (Y, X, A, B), (x, y, a, b)
        upward = growth_test(before, after, alternative="greater")
        assert upward.before < -0.5 < 0.5 < upward.after
        assert upward.growth == upward.after
        assert upward.p_verdict < 0.01
        assert growth_test(before, after).growth == pytest.approx(
            abs(upward.after) - abs(upward.before)
        )
        downward = growth_test(before, after, alternative="less")
        assert downward.growth == upward.before
        assert downward.p_verdict > 0.99
        mirrored = growth_test((X, Y, A, B), (y, x, a, b), alternative="less")
        assert mirrored.growth == pytest.approx(upward.growth)
        assert mirrored.p_verdict == pytest.approx(upward.p_verdict)
        assert mirrored.interval(0.9) == pytest.approx(upward.interval(0.9))


class TestLaws:
    @pytest.mark.property
    @given(sizes, seeds)
    @settings(deadline=None, max_examples=20)
    def test_neither_scale_nor_order_nor_the_names_of_the_sets_count(
        self, n: tuple[int, ...], seed: int
    ) -> None:
        before, after = models(n, seed, push=0.5)
        want = numbers(growth_test(before, after))
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(k) for k in n]
        turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
        moved = []
        for sets, factor in ((before, 3.0), (after, 0.01)):
            x, y, a, b = (
                factor * rows[order] @ turn for rows, order in zip(sets, orders, strict=True)
            )
            moved.append((y, x, b, a))
        # The exchange of both pairs leaves every effect as it is.
        assert numbers(growth_test(*moved)) == pytest.approx(want, rel=1e-7, abs=1e-7)

    def test_exchanging_targets_alone_turns_both_effects(self) -> None:
        (X, Y, A, B), (x, y, a, b) = models((6, 7, 5, 6), 3, push=0.6)
        one, other = (
            growth_test((X, Y, A, B), (x, y, a, b)),
            growth_test((Y, X, A, B), (y, x, a, b)),
        )
        assert other.growth == pytest.approx(one.growth)
        assert other.shift == pytest.approx(-one.shift)
        for name in P_VALUES:
            assert getattr(other, name) == pytest.approx(getattr(one, name))

    def test_a_scale_of_cosines_that_all_images_share_is_no_growth(self) -> None:
        """A model that shrinks all differences has the same effects."""
        rng = np.random.default_rng(5)
        n = 12
        flags = []
        for _ in range(20):
            shared = rng.standard_normal((4, n, 32))
            before, after = (associated(rng, n, (0.4, 0.4), shared) for _ in range(2))
            narrow = tuple(rows + 10 * np.eye(32)[1] for rows in after)
            got = growth_test(before, narrow)
            flags.append(got.p_verdict <= 0.05)
        assert sum(flags) <= 3


class TestEvidence:
    def test_a_growth_of_a_side_that_is_near_its_bound_is_found(self) -> None:
        """Targets are apart before; the attributes follow: growth +0.5 -> +1.8."""
        for seed in range(10):
            rng = np.random.default_rng(seed)
            shared = rng.standard_normal((4, 20, 32))
            before = associated(rng, 20, (3.0, 0.15), shared)
            after = associated(rng, 20, (3.0, 3.0), shared)
            got = growth_test(before, after)
            assert got.growth > 0.5
            assert got.p_verdict < 0.01
            assert got.ci_low > 0

    @pytest.mark.parametrize("push", [1.7, 3.0])
    def test_unchanged_strong_effects_are_seldom_a_growth(self, push: float) -> None:
        rng = np.random.default_rng(6)
        flags = []
        for _ in range(60):
            shared = rng.standard_normal((4, 8, 32))
            before, after = (associated(rng, 8, (push, push), shared) for _ in range(2))
            flags.append(growth_test(before, after).p_verdict <= 0.05)
        # Of 60 draws at 5 %, 8 or more have a probability of 1 in 70.
        assert sum(flags) < 8

    def test_targets_only_leaves_the_attribute_side_out(self) -> None:
        before, after = models((5, 5, 4, 6), 5, push=0.5)
        got = growth_test(before, after, sides="targets")
        assert got.p_verdict == got.p_value
        assert (got.p_attributes, got.p_crossed, got.p_welch) == (None, None, None)

    @pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
    def test_kinds_of_one_pair_permute_that_pair_in_units_within_it(self, kind: str) -> None:
        before, after = models((5, 6, 4, 5), 7, push=0.7)
        old, new = (
            sc_eat_scores(X, A, B) if kind == "sc-eat" else similarity_gap_scores(A, X, Y)
            for X, Y, A, B in (before, after)
        )
        got = growth_from_scores(old, new)
        ends = []
        for one in (old, new):
            first, second = one.first, one.second
            n, m, e = len(first), len(second), first.mean() - second.mean()
            within = np.sqrt((n + m - 1 - n * m * e**2 / (n + m)) / (n + m - 2))
            ends.append((np.sign(e) * first / within, np.sign(e) * second / within))
        pair = ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]
        assert got.p_welch == pytest.approx(
            stats.ttest_ind(*pair, equal_var=False, alternative="greater").pvalue
        )
        assert got.p_attributes is None
        assert got.p_crossed is not None
        assert got.p_verdict == max(got.p_value, got.p_welch or 0, got.p_crossed)


class TestUnchanged:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    @pytest.mark.parametrize("n", [5, 15])
    def test_a_model_against_itself_is_no_change_and_no_error(self, n: int, sides: Sides) -> None:
        before, _ = models((n, n, n, n + 1), 6)
        got = growth_test(before, before, sides=sides)
        assert (got.growth, got.shift, got.flipped) == (0, 0, False)
        assert {getattr(got, name) for name in P_VALUES} <= {1, None}
        assert (got.p_value, got.p_verdict) == (1, 1)
        assert (got.interval(0.99), got.shift_interval(0.99)) == ((0, 0), (0, 0))
        assert got.before == got.after != 0

    def test_recorded_scores_that_differ_by_rounding_are_no_change(self) -> None:
        scores = association_scores(*models((6, 6, 6, 6), 7)[0])
        rng = np.random.default_rng(7)
        noise = {k: getattr(scores, k) + rng.uniform(-1e-7, 1e-7, 6) for k in "xyab"}
        recorded = Scores(gap=scores.gap, basis=growth_basis(scores), **noise)
        got = growth_from_scores(recorded, scores)
        assert (got.growth, got.shift, got.p_verdict) == (0, 0, 1)

    def test_sides_that_do_not_vary_within_their_sets_have_not_grown(self) -> None:
        rng = np.random.default_rng(8)
        x, y, a, b = rng.standard_normal((4, 5))
        flat = tuple(np.tile(row, (4, 1)) for row in (x, y, a, b))
        other = tuple(np.tile(row, (4, 1)) for row in (x, y, a + x, b + y))
        got = growth_test(flat, other)  # type: ignore[arg-type]
        assert (got.growth, got.p_verdict) == (0, 1)


class TestRecorded:
    def test_a_record_gives_the_same_growth_with_a_larger_crossed_p(self) -> None:
        before, after = models((7, 8, 6, 7), 9, push=2.0)
        old, new = (association_scores(*sets) for sets in (before, after))
        parts = {k: getattr(old, k) for k in "xyab"}
        recorded = Scores(gap=old.gap, basis=growth_basis(old), **parts)
        live, past = growth_from_scores(old, new), growth_from_scores(recorded, new)
        assert past.p_crossed is not None
        assert past.p_crossed > (live.p_crossed or 1)
        same = [name for name in numbers(live) if name not in ("p_crossed", *P_VALUES[-1:])]
        same = [name for name in same if not name.startswith("p_verdict")]
        for name in same:
            assert getattr(past, name) == pytest.approx(getattr(live, name)), name
        assert past.interval(0.8) == pytest.approx(live.interval(0.8))

    def test_without_cosines_or_a_record_there_is_no_growth(self) -> None:
        scores = association_scores(*models((4, 4, 4, 4), 9)[0])
        bare = Scores(gap=scores.gap, **{k: getattr(scores, k) for k in "xyab"})
        with pytest.raises(ValueError, match="without cosines"):
            growth_from_scores(bare, scores)


class TestTrials:
    @staticmethod
    def trial(seed: int, push: float) -> Scores:
        rng = np.random.default_rng(99)
        shared = rng.standard_normal((4, 8, 32))
        return association_scores(*associated(np.random.default_rng(seed), 8, (push,) * 2, shared))

    @staticmethod
    def judged(trials: list[Scores]) -> Rows:
        """Effects of the judged side of the mean in each trial, as they count."""
        found = np.array([[t.x.mean() - t.y.mean(), t.a.mean() - t.b.mean()] for t in trials])
        side = int(np.abs(found.mean(axis=0)).argmin())
        effects: Rows = found[:, side] * np.sign(found[:, side].mean())
        return effects

    def test_with_several_at_both_ends_it_is_welchs_t_of_their_effects(self) -> None:
        before = [self.trial(seed, 0.3) for seed in range(3)]
        after = [self.trial(seed, 0.7) for seed in range(10, 14)]
        got = growth_from_scores(mean_scores(before), mean_scores(after))
        want = stats.ttest_ind(
            self.judged(after), self.judged(before), equal_var=False, alternative="greater"
        )
        assert got.p_trials == pytest.approx(want.pvalue)
        assert got.trials is not None
        assert got.growth == pytest.approx(got.trials.value)
        others = [got.p_value, got.p_attributes, got.p_crossed, got.p_trials]
        assert got.p_verdict == max(p for p in others if p is not None)

    def test_a_single_model_before_is_held(self) -> None:
        before, after = self.trial(0, 0.2), [self.trial(seed, 0.6) for seed in range(10, 14)]
        got = growth_from_scores(before, mean_scores(after))
        each, held = self.judged(after), abs(got.before)
        error = each.std(ddof=1) / np.sqrt(len(each))
        t = (each.mean() - held) / error
        want = stats.t.sf(t, 3) + stats.t.sf(t + 2 * held / error, 3)
        assert got.p_trials == pytest.approx(want)

    @pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 2), (2, 3), (3, 2)])
    def test_fewer_than_three_say_nothing_of_retraining(self, before: int, after: int) -> None:
        ends = [[self.trial(seed, 0.5) for seed in range(n)] for n in (before, after + 10)]
        got = growth_from_scores(mean_scores(ends[0]), mean_scores(ends[1][10:]))
        assert got.p_trials is None

    def test_seeds_of_an_untrained_network_are_no_retrainings(self) -> None:
        ends = [[self.trial(seed, push) for seed in range(3)] for push in (0.1, 0.7)]
        got = growth_from_scores(*map(mean_scores, ends), is_retraining=False)
        assert got.p_trials is None


class TestInterval:
    def test_a_wider_confidence_is_a_wider_interval(self) -> None:
        before, after = models((6, 6, 6, 6), 12, push=0.5)
        wide, narrow = (growth_test(before, after, confidence=c) for c in (0.99, 0.8))
        assert wide.ci_low < narrow.ci_low < narrow.ci_high < wide.ci_high
        assert wide.shift_ci_low < narrow.shift_ci_low < narrow.shift_ci_high < wide.shift_ci_high
        assert (wide.confidence, narrow.confidence) == (0.99, 0.8)
        assert wide.interval(0.8) == pytest.approx((narrow.ci_low, narrow.ci_high))

    def test_it_covers_the_growth_of_whole_populations(self) -> None:
        """A true growth of 0: in 60 draws of all four sets, the interval misses it in 6 at most."""
        rng = np.random.default_rng(13)
        missed = 0
        for _ in range(60):
            shared = rng.standard_normal((4, 10, 32))
            got = growth_test(*(associated(rng, 10, (0.5, 0.5), shared) for _ in range(2)))
            missed += not got.ci_low <= 0 <= got.ci_high
        assert missed <= 6


class TestDegenerate:
    def test_models_that_saw_other_images_are_refused(self) -> None:
        before, _ = models((5, 5, 4, 4), 9)
        X, Y, A, B = before
        with pytest.raises(DegenerateTestError, match="Y has 5 images in before and 4") as raised:
            growth_test(before, (X, Y[1:], A, B))
        assert raised.value.role == "Y"

    def test_attributes_without_spread_are_null_where_they_have_no_say(self) -> None:
        before, after = models((5, 5, 4, 4), 9)
        X, Y, A, _ = after
        same = X, Y, np.tile(A[0], (4, 1)), np.tile(A[0], (4, 1))
        with pytest.raises(DegenerateTestError):
            growth_test(before, same)

    def test_a_confidence_out_of_range_is_refused(self) -> None:
        before, after = models((3, 3, 3, 3), 9)
        with pytest.raises(ValueError, match="confidence lies between 0 and 1, not at 1"):
            growth_test(before, after, confidence=1)

    def test_a_set_of_one_image_leaves_the_crossed_p_out(self) -> None:
        (X, _, A, B), (x, _, a, b) = models((1, 4, 5, 5), 3, push=0.5)
        got = growth_from_scores(sc_eat_scores(X, A, B), sc_eat_scores(x, a, b))
        assert got.p_crossed is None
        assert got.p_verdict == got.p_value
