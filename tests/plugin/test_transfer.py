"""The rank correlation of effects before and after, in the report and on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from tests.plugin.conftest import kind_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


OBJECTS = ("a", "b", "c", "d", "flower", "insect")


def spread_out(seed: int) -> dict[str, np.ndarray]:
    """Return two groups and six objects, each nearer to the one or the other by its own amount."""
    random = np.random.default_rng(seed)
    along = np.eye(12)[0]
    places = dict(zip(OBJECTS, np.linspace(-0.4, 0.4, 6), strict=True)) | {"x": 1.0, "y": -1.0}
    return {
        name: (random.normal(size=(6, 12)) + place * along).astype(np.float32)
        for name, place in places.items()
    }


def gap_of(concept: str) -> str:
    return kind_test("similarity-gap", "{}", name=concept).replace("{A: a}", f"{{A: {concept}}}")


def test_the_summary_has_the_rank_correlation_of_effects_before_and_after(
    project: Project,
) -> None:
    project.store("before", spread_out(1))
    project.store("after", spread_out(2))
    project.spec(*map(gap_of, OBJECTS), kind_test("intra-similarity", "{}"))
    result = project.gate()
    effects: list[list[float]] = [
        [project.row(name, model)["effect_judged"] for name in OBJECTS]
        for model in ("before", "after")
    ]
    expected = stats.spearmanr(*effects).statistic
    entry: dict[str, Any] = {
        "spec": "bias_specs/x.bias.yaml",
        "layer": "pooled",
        "from": "before",
        "to": "after",
        "of": "effects",
        "k": 6,
        "spearman": pytest.approx(expected),
    }
    assert project.report()["summary"]["transfer"] == [entry]
    assert -1 < expected < 1, "neither bound would show that the numbers are used"
    line = f"before → after [[]pooled[]]: transfer {expected:+.2f} (rank correlation of 6 effects)"
    result.stdout.fnmatch_lines([f"bias_specs/x.bias.yaml :: {line}"])


def test_under_five_tests_there_is_no_transfer(project: Project) -> None:
    project.store("before", spread_out(1))
    project.store("after", spread_out(2))
    project.spec(*map(gap_of, OBJECTS[:4]))
    assert ": transfer " not in sentences(project.gate())
    assert project.report()["summary"]["transfer"] == []
