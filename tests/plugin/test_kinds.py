"""Every kind of test from stored vectors to a verdict, beside a plain recomputation."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.results import Report
from tests.plugin.conftest import KIND_SETS, kind_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

RUNS = """
  after:
    source: timm
    name: test_resnet
    checkpoint: [../before.safetensors, ../after.safetensors]
  untrained: {source: timm, name: test_resnet, random_init: 2}
"""
SIZES = {"x": 6, "y": 5, "a": 6, "b": 7}
NULLS = {
    "sc-eat": {"n_y"},
    "similarity-gap": {"n_b"},
    "intra-similarity": {
        *("n_y", "n_a", "n_b", "gap", "p_value", "p_low", "p_high", "p_method", "p_verdict"),
        *("p_verdict_low", "p_verdict_high", "p_verdict_method", "p_adjusted", "p_welch"),
        "smallest_detectable_effect",
        *("p_crossed", "gap_ci_low", "gap_ci_high", "basis"),
    },
}
# What only a test of two sides has.
ONE_SIDED = {
    *("effect_size_attributes", "p_attributes", "sides", "smallest_detectable_effect_attributes"),
    *("x_ab", "y_ab", "wide_low", "wide_high"),
    "prediction",  # which these kinds do not ask for
}


def drawn(seed: int, push: float) -> dict[str, np.ndarray]:
    """Return sets in which x and a, and y and b, lie on one side by `push`."""
    random = np.random.default_rng(seed)
    poles = {"x": push, "y": -push, "a": 1.0, "b": -1.0}
    return {
        name: (random.normal(size=(size, 12)) * 0.4 + poles[name] * np.eye(12)[0]).astype(
            np.float32
        )
        for name, size in SIZES.items()
    }


BEFORE, AFTER = drawn(1, 0.5), drawn(2, 2.0)


@pytest.fixture
def gated(project: Project) -> Project:
    """A project in which all kinds were gated, over two models."""
    project.store("before", BEFORE)
    project.store("after", AFTER)
    project.spec(*(kind_test(kind) for kind in KIND_SETS))
    assert project.gate().ret == 1
    return project


def cosines(rows: np.ndarray, columns: np.ndarray) -> Matrix:
    """Return all cosines, in float64."""
    units = [
        np.asarray(one, np.float64) / np.linalg.norm(np.asarray(one, np.float64), axis=1)[:, None]
        for one in (rows, columns)
    ]
    result: Matrix = units[0] @ units[1].T
    return result


def without_diagonal(matrix: Matrix) -> Matrix:
    return matrix[~np.eye(len(matrix), dtype=bool)].reshape(len(matrix), -1)


def scored(kind: str, sets: dict[str, np.ndarray]) -> tuple[dict[str, Vector], float | None]:
    """Score images as the definitions say, and return the gap beside."""
    if kind == "sc-eat":
        near, far = cosines(sets["x"], sets["a"]), cosines(sets["x"], sets["b"])
        width = np.concatenate([near, far], axis=1).std(axis=1, ddof=1, keepdims=True)
        scores = {"A": (near / width).mean(axis=0), "B": (far / width).mean(axis=0)}
        return scores, float(near.mean() - far.mean())
    if kind == "similarity-gap":
        h = {role: cosines(sets[role.lower()], sets["a"]).mean(axis=1) for role in "XY"}
        width = np.concatenate([*h.values()]).std(ddof=1)
        scores = {role: values / width for role, values in h.items()}
        return scores, float(h["X"].mean() - h["Y"].mean())
    return {"X": without_diagonal(cosines(sets["x"], sets["x"])).mean(axis=1)}, None


def effect_of(scores: dict[str, Vector]) -> float:
    first, *second = scores.values()
    return float(first.mean() - (second[0].mean() if second else 0.0))


def permuted(first: Vector, second: Vector, size: Callable[[float], float] = abs) -> float:
    """P by counting every relabelling, two-sided unless a size says otherwise."""
    pooled = np.concatenate([first, second])
    observed = size(first.mean() - second.mean())
    extreme = 0
    splits = list(itertools.combinations(range(len(pooled)), len(first)))
    for split in splits:
        chosen = np.zeros(len(pooled), dtype=bool)
        chosen[list(split)] = True
        apart = size(pooled[chosen].mean() - pooled[~chosen].mean())
        extreme += bool(apart >= observed - 1e-12)
    return extreme / len(splits)


def within(effect: float, scores: Mapping[str, Vector]) -> float:
    """Pooled standard deviation within two sets, if that over both together is 1."""
    n, m = map(len, scores.values())
    return math.sqrt((n + m - 1 - n * m * effect**2 / (n + m)) / (n + m - 2))


def welch(first: Vector, second: Vector) -> float | None:
    if len(first) == len(second):
        return None
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def jackknifed(values: Vector) -> float:
    """Return the 95 % margin of a mean similarity, from its values without each image."""
    n = len(values)
    error = math.sqrt((n - 1) / n * sum((value - np.mean(values)) ** 2 for value in values))
    return float(stats.t.ppf(0.975, n - 1) * error)


def left_out(rows: np.ndarray) -> Vector:
    return np.array(
        [
            without_diagonal(cosines(*[np.delete(rows, row, axis=0)] * 2)).mean()
            for row in range(len(rows))
        ]
    )


# ----------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
def test_a_kind_of_one_side_gives_the_numbers_of_its_definition(gated: Project, kind: str) -> None:
    row = gated.row(kind)
    scores, gap = scored(kind, AFTER)
    first, second = scores.values()
    assert row["kind"] == kind
    assert row["effect_size"] == row["effect_judged"] == pytest.approx(effect_of(scores))
    assert row["gap"] == pytest.approx(gap)
    assert row["p_value"] == pytest.approx(permuted(first, second))
    assert row["p_method"] == "exact"
    assert row["p_welch"] == pytest.approx(welch(first, second))
    assert row["p_verdict"] == max(row["p_value"], row["p_welch"])
    assert row["ci_low"] < row["effect_size"] < row["ci_high"]


def test_a_similarity_within_a_set_is_its_mean_with_a_jackknife_interval(gated: Project) -> None:
    row = gated.row("intra-similarity")
    expected = without_diagonal(cosines(AFTER["x"], AFTER["x"])).mean()
    assert row["effect_size"] == row["effect_judged"] == pytest.approx(expected)
    margin = jackknifed(left_out(AFTER["x"]))
    assert row["ci_low"] == pytest.approx(expected - margin)
    assert row["ci_high"] == pytest.approx(expected + margin)


@pytest.mark.parametrize("kind", [*NULLS])
def test_what_a_kind_does_not_have_is_null_and_the_rest_is_not(gated: Project, kind: str) -> None:
    row = gated.row(kind)
    sizes = {"n_x": 6, "n_y": 5, "n_a": 6, "n_b": 7}
    assert {key: row[key] for key in sizes} == sizes | dict.fromkeys(NULLS[kind] & {*sizes})
    absent = {key for key, value in row.items() if value is None}
    unasked = {"accept", "control", "excess", "trials", "images_needed"}
    unasked |= {"series", "fault"}
    assert absent == NULLS[kind] | ONE_SIDED | unasked | {"p_saddlepoint"}
    assert {*row["sets"]} == {*row["concepts"]} == {key[-1].upper() for key in sizes if row[key]}


@pytest.mark.parametrize("kind", [*NULLS])
def test_every_image_of_the_compared_sets_has_its_score(gated: Project, kind: str) -> None:
    row = gated.row(kind)
    expected, _ = scored(kind, AFTER)
    assert {*row["scores"]} == {*expected}
    for role, values in expected.items():
        images = row["sets"][role]["images"]
        assert [row["scores"][role][image] for image in images] == pytest.approx(values.tolist())


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
def test_growth_of_one_side_permutes_the_changes_in_units_within_the_sets(
    gated: Project, kind: str
) -> None:
    growth = gated.row(kind)["growth"]
    (before, _), (after, _) = scored(kind, BEFORE), scored(kind, AFTER)
    ends = effect_of(before), effect_of(after)
    assert (growth["before"], growth["after"]) == pytest.approx(ends)
    assert growth["value"] == pytest.approx(abs(ends[1]) - abs(ends[0]))
    assert growth["shift"] == pytest.approx(ends[1] - ends[0])
    old, new = (
        {role: np.sign(end) * values / within(end, one) for role, values in one.items()}
        for end, one in zip(ends, (before, after), strict=True)
    )
    first, second = (new[role] - old[role] for role in after)
    p = permuted(first, second, float)
    assert growth["p_value"] == pytest.approx(p)
    every = [growth[name] for name in ("p_value", "p_welch", "p_crossed")]
    assert growth["p_verdict"] == max(one for one in every if one is not None)
    assert growth["p_attributes"] is None
    assert growth["ci_low"] < growth["value"] < growth["ci_high"]


def test_growth_of_a_similarity_leaves_each_image_out_of_both_models(gated: Project) -> None:
    growth = gated.row("intra-similarity")["growth"]
    ends = [without_diagonal(cosines(one["x"], one["x"])).mean() for one in (BEFORE, AFTER)]
    assert (growth["before"], growth["after"]) == pytest.approx(ends)
    assert growth["shift"] == growth["value"] == pytest.approx(ends[1] - ends[0])
    margin = jackknifed(left_out(AFTER["x"]) - left_out(BEFORE["x"]))
    assert growth["ci_low"] <= growth["value"] - margin + 1e-9
    assert growth["value"] < growth["ci_high"]
    assert growth["shift"] - growth["shift_ci_low"] == pytest.approx(margin)
    nothing = ("p_value", "p_attributes", "p_welch", "p_verdict", "p_adjusted", "p_method")
    assert {key: growth[key] for key in nothing} == dict.fromkeys(nothing)


def test_all_kinds_share_one_correction_and_what_has_no_p_does_not_count(gated: Project) -> None:
    """Three kinds with a p, each of an effect, a growth and a shift: nine in Holm's correction."""
    rows = [gated.row(kind) for kind in KIND_SETS]
    assert {row["family_size"] for row in rows} == {9}
    p, got = (
        sorted(
            one[f"{part}{name}"]
            for row in rows[:3]
            for one, part in ((row, ""), (row["growth"], ""), (row["growth"], "shift_"))
        )
        for name in ("p_verdict", "p_adjusted")
    )
    adjusted = np.minimum(np.maximum.accumulate(np.array(p) * np.arange(9, 0, -1)), 1)
    assert got == pytest.approx(adjusted.tolist())


def test_the_report_of_every_kind_fits_its_schema(gated: Project) -> None:
    schema = Report.model_json_schema(mode="serialization", by_alias=True)
    jsonschema.validate(gated.report(), schema)


def test_of_several_runs_the_scores_are_averaged_and_tested_once(networks: Project) -> None:
    """Two checkpoints of one recipe, and untrained networks, which no limit of a kind fails."""
    networks.spec(
        *(kind_test(kind, "{max_effect: 0}", evidence="point") for kind in KIND_SETS),
        head="stimuli: ../stimuli",
        models=RUNS,
        concepts="{x: x, y: y, a: a, b: b}",
    )
    networks.gate()
    for kind in NULLS:
        row, trials = networks.row(kind), networks.row(kind)["trials"]
        assert trials["labels"] == ["before.safetensors", "after.safetensors"]
        assert row["effect_size"] == pytest.approx(statistics.mean(trials["effect_size"]))
        assert len({*trials["effect_size"]}) == 2
        assert row["outcome"] == "fail"
        assert ("gap" in trials) == (row["gap"] is not None)
        untrained = networks.row(kind, "untrained")
        assert (untrained["role"], untrained["outcome"]) == ("random", "pass")
