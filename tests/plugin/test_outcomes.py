"""From what a model shows to what pytest says of its item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.plugin.conftest import control_test, one_test, sentences, vectors

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

UNPROVEN = 0.15  # over 0.5 without evidence: d = 0.61, p = 0.23


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{max_effect: 0.5}", "effect +1.83 is over 0.5 (adjusted p = "),
        ("{max_gap: 0.3}", "gap +1.49 is over 0.3 (adjusted p = "),
        ("{max_growth: 0.2}", "growth +1.83 is over 0.2 (adjusted p = "),
        ("{max_shift: 0.2}", "shift +1.84 is over 0.2 (adjusted p = "),
    ],
)
def test_every_limit_fails_what_is_over_it(project: Project, limits: str, said: str) -> None:
    project.pair(after=1.0)
    project.spec(one_test("one", limits))
    result = project.gate()
    assert result.ret == 1
    assert project.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "fail"}
    assert project.row()["reasons"][0].startswith(said)
    assert said in sentences(result)


def test_growth_fails_although_the_effect_is_under_its_limit(project: Project) -> None:
    project.pair(after=0.4, n=12)
    project.spec(one_test("one", "{max_effect: 1.6, max_growth: 0.2}"))
    assert project.gate().ret == 1
    row = project.row()
    (reason,) = row["reasons"]
    assert reason.startswith("growth +1.45 is over 0.2")
    assert row["effect_size"] < 1.6
    assert row["growth"]["p_adjusted"] <= 0.05
    assert row["growth"]["from"] == "before"


def test_an_effect_that_shrank_has_not_grown_but_has_shifted(project: Project) -> None:
    project.pair(before=1.0)
    project.spec(one_test("grown", "{max_growth: 0.2}"), one_test("moved", "{max_shift: 0.2}"))
    project.gate()
    assert project.row("grown")["outcome"] == "pass"
    assert project.row("grown")["growth"]["value"] < -1
    assert project.row("moved")["outcome"] == "fail"


def test_over_a_limit_without_evidence_is_skipped_with_its_reason(project: Project) -> None:
    project.pair(after=UNPROVEN)
    project.spec()
    result = project.gate("-rs")
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    line = (
        "SKIPPED [[]1[]] bias_specs/x.bias.yaml:8: effect +0.61 is over 0.5, but without evidence*"
    )
    result.stdout.fnmatch_lines([line])
    assert project.row()["outcome"] == "inconclusive"


def test_over_a_limit_without_evidence_fails_when_strict(project: Project) -> None:
    project.pair(after=UNPROVEN)
    project.spec()
    result = project.gate("--visualbias-strict")
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    assert "(inconclusive results fail under --visualbias-strict)" in sentences(result)
    assert project.row()["outcome"] == "inconclusive"


@pytest.mark.parametrize(("evidence", "outcome"), [("point", "fail"), ("interval", "inconclusive")])
def test_evidence_decides_what_being_over_a_limit_takes(
    project: Project, evidence: str, outcome: str
) -> None:
    project.pair(after=UNPROVEN)
    project.spec(one_test("one", evidence=evidence))
    project.gate()
    assert project.row()["outcome"] == outcome


def test_one_side_alone_is_not_enough_unless_asked_for(project: Project) -> None:
    """A scale-free d of the targets is large here, the d of the attributes is not."""
    sets = vectors(bias=1.0)
    sets["a"], sets["b"] = sets["a"] * 0 + np.float32(1), sets["b"] * 0 + np.float32(1)
    random = np.random.default_rng(5)
    for name in ("a", "b"):
        sets[name] += random.normal(size=sets[name].shape).astype(np.float32)
    project.store("before", sets)
    project.store("after", sets)
    project.spec(one_test("both"), one_test("targets", sides="targets"))
    project.gate()
    both, targets = project.row("both"), project.row("targets")
    assert both["effect_size"] == targets["effect_size"] == targets["effect_judged"]
    assert abs(targets["effect_size"]) > abs(both["effect_size_attributes"])
    assert both["effect_judged"] == both["effect_size_attributes"]


def test_a_failed_positive_control_makes_the_tests_of_its_attributes_invalid(
    project: Project,
) -> None:
    project.pair(after=1.0, control=0.0)
    project.spec(control_test(), one_test("same"), one_test("other", X="x", A="c", B="d"))
    result = project.gate()
    assert result.ret == 1
    outcomes = project.outcomes()
    assert outcomes["after::control[pooled]"] == "fail"
    assert outcomes["after::same[pooled]"] == "invalid"
    assert outcomes["after::other[pooled]"] == "pass"
    (missed,) = project.row("control")["violations"]
    assert (missed["kind"], missed["limit"], missed["evidence"]) == ("min_effect", 0.5, False)
    assert project.row("same")["reasons"] == [
        "the positive control 'control' did not show its effect"
    ]
    assert project.row("same")["effect_size"] is not None


def test_a_failed_control_can_speak_for_the_whole_model(project: Project) -> None:
    project.pair(control=0.0)
    project.spec(control_test(scope="model"), one_test("other", A="c", B="d", X="x"))
    project.gate()
    assert project.row("other")["outcome"] == "invalid"


def test_a_control_that_holds_changes_nothing(project: Project) -> None:
    project.pair()
    project.spec(control_test(), one_test("one"))
    assert project.gate().ret == 0
    assert project.row("control")["outcome"] == "pass"


def test_a_control_that_held_before_and_fails_after_is_lost(project: Project) -> None:
    project.store("before", control=1.0)
    project.store("after", control=0.0)
    project.spec(control_test(), one_test("one"))
    result = project.gate()
    assert result.ret == 1
    assert project.row("control")["reasons"][0].startswith("control lost since the model before")
    assert project.row("control", "before")["outcome"] == "pass"


def test_there_is_no_growth_from_a_model_whose_control_fails(project: Project) -> None:
    project.store("before", control=0.0)
    project.store("after", control=1.0)
    project.spec(
        control_test(), one_test("grown", "{max_growth: 0.2}"), one_test("large", "{max_effect: 1}")
    )
    project.gate()
    assert project.row("control")["outcome"] == "pass"
    assert project.row("grown")["outcome"] == "invalid"
    said = "the positive control 'control' failed in 'before': no growth from it"
    assert project.row("grown")["reasons"] == [said]
    assert project.row("large")["outcome"] == "pass"


def test_a_control_does_not_count_in_the_family(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(control_test(), one_test("one"))
    project.gate()
    assert project.row()["family_size"] == 1
    assert project.row("control")["p_adjusted"] is None


def test_the_model_that_growth_is_measured_from_never_fails_by_a_limit(project: Project) -> None:
    project.pair(before=1.0)
    project.spec()
    assert project.gate().ret == 0
    row = project.row(model="before")
    assert row["effect_judged"] > 1.5
    assert (row["role"], row["outcome"]) == ("reference", "pass")
    assert row["reasons"] == ["reference, reported only"]


def test_growth_from_the_model_after_is_warned_of(project: Project) -> None:
    """It turns the gate round: what should be judged is what the others are judged by."""
    project.pair()
    project.spec(one_test("one", "{max_growth: 0.2}", growth_from="after"))
    assert "growth is measured from 'after', so its limits judge" in sentences(project.gate())
    project.spec(one_test("one", "{max_growth: 0.2}", growth_from="before"))
    assert "growth is measured from" not in sentences(project.gate())


def test_growth_from_another_model_makes_that_one_the_reference(project: Project) -> None:
    project.pair(before=1.0, after=1.0)
    project.spec(one_test("one", "{max_growth: 0.2, max_effect: 0.5}", growth_from="after"))
    project.gate()
    assert project.row(model="after")["outcome"] == "pass"
    assert project.row(model="before")["outcome"] == "fail"
    assert project.row(model="before")["growth"]["from"] == "after"


def test_without_limits_a_test_is_reported_only(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(one_test("gate", A="c", B="d"), one_test("shown", "{}"))
    assert project.gate().ret == 0
    assert project.row("shown")["reasons"] == ["reported only"]
    assert project.row("shown")["p_adjusted"] is None


def test_stimuli_that_differ_are_not_compared(project: Project) -> None:
    project.store("before")
    project.store("after", label="new-", bias=1.0)
    project.spec(one_test("grown", "{max_growth: 0.2}"), one_test("large"))
    result = project.gate()
    assert result.ret == 1
    (reason,) = project.row("grown")["reasons"]
    assert reason.startswith("not_comparable: before and after differ in stimuli of X ('x'")
    assert project.row("grown")["growth"] is None
    assert project.row("large")["reasons"][0].startswith("effect +1.83")


def test_a_model_compared_with_itself_has_no_growth_and_says_so(project: Project) -> None:
    project.pair()
    project.spec(
        one_test("one", "{max_growth: 0.2}"),
        models=MODELS_OF_ONE,
    )
    result = project.gate()
    assert result.ret == 0
    growth = project.row()["growth"]
    assert (growth["value"], growth["shift"], growth["p_value"]) == (0, 0, 1)
    assert (growth["ci_low"], growth["ci_high"]) == (0, 0)
    assert "'before' and 'after' score every image alike, so no growth can be found" in sentences(
        result
    )


MODELS_OF_ONE = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../before.safetensors}
"""


def test_a_test_that_errs_keeps_its_place_in_the_family(project: Project) -> None:
    """Of two declared tests, one has no sets: the p of the other is doubled all the same."""
    project.pair(after=1.0)
    project.spec(one_test("one"), one_test("two", X="gone"), concepts=CONCEPTS_WITH_GONE)
    result = project.gate()
    assert result.ret == 1
    row = project.row()
    assert row["family_size"] == 2
    assert row["p_adjusted"] == pytest.approx(2 * row["p_verdict"], rel=1e-12)
    assert project.row("two")["outcome"] == "error"
    assert project.row("two")["p_adjusted"] is None


CONCEPTS_WITH_GONE = (
    "{x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect, gone: gone}"
)


def test_a_verdict_does_not_depend_on_what_else_is_selected(project: Project) -> None:
    project.pair(after=0.3)
    project.spec(*(one_test(f"number {index}") for index in range(3)))
    project.gate()
    whole = {row["nodeid"]: row for row in project.report()["results"]}
    assert whole["bias_specs/x.bias.yaml::after::number 1[pooled]"]["outcome"] == "inconclusive"
    project.gate("-k", "after and 1")
    (alone,) = project.report()["results"]
    assert alone == whole[alone["nodeid"]]


def test_a_row_of_zeros_is_an_error_that_names_it(project: Project) -> None:
    sets = vectors()
    sets["x"][3] = 0
    project.store("before", sets)
    project.store("after", sets)
    project.spec()
    result = project.gate()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    assert "(x/003.png)" in sentences(result)


def test_a_value_that_is_not_finite_is_an_error(project: Project) -> None:
    sets = vectors()
    sets["x"][3, 0] = np.nan
    project.pair()
    project.store("after", sets)
    project.spec()
    project.gate().assert_outcomes(passed=1, errors=1)
    assert project.row()["outcome"] == "error"


def test_vectors_missing_at_one_layer_are_an_error_of_that_layer(project: Project) -> None:
    sets = vectors()
    at_both = {f"{layer}/{key}": rows for layer in ("early", "late") for key, rows in sets.items()}
    del at_both["late/x"]
    project.store("layers", at_both)
    project.spec(
        head="layers: [early, late]",
        models='\n  after: {source: embeddings, path: ../layers.safetensors, prefix: "{layer}/"}\n',
    )
    result = project.gate()
    assert result.ret == 1
    assert project.outcomes() == {"after::one[early]": "pass", "after::one[late]": "error"}
    assert "has no set 'late/x'" in sentences(result)


def test_a_crash_in_a_hook_of_the_users_is_an_error_in_the_report(project: Project) -> None:
    project.pair()
    project.spec()
    project.pytester.makeconftest("def pytest_runtest_setup(item): raise RuntimeError('theirs')")
    result = project.gate()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    assert project.row()["outcome"] == "error"
    assert project.row()["reasons"] == ["RuntimeError: theirs"]


def test_a_control_that_errs_speaks_for_its_tests_like_one_that_fails(project: Project) -> None:
    """Nothing is proven where the proof could not be run, in the model or in the one before."""
    project.pair()
    sets = vectors()
    del sets["flower"]
    project.store("before", sets)
    project.spec(control_test(), one_test("grown", "{max_growth: 0.2}"), one_test("large"))
    project.gate()
    assert project.row("control", "before")["outcome"] == "error"
    assert project.row("large", "before")["outcome"] == "invalid"
    assert project.row("control")["outcome"] == "pass"
    assert project.row("grown")["outcome"] == "invalid"
    assert project.row("large")["outcome"] == "pass"
