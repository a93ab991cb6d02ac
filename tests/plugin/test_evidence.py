"""Verdicts that an earlier rule of evidence had wrong, from stored vectors to the outcome."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy

from pytest_visualbias.reports.document import read_report
from tests.plugin.conftest import one_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

    Sets = dict[str, NDArray[np.float64]]

DIM, N = 12, 20
ROOT = Path(__file__).parents[2]
ALONE = "\n  after: {source: embeddings, path: ../after.safetensors}\n"


def save(project: Project, model: str, sets: Sets) -> None:
    plain = {name: np.ascontiguousarray(rows, np.float32) for name, rows in sets.items()}
    safetensors.numpy.save_file(plain, project.path / f"{model}.safetensors")


def split(strength: float) -> Sets:
    """Return targets far apart, and attributes that differ by so much beside their spread."""
    random = np.random.default_rng(5)
    poles = {"x": 6.0, "y": -6.0, "a": strength, "b": -strength}
    return {
        name: random.normal(size=(N, DIM)) + pole * np.eye(DIM)[0] + 6 * np.eye(DIM)[1]
        for name, pole in poles.items()
    }


def unrelated(seed: int) -> Sets:
    """Return targets that differ and attributes that differ, in directions at right angles."""
    random = np.random.default_rng(seed)
    first, second = 4 * np.eye(DIM)[:2]
    shifts = {"x": first, "y": -first, "a": second, "b": -second}
    return {name: random.normal(size=(10, DIM)) + shift for name, shift in shifts.items()}


def clustered(seed: int) -> Sets:
    """Return five photographers with four images each, without an association."""
    random = np.random.default_rng(seed)
    return {
        name: np.repeat(random.normal(size=(5, DIM)), 4, axis=0)
        + 0.5 * random.normal(size=(20, DIM))
        for name in "xyab"
    }


def test_growth_is_found_though_the_target_side_is_near_its_bound(project: Project) -> None:
    save(project, "before", split(0.25))
    save(project, "after", split(2.5))
    project.spec(one_test("one", "{max_growth: 0.5}"))
    assert project.gate().ret == 1
    before, after = project.row(model="before"), project.row()
    assert min(before["effect_size"], after["effect_size"]) > 1.7, "the target side hardly moves"
    assert before["effect_judged"] < 0.8
    assert [one["kind"] for one in after["violations"] if one["evidence"]] == ["growth"]


def test_a_flip_without_growth_is_no_growth(project: Project) -> None:
    project.pair(before=-1.0, after=1.1)
    project.spec(one_test("one", "{max_growth: 0.001, max_shift: 3.8}"))
    assert project.gate().ret == 0
    row = project.row()
    assert row["growth"]["flipped"]
    assert row["growth"]["shift_p_verdict"] < 0.001, "the p of the shift says nothing of growth"
    assert row["growth"]["p_verdict"] > 0.05
    assert row["outcome"] == "inconclusive"


def test_with_a_direction_a_turn_into_it_is_growth(project: Project) -> None:
    project.pair(before=-1.0, after=1.0)
    project.spec(one_test("one", "{max_growth: 0.5}", alternative="greater"))
    assert project.gate().ret == 1
    row = project.row()
    assert abs(abs(row["growth"]["after"]) - abs(row["growth"]["before"])) < 0.5
    assert row["growth"]["value"] == pytest.approx(row["effect_judged"])


def test_sets_that_differ_without_an_association_do_not_fail(project: Project) -> None:
    save(project, "after", unrelated(20))
    project.spec(one_test("one", "{max_effect: 0.2}"), models=ALONE)
    assert project.gate().ret == 0
    row = project.row()
    assert max(row["p_value"], row["p_attributes"]) <= 0.05 < row["p_crossed"]
    assert row["outcome"] == "inconclusive"


def test_a_control_does_not_hold_by_meaningless_attributes(project: Project) -> None:
    save(project, "after", unrelated(0))
    project.spec(one_test("one", "{min_effect: 0.5}", control="positive"), models=ALONE)
    assert project.gate().ret == 1
    row = project.row()
    assert row["effect_size"] >= 0.5
    assert row["p_value"] <= 0.05
    script = runpy.run_path(str(ROOT / "benchmarks" / "controls.py"))
    (shown,) = script["rows"](read_report(project.path / "out.json").results)
    assert shown[-2:] == ("holds", "fails"), "by the targets alone, and by both sides"


def test_clustered_images_fail_as_images_and_not_as_groups(project: Project) -> None:
    save(project, "after", clustered(27))
    test = one_test("one", "{max_effect: 0.2}")
    project.spec(test, models=ALONE)
    assert project.gate().ret == 1
    names = {name: [f"{name}/{name}{i // 4}_{i % 4}.png" for i in range(20)] for name in "xyab"}
    plain = {k: v.astype(np.float32) for k, v in clustered(27).items()}
    safetensors.numpy.save_file(
        plain, project.path / "after.safetensors", metadata={"names": json.dumps(names)}
    )
    project.spec(test, models=ALONE, head=r"groups: '([a-z]\d)_\d'")
    assert project.gate().ret == 0
    assert project.row()["n_x"] == 5


def test_intervals_of_several_limits_are_simultaneous(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(one_test("one", "{max_effect: 0.01}", evidence="interval"))
    project.gate()
    limit = f"{{max_effect: {project.row()['ci_low'] - 0.001:.4f}}}"
    for others, outcome in (((), "fail"), (("two", "three"), "inconclusive")):
        tests = [one_test(name, limit, evidence="interval") for name in ("one", *others)]
        project.spec(*tests)
        project.gate()
        assert project.row("one")["outcome"] == outcome
