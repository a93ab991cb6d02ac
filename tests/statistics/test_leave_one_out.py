"""Effects without each image, against tests of the smaller sets by plain numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.statistics import leave_one_out as module
from pytest_visualbias.statistics.contrast_scores import (
    ContrastScores,
    mean_contrast_scores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics.leave_one_out import effects_without, influence_from_scores
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores
from tests.statistics.definitions import (
    JUDGED,
    ROLES,
    attribute_effect,
    drawn,
    score,
    target_effect,
    weaker_effect,
    without_each,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Sides
    from tests.statistics.definitions import Sets

SIZES = st.tuples(*[st.integers(2, 6)] * 4)
SEEDS = st.integers(0, 2**32 - 1)
ONE_PAIR = ("sc-eat", "similarity-gap")


def seeded(
    n: tuple[int, int, int, int], seed: int, push: float = 0.4
) -> dict[str, NDArray[np.float64]]:
    return drawn(n, np.random.default_rng(seed), push=push)


def association(s: Sets) -> Scores:
    return association_scores(s["X"], s["Y"], s["A"], s["B"])


@pytest.mark.property
@given(SIZES, SEEDS)
@settings(deadline=None, max_examples=20)
def test_both_sides_equal_the_effects_of_the_smaller_sets(
    n: tuple[int, int, int, int], seed: int
) -> None:
    sets = seeded(n, seed)
    got = effects_without(association(sets))
    assert [*got] == [*"XYAB"]
    for role, values in got.items():
        assert values.targets == pytest.approx(without_each([sets], role, target_effect), abs=1e-9)
        assert values.attributes == pytest.approx(
            without_each([sets], role, attribute_effect), abs=1e-9
        )


@pytest.mark.parametrize("kind", ONE_PAIR)
@pytest.mark.property
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=20)
def test_tests_of_one_pair_equal_the_effects_of_the_smaller_sets(
    kind: str, n: tuple[int, int, int, int], seed: int
) -> None:
    sets = seeded(n, seed)
    got = effects_without(score(kind, sets))
    assert [*got] == [*ROLES[kind]]
    for role, values in got.items():
        assert values.attributes is None
        assert values.targets == pytest.approx(without_each([sets], role, JUDGED[kind]), abs=1e-9)


def test_trials_give_the_mean_of_their_effects() -> None:
    sets = [seeded((4, 5, 3, 6), seed) for seed in range(3)]
    got = effects_without(mean_scores([association(one) for one in sets]))
    for role, values in got.items():
        assert values.targets == pytest.approx(without_each(sets, role, target_effect))
        assert values.attributes == pytest.approx(without_each(sets, role, attribute_effect))


@pytest.mark.parametrize("kind", ONE_PAIR)
def test_trials_of_one_pair_give_the_mean_of_their_effects(kind: str) -> None:
    sets = [seeded((4, 5, 3, 6), seed) for seed in range(3)]
    each = [score(kind, one) for one in sets]
    got = effects_without(
        mean_contrast_scores([one for one in each if isinstance(one, ContrastScores)])
    )
    for role, values in got.items():
        assert values.targets == pytest.approx(without_each(sets, role, JUDGED[kind]))


def test_the_weaker_side_is_chosen_anew_without_each_image() -> None:
    for seed in range(20):
        sets = seeded((3, 4, 3, 5), seed, push=0.1)
        for role, values in effects_without(association(sets)).items():
            assert values.judged() == pytest.approx(without_each([sets], role, weaker_effect))
            targets = without_each([sets], role, target_effect)
            assert values.judged("targets") == pytest.approx(targets)


@pytest.mark.parametrize("cells", [1, 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    sets = seeded((9, 8, 7, 10), 3)
    every = [score(kind, sets) for kind in ROLES]
    whole = [effects_without(scores) for scores in every]
    monkeypatch.setattr(module, "_CELLS", cells)
    for scores, expected in zip(every, whole, strict=True):
        for role, values in effects_without(scores).items():
            assert values.targets == pytest.approx(expected[role].targets, rel=1e-12)


def test_a_set_of_a_single_image_is_absent() -> None:
    sets = seeded((1, 4, 1, 4), 0)
    assert [*effects_without(sc_eat_scores(sets["X"], sets["Y"], sets["B"]))] == ["A", "B"]
    assert [*effects_without(similarity_gap_scores(sets["A"], sets["Y"], sets["B"]))] == ["X", "Y"]


def test_scores_from_a_record_have_no_effects_without_images() -> None:
    scores = association(seeded((3, 3, 3, 3), 0))
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
    sets = seeded((5, 5, 5, 5), 8)
    sets["X"][0] = 50 * (sets["A"].mean(axis=0) - sets["B"].mean(axis=0))
    got = effects_without(association(sets))
    assert got["X"].targets == pytest.approx(without_each([sets], "X", target_effect), abs=1e-12)


class TestInfluence:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    def test_it_is_the_effect_of_the_test_without_the_image(self, sides: Sides) -> None:
        sets = seeded((4, 5, 3, 6), 5)
        effect = target_effect if sides == "targets" else weaker_effect
        got = influence_from_scores(association(sets), sides=sides)
        assert got is not None
        assert got.effect == pytest.approx(effect(sets))
        for role, values in zip("XYAB", (got.x, got.y, got.a, got.b), strict=True):
            assert values == pytest.approx(without_each([sets], role, effect))

    def test_an_image_that_alone_makes_the_effect_stands_out(self) -> None:
        sets = seeded((8, 8, 8, 8), 6, push=0.0)
        along = sets["A"].mean(axis=0) - sets["B"].mean(axis=0)
        sets["Y"] = sets["X"] - 0.9 * np.outer(sets["X"] @ along, along) / (along @ along)
        sets["X"] = sets["Y"].copy()
        sets["X"][2] = along
        got = influence_from_scores(association(sets), sides="targets")
        assert got is not None
        change = np.abs(np.concatenate([got.x, got.y]) - got.effect)
        assert change.argmax() == 2

    def test_scores_from_a_record_have_none(self) -> None:
        scores = association(seeded((5, 5, 5, 5), 2))
        recorded = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
        assert influence_from_scores(recorded) is None

    def test_one_attribute_image_has_no_influence(self) -> None:
        s = seeded((4, 4, 3, 3), 1)
        scores = association_scores(s["X"], s["Y"], s["A"][:1], s["B"][:1], sides="targets")
        got = influence_from_scores(scores, sides="targets")
        assert got is not None
        assert (len(got.x), len(got.a), len(got.b)) == (4, 0, 0)
