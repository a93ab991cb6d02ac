"""Limits at several layers: one family for all that are gated, and others reported only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import LAYERED, control_test, one_test, vectors
from tests.plugin.test_series import holm

if TYPE_CHECKING:
    import numpy as np

    from tests.plugin.conftest import Project

LAYERS = ("low", "mid", "top")
TESTS = (one_test("one"), one_test("two", A="c", B="d"))


@pytest.fixture
def layered(project: Project) -> Project:
    """A model that is biased at its middle layer only."""
    sets: dict[str, np.ndarray] = {}
    for layer, bias in zip(LAYERS, (0.0, 0.4, 0.1), strict=True):
        sets |= {f"{layer}/{name}": rows for name, rows in vectors(bias=bias).items()}
    project.store("layers", sets)
    return project


def specify(project: Project, *tests: str, gated: str = "") -> None:
    settings = f"\nsettings: {{gated_layers: {gated}}}" if gated else ""
    head = f"layers: [{', '.join(LAYERS)}]{settings}"
    project.spec(*(tests or TESTS), models=LAYERED, head=head)


def rows(project: Project) -> dict[str, dict[str, object]]:
    return {f"{one['test']}[{one['layer']}]": one for one in project.report()["results"]}


def test_p_values_are_corrected_over_all_layers_together(layered: Project) -> None:
    specify(layered)
    layered.gate()
    found = rows(layered)
    adjusted = [found[key]["p_adjusted"] for key in found]
    assert adjusted == pytest.approx(holm([found[key]["p_verdict"] for key in found]))  # type: ignore[misc]
    assert {one["family_size"] for one in found.values()} == {6}


@pytest.mark.parametrize("chosen", ["one and low", "top"])
def test_layers_that_are_not_selected_count(layered: Project, chosen: str) -> None:
    specify(layered)
    layered.gate()
    whole = rows(layered)
    layered.gate("-k", chosen)
    some = rows(layered)
    assert 0 < len(some) < len(whole)
    assert some == {key: whole[key] for key in some}


def test_a_layer_that_cannot_be_measured_counts(layered: Project) -> None:
    sets = {f"{layer}/{name}": rows for layer in LAYERS for name, rows in vectors().items()}
    del sets["top/a"]
    layered.store("layers", sets)
    specify(layered)
    layered.gate()
    found = rows(layered)
    assert found["one[top]"]["outcome"] == "error"
    assert found["one[low]"]["family_size"] == 6
    raw = [1.0 if key == "one[top]" else found[key]["p_verdict"] for key in found]
    assert found["two[mid]"]["p_adjusted"] == pytest.approx(holm(raw)[[*found].index("two[mid]")])  # type: ignore[arg-type]


@pytest.mark.parametrize("gated", ["[low, top]", "[top, low]"])
def test_at_other_layers_tests_are_reported_and_leave_the_family(
    layered: Project, gated: str
) -> None:
    limits = "{max_effect: 0.5}"
    specify(layered, one_test("one", limits), control_test(), gated=gated)
    result = layered.gate("-v")
    found = rows(layered)
    mid = found["one[mid]"]
    assert abs(mid["effect_judged"]) > 0.5  # type: ignore[arg-type]
    assert (mid["outcome"], mid["limits"], mid["p_adjusted"]) == ("pass", {}, None)
    assert (found["control[mid]"]["control"], found["control[low]"]["control"]) == (
        "idle",
        "positive",
    )
    assert {one["family_size"] for one in found.values()} == {2}
    assert result.ret == 0
    specify(layered, one_test("one", limits), control_test(), gated="[mid]")
    assert layered.gate().ret == 1


def test_a_control_at_a_layer_that_is_not_gated_makes_nothing_invalid(layered: Project) -> None:
    control = control_test().replace("X: flower, Y: insect", "X: insect, Y: flower")
    specify(layered, one_test("one", "{max_effect: 1.9}"), control, gated="[mid]")
    layered.gate()
    outcomes = {key: one["outcome"] for key, one in rows(layered).items()}
    assert outcomes == {
        **dict.fromkeys(("one[low]", "one[top]", "control[low]", "control[top]"), "pass"),
        "one[mid]": "invalid",
        "control[mid]": "fail",
    }


def test_layers_are_named_as_in_the_spec(layered: Project) -> None:
    text = '["l{1..2}"]'
    sets = {f"l{n}/{name}": rows for n in (1, 2, 3) for name, rows in vectors(bias=1).items()}
    layered.store("layers", sets)
    layered.spec(models=LAYERED, head=f'layers: ["l{{1..3}}"]\nsettings: {{gated_layers: {text}}}')
    layered.gate()
    outcomes = {key: one["outcome"] for key, one in rows(layered).items()}
    assert outcomes == {"one[l1]": "fail", "one[l2]": "fail", "one[l3]": "pass"}


@pytest.mark.parametrize(
    ("gated", "place"),
    [("[mdi]", "settings.gated_layers[0]"), ("[mid, '{2..1}']", "settings.gated_layers[1]")],
)
def test_unknown_layers_are_faults_of_the_spec(layered: Project, gated: str, place: str) -> None:
    specify(layered, gated=gated)
    layered.refuses(2, "bias_specs/x.bias.yaml:6:", place)


def test_a_waiver_is_for_gated_layers(layered: Project) -> None:
    accept = "{max_effect: 1.5, reason: known, until: 2999-01-01, layers: [mid]}"
    specify(layered, one_test("one", accept=accept), gated="[top]")
    layered.refuses(2, "tests[0].accept.layers[0]")


def test_deselecting_all_gated_layers_gates_nothing(layered: Project) -> None:
    specify(layered, gated="[mid]")
    result = layered.gate("-k", "low")
    assert (result.ret, layered.report()["summary"]["exit_status"]) == (5, 5)
