"""With `evidence: equivalence` a test passes only what is shown to be within its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import kind_test, one_test

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


@pytest.mark.parametrize(
    ("limits", "bias", "outcome", "code"),
    [
        ("{max_effect: 1.9}", 0.0, "pass", 0),
        ("{max_effect: 0.5}", 0.0, "inconclusive", 0),
        ("{max_effect: 0.5}", 1.0, "fail", 1),
    ],
)
def test_a_test_passes_only_what_is_shown(
    project: Project, limits: str, bias: float, outcome: str, code: int
) -> None:
    project.pair(after=bias)
    project.spec(one_test("one", limits, evidence="equivalence"))
    assert project.gate().ret == code
    row = project.row()
    assert row["outcome"] == outcome
    kept = [(one["kind"], one["limit"], one["evidence"]) for one in row["violations"]]
    limit = row["limits"]["max_effect"]
    assert kept == ([] if outcome == "pass" else [("effect", limit, outcome == "fail")])


def test_under_strict_what_is_not_shown_fails(project: Project) -> None:
    project.pair(after=0.0)
    project.spec(one_test("one", evidence="equivalence"))
    assert project.gate("--visualbias-strict").ret == 1


def test_the_report_says_how_many_images_would_show_it(project: Project) -> None:
    project.pair(after=0.0)
    project.spec(one_test("one", evidence="equivalence"))
    project.gate()
    row = project.row()
    assert row["images_needed"] > row["n_x"]
    assert row["detectable"] > 0


@pytest.mark.parametrize(
    "test",
    [
        one_test("one", "{max_effect: 0.5, max_growth: 0.2}", evidence="equivalence"),
        one_test("one", "{max_shift: 0.2}", evidence="equivalence"),
        kind_test("intra-similarity", evidence="equivalence"),
    ],
)
def test_what_it_would_pass_too_often_is_a_spec_error(project: Project, test: str) -> None:
    project.pair()
    project.spec(test)
    assert project.gate().ret == 2


def test_an_equivalence_test_counts_in_the_family(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(one_test("one", evidence="equivalence"), one_test("two"))
    project.gate()
    assert project.row("one")["family_size"] == 2
    assert project.row("one")["p_adjusted"] is not None
