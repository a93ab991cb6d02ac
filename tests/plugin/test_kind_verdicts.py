"""What is judged, and what is told as a mistake, for each kind of test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import (
    KIND_SETS,
    control_test,
    kind_test,
    one_test,
    sentences,
    vectors,
)

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

KINDS = ("sc-eat", "similarity-gap", "intra-similarity")


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{max_effect: 0.5}", "effect +1."),
        ("{max_gap: 0.2}", "gap +"),
        ("{max_growth: 0.2}", "growth +1."),
        ("{max_shift: 0.2}", "shift +1."),
    ],
)
def test_every_limit_fails_what_is_over_it(
    project: Project, kind: str, limits: str, said: str
) -> None:
    project.pair(after=1.0)
    project.spec(kind_test(kind, limits))
    result = project.gate()
    assert result.ret == 1
    (reason,) = project.row(kind)["reasons"]
    assert reason.startswith(said)
    assert "adjusted p = " in reason
    assert reason in sentences(result)
    assert project.row(kind, "before")["reasons"] == ["reference, reported only"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{max_effect: 0.5}", "effect +0."),
        ("{max_growth: 0.2}", "growth +0."),
        ("{max_shift: 0.2}", "shift +0."),
    ],
)
@pytest.mark.parametrize(
    ("evidence", "proof"), [("interval", "95% interval +"), ("point", "point estimate")]
)
def test_every_limit_on_a_similarity_fails_what_is_over_it(
    project: Project, limits: str, said: str, evidence: str, proof: str
) -> None:
    project.pair(after=3.0)
    project.spec(kind_test("intra-similarity", limits, evidence=evidence))
    result = project.gate()
    assert result.ret == 1
    (reason,) = project.row("intra-similarity")["reasons"]
    assert reason.startswith(said)
    assert proof in reason
    assert reason in sentences(result)


@pytest.mark.parametrize("kind", KINDS)
def test_within_its_limits_every_kind_passes(project: Project, kind: str) -> None:
    project.pair()
    project.spec(kind_test(kind, "{max_effect: 0.9, max_growth: 0.9, max_shift: 0.9}"))
    assert project.gate().ret == 0
    assert project.row(kind)["outcome"] == "pass"


def test_without_its_interval_over_the_limit_a_similarity_is_inconclusive(
    project: Project,
) -> None:
    project.pair(after=1.0)
    project.spec(kind_test("intra-similarity", "{max_effect: 0.35}"))
    project.gate().assert_outcomes(passed=1, skipped=1)
    row = project.row("intra-similarity")
    assert row["ci_low"] < 0.35 < row["effect_judged"]
    assert row["outcome"] == "inconclusive"


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_compared_with_itself_has_no_growth_and_says_so(
    project: Project, kind: str
) -> None:
    project.pair()
    models = "\n  before: {source: embeddings, path: ../before.safetensors}\n"
    models += "  after: {source: embeddings, path: ../before.safetensors}\n"
    project.spec(kind_test(kind, "{max_growth: 0.1}"), models=models)
    result = project.gate()
    assert result.ret == 0
    growth = project.row(kind)["growth"]
    assert (growth["value"], growth["shift"]) == (0, 0)
    assert (growth["ci_low"], growth["ci_high"]) == (0, 0)
    assert "'before' and 'after' score every image alike" in sentences(result)


@pytest.mark.parametrize("kind", KINDS)
def test_stimuli_that_differ_are_not_compared(project: Project, kind: str) -> None:
    project.store("before")
    project.store("after", label="new-", bias=1.0)
    project.spec(kind_test(kind, "{max_growth: 0.2}"))
    assert project.gate().ret == 1
    (reason,) = project.row(kind)["reasons"]
    assert reason.startswith("not_comparable: before and after differ in stimuli of X ('x'")


# ---------------------------------------------------------------------------- controls


def control_of(kind: str, **keys: str) -> str:
    return kind_test(kind, "{min_effect: 0.5}", name="control", control="positive", **keys)


@pytest.mark.parametrize("kind", ["sc-eat", "similarity-gap"])
def test_a_kind_with_a_p_can_be_a_positive_control(project: Project, kind: str) -> None:
    project.pair(before=1.0, after=1.0)
    project.spec(control_of(kind), one_test("other", A="c", B="d"))
    assert project.gate().ret == 0
    assert project.row("control")["alternative"] == "greater"
    assert project.row("control")["outcome"] == "pass"
    assert project.row("control")["p_adjusted"] is None


@pytest.mark.parametrize(
    ("kind", "spoken_for"),
    [("sc-eat", {"ieat", "sc-eat"}), ("similarity-gap", {"similarity-gap"})],
)
def test_a_failed_control_speaks_for_the_tests_with_its_attributes(
    project: Project, kind: str, spoken_for: set[str]
) -> None:
    project.pair()
    project.spec(control_of(kind), *(kind_test(other, "{}") for other in KIND_SETS))
    project.gate()
    assert project.row("control")["outcome"] == "fail"
    assert {one for one in KIND_SETS if project.row(one)["outcome"] == "invalid"} == spoken_for


def test_for_a_similarity_within_a_set_a_control_speaks_where_it_is_of_the_model(
    project: Project,
) -> None:
    project.pair(control=0.0)
    project.spec(control_test(scope="model"), kind_test("intra-similarity"))
    project.gate()
    assert project.row("intra-similarity")["outcome"] == "invalid"


# ----------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("kind", "key", "role"),
    [
        *(("sc-eat", "x", "X"), ("sc-eat", "b", "B")),
        *(("similarity-gap", "y", "Y"), ("similarity-gap", "a", "A")),
        ("intra-similarity", "x", "X"),
    ],
)
def test_a_row_of_zeros_is_an_error_that_names_set_and_image(
    project: Project, kind: str, key: str, role: str
) -> None:
    """Also where the literature calls the set otherwise: O is A in a spec."""
    sets = vectors()
    sets[key][3] = 0
    project.pair()
    project.store("after", sets)
    project.spec(kind_test(kind))
    result = project.gate()
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    text = sentences(result)
    assert f"({key}/003.png)" in text
    assert f" of {role} " in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_set_is_an_error_of_its_tests_only(project: Project, kind: str) -> None:
    project.pair()
    sets = vectors()
    del sets["x"]
    project.store("after", sets)
    project.spec(kind_test(kind), one_test("other", X="flower", Y="insect", A="c", B="d"))
    assert project.gate().ret == 1
    assert project.row(kind)["outcome"] == "error"
    assert project.row(kind)["scores"] == {}
    assert project.row("other")["outcome"] != "error"


def test_two_images_have_no_similarity_to_speak_of(project: Project) -> None:
    for model in ("before", "after"):
        project.store(model, {"x": vectors()["x"][:2]})
    project.spec(kind_test("intra-similarity"))
    result = project.gate()
    assert result.ret == 1
    assert "X holds 2 images; at least three are needed" in sentences(result)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            kind_test("similarity-gap").replace("{A: a}", "{A: a, B: b}"),
            "11:24: tests[0].attributes.B: a test of kind 'similarity-gap' has none; remove it",
        ),
        (
            kind_test("sc-eat").replace("{X: x}", "{X: x, Y: y}"),
            "10:21: tests[0].targets.Y: a test of kind 'sc-eat' has none; remove it",
        ),
        (
            kind_test("intra-similarity", attributes="{A: a, B: b}"),
            "13:5: tests[0].attributes: a test of kind 'intra-similarity' has none; remove it",
        ),
        (
            kind_test("sc-eat", sides="targets"),
            "13:5: tests[0].sides: a test of kind 'sc-eat' has none; remove it",
        ),
        (
            kind_test("intra-similarity", evidence="significant"),
            "12:5: tests[0].evidence: 'significant' is not one of 'interval' or 'point'",
        ),
        (
            kind_test("intra-similarity").replace("evidence: interval", "tags: [t]"),
            "11:5: tests[0].limits: within one set there is no p; add 'evidence: interval'",
        ),
        (
            kind_test("intra-similarity", "{max_gap: 0.1}"),
            "11:14: tests[0].limits.max_gap: a test of kind 'intra-similarity' has none; remove it",
        ),
        (
            kind_test("intra-similarity", evidence="equivalence"),
            "12:5: tests[0].evidence: 'equivalence' is not one of 'interval' or 'point'",
        ),
        (
            kind_test("similarity-gap").replace("{A: a}", "{A: x}"),
            "11:5: tests[0].attributes: X and A are the same concept; name two different ones",
        ),
        (
            kind_test("ieat").replace("kind: ieat", "kind: sceat"),
            (
                "9:5: tests[0].kind: 'sceat' is not one of 'ieat', 'sc-eat', 'similarity-gap', "
                "'intra-similarity' or 'outcome-gap'; did you mean 'sc-eat'?"
            ),
        ),
    ],
)
def test_wrong_use_of_a_kind_is_one_sentence_with_its_place(
    project: Project, test: str, said: str
) -> None:
    project.pair()
    project.spec(test)
    result = project.gate()
    assert result.ret == 2
    assert f"bias_specs/x.bias.yaml:{said}" in sentences(result)


def test_an_image_that_is_object_and_person_is_a_mistake_in_the_spec(project: Project) -> None:
    sets = vectors()
    sets["a"][2] = sets["y"][4]
    for model in ("before", "after"):
        project.store(model, sets)
    project.spec(kind_test("similarity-gap"), head="known_duplicates: ['*']")
    result = project.gate()
    assert result.ret == 2
    said = "tests[0].attributes: Y and A share y/004.png = a/002.png; an image must be in one"
    assert said in sentences(result)
