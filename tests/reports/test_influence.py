"""What an effect would be without an image, held against measuring without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.reports.image_examples import image_influences, is_exact
from pytest_visualbias.statistics.contrast_scores import sc_eat_scores, similarity_gap_scores
from pytest_visualbias.statistics.intra_similarity import intra_scores
from pytest_visualbias.statistics.scores import association_scores, mean_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]
    Rows = Mapping[str, np.ndarray]

SIZES = {"X": 7, "Y": 5, "A": 6, "B": 4}
ONE_SIDE = {"sides": None, "effect_size_attributes": None}


def embedded(seed: int = 0) -> dict[str, np.ndarray]:
    """Return sets ``(n, dim)`` in which X and Y, and A and B, lie apart."""
    random = np.random.default_rng(seed)
    return {
        role: random.normal(size=(n, 5)) + 0.4 * index
        for index, (role, n) in enumerate(SIZES.items())
    }


def drop(rows: Rows, role: str, index: int) -> Rows:
    return {**rows, role: np.delete(rows[role], index, axis=0)}


def sides_of(rows: Rows) -> tuple[float, float]:
    """Return the effects of both sides by the formula, from cosines."""
    unit = {role: one / np.linalg.norm(one, axis=1, keepdims=True) for role, one in rows.items()}

    def side(first: str, second: str, near: str, far: str) -> float:
        scores = [
            [float((unit[near] @ w).mean() - (unit[far] @ w).mean()) for w in unit[role]]
            for role in (first, second)
        ]
        spread = float(np.std(scores[0] + scores[1], ddof=1))
        return float(np.mean(scores[0]) - np.mean(scores[1])) / spread

    return side("X", "Y", "A", "B"), side("A", "B", "X", "Y")


def record_of(make: Make, scores: Mapping[str, np.ndarray], **keys: object) -> ResultRecord:
    """Return a record with these scores; images are called after their place in the set."""
    names = {role: [f"{role}/{i}.png" for i in range(len(one))] for role, one in scores.items()}
    sets = {
        role: {
            "concept": role,
            "n": len(one),
            "digest": "0" * 64,
            "images": [f"digest of {name}" for name in one],
            "names": one,
            "folder": "stimuli",
        }
        for role, one in names.items()
    }
    by_image = {
        role: dict(zip(sets[role]["images"], map(float, one), strict=True))  # type: ignore[call-overload]
        for role, one in scores.items()
    }
    return make(sets=sets, scores=by_image, **keys)


def ieat(make: Make, rows: Rows, **keys: object) -> ResultRecord:
    scores = association_scores(*(rows[role] for role in "XYAB"))
    targets, attributes = sides_of(rows)
    return record_of(
        make,
        {"X": scores.x, "Y": scores.y, "A": scores.a, "B": scores.b},
        **{"effect_size": targets, "effect_size_attributes": attributes, **keys},
    )


@pytest.mark.parametrize("seed", range(6))
def test_an_effect_without_an_image_is_what_measuring_without_it_gives(
    make: Make, seed: int
) -> None:
    """For every image of the side that is judged, whichever that is."""
    rows = embedded(seed)
    targets, attributes = sides_of(rows)
    judged = int(abs(attributes) < abs(targets))
    found = image_influences(ieat(make, rows))
    roles = ("AB", "XY")[not judged]
    assert len(found) == sum(SIZES[role] for role in roles)
    for one in found:
        role, index = one.name.split("/")[0], int(one.name.split("/")[1].removesuffix(".png"))
        assert one.role == role
        expected = sides_of(drop(rows, role, index))[judged]
        assert one.without == pytest.approx(expected, abs=1e-12)
        assert one.change == pytest.approx((targets, attributes)[judged] - expected, abs=1e-12)
        assert (one.identity, one.folder) == (f"digest of {one.name}", "stimuli")


def test_both_sides_are_judged_in_the_draws_above() -> None:
    """Or the test before this one would say less than it seems to."""
    weaker = {abs(a) < abs(t) for t, a in map(sides_of, map(embedded, range(6)))}
    assert weaker == {True, False}


def test_with_targets_only_the_targets_are_left_out(make: Make) -> None:
    rows = embedded(next(s for s in range(6) if np.diff(np.abs(sides_of(embedded(s))))[0] < 0))
    assert {one.role for one in image_influences(ieat(make, rows))} == {"A", "B"}
    assert {one.role for one in image_influences(ieat(make, rows, sides="targets"))} == {"X", "Y"}


def test_of_a_similarity_gap_the_groups_are_left_out(make: Make) -> None:
    rows = embedded()
    scores = similarity_gap_scores(rows["A"], rows["X"], rows["Y"])
    by_role = {"X": scores.first, "Y": scores.second}
    record = record_of(make, by_role, kind="similarity-gap", **ONE_SIDE)
    assert is_exact(record)
    for one in image_influences(record):
        index = int(one.name.split("/")[1].removesuffix(".png"))
        rest = drop(rows, one.role, index)
        again = similarity_gap_scores(rest["A"], rest["X"], rest["Y"])
        expected = again.first.mean() - again.second.mean()
        assert one.without == pytest.approx(expected, abs=1e-12)


def test_of_a_similarity_within_a_set_the_mean_without_an_image_is_exact(make: Make) -> None:
    X = embedded()["X"]
    record = record_of(make, {"X": intra_scores(X)}, kind="intra-similarity", gap=None, **ONE_SIDE)
    assert is_exact(record)
    found = image_influences(record)
    assert len(found) == len(X)
    for one in found:
        rest = np.delete(X, int(one.name.split("/")[1].removesuffix(".png")), axis=0)
        unit = rest / np.linalg.norm(rest, axis=1, keepdims=True)
        cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
        assert one.without == pytest.approx(cosines.mean(), abs=1e-12)


def test_trials_and_sc_eat_keep_the_spread_and_say_that_they_are_not_exact(make: Make) -> None:
    rows = embedded()
    scores = sc_eat_scores(rows["X"], rows["A"], rows["B"])
    by_role = {"A": scores.first, "B": scores.second}
    record = record_of(make, by_role, kind="sc-eat", **ONE_SIDE)
    assert not is_exact(record)
    first = next(one for one in image_influences(record) if one.name == "A/0.png")
    assert first.without == pytest.approx(scores.first[1:].mean() - scores.second.mean(), abs=1e-12)

    both = [association_scores(*(embedded(seed)[role] for role in "XYAB")) for seed in (0, 1)]
    mean = mean_scores(both)
    trials = {"effect_size": [0.1, 0.2], "effect_judged": [0.1, 0.2]}
    by_role = {"X": mean.x, "Y": mean.y, "A": mean.a, "B": mean.b}
    record = record_of(make, by_role, trials=trials, sides="targets")
    assert not is_exact(record)
    last = next(one for one in image_influences(record) if one.name == "Y/4.png")
    assert last.without == pytest.approx(mean.x.mean() - mean.y[:-1].mean(), abs=1e-12)


def test_the_most_influential_come_first_and_as_many_as_asked_for(make: Make) -> None:
    record = ieat(make, embedded())
    changes = [abs(one.change) for one in image_influences(record)]
    assert changes == sorted(changes, reverse=True)
    assert image_influences(record, max_count=3) == image_influences(record)[:3]


def test_an_image_that_stands_twice_in_a_set_is_left_out_once(make: Make) -> None:
    """Its two places share one score."""
    record = record_of(make, {"X": np.array([1.0, 1.0, 0.5]), "Y": np.array([-1.0, 0.0, -0.2])})
    twice = record.sets["X"].model_copy(update={"images": ["same", "same", "other"]})
    scores = {**record.scores, "X": {"same": 1.0, "other": 0.5}}
    changed = record.model_copy(update={"sets": {**record.sets, "X": twice}, "scores": scores})
    found = [
        one.without for one in image_influences(changed, None) if one.name in ("X/0.png", "X/1.png")
    ]
    expected = [
        one.without for one in image_influences(record) if one.name in ("X/0.png", "X/1.png")
    ]
    assert found == expected
    assert len(found) == 2


def test_sets_too_small_to_shrink_and_results_without_scores_have_none(make: Make) -> None:
    small = record_of(make, {"X": np.array([1.0, 0.9]), "Y": np.array([-1.0, 0.0, -0.2])})
    assert {one.role for one in image_influences(small)} == {"Y"}
    assert image_influences(make(outcome="error", measured=False)) == []
    assert image_influences(make()) == []


def test_an_image_that_makes_nearly_all_of_the_spread_leaves_an_exact_effect(make: Make) -> None:
    x, y = np.array([1.0, 1.0 + 1e-7, 1e4]), np.array([1.0, 1.0 - 1e-7, 1.0])
    record = record_of(make, {"X": x, "Y": y}, sides="targets")
    (without,) = [one.without for one in image_influences(record) if one.name == "X/2.png"]
    rest = np.concatenate([x[:2], y])
    assert without == pytest.approx((x[:2].mean() - y.mean()) / rest.std(ddof=1), rel=1e-7)


def test_where_nothing_else_varies_there_is_no_effect_without_the_image(make: Make) -> None:
    record = record_of(make, {"X": np.array([1.0, 1.0, 2.0]), "Y": np.array([1.0, 1.0, 1.0])})
    assert "X/2.png" not in {one.name for one in image_influences(record)}
