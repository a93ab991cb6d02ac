"""Suites in the gate: drawn, tagged, judged; and where their images are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import MODELS, NETWORKS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SUITE = """\
visualbias_suite: 1
concepts: {x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}, tags: [near]}
  - {name: two, kind: ieat, targets: {X: x, Y: y}, attributes: {A: c, B: d}, tags: [far]}
  - name: control
    kind: ieat
    control: positive
    targets: {X: flower, Y: insect}
    attributes: {A: a, B: b}
    tags: [near]
"""


def write(project: Project, text: str, models: str = MODELS) -> Path:
    """Write a suite and a spec that draws on it."""
    path = project.path / "bias_specs" / "x.bias.yaml"
    path.parent.mkdir(exist_ok=True)
    (path.parent / "own.suite.yaml").write_text(SUITE)
    path.write_text(f"visualbias: 1\nmodels:{models}{text}")
    return path


def test_the_tests_of_a_suite_are_judged_by_the_limits_of_the_spec(project: Project) -> None:
    project.pair(after=0.6)
    write(project, "suite: {name: own.suite.yaml, limits: {max_effect: 0.5, min_effect: 0.5}}\n")
    result = project.gate()
    assert result.ret == 1
    assert project.outcomes() == {
        "before::one[pooled]": "pass",
        "before::two[pooled]": "pass",
        "before::control[pooled]": "pass",
        "after::one[pooled]": "fail",
        "after::two[pooled]": "pass",
        "after::control[pooled]": "pass",
    }
    assert project.row("one")["line"] == 5, "where the spec names its suite"


def test_a_lost_control_of_a_suite_makes_its_tests_invalid(project: Project) -> None:
    project.pair(after=0.6, control=0.0)
    write(project, "suite: {name: own.suite.yaml, limits: {max_effect: 0.5, min_effect: 0.5}}\n")
    assert project.gate().ret == 1
    assert project.row("control")["outcome"] == "fail"
    assert project.row("one")["outcome"] == "invalid"
    assert project.row("two")["outcome"] == "pass"


@pytest.mark.parametrize(("control", "state"), [(1.0, "held"), (0.0, "failed")])
def test_a_control_of_which_nothing_is_asked_is_told_beside_the_number_of_biases(
    project: Project, control: float, state: str
) -> None:
    project.pair(after=0.6, control=control)
    write(project, "suite: own.suite.yaml\n")
    assert project.gate().ret == 0
    row = project.row("control")
    assert (row["control"], row["outcome"], row["limits"]) == ("idle", "pass", {})
    counts = project.report()["summary"]["bias_counts"]
    (after,) = (one for one in counts if (one["model"], one["p"]) == ("after", "p_value"))
    assert (after["tests"], after["control"]) == (2, state)


def test_tags_of_a_suite_are_marks(project: Project) -> None:
    project.pair()
    write(project, "suite: own.suite.yaml\n")
    project.gate("-m", "far").assert_outcomes(passed=2, deselected=4)
    assert {row["test"] for row in project.report()["results"]} == {"two"}


def test_images_of_a_suite_that_are_not_there_are_errors_that_say_how_to_get_them(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", str(networks.path / "data"))
    write(networks, "suite: {name: ieat, tests: [Age], limits: {max_effect: 1}}\n", models=NETWORKS)
    networks.refuses(1, "bias_specs/x.bias.yaml:5:1: suite: ", "'visualbias fetch ieat'")
    assert {*networks.outcomes().values()} == {"error"}


@pytest.mark.parametrize("place", ["option", "spec", "suite", "fetched"])
def test_images_are_found_by_the_option_the_spec_the_suite_or_where_they_were_fetched(
    networks: Project, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Each of the four places alone is enough, and the earlier wins."""
    suite = SUITE if place != "suite" else SUITE.replace("x: x", "x: ../stimuli/x")
    for name in "yab" if place == "suite" else "":
        suite = suite.replace(f"{name}: {name},", f"{name}: ../stimuli/{name},")
    arguments, head, name = ["--visualbias-stimuli=stimuli"], "stimuli: nowhere\n", "own.suite.yaml"
    if place != "option":
        arguments, head = [], "stimuli: ../stimuli\n" if place == "spec" else ""
    if place == "fetched":
        monkeypatch.setenv("VISUALBIAS_DATA", str(networks.path))
        (networks.path / "stimuli").rename(networks.path / "own")
        shipped = networks.path / "shipped"
        shipped.mkdir()
        monkeypatch.setattr("pytest_visualbias.spec.suites.shipped_folder", lambda folder: shipped)
        (shipped / "own.suite.yaml").write_text(SUITE)
        name = "own"
    path = write(networks, f"{head}suite: {{name: {name}, tests: [one]}}\n", models=NETWORKS)
    (path.parent / "own.suite.yaml").write_text(suite)
    networks.gate(*arguments).assert_outcomes(passed=2)
    assert networks.row("one")["n_x"] == 5
