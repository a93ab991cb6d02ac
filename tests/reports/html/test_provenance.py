"""Where numbers come from."""

from __future__ import annotations

from pytest_visualbias.reports.html.provenance import provenance_of
from tests.reports.html.samples import record, report, stimuli


def test_nested_facts_are_names_and_values_in_words() -> None:
    found = provenance_of(report([record()]))
    assert found.run == (
        ("tool.name", "pytest-visualbias"),
        ("tool.version", "0"),
        ("python", "3.12.1"),
        ("git.commit", "abc"),
        ("git.dirty", "no"),
        ("deselected", "0"),
        ("exit_status", "1"),
    )
    assert found.packages == (("numpy", "2.0"),)
    (model,) = found.models
    assert ("preprocessing.mean", "0.5, 0.5, 0.5") in model.facts
    assert ("precision", "fp32") in model.facts
    assert [name for name, _ in model.facts if name == "left_out"] == []
    assert model.trials == (
        ("after.safetensors", (("fingerprint", "1" * 64), ("checkpoint", "2" * 64))),
    )
    assert found.specs == (("bias_specs/x.bias.yaml", "0" * 64),)


def test_a_set_that_many_tests_use_is_listed_once() -> None:
    sets = {role: stimuli(role, ["a"], ["1"], "stimuli") for role in "XYAB"}
    found = provenance_of(report([record(sets=sets), record("other", sets=sets)]))
    assert [one.concept for one in found.sets] == [f"concept {role}" for role in "XYAB"]


def test_what_is_recorded_of_a_baseline_is_shown() -> None:
    summary = {"baselines": [{"path": "a.json", "kept": 3}, {"path": "b.json", "kept": 0}]}
    found = provenance_of(report(summary=summary))
    assert found.run[-1] == ("baselines", "path a.json, kept 3; path b.json, kept 0")
