"""What moved for everything is taken off what moved for a test, and fails nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import KIND_SETS, kind_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

STOP = one_test("stop", "{}", A="c", B="d", control="drift")


@pytest.mark.parametrize("kind", [kind for kind in KIND_SETS if kind != "intra-similarity"])
def test_the_shift_of_the_control_is_taken_off(project: Project, kind: str) -> None:
    project.pair(after=1.0)
    control = kind_test(kind, "{}", name="stop", control="drift")
    control = control.replace("A: a", "A: c").replace("B: b", "B: d")
    project.spec(control, kind_test(kind, "{max_effect: 1.9}", name="one", drift="stop"))
    result = project.gate()
    assert result.ret == 0
    row, stop = project.row(), project.row("stop")
    expected = row["growth"]["shift"] - stop["growth"]["shift"]
    assert row["drift_corrected_shift"] == pytest.approx(expected)
    assert (stop["control"], stop["outcome"]) == ("drift", "pass")
    assert stop["drift_corrected_shift"] is None
    assert project.row(model="before")["drift_corrected_shift"] is None
    said = f"::after::one[pooled]: shift beyond the drift of 'stop': {expected:+.2f}"
    assert said in sentences(result)


def test_a_drift_control_makes_nothing_invalid_and_counts_in_no_family(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(STOP, one_test("one", A="c", B="d", drift="stop"))
    assert project.gate().ret == 0
    assert (project.row()["outcome"], project.row()["family_size"]) == ("pass", 1)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (
            [one_test("one", drift="stpo"), STOP],
            "tests[0].drift: 'stpo' is no drift control; did you mean 'stop'?",
        ),
        (
            [STOP, kind_test("similarity-gap", "{}", drift="stop")],
            "tests[1].drift: 'stop' is of kind 'ieat'; name one of kind 'similarity-gap'",
        ),
        (
            [one_test("one", control="drift")],
            "tests[0].limits: a drift control is never judged; remove them",
        ),
        (
            [one_test("one", control="idle")],
            "tests[0].limits: an idle control is never judged; remove them",
        ),
        (
            [one_test("one", "{}", control="drift", drift="one")],
            "tests[0].drift: a control is corrected by no other; remove it",
        ),
        (
            [one_test("one", "{min_effect: 0.5}", control="drift")],
            "tests[0].limits.min_effect: is for a control; add 'control: positive' or remove it",
        ),
    ],
)
def test_what_cannot_be_is_told(project: Project, tests: list[str], said: str) -> None:
    project.pair()
    project.spec(*tests)
    result = project.gate()
    assert result.ret == 2
    assert said in sentences(result)


def test_of_several_controls_the_mean_shift_is_taken_off(project: Project) -> None:
    project.pair(after=1.0)
    signs = one_test("signs", "{}", A="d", B="a", control="drift")
    project.spec(STOP, signs, one_test("one", drift="[stop, signs]"))
    result = project.gate()
    row = project.row()
    mean = sum(project.row(name)["growth"]["shift"] for name in ("stop", "signs")) / 2
    assert mean != pytest.approx(project.row("stop")["growth"]["shift"])
    assert row["drift"] == ["stop", "signs"]
    assert row["drift_corrected_shift"] == pytest.approx(row["growth"]["shift"] - mean)
    assert "shift beyond the mean drift of 'stop', 'signs': " in sentences(result)


def test_each_of_several_controls_must_be_one(project: Project) -> None:
    project.pair()
    project.spec(STOP, one_test("one", drift="[stop, stop, stpo]"))
    said = sentences(project.gate())
    assert "tests[1].drift[1]: 'stop' stands twice; remove one" in said
    assert "tests[1].drift[2]: 'stpo' is no drift control; did you mean 'stop'?" in said
