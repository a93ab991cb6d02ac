"""The crossed t test, against its definition written anew in plain numpy."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics import evidence as module
from pytest_visualbias.statistics.association import (
    association_from_scores,
    association_test,
    contrast_from_scores,
    sc_eat_test,
    similarity_gap_test,
)
from pytest_visualbias.statistics.contrast_scores import mean_contrast_scores
from pytest_visualbias.statistics.evidence import crossed_p
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores
from tests.statistics.definitions import ROLES, cosines, drawn, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.statistics.definitions import Sets

    Alternative = Literal["two-sided", "greater", "less"]

ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
SIZES = st.tuples(*[st.integers(2, 6)] * 4)
SEEDS = st.integers(0, 2**32 - 1)


def defined_p(kind: str, trials: Sequence[Sets], alternative: str) -> float | None:
    """The definition: every variance and every doubly centred cell by a loop."""
    rows = [len(trials[0][role]) for role in ROLES[kind] if role in "XY"]
    columns = [len(trials[0][role]) for role in ROLES[kind] if role in "AB"]
    w = np.concatenate([np.full(n, s / n) for n, s in zip(rows, (1, -1), strict=False)])
    v = np.concatenate([np.full(n, s / n) for n, s in zip(columns, (1, -1), strict=False)])
    parts = []
    for s in trials:
        targets, attributes = (
            np.concatenate([s[role] for role in ROLES[kind] if role in side])
            for side in ("XY", "AB")
        )
        C = cosines(targets, attributes)
        if kind == "ieat":
            C = C / math.sqrt(np.std(C @ v, ddof=1) * np.std(w @ C, ddof=1))
        elif kind == "sc-eat":
            C = np.array([row / np.std(row, ddof=1) for row in C])
        else:
            C = C / np.std(C @ v, ddof=1)
        parts.append(C)
    C = np.mean(parts, axis=0)
    row_sets = np.split(np.arange(sum(rows)), np.cumsum(rows)[:-1])
    column_sets = np.split(np.arange(sum(columns)), np.cumsum(columns)[:-1])
    shares = [(np.var((C @ v)[one], ddof=1) / len(one), len(one)) for one in row_sets]
    v_t = sum(share for share, _ in shares)
    shares += [(np.var((w @ C)[one], ddof=1) / len(one), len(one)) for one in column_sets]
    v_a = sum(share for share, _ in shares) - v_t
    v_i = 0.0
    for one, other in itertools.product(row_sets, column_sets):
        block, squares = C[np.ix_(one, other)], 0.0
        for i, j in itertools.product(range(len(one)), range(len(other))):
            cell = block[i, j] - block[i].mean() - block[:, j].mean() + block.mean()
            squares += cell**2
        v_i += squares / ((len(one) - 1) * (len(other) - 1)) / (len(one) * len(other))
    variance = max(v_t + v_a - v_i, v_t, v_a)
    gap = w @ C @ v
    t = gap / math.sqrt(variance)
    freedom = (v_t + v_a) ** 2 / sum(share**2 / (n - 1) for share, n in shares)
    upper = float(stats.t.sf(t, freedom))
    return {"greater": upper, "less": 1 - upper, "two-sided": 2 * min(upper, 1 - upper)}[
        alternative
    ]


@pytest.mark.parametrize("kind", [*ROLES])
def test_two_hundred_random_cases_equal_the_definition(kind: str) -> None:
    rng = np.random.default_rng(2026)
    for case in range(200):
        n = tuple(int(size) for size in rng.integers(2, 9, 4))
        sets = drawn(n, rng, push=rng.uniform(0, 1), apart=rng.uniform(0, 4))
        alternative = ALTERNATIVES[case % 3]
        got = crossed_p(score(kind, sets), alternative=alternative)
        assert got == pytest.approx(defined_p(kind, [sets], alternative), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("kind", [*ROLES])
def test_trials_are_averaged_in_units_of_their_effects(kind: str) -> None:
    rng = np.random.default_rng(5)
    trials = [drawn((4, 5, 6, 3), rng, push=0.3 * k, apart=k) for k in range(3)]
    each = [score(kind, sets) for sets in trials]
    mean = (
        mean_scores([one for one in each if isinstance(one, Scores)])
        if kind == "ieat"
        else mean_contrast_scores([one for one in each if not isinstance(one, Scores)])
    )
    for alternative in ALTERNATIVES:
        got = crossed_p(mean, alternative=alternative)
        assert got == pytest.approx(defined_p(kind, trials, alternative), rel=1e-7)


def test_the_results_hold_it_and_the_verdict_counts_it() -> None:
    rng = np.random.default_rng(1)
    sets = drawn((6, 6, 6, 6), rng, apart=6)
    X, Y, A, B = sets.values()
    for alternative in ALTERNATIVES:
        for kind, result in (
            ("ieat", association_test(X, Y, A, B, alternative=alternative)),
            ("sc-eat", sc_eat_test(X, A, B, alternative=alternative)),
            ("similarity-gap", similarity_gap_test(A, X, Y, alternative=alternative)),
        ):
            expected = defined_p(kind, [sets], alternative)
            assert result.p_crossed == pytest.approx(expected)
            assert result.p_verdict == pytest.approx(
                max(result.p_value, result.p_attributes or 0, expected or 0)
            )


def test_targets_alone_are_judged_without_it() -> None:
    X, Y, A, B = drawn((6, 6, 6, 6), np.random.default_rng(2), apart=6).values()
    got = association_test(X, Y, A, B, sides="targets")
    assert (got.p_crossed, got.p_attributes) == (None, None)
    assert got.p_verdict == got.p_value


@pytest.mark.parametrize("cells", [1, 7])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    sets = drawn((5, 6, 7, 4), np.random.default_rng(3), push=0.3)
    whole = crossed_p(score("ieat", sets))
    monkeypatch.setattr(module, "_CELLS", cells)
    assert crossed_p(score("ieat", sets)) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
def test_a_set_of_one_stimulus_has_none_and_the_other_p_decide(kind: str) -> None:
    n = (1, 6, 5, 5) if kind == "sc-eat" else (6, 6, 1, 5)
    scores = score(kind, drawn(n, np.random.default_rng(4)))
    assert not isinstance(scores, Scores)
    got = contrast_from_scores(scores)
    assert got.p_crossed is None
    assert got.p_verdict == got.p_value


def test_scores_from_a_record_have_none() -> None:
    scores = association_scores(*drawn((4, 4, 4, 4), np.random.default_rng(5)).values())
    recorded = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
    assert crossed_p(recorded) is None
    assert association_from_scores(recorded).p_crossed is None


def test_sets_that_do_not_vary_within_themselves_leave_it_to_the_permutations() -> None:
    """Every image equals the others of its set, so nothing is known of other images."""
    rng = np.random.default_rng(6)
    X, Y, A, B = (np.repeat(rng.standard_normal((1, 8)), 4, axis=0) for _ in range(4))
    got = association_test(X, Y, A, B)
    assert got.p_crossed is None
    assert got.p_verdict == got.p_value == got.p_attributes == pytest.approx(2 / 70)


def test_no_gap_and_no_variance_have_a_p_of_one() -> None:
    """Two trials of opposite effects without variance within a set: nothing is left."""
    X, Y, A, B = (np.repeat(rows, 3, axis=0) for rows in np.eye(8)[[[0], [1], [0], [1]]])
    opposite = [association_scores(X, Y, A, B), association_scores(Y, X, A, B)]
    assert crossed_p(mean_scores(opposite)) == 1


def test_equal_vectors_in_one_set_equal_the_definition() -> None:
    rng = np.random.default_rng(7)
    for role in "XYAB":
        sets = drawn((3, 4, 5, 3), rng, push=0.5)
        sets[role] = np.repeat(sets[role][:1], len(sets[role]), axis=0)
        for kind in ROLES:
            got = crossed_p(score(kind, sets))
            assert got == pytest.approx(defined_p(kind, [sets], "two-sided"), rel=1e-6)


@pytest.mark.property
@pytest.mark.parametrize("kind", [*ROLES])
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_order_and_scale_do_not_matter(kind: str, n: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = drawn(n, rng, push=0.4)
    changed = {
        role: rng.permutation(rows * rng.uniform(0.01, 100, (len(rows), 1)))
        for role, rows in sets.items()
    }
    p = crossed_p(score(kind, sets))
    assert p is not None
    assert 0 < p <= 1
    assert crossed_p(score(kind, changed)) == pytest.approx(p, rel=1e-7)


@pytest.mark.property
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_exchanging_sets_mirrors_it_and_exchanging_roles_keeps_it(
    n: tuple[int, ...], seed: int
) -> None:
    X, Y, A, B = drawn(n, np.random.default_rng(seed), push=0.4).values()
    greater = crossed_p(association_scores(X, Y, A, B), alternative="greater")
    for turned in ((Y, X, A, B), (X, Y, B, A)):
        less = crossed_p(association_scores(*turned), alternative="less")
        assert less == pytest.approx(greater, rel=1e-7)
    for same in ((Y, X, B, A), (A, B, X, Y)):
        assert crossed_p(association_scores(*same), alternative="greater") == pytest.approx(
            greater, rel=1e-7
        )


@pytest.mark.parametrize(("n", "least", "most"), [((8, 8), 0.02, 0.06), ((5, 10), 0.01, 0.06)])
def test_without_an_association_it_rejects_no_more_often_than_promised(
    n: tuple[int, int], least: float, most: float
) -> None:
    """X lies apart from Y and A from B; the simulation error of 400 draws is 1.1 points."""
    rng = np.random.default_rng(8)
    sizes = (n[0], n[1], n[0], n[1])
    results = [association_test(*drawn(sizes, rng, apart=4).values()) for _ in range(400)]
    error = 2.6 * math.sqrt(most * (1 - most) / len(results))
    rejected = [
        np.mean([p <= 0.05 for p in ps])
        for ps in (
            [one.p_verdict for one in results],
            [max(one.p_value, one.p_attributes or 0) for one in results],
        )
    ]
    assert least - error <= rejected[0] <= most + error
    assert rejected[0] < rejected[1]
