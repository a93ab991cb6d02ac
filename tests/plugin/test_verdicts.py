"""From what a model shows to an outcome: limits, evidence, controls and what cannot be compared."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy

from pytest_visualbias.reports.document import read_report
from tests.plugin.conftest import (
    ALONE,
    CONCEPTS,
    KIND_SETS,
    LAYERED,
    control_test,
    kind_test,
    one_test,
    vectors,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

    Sets = dict[str, NDArray[np.float64]]

UNPROVEN = 0.15  # over 0.5 without evidence: d = 0.61, p = 0.23
KINDS = ("ieat", "sc-eat", "similarity-gap", "intra-similarity")
WITH_P = KINDS[:3]
DIM, N = 12, 20
ROOT = Path(__file__).parents[2]
MODELS_OF_ONE = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../before.safetensors}
"""
WITH_GONE = CONCEPTS.replace("}", ", gone: gone}")


# ------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("kind", WITH_P)
@pytest.mark.parametrize("limit", ["effect", "gap", "growth", "shift"])
def test_every_limit_fails_what_exceeds_it(project: Project, kind: str, limit: str) -> None:
    project.pair(after=1.0)
    assert project.judge(kind_test(kind, f"{{max_{limit}: 0.3}}", name="one")).ret == 1
    assert project.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "fail"}
    assert project.breaches() == [(limit, True)]
    (breach,) = project.row()["violations"]
    assert breach["value"] > breach["limit"] == 0.3


@pytest.mark.parametrize("limit", ["effect", "growth", "shift"])
@pytest.mark.parametrize("evidence", ["interval", "point"])
def test_every_limit_on_a_similarity_fails_what_exceeds_it(
    project: Project, limit: str, evidence: str
) -> None:
    project.pair(after=3.0)
    test = kind_test("intra-similarity", f"{{max_{limit}: 0.2}}", name="one", evidence=evidence)
    assert project.judge(test).ret == 1
    assert project.breaches() == [(limit, True)]


@pytest.mark.parametrize("kind", KINDS)
def test_within_its_limits_every_kind_passes(project: Project, kind: str) -> None:
    project.pair()
    limits = "{max_effect: 0.9, max_growth: 0.9, max_shift: 0.9}"
    assert project.judge(kind_test(kind, limits)).ret == 0
    assert project.row(kind)["outcome"] == "pass"
    assert project.row(kind, "before")["role"] == "reference"


def test_growth_fails_although_the_effect_is_under_its_limit(project: Project) -> None:
    project.pair(after=0.4, n=12)
    assert project.judge(one_test("one", "{max_effect: 1.6, max_growth: 0.2}")).ret == 1
    row = project.row()
    assert project.breaches() == [("growth", True)]
    assert row["effect_size"] < 1.6
    assert row["growth"]["p_adjusted"] <= 0.05
    assert row["growth"]["from"] == "before"


def test_an_effect_that_shrank_has_not_grown_but_has_shifted(project: Project) -> None:
    project.pair(before=1.0)
    project.judge(one_test("grown", "{max_growth: 0.2}"), one_test("moved", "{max_shift: 0.2}"))
    assert project.row("grown")["outcome"] == "pass"
    assert project.row("grown")["growth"]["value"] < -1
    assert project.breaches("moved") == [("shift", True)]


def test_without_limits_a_test_is_reported_only(project: Project) -> None:
    project.pair(after=1.0)
    assert project.judge(one_test("gate", A="c", B="d"), one_test("shown", "{}")).ret == 0
    row = project.row("shown")
    assert (row["outcome"], row["limits"], row["p_adjusted"]) == ("pass", {}, None)


def test_a_verdict_does_not_depend_on_what_else_is_selected(project: Project) -> None:
    project.pair(after=0.3)
    project.judge(*(one_test(f"number {index}") for index in range(3)))
    whole = {row["nodeid"]: row for row in project.report()["results"]}
    assert whole["bias_specs/x.bias.yaml::after::number 1[pooled]"]["outcome"] == "inconclusive"
    project.gate("-k", "after and 1")
    (alone,) = project.report()["results"]
    assert alone == whole[alone["nodeid"]]


# ----------------------------------------------------------------------------- evidence


@pytest.mark.parametrize(
    ("options", "code", "counts"),
    [
        ((), 0, {"passed": 1, "skipped": 1}),
        (("--visualbias-strict",), 1, {"passed": 1, "failed": 1}),
    ],
)
def test_without_evidence_a_breach_is_inconclusive_and_fails_when_strict(
    project: Project, options: tuple[str, ...], code: int, counts: dict[str, int]
) -> None:
    project.pair(after=UNPROVEN)
    result = project.judge(one_test("one"), options=options)
    assert result.ret == code
    result.assert_outcomes(**counts)
    assert project.row()["outcome"] == "inconclusive"
    assert project.breaches() == [("effect", False)]


@pytest.mark.parametrize(("evidence", "outcome"), [("point", "fail"), ("interval", "inconclusive")])
def test_evidence_decides_what_a_breach_takes(
    project: Project, evidence: str, outcome: str
) -> None:
    project.pair(after=UNPROVEN)
    project.judge(one_test("one", evidence=evidence))
    assert project.row()["outcome"] == outcome


def test_without_its_interval_over_the_limit_a_similarity_is_inconclusive(
    project: Project,
) -> None:
    project.pair(after=1.0)
    project.judge(kind_test("intra-similarity", "{max_effect: 0.35}", name="one"))
    row = project.row()
    assert row["ci_low"] < 0.35 < row["effect_judged"]
    assert row["outcome"] == "inconclusive"


@pytest.mark.parametrize(
    ("limit", "bias", "outcome", "code"),
    [(1.9, 0.0, "pass", 0), (0.5, 0.0, "inconclusive", 0), (0.5, 1.0, "fail", 1)],
)
def test_with_equivalence_a_test_passes_only_what_is_shown(
    project: Project, limit: float, bias: float, outcome: str, code: int
) -> None:
    project.pair(after=bias)
    tests = [one_test("one", f"{{max_effect: {limit}}}", evidence="equivalence")]
    assert project.judge(*tests).ret == code
    row = project.row()
    assert row["outcome"] == outcome
    assert project.breaches() == ([] if outcome == "pass" else [("effect", outcome == "fail")])
    assert row["p_adjusted"] is not None
    assert row["detectable"] > 0
    if outcome == "inconclusive":
        assert row["images_needed"] > row["n_x"]
        assert project.gate("--visualbias-strict").ret == 1
    project.judge(*tests, one_test("two"))
    assert project.row()["family_size"] == 2


@pytest.mark.parametrize(
    "test",
    [
        one_test("one", "{max_effect: 0.5, max_growth: 0.2}", evidence="equivalence"),
        one_test("one", "{max_shift: 0.2}", evidence="equivalence"),
        kind_test("intra-similarity", evidence="equivalence"),
    ],
)
def test_what_equivalence_would_pass_too_often_is_a_spec_error(project: Project, test: str) -> None:
    project.pair()
    assert project.judge(test).ret == 2


def test_intervals_of_several_limits_are_simultaneous(project: Project) -> None:
    project.pair(after=1.0)
    project.judge(one_test("one", "{max_effect: 0.01}", evidence="interval"))
    limit = f"{{max_effect: {project.row()['ci_low'] - 0.001:.4f}}}"
    for others, outcome in (((), "fail"), (("two", "three"), "inconclusive")):
        tests = [one_test(name, limit, evidence="interval") for name in ("one", *others)]
        project.judge(*tests)
        assert project.row("one")["outcome"] == outcome


def test_one_side_alone_is_not_enough_unless_asked_for(project: Project) -> None:
    """A scale-free d of the targets is large here, the d of the attributes is not."""
    sets = vectors(bias=1.0)
    random = np.random.default_rng(5)
    for name in ("a", "b"):
        sets[name] = 1 + random.normal(size=sets[name].shape).astype(np.float32)
    project.store("before", sets)
    project.store("after", sets)
    project.judge(one_test("both"), one_test("targets", sides="targets"))
    both, targets = project.row("both"), project.row("targets")
    assert both["effect_size"] == targets["effect_size"] == targets["effect_judged"]
    assert abs(targets["effect_size"]) > abs(both["effect_size_attributes"])
    assert both["effect_judged"] == both["effect_size_attributes"]


# ------------------------------------------- verdicts that an earlier rule had wrong


def save(
    project: Project, model: str, sets: Sets, names: dict[str, list[str]] | None = None
) -> None:
    plain = {name: np.ascontiguousarray(rows, np.float32) for name, rows in sets.items()}
    metadata = {"names": json.dumps(names)} if names else None
    safetensors.numpy.save_file(plain, project.path / f"{model}.safetensors", metadata=metadata)


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
    assert project.judge(one_test("one", "{max_growth: 0.5}")).ret == 1
    before, after = project.row(model="before"), project.row()
    assert min(before["effect_size"], after["effect_size"]) > 1.7, "the target side hardly moves"
    assert before["effect_judged"] < 0.8
    assert ("growth", True) in project.breaches()


def test_a_flip_without_growth_is_no_growth(project: Project) -> None:
    project.pair(before=-1.0, after=1.1)
    assert project.judge(one_test("one", "{max_growth: 0.001, max_shift: 3.8}")).ret == 0
    row = project.row()
    assert row["growth"]["flipped"]
    assert row["growth"]["shift_p_verdict"] < 0.001, "the p of the shift says nothing of growth"
    assert row["growth"]["p_verdict"] > 0.05
    assert row["outcome"] == "inconclusive"


def test_with_a_direction_a_turn_into_it_is_growth(project: Project) -> None:
    project.pair(before=-1.0, after=1.0)
    assert project.judge(one_test("one", "{max_growth: 0.5}", alternative="greater")).ret == 1
    row = project.row()
    assert abs(abs(row["growth"]["after"]) - abs(row["growth"]["before"])) < 0.5
    assert row["growth"]["value"] == pytest.approx(row["effect_judged"])


def test_sets_that_differ_without_an_association_do_not_fail(project: Project) -> None:
    save(project, "after", unrelated(20))
    assert project.judge(one_test("one", "{max_effect: 0.2}"), models=ALONE).ret == 0
    row = project.row()
    assert max(row["p_value"], row["p_attributes"]) <= 0.05 < row["p_crossed"]
    assert row["outcome"] == "inconclusive"


def test_a_control_does_not_hold_by_meaningless_attributes(project: Project) -> None:
    save(project, "after", unrelated(0))
    test = one_test("one", "{min_effect: 0.5}", control="positive")
    assert project.judge(test, models=ALONE).ret == 1
    row = project.row()
    assert row["effect_size"] >= 0.5
    assert row["p_value"] <= 0.05
    script = runpy.run_path(str(ROOT / "benchmarks" / "controls.py"))
    (shown,) = script["rows"](read_report(project.path / "out.json").results)
    assert shown[-2:] == ("holds", "fails"), "by the targets alone, and by both sides"


def test_clustered_images_fail_as_images_and_not_as_groups(project: Project) -> None:
    save(project, "after", clustered(27))
    test = one_test("one", "{max_effect: 0.2}")
    assert project.judge(test, models=ALONE).ret == 1
    names = {name: [f"{name}/{name}{i // 4}_{i % 4}.png" for i in range(20)] for name in "xyab"}
    save(project, "after", clustered(27), names)
    assert project.judge(test, models=ALONE, head=r"groups: '([a-z]\d)_\d'").ret == 0
    assert project.row()["n_x"] == 5


# ----------------------------------------------------------------------------- controls


@pytest.mark.parametrize(("scope", "other"), [("attributes", "pass"), ("model", "invalid")])
def test_a_failed_control_makes_tests_of_its_attributes_or_all_invalid(
    project: Project, scope: str, other: str
) -> None:
    project.pair(after=1.0, control=0.0)
    keys = {"scope": scope} if scope == "model" else {}
    tests = control_test(**keys), one_test("same"), one_test("other", X="x", A="c", B="d")
    assert project.judge(*tests).ret == 1
    outcomes = {name: project.row(name)["outcome"] for name in ("control", "same", "other")}
    assert outcomes == {"control": "fail", "same": "invalid", "other": other}
    assert project.breaches("control") == [("min_effect", False)]
    assert project.row("same")["effect_size"] is not None


@pytest.mark.parametrize(
    ("kind", "spoken_for"),
    [("sc-eat", {"ieat", "sc-eat"}), ("similarity-gap", {"similarity-gap"})],
)
def test_a_control_of_a_kind_speaks_for_the_tests_with_its_attributes(
    project: Project, kind: str, spoken_for: set[str]
) -> None:
    control = kind_test(kind, "{min_effect: 0.5}", name="control", control="positive")
    project.pair()
    project.judge(control, *(kind_test(other, "{}") for other in KIND_SETS))
    assert project.row("control")["outcome"] == "fail"
    assert {one for one in KIND_SETS if project.row(one)["outcome"] == "invalid"} == spoken_for
    project.pair(before=1.0, after=1.0)
    assert project.judge(control, one_test("other", A="c", B="d")).ret == 0
    row = project.row("control")
    assert (row["alternative"], row["outcome"], row["p_adjusted"]) == ("greater", "pass", None)


def test_for_a_similarity_within_a_set_a_control_speaks_where_it_is_of_the_model(
    project: Project,
) -> None:
    project.pair(control=0.0)
    project.judge(control_test(scope="model"), kind_test("intra-similarity"))
    assert project.row("intra-similarity")["outcome"] == "invalid"


def test_a_control_that_holds_changes_nothing_and_is_not_in_the_family(project: Project) -> None:
    project.pair()
    assert project.judge(control_test(), one_test("one")).ret == 0
    assert (project.row("control")["outcome"], project.row()["outcome"]) == ("pass", "pass")
    assert project.row()["family_size"] == 1
    assert project.row("control")["p_adjusted"] is None


def test_a_control_that_held_before_and_fails_after_is_lost(project: Project) -> None:
    project.store("before", control=1.0)
    project.store("after", control=0.0)
    assert project.judge(control_test(), one_test("one")).ret == 1
    assert project.breaches("control") == [("min_effect", False)]
    assert project.row("control", "before")["outcome"] == "pass"


@pytest.mark.parametrize("is_absent", [False, True])
def test_there_is_no_growth_from_a_model_whose_control_fails_or_errs(
    project: Project, *, is_absent: bool
) -> None:
    """Nothing is proven where the proof failed or could not be run."""
    sets = vectors(control=0.0)
    if is_absent:
        del sets["flower"]
    project.pair()
    project.store("before", sets)
    tests = one_test("grown", "{max_growth: 0.2}"), one_test("large", "{max_effect: 1}")
    project.judge(control_test(), *tests)
    assert project.row("control", "before")["outcome"] == ("error" if is_absent else "fail")
    assert project.row("large", "before")["outcome"] == "invalid"
    outcomes = {name: project.row(name)["outcome"] for name in ("control", "grown", "large")}
    assert outcomes == {"control": "pass", "grown": "invalid", "large": "pass"}


# --------------------------------------------------------------------- what is compared


def test_the_model_that_growth_is_measured_from_never_fails_by_a_limit(project: Project) -> None:
    project.pair(before=1.0)
    assert project.judge().ret == 0
    row = project.row(model="before")
    assert row["effect_judged"] > 1.5
    assert (row["role"], row["outcome"]) == ("reference", "pass")


def test_growth_from_another_model_makes_that_one_the_reference_and_is_warned_of(
    project: Project,
) -> None:
    """It turns the gate round: what should be judged is what the others are judged by."""
    project.pair(before=1.0, after=0.9)
    project.judge(one_test("one", "{max_growth: 0.2, max_effect: 0.5}", growth_from="after"))
    assert project.row(model="after")["outcome"] == "pass"
    assert project.row(model="before")["outcome"] == "fail"
    assert project.row(model="before")["growth"]["from"] == "after"
    assert project.row(model="after")["warnings"]
    project.judge(one_test("one", "{max_growth: 0.2}", growth_from="before"))
    assert project.row()["warnings"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_stimuli_that_differ_are_not_compared(project: Project, kind: str) -> None:
    project.store("before")
    project.store("after", label="new-", bias=1.0)
    tests = kind_test(kind, "{max_growth: 0.2}", name="grown"), one_test("large")
    assert project.judge(*tests).ret == 1
    assert project.row("grown")["outcome"] == "fail"
    assert project.row("grown")["growth"] is None
    assert project.row("grown")["reasons"][0].startswith("not_comparable: ")
    assert project.breaches("large") == [("effect", True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_compared_with_itself_has_no_growth_and_is_warned_of(
    project: Project, kind: str
) -> None:
    project.pair()
    test = kind_test(kind, "{max_growth: 0.2}", name="one")
    assert project.judge(test, models=MODELS_OF_ONE).ret == 0
    growth = project.row()["growth"]
    assert [growth[key] for key in ("value", "shift", "ci_low", "ci_high")] == [0] * 4
    assert growth["p_value"] in (1, None)
    assert any("'before' and 'after'" in one for one in project.row()["warnings"])


# ------------------------------------------------------------------------------- errors


def test_a_test_that_errs_keeps_its_place_in_the_family(project: Project) -> None:
    """Of two declared tests, one has no sets: the p of the other is doubled all the same."""
    project.pair(after=1.0)
    assert project.judge(one_test("one"), one_test("two", X="gone"), concepts=WITH_GONE).ret == 1
    row = project.row()
    assert row["family_size"] == 2
    assert row["p_adjusted"] == pytest.approx(2 * row["p_verdict"], rel=1e-12)
    assert project.row("two")["outcome"] == "error"
    assert project.row("two")["p_adjusted"] is None


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("ieat", "x"), ("sc-eat", "x"), ("sc-eat", "b")),
        *(("similarity-gap", "y"), ("similarity-gap", "a"), ("intra-similarity", "x")),
    ],
)
def test_a_row_of_zeros_or_not_finite_is_an_error_that_names_the_image(
    project: Project, kind: str, key: str, value: float
) -> None:
    sets = vectors()
    sets[key][3] = value
    project.pair()
    project.store("after", sets)
    project.judge(kind_test(kind, name="one")).assert_outcomes(passed=1, errors=1)
    assert project.row()["outcome"] == "error"
    assert f"{key}/003.png" in project.row()["reasons"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_set_is_an_error_of_its_tests_only(project: Project, kind: str) -> None:
    project.pair()
    sets = vectors()
    del sets["x"]
    project.store("after", sets)
    other = one_test("other", X="flower", Y="insect", A="c", B="d")
    assert project.judge(kind_test(kind), other).ret == 1
    assert project.row(kind)["outcome"] == "error"
    assert project.row(kind)["scores"] == {}
    assert project.row("other")["outcome"] != "error"


def test_vectors_missing_at_one_layer_are_an_error_of_that_layer(project: Project) -> None:
    sets = {
        f"{layer}/{key}": rows for layer in ("early", "late") for key, rows in vectors().items()
    }
    del sets["late/x"]
    project.store("layers", sets)
    assert project.judge(head="layers: [early, late]", models=LAYERED).ret == 1
    assert project.outcomes() == {"after::one[early]": "pass", "after::one[late]": "error"}
    assert "late/x" in project.row_at("late")["reasons"][0]


def test_two_images_have_no_similarity_to_speak_of(project: Project) -> None:
    for model in ("before", "after"):
        project.store(model, {"x": vectors()["x"][:2]})
    project.spec(kind_test("intra-similarity"))
    project.refuses(1, "X holds 2 images")


def test_a_crash_in_a_hook_of_the_users_is_an_error_in_the_report(project: Project) -> None:
    project.pair()
    project.pytester.makeconftest("def pytest_runtest_setup(item): raise RuntimeError('theirs')")
    result = project.judge()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    assert project.row()["outcome"] == "error"
    assert project.row()["reasons"] == ["RuntimeError: theirs"]


def test_a_collapsed_model_is_an_error_and_no_effect_of_its_rounding(project: Project) -> None:
    """All images one vector but for the last bit of a float32: what is left is noise."""
    random = np.random.default_rng(0)
    one = random.normal(size=16).astype(np.float32)
    sets = {}
    for name in "xyab":
        rows = np.repeat(one[None], 8, axis=0)
        up = random.random(rows.shape) < 0.5
        sets[name] = np.where(up, np.nextafter(rows, np.float32(9)), rows)
    for file in ("before", "after"):
        project.store(file, sets)
    assert project.judge().ret == 1
    assert project.row()["outcome"] == "error"


# ----------------------------------------------------------- wrong use of a kind


@pytest.mark.parametrize(
    ("test", "place"),
    [
        (
            kind_test("similarity-gap").replace("{A: a}", "{A: a, B: b}"),
            "11:24: tests[0].attributes.B",
        ),
        (kind_test("sc-eat").replace("{X: x}", "{X: x, Y: y}"), "10:21: tests[0].targets.Y"),
        (kind_test("intra-similarity", attributes="{A: a, B: b}"), "13:5: tests[0].attributes"),
        (kind_test("sc-eat", sides="targets"), "13:5: tests[0].sides"),
        (kind_test("intra-similarity", evidence="significant"), "12:5: tests[0].evidence"),
        (
            kind_test("intra-similarity").replace("evidence: interval", "tags: [t]"),
            "11:5: tests[0].limits",
        ),
        (kind_test("intra-similarity", "{max_gap: 0.1}"), "11:14: tests[0].limits.max_gap"),
        (kind_test("similarity-gap").replace("{A: a}", "{A: x}"), "11:5: tests[0].attributes"),
        (kind_test("ieat").replace("kind: ieat", "kind: sceat"), "9:5: tests[0].kind"),
    ],
)
def test_wrong_use_of_a_kind_is_named_with_its_place(
    project: Project, test: str, place: str
) -> None:
    project.pair()
    project.spec(test)
    project.refuses(2, f"bias_specs/x.bias.yaml:{place}: ")


def test_an_image_that_is_object_and_person_is_a_mistake_in_the_spec(project: Project) -> None:
    sets = vectors()
    sets["a"][2] = sets["y"][4]
    for model in ("before", "after"):
        project.store(model, sets)
    project.spec(kind_test("similarity-gap"), head="known_duplicates: ['*']")
    project.refuses(2, "tests[0].attributes: ", "y/004.png", "a/002.png")
