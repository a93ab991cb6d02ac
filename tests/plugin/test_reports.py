"""What a run leaves behind: the JSON report and what pytest's JUnit XML says of it."""

from __future__ import annotations

import hashlib
import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import one_test, strict_json, vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Project

CONTRACT = {
    *("nodeid", "spec", "test", "kind", "model", "layer", "control", "n_x", "n_y", "n_a", "n_b"),
    *("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "ci_high"),
    *("p_value", "p_low", "p_high", "p_method", "p_attributes", "p_welch", "p_adjusted", "alpha"),
    *("limits", "growth", "trials", "outcome", "reasons", "scores"),
}
NUMBERS = {
    *("n_x", "n_y", "n_a", "n_b", "effect_size", "effect_size_attributes", "effect_judged", "gap"),
    *("ci_low", "ci_high", "p_value", "p_low", "p_high", "p_method", "p_attributes", "p_welch"),
    *("p_verdict", "p_adjusted", "growth", "trials"),
}
GROWTH = {
    *("from", "value", "shift", "p_value", "p_attributes", "p_adjusted", "ci_low", "ci_high"),
    "flipped",
}
GONE = "{x: x, y: y, a: a, b: b, gone: gone}"


@pytest.fixture
def three(project: Project) -> Project:
    """A test that passes, one that fails, and one that errs."""
    project.pair(after=1.0)
    project.spec(
        one_test("kept", "{max_effect: 1.9, max_growth: 1.9}"),
        one_test("large"),
        one_test("gone", X="gone"),
        concepts=GONE,
    )
    return project


def test_the_report_has_its_parts_and_a_row_for_every_item_that_ran(three: Project) -> None:
    three.gate()
    report = three.report()
    assert report.keys() >= {
        *("schema_version", "tool", "environment", "models", "results", "summary")
    }
    assert report["schema_version"] == 2
    assert report["tool"] == {"name": "pytest-visualbias", "version": "0.1.0"}
    assert [(row["model"], row["test"], row["outcome"]) for row in report["results"]] == [
        *(("before", test, outcome) for test, outcome in ROWS_BEFORE),
        *(("after", test, outcome) for test, outcome in ROWS_AFTER),
    ]
    summary = report["summary"]
    assert summary["exit_status"] == 1
    assert summary["ran"] == 6
    assert summary["outcomes"] == {"pass": 3, "fail": 1, "error": 2}
    assert (summary["deselected"], summary["collection_errors"]) == (0, [])


ROWS_BEFORE = [("kept", "pass"), ("large", "pass"), ("gone", "error")]
ROWS_AFTER = [("kept", "pass"), ("large", "fail"), ("gone", "error")]


def test_every_row_has_every_key_of_the_contract(three: Project) -> None:
    three.gate()
    for row in three.report()["results"]:
        assert row.keys() >= CONTRACT, row["nodeid"]
    growth = three.row("kept")["growth"]
    assert growth.keys() >= GROWTH
    assert three.row("kept")["trials"] is None
    assert three.row("kept", "before")["growth"] is None


def test_the_numbers_of_an_error_are_null_and_its_reason_is_said(three: Project) -> None:
    three.gate()
    row = three.row("gone")
    assert {key: row[key] for key in NUMBERS} == dict.fromkeys(NUMBERS)
    assert row["scores"] == {}
    assert row["limits"] == {"max_effect": 0.5}
    assert "'gone'" in row["reasons"][0]


def test_scores_reproduce_the_effect_even_with_duplicates(project: Project) -> None:
    """Scores are by image: the mean goes over the images of a set, each as often as it stands."""
    sets = vectors(bias=0.3)
    sets["a"][1] = sets["a"][0]
    project.store("before", sets)
    project.store("after", sets)
    project.spec()
    project.gate()
    row = project.row()
    means = {
        role: math.fsum(row["scores"][role][image] for image in row["sets"][role]["images"])
        / row["sets"][role]["n"]
        for role in "XYAB"
    }
    assert means["X"] - means["Y"] == pytest.approx(row["effect_size"], abs=1e-12)
    assert means["A"] - means["B"] == pytest.approx(row["effect_size_attributes"], abs=1e-12)


def test_a_result_can_be_traced_to_what_produced_it(three: Project) -> None:
    three.gate()
    report = three.report()
    row = three.row("large")
    spec = (three.path / "bias_specs/x.bias.yaml").read_bytes()
    assert row["spec_digest"] == hashlib.sha256(spec).hexdigest()
    assert row["line"] == 13
    assert {role: one["concept"] for role, one in row["sets"].items()} == dict(
        zip("XYAB", "xyab", strict=True)
    )
    for one in row["sets"].values():
        assert (one["n"], len(one["images"]), len(one["digest"])) == (8, 8, 64)
    stored = hashlib.sha256((three.path / "after.safetensors").read_bytes()).hexdigest()
    (after,) = (model for model in report["models"] if model["model"] == "after")
    assert after["trials"][0]["digest"] == stored
    assert (after["source"], after["role"]) == ("embeddings", "gated")
    assert report["environment"]["packages"].keys() >= {"numpy", "pytest", "pytest-visualbias"}


def test_the_report_says_when_the_run_began(
    three: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or, of a build that is to be made again, what SOURCE_DATE_EPOCH says."""
    now = "2026-09-01T12:00:00Z"
    for epoch, moment in ((None, now), ("1000000000", "2001-09-09T01:46:40Z"), ("soon", now)):
        monkeypatch.delenv("SOURCE_DATE_EPOCH")
        if epoch is not None:
            monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        three.gate()
        assert three.report()["environment"]["started"] == moment
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def test_the_report_is_the_same_twice(three: Project) -> None:
    three.gate()
    first = three.report()
    three.gate("--visualbias-no-cache", "-p", "no:cacheprovider")
    assert three.report() == first


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda project: project.store("after"), 0),
        (lambda project: project.store("after", bias=1.0), 1),
        (lambda project: project.spec(head="setings: {}"), 2),
        (lambda project: (project.path / "bias_specs/x.bias.yaml").unlink(), 5),
    ],
)
def test_it_is_written_whatever_the_exit_code(
    project: Project, change: Callable[[Project], object], code: int
) -> None:
    project.pair()
    project.spec()
    change(project)
    result = project.run("--visualbias", "--visualbias-json=reports/new/out.json")
    assert result.ret == code
    report = strict_json((project.path / "reports/new/out.json").read_text())
    assert report["summary"]["exit_status"] == code
    assert len(report["summary"]["collection_errors"]) == (code == 2)


def test_the_ini_file_names_it_relative_to_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.pytester.makeini("[pytest]\nvisualbias_json = reports/bias.json")
    project.pair()
    project.spec()
    monkeypatch.chdir(project.pytester.mkdir("below"))
    assert project.run("--visualbias").ret == 0
    assert (project.path / "reports/bias.json").is_file()


def test_a_name_beyond_ascii_stands_in_it_as_it_is(project: Project) -> None:
    project.pair()
    project.spec(one_test("Müller → 花"))
    project.gate()
    assert "Müller → 花" in (project.path / "out.json").read_text(encoding="utf-8")
    assert project.row("Müller → 花")["outcome"] == "pass"


def cases(project: Project) -> dict[str, ET.Element]:
    """Return the test cases of the JUnit XML of a run, by class and name."""
    project.gate("--junitxml=junit.xml")
    tree = ET.parse(project.path / "junit.xml")
    return {f"{case.get('classname')} {case.get('name')}": case for case in tree.iter("testcase")}


def properties(case: ET.Element) -> dict[str, str]:
    return {one.get("name", ""): one.get("value", "") for one in case.iter("property")}


def test_a_verdict_is_a_junit_failure_of_its_item(three: Project) -> None:
    case = cases(three)["bias_specs.x.bias.yaml.after large[pooled]"]
    (failure,) = case.findall("failure")
    assert failure.get("message", "").startswith(three.row("large")["reasons"][0])
    assert case.find("error") is None


def test_what_could_not_be_done_is_a_junit_error_of_its_item(three: Project) -> None:
    case = cases(three)["bias_specs.x.bias.yaml.after gone[pooled]"]
    (error,) = case.findall("error")
    assert three.row("gone")["reasons"][0] in error.get("message", "")
    assert case.find("failure") is None
    assert properties(case) == {"visualbias.outcome": "error"}


def test_headline_numbers_are_junit_properties_as_plain_numbers(three: Project) -> None:
    found = properties(cases(three)["bias_specs.x.bias.yaml.after kept[pooled]"])
    assert found.pop("visualbias.outcome") == "pass"
    assert found.keys() >= {
        *("visualbias.effect_size", "visualbias.effect_judged", "visualbias.p_adjusted"),
        *("visualbias.ci_low", "visualbias.ci_high", "visualbias.growth"),
    }
    assert len(found) <= 15
    row = three.row("kept")
    assert float(found["visualbias.effect_judged"]) == row["effect_judged"]
    for value in found.values():
        assert math.isfinite(float(value)), value


def test_an_inconclusive_result_is_skipped_in_junit_with_its_reason(project: Project) -> None:
    project.pair(after=0.15)
    project.spec()
    (skipped,) = cases(project)["bias_specs.x.bias.yaml.after one[pooled]"].findall("skipped")
    assert skipped.get("message", "").startswith(project.row()["reasons"][0])


def test_the_headline_of_a_failure_is_the_same_everywhere_and_without_colour(
    three: Project,
) -> None:
    result = three.gate("--color=yes", "--junitxml=junit.xml")
    tree = ET.parse(three.path / "junit.xml")
    message = next(tree.iter("failure")).get("message", "")
    headline, *details = message.splitlines()
    assert headline == "; ".join(three.row("large")["reasons"])
    assert "\x1b" not in message
    assert details[0].strip() == "bias_specs/x.bias.yaml:13: large [pooled] of model 'after'"
    shown = [line for line in result.outlines if headline in line]
    assert len(shown) == 3, "above its details, in the summary of the gate, in the short summary"
    assert shown[-1].endswith(f" - {headline}")
