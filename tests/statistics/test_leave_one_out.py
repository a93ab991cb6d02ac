"""Effects without each image, against tests of the smaller sets by plain numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.statistics import (
    ContrastScores,
    Scores,
    association_scores,
    mean_contrast_scores,
    mean_scores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics import leave_one_out as module
from pytest_visualbias.statistics.leave_one_out import effects_without

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Sets = dict[str, Matrix]
    Effect = Callable[[Sets], float]
    AnyScores = Scores | ContrastScores

SIZES = st.tuples(*[st.integers(2, 6)] * 4)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(n: tuple[int, int, int, int], seed: int, push: float = 0.4) -> Sets:
    rng = np.random.default_rng(seed)
    signs = {"X": 1, "Y": -1, "A": 1, "B": -1}
    return {
        role: rng.standard_normal((size, 7)) + push * sign * np.eye(7)[0] + np.eye(7)[1]
        for (role, sign), size in zip(signs.items(), n, strict=True)
    }


def cosine(one: Matrix, other: Matrix) -> Matrix:
    lengths = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    matrix: Matrix = one @ other.T / lengths
    return matrix


def d(first: Matrix, second: Matrix) -> float:
    width = np.concatenate([first, second]).std(ddof=1)
    return float((first.mean() - second.mean()) / width)


def target_effect(s: Sets) -> float:
    first, second = (
        cosine(s[role], s["A"]).mean(axis=1) - cosine(s[role], s["B"]).mean(axis=1) for role in "XY"
    )
    return d(first, second)


def attribute_effect(s: Sets) -> float:
    return target_effect({"X": s["A"], "Y": s["B"], "A": s["X"], "B": s["Y"]})


def sc_eat_effect(s: Sets) -> float:
    near, far = cosine(s["X"], s["A"]), cosine(s["X"], s["B"])
    return float(np.mean([d(a, b) for a, b in zip(near, far, strict=True)]))


def gap_effect(s: Sets) -> float:
    return d(cosine(s["X"], s["A"]).mean(axis=1), cosine(s["Y"], s["A"]).mean(axis=1))


def without(sets: Sets, role: str, row: int) -> Sets:
    return {**sets, role: np.delete(sets[role], row, axis=0)}


def recomputed(sets: list[Sets], role: str, effect: Effect) -> list[float]:
    rows = range(len(sets[0][role]))
    return [float(np.mean([effect(without(one, role, row)) for one in sets])) for row in rows]


def association(s: Sets) -> Scores:
    return association_scores(s["X"], s["Y"], s["A"], s["B"])


KINDS: Mapping[str, tuple[Callable[[Sets], ContrastScores], Effect, str]] = {
    "sc-eat": (lambda s: sc_eat_scores(s["X"], s["A"], s["B"]), sc_eat_effect, "XAB"),
    "gap": (lambda s: similarity_gap_scores(s["A"], s["X"], s["Y"]), gap_effect, "XYA"),
}


@pytest.mark.property
@given(SIZES, SEEDS)
@settings(deadline=None, max_examples=40)
def test_both_sides_equal_the_effects_of_the_smaller_sets(
    n: tuple[int, int, int, int], seed: int
) -> None:
    sets = drawn(n, seed)
    got = effects_without(association(sets))
    assert [*got] == [*"XYAB"]
    for role, values in got.items():
        assert values.targets == pytest.approx(recomputed([sets], role, target_effect), abs=1e-9)
        assert values.attributes == pytest.approx(
            recomputed([sets], role, attribute_effect), abs=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.property
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_tests_of_one_pair_equal_the_effects_of_the_smaller_sets(
    kind: str, n: tuple[int, int, int, int], seed: int
) -> None:
    score, effect, roles = KINDS[kind]
    sets = drawn(n, seed)
    got = effects_without(score(sets))
    assert [*got] == [*roles]
    for role, values in got.items():
        assert values.attributes is None
        assert values.targets == pytest.approx(recomputed([sets], role, effect), abs=1e-9)


def test_trials_give_the_mean_of_their_effects() -> None:
    sets = [drawn((4, 5, 3, 6), seed) for seed in range(3)]
    got = effects_without(mean_scores([association(one) for one in sets]))
    for role, values in got.items():
        assert values.targets == pytest.approx(recomputed(sets, role, target_effect))
        assert values.attributes == pytest.approx(recomputed(sets, role, attribute_effect))


@pytest.mark.parametrize("kind", KINDS)
def test_trials_of_one_pair_give_the_mean_of_their_effects(kind: str) -> None:
    score, effect, _ = KINDS[kind]
    sets = [drawn((4, 5, 3, 6), seed) for seed in range(3)]
    got = effects_without(mean_contrast_scores([score(one) for one in sets]))
    for role, values in got.items():
        assert values.targets == pytest.approx(recomputed(sets, role, effect))


def test_the_weaker_side_is_chosen_anew_without_each_image() -> None:
    for seed in range(20):
        sets = drawn((3, 4, 3, 5), seed, push=0.1)
        for role, values in effects_without(association(sets)).items():
            sides = [recomputed([sets], role, one) for one in (target_effect, attribute_effect)]
            weaker = [min(pair, key=abs) for pair in zip(*sides, strict=True)]
            assert values.judged() == pytest.approx(weaker)
            assert values.judged("targets") == pytest.approx(sides[0])


@pytest.mark.parametrize("cells", [1, 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    sets = drawn((9, 8, 7, 10), 3)
    every: list[AnyScores] = [association(sets)]
    every += [score(sets) for score, _, _ in KINDS.values()]
    whole = [effects_without(scores) for scores in every]
    monkeypatch.setattr(module, "_CELLS", cells)
    for scores, expected in zip(every, whole, strict=True):
        for role, values in effects_without(scores).items():
            assert values.targets == pytest.approx(expected[role].targets, rel=1e-12)


def test_a_set_of_a_single_image_is_absent() -> None:
    sets = drawn((1, 4, 1, 4), 0)
    assert [*effects_without(sc_eat_scores(sets["X"], sets["Y"], sets["B"]))] == ["A", "B"]
    assert [*effects_without(similarity_gap_scores(sets["A"], sets["Y"], sets["B"]))] == ["X", "Y"]


def test_scores_from_a_record_have_no_effects_without_images() -> None:
    scores = association(drawn((3, 3, 3, 3), 0))
    recorded = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
    with pytest.raises(ValueError, match="cosines"):
        effects_without(recorded)


def test_scores_that_lose_their_spread_with_an_image_have_no_effect() -> None:
    """All images of X and Y are the same but one; without it nothing differs."""
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 5))
    A, B = rng.standard_normal((2, 4, 5))
    X, Y = np.array([x, x, other]), np.array([x, x, x])
    got = effects_without(association_scores(X, Y, A, B))
    assert got["X"].targets[2] == 0
    assert got["X"].targets[:2] == pytest.approx([0.5 / np.sqrt(0.2)] * 2)
    assert got["X"].attributes is not None
    assert got["X"].attributes[2] == 0


def test_sets_without_spread_within_keep_the_bound_of_the_effect() -> None:
    """X differs from Y and no image from the others of its set: d is at its bound."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 5))
    A, B = rng.standard_normal((2, 4, 5))
    got = effects_without(association_scores(np.array([x] * 3), np.array([y] * 4), A, B))
    assert np.abs(got["X"].targets) == pytest.approx(np.full(3, np.sqrt(6 * 5 / (2 * 4))))
    assert np.abs(got["Y"].targets) == pytest.approx(np.full(4, np.sqrt(6 * 5 / (3 * 3))))
    assert np.abs(got["A"].targets) == pytest.approx(np.full(4, np.sqrt(7 * 6 / (3 * 4))))


def test_one_extreme_image_leaves_the_others_exact() -> None:
    """A sum of squares that one image makes up would lose the others' digits."""
    sets = drawn((5, 5, 5, 5), 8)
    sets["X"][0] = 50 * (sets["A"].mean(axis=0) - sets["B"].mean(axis=0))
    got = effects_without(association(sets))
    assert got["X"].targets == pytest.approx(recomputed([sets], "X", target_effect), abs=1e-12)
