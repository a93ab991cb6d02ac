"""Images of a group count as one: numbers beside a plain recomputation, and mistakes."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy
from scipy import stats

from tests.plugin.conftest import KIND_SETS, kind_test, one_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

    Matrix = NDArray[np.float64]

PEOPLE, IMAGES, DIM = 4, 3, 12
LIMIT = "{max_effect: 0.9}"
PATTERN = r"groups: '([a-z]+\d)_\d+'"


def store(project: Project, file: str, sets: dict[str, Matrix], *, mixed: bool = False) -> None:
    """Write vectors whose rows are named by person and image, perhaps in another order."""
    names = {
        name: [f"{name}/{name}{row // IMAGES}_{row % IMAGES}.png" for row in range(len(rows))]
        for name, rows in sets.items()
    }
    order = [*range(PEOPLE * IMAGES)]
    if mixed:
        np.random.default_rng(1).shuffle(order)
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(rows[order], np.float32) for name, rows in sets.items()},
        project.path / f"{file}.safetensors",
        metadata={"names": json.dumps({k: [v[i] for i in order] for k, v in names.items()})},
    )


def drawn(seed: int, push: float) -> dict[str, Matrix]:
    """Return sets in which the images of a person are much alike."""
    random = np.random.default_rng(seed)
    poles = {"x": push, "y": -push, "a": 1.0, "b": -1.0}
    return {
        name: np.repeat(random.normal(size=(PEOPLE, DIM)), IMAGES, axis=0)
        + 0.5 * random.normal(size=(PEOPLE * IMAGES, DIM))
        + pole * np.eye(DIM)[0]
        for name, pole in poles.items()
    }


def averaged(rows: Matrix) -> Matrix:
    rows = rows.astype(np.float32).astype(np.float64)
    units = rows / np.linalg.norm(rows, axis=1)[:, None]
    return np.array([units[i : i + IMAGES].mean(axis=0) for i in range(0, len(units), IMAGES)])


def effect(x: Matrix, y: Matrix, a: Matrix, b: Matrix) -> float:
    scores = [(s @ a.T).mean(axis=1) - (s @ b.T).mean(axis=1) for s in (x, y)]
    return float((scores[0].mean() - scores[1].mean()) / np.concatenate(scores).std(ddof=1))


@pytest.fixture
def stored(project: Project) -> Project:
    for file, seed, push in (("before", 1, 0.2), ("after", 2, 1.0)):
        store(project, file, drawn(seed, push))
    return project


def test_an_association_is_of_the_mean_vectors_of_groups(stored: Project) -> None:
    stored.spec(one_test("one", LIMIT), head=PATTERN)
    assert stored.gate().ret in (0, 1)
    row, means = stored.row(), {name: averaged(rows) for name, rows in drawn(2, 1.0).items()}
    assert [row[f"n_{role}"] for role in "xyab"] == [PEOPLE] * 4
    x, y, a, b = (means[name] for name in "xyab")
    assert row["effect_size"] == pytest.approx(effect(x, y, a, b), rel=1e-9)
    assert row["effect_size_attributes"] == pytest.approx(effect(a, b, x, y), rel=1e-9)
    cosines = {(s, t): (means[s] @ means[t].T).mean() for s in "xy" for t in "ab"}
    gap = cosines["x", "a"] - cosines["x", "b"] - cosines["y", "a"] + cosines["y", "b"]
    assert row["gap"] == pytest.approx(gap, rel=1e-9)
    pooled = np.concatenate([x, y])
    scores = (pooled @ a.T).mean(axis=1) - (pooled @ b.T).mean(axis=1)
    chosen = np.array(list(combinations(range(2 * PEOPLE), PEOPLE)))
    splits = np.abs(scores[chosen].sum(axis=1) - scores.sum() / 2)
    assert row["p_value"] == pytest.approx((splits >= splits[0] - 1e-12).mean())
    assert row["sets"]["X"]["groups"] == {f"x{i}": IMAGES for i in range(PEOPLE)}
    assert row["sets"]["X"]["n"] == PEOPLE


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap", "intra-similarity"])
def test_so_are_the_other_kinds(stored: Project, kind: str) -> None:
    stored.spec(kind_test(kind, LIMIT), head=PATTERN)
    assert stored.gate().ret in (0, 1)
    x, y, a, b = (averaged(drawn(2, 1.0)[name]) for name in "xyab")
    if kind == "sc-eat":
        each = [((u @ a.T).mean() - (u @ b.T).mean()) for u in x]
        widths = [np.concatenate([u @ a.T, u @ b.T]).std(ddof=1) for u in x]
        expected = np.mean(np.array(each) / widths)
    elif kind == "similarity-gap":
        scores = [(s @ a.T).mean(axis=1) for s in (x, y)]
        expected = (scores[0].mean() - scores[1].mean()) / np.concatenate(scores).std(ddof=1)
    else:
        expected = np.mean([x[i] @ x[j] for i, j in combinations(range(PEOPLE), 2)])
    assert stored.row(kind)["effect_judged"] == pytest.approx(expected, rel=1e-9)
    assert set(KIND_SETS) > {kind}


def test_neither_the_order_of_images_nor_their_names_within_a_group_matter(
    stored: Project,
) -> None:
    stored.spec(one_test("one", "{max_effect: 1.8, max_growth: 1.8}"), head=PATTERN)
    stored.gate()
    first = stored.row()
    for file, seed, push in (("before", 1, 0.2), ("after", 2, 1.0)):
        store(stored, file, drawn(seed, push), mixed=True)
    stored.gate()
    second = stored.row()
    for key in ("effect_size", "p_value", "ci_low", "ci_high", "p_crossed"):
        assert second[key] == pytest.approx(first[key], rel=1e-9)
    assert second["growth"]["value"] == pytest.approx(first["growth"]["value"], rel=1e-9)
    assert second["sets"]["X"]["digest"] == first["sets"]["X"]["digest"]


def test_the_grouping_is_part_of_the_digest(stored: Project) -> None:
    digests = []
    for head in ("", PATTERN, r"groups: '([a-z]+\d_\d+)'"):
        stored.spec(one_test("one", LIMIT), head=head)
        stored.gate()
        digests.append(stored.row()["sets"].get("X", {}).get("digest"))
    assert len({*digests}) == 3


def test_a_concept_has_a_pattern_of_its_own(stored: Project) -> None:
    concepts = r"{x: {path: x, groups: '(x\d)_\d+'}, y: y, a: a, b: b}"
    stored.spec(one_test("one", LIMIT), concepts=concepts)
    assert stored.gate().ret in (0, 1)
    row = stored.row()
    assert [row[f"n_{role}"] for role in "xyab"] == [PEOPLE, *[PEOPLE * IMAGES] * 3]
    assert row["sets"]["Y"]["groups"] is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (r"groups: 'z(\d)_\d+'", ("groups", "x/x0_0.png", "x/x0_1.png", "x/x0_2.png")),
        (r"groups: '([a-z]+\d)'", ("groups", "matches no whole file name")),
        (r"groups: '[a-z]+(\d)_\d+'", ("share", "'groups'")),
        (r"groups: '[a-z]+\d_\d+'", ("groups", "captures 0")),
        (r"groups: '([a-z]+)(\d)_\d+'", ("groups", "captures 2")),
        ("groups: '(x'", ("groups", "regular expression")),
        ("groups: 3", ("groups",)),
        ("groups: ''", ("groups",)),
        ("groups: [person]", ("groups",)),
    ],
)
def test_a_wrong_pattern_is_a_spec_error(
    stored: Project, head: str, words: tuple[str, ...]
) -> None:
    stored.spec(one_test("one", LIMIT), head=head)
    result = stored.gate()
    text = "\n".join(result.outlines + result.errlines)
    assert result.ret == 2, text
    assert "Traceback" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("roles", [("x", "y"), ("a", "b"), ("y", "b")])
def test_a_group_in_two_sets_of_a_test_is_a_spec_error(
    project: Project, roles: tuple[str, str]
) -> None:
    sets = drawn(2, 1.0)
    names = {
        name: [f"{name}{row // IMAGES}_{row % IMAGES}.png" for row in range(PEOPLE * IMAGES)]
        for name in sets
    }
    names[roles[1]][0] = f"{roles[0]}1_9.png"
    for file in ("before", "after"):
        safetensors.numpy.save_file(
            {name: rows.astype(np.float32) for name, rows in sets.items()},
            project.path / f"{file}.safetensors",
            metadata={"names": json.dumps(names)},
        )
    project.spec(one_test("one", LIMIT), head=PATTERN)
    result = project.gate()
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"*{roles[0].upper()} and {roles[1].upper()} share {roles[0]}1*"])


def test_predictions_of_a_group_are_their_mean(project: Project) -> None:
    """Permuted, with Welch's interval: those of Fisher and Newcombe are of single predictions."""
    random = np.random.default_rng(3)
    sets = {
        name: random.normal(size=(PEOPLE * IMAGES, 3)) + push * np.eye(3)[1]
        for name, push in (("x", 1.0), ("y", 0.0))
    }
    for file in ("before", "after"):
        store(project, file, sets)
    test = kind_test("similarity-gap", "{max_gap: 0.99}", name="one").replace(
        "attributes: {A: a}", "prediction: {class: 1, rate: share}"
    )
    test = test.replace("similarity-gap", "outcome-gap")
    project.spec(test, head=PATTERN, concepts="{x: x, y: y}")
    project.gate()
    row = project.row()
    rates = {
        name: (rows.argmax(axis=1) == 1).reshape(PEOPLE, IMAGES).mean(axis=1)
        for name, rows in sets.items()
    }
    assert (row["n_x"], row["n_y"]) == (PEOPLE, PEOPLE)
    assert row["gap"] == pytest.approx(rates["x"].mean() - rates["y"].mean())
    pooled = np.concatenate([rates["x"], rates["y"]])
    chosen = np.array(list(combinations(range(2 * PEOPLE), PEOPLE)))
    splits = np.abs(pooled[chosen].sum(axis=1) - pooled.sum() / 2)
    assert row["p_value"] == pytest.approx((splits >= splits[0] - 1e-12).mean())
    interval = stats.ttest_ind(rates["x"], rates["y"], equal_var=False).confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(interval))


def test_a_limit_that_so_few_groups_cannot_fail_is_an_error_of_a_strict_run(
    stored: Project,
) -> None:
    """Four groups a set reach p = 2/70, over 0.05/2; the twelve images of a set reach less."""
    tests = [one_test("one", LIMIT), one_test("two", LIMIT)]
    stored.spec(*tests, head=PATTERN)
    assert stored.gate("--visualbias-strict").ret == 2
    stored.spec(*tests)
    assert stored.gate("--visualbias-strict").ret != 2


def test_images_are_chosen_by_label_before_they_are_grouped(project: Project) -> None:
    """A rate of some labels has the groups of those images, and the same warning as all."""
    random = np.random.default_rng(3)
    sets = {name: random.normal(size=(PEOPLE * IMAGES, 3)) for name in "xy"}
    for file in ("before", "after"):
        store(project, file, sets)
    test = one_test("one", "{max_gap: 0.9}").replace("ieat", "outcome-gap")
    test = test.replace(
        "attributes: {A: a, B: b}", "prediction: {class: 1, rate: tpr, label: [x, y]}"
    )
    project.spec(
        test,
        test.replace("one", "two"),
        head=PATTERN,
        concepts="{x: x, y: y}",
    )
    result = project.gate("--visualbias-strict")
    assert result.ret == 2
