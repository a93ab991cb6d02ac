"""The ways in which other tools' gates go green by accident, one test for each: none of ours does.

The numbers are those of the matrix in which we collected them. Each runs a gate in a repository of
its own, once in one process and once with two workers of xdist.
"""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.plugin.conftest import control_test, one_test, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
RECORDED = "bias_specs/__visualbias__/x.json"
OTHER = "def test_other(): pass"
AFTER = "\n  after: {source: embeddings, path: ../after.safetensors}\n"
GROWTH = "{max_effect: 1.9, max_growth: 0.2}"
ONE_TENSOR_LESS = "conv1.0.weight"
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 5, stride=4)
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x):
        BODY
        return self.norm(self.drop(self.conv(x).mean((2, 3))))

def net():
    torch.manual_seed(0)
    return Net().train()
"""
FACTORY = """
  after: {source: factory, call: "nets:net", transform: {size: 32}}
"""


def recorded(project: Project, serial: Gate) -> None:
    """Record a model without a bias, then let it grow one."""
    project.store("after")
    project.spec(one_test("one", GROWTH), models=AFTER)
    serial.says(0, given=("--visualbias-update-new",))
    project.store("after", bias=1.0)


def test_01_a_regression_is_the_items_own_failure_in_junit(project: Project, gate: Gate) -> None:
    """Not a line of the summary only, as in pytest-benchmark."""
    project.pair(after=1.0)
    project.spec(one_test("one", GROWTH))
    gate.says(1, given=("--junitxml=junit.xml",))
    suite = ET.parse(project.path / "junit.xml").getroot()[0]
    (failed,) = suite.iterfind("testcase/failure")
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("1", "0", "2")
    assert str(failed.get("message")).startswith(project.row()["reasons"][0])


def test_02_a_test_that_was_renamed_has_no_baseline_and_fails(
    project: Project, serial: Gate, gate: Gate
) -> None:
    recorded(project, serial)
    project.spec(one_test("two", GROWTH), models=AFTER)
    gate.says(1, f"{RECORDED} has no entry 'after::two[pooled]'", "--visualbias-prune")
    assert project.outcomes() == {"after::two[pooled]": "fail"}


def test_03_workers_do_not_switch_the_gate_off(project: Project, serial: Gate, gate: Gate) -> None:
    """The same verdicts, exit code and report."""
    project.pair(after=1.0)
    unproven = one_test("open", "{max_effect: 1.75}", evidence="interval")
    project.spec(unproven, one_test("grown", "{max_growth: 0.2}"), control_test())
    found = []
    for run in (serial, gate):
        run.says(1, "1 failed, 4 passed, 1 skipped")
        report = project.report()
        found.append({key: report[key] for key in ("results", "models", "summary")})
    assert found[0] == found[1]


def test_04_a_missing_baseline_fails(project: Project, serial: Gate, gate: Gate) -> None:
    """It is no reason to skip, as it is to pytest-torch."""
    recorded(project, serial)
    (project.path / "elsewhere").mkdir()
    gate.says(
        1,
        "elsewhere/x.json has no entry 'after::one[pooled]'",
        given=("--visualbias-baseline=elsewhere",),
    )
    assert project.outcomes() == {"after::one[pooled]": "fail"}


def test_05_no_run_writes_the_baseline_by_itself_and_none_on_ci(
    project: Project, serial: Gate, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second run passes whatever the first one found, as with pytest-regressions."""
    recorded(project, serial)
    before = (project.path / RECORDED).read_bytes()
    for run in (serial, gate):
        run.says(1)
        assert project.breaches() == [("growth", True)]
    monkeypatch.setenv("CI", "true")
    result = gate("--visualbias-update")
    assert result.ret == 4
    assert "--visualbias-update" in result.stderr.str()
    assert (project.path / RECORDED).read_bytes() == before


def test_06_a_check_that_crashed_has_not_passed(project: Project, gate: Gate) -> None:
    project.pair()
    project.spec()
    (project.path / "conftest.py").write_text(
        "def pytest_runtest_setup(item): raise ZeroDivisionError('somewhere inside')"
    )
    result = gate()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    assert set(project.outcomes().values()) == {"error"}
    assert project.row()["reasons"] == ["ZeroDivisionError: somewhere inside"]


def test_07_without_the_flag_there_are_no_items_and_with_it_no_items_are_5(
    project: Project, gate: Gate
) -> None:
    """Marked tests that pass because a flag was forgotten look like a gate that held."""
    project.pair(after=1.0)
    project.spec()
    project.pytester.makepyfile(OTHER)
    forgotten = gate.run()
    forgotten.assert_outcomes(passed=1)
    assert "visualbias" not in forgotten.stdout.str().replace("pytest_visualbias", "")
    (project.path / SPEC).unlink()
    gate.says(5)


def test_08_every_declared_test_is_an_item_in_sight_a_skipped_one_too(
    project: Project, serial: Gate, gate: Gate
) -> None:
    project.pair(after=0.15)
    project.spec(one_test("open"), one_test("unlimited", "{}"), one_test("kept", A="c", B="d"))
    text = gate.says(0, "5 passed, 1 skipped", "INCONCLUSIVE", given=("-rs",))
    assert f"SKIPPED [1] {SPEC}" in text
    names = [f"{model}::{test}[pooled]" for model in ("before", "after") for test in TESTS]
    assert [*project.outcomes()] == names
    serial.says(1, "1 failed, 5 passed", given=("--visualbias-strict",))


TESTS = ("open", "unlimited", "kept")


def test_09_numbers_of_other_images_are_not_compared(
    project: Project, serial: Gate, gate: Gate
) -> None:
    """Neither with a record nor with another model."""
    recorded(project, serial)
    project.store("after", label="other")
    gate.says(1, "not_comparable: ", RECORDED)
    project.store("before")
    project.spec(one_test("one", GROWTH))
    (project.path / RECORDED).unlink()
    serial.says(1, "not_comparable: ")


def test_10_a_parallel_update_loses_no_entry(project: Project, serial: Gate, gate: Gate) -> None:
    """Two workers measure, one process writes; what is not selected stays as it was."""
    recorded(project, serial)
    tests = [one_test(name, GROWTH) for name in ("one", "two", "three", "four")]
    project.spec(*tests, models=AFTER)
    old = json.loads((project.path / RECORDED).read_text())["entries"]
    given = ("--visualbias-update-new", "-k", "two or three or four")
    gate.says(0, given=given)
    new = json.loads((project.path / RECORDED).read_text())["entries"]
    assert len(new) == 4
    assert {key: new[key] for key in old} == old


def test_11_a_report_that_cannot_be_saved_fails_the_run(project: Project, gate: Gate) -> None:
    project.pair()
    project.spec()
    (project.path / "taken").touch()
    result = gate.run("--visualbias", "--visualbias-json=taken/out.json")
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    assert "taken/out.json" in result.stdout.str()


def test_12_a_key_that_stands_twice_is_an_error_with_both_lines(
    project: Project, gate: Gate
) -> None:
    """The later one would win: here a limit that nothing is over."""
    project.pair(after=1.0)
    project.spec(one_test("one", "{max_effect: 0.5, max_effect: 1.9}"))
    gate.says(2, ":12:31: tests[0].limits.max_effect: ", "line 12")


@pytest.mark.parametrize("fault", [np.nan, np.inf, 0.0])
def test_13_what_is_no_number_is_an_error_and_not_under_a_limit(
    project: Project, serial: Gate, fault: float
) -> None:
    """Errors of tests with workers are those of row 6."""
    project.pair()
    sets = vectors()
    sets["x"][2] = fault
    project.store("after", sets)
    project.spec(one_test("one", "{max_effect: 1.9}"))
    serial.says(1, "x/002.png", "1 passed, 1 error")
    assert project.row()["effect_size"] is None


def test_14_too_few_images_to_reach_alpha_are_an_error_of_the_spec(
    project: Project, gate: Gate
) -> None:
    project.pair(n=3, after=1.0)
    project.spec()
    gate.says(2, "3 against 3 images", "1/10", "alpha 0.05")


def test_15_workers_hand_over_every_number(project: Project, serial: Gate, gate: Gate) -> None:
    """A number of numpy's aborts a worker, and the run says that there were no tests."""
    project.pair(after=1.0)
    project.spec(one_test("one", GROWTH))
    gate.says(1, "1 failed, 1 passed")
    row = project.row()
    assert row["p_value"] < 1e-3
    assert row["growth"]["value"] > 1


@pytest.mark.parametrize("chosen", [("-k", "one"), ("--deselect", f"{SPEC}::after::two[pooled]")])
def test_16_what_is_selected_changes_no_correction(
    project: Project, serial: Gate, gate: Gate, chosen: tuple[str, ...]
) -> None:
    """All that is declared counts, so that no p gets smaller by looking at less."""
    project.pair(after=0.2)
    project.spec(*(one_test(name) for name in ("one", "two", "three")))
    serial()
    whole = project.row()
    gate(*chosen)
    assert project.row() == whole
    assert whole["family_size"] == 3
    assert whole["p_adjusted"] > whole["p_verdict"]


def test_17_deselecting_every_item_of_the_gate_is_5_although_others_pass(
    project: Project, gate: Gate
) -> None:
    project.pair(after=1.0)
    project.spec()
    project.pytester.makepyfile(OTHER)
    gate.says(5, "1 passed", given=("-k", "other"))


def test_18_an_image_that_cannot_be_read_is_named_and_not_left_out(
    pixels: Project, gate: Gate
) -> None:
    image = pixels.path / "stimuli/x/2.png"
    image.write_bytes(image.read_bytes()[:60])
    gate.says(1, "stimuli/x/2.png", "2 errors")
    assert pixels.row()["n_x"] is None


def test_19_a_checkpoint_that_leaves_a_weight_unset_is_refused(
    networks: Project, serial: Gate
) -> None:
    """Loaded loosely, random weights would be judged. Loading knows nothing of workers."""
    import safetensors.torch

    path = networks.path / "after.safetensors"
    tensors = safetensors.torch.load_file(path)
    del tensors[ONE_TENSOR_LESS]
    safetensors.torch.save_file(tensors, path)
    serial.says(1, "after.safetensors", ONE_TENSOR_LESS, "1 error")
    assert networks.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "error"}


def test_20_another_checkpoint_under_the_same_name_is_embedded_anew(
    pixels: Project, serial: Gate, gate: Gate
) -> None:
    """The cache goes by content: a stale vector would be judged in the new one's place."""
    serial()
    old = pixels.row()["scores"]
    path = pixels.path / "after.txt"
    path.write_text(path.read_text().replace("0.5", "0.1"))
    gate()
    assert pixels.row()["scores"] != old


@pytest.mark.parametrize("body", ["pass", "self.train()"], ids=["left", "called"])
def test_21_no_network_is_measured_in_training_mode(
    networks: Project, serial: Gate, body: str
) -> None:
    """Left in it, a network is put right; one that goes back to it is an error."""
    (networks.path / "nets.py").write_text(NET.replace("BODY", body))
    networks.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=FACTORY,
        concepts="{x: x, y: y, a: a, b: b}",
    )
    given = ("--visualbias-no-cache",)
    if body != "pass":
        serial.says(1, "train()")
        assert networks.row()["outcome"] == "error"
        return
    sizes = []
    for size in (1, 20):
        serial(*given, f"--visualbias-batch-size={size}")
        sizes.append(networks.row()["effect_size"])
    assert sizes[0] == pytest.approx(sizes[1], abs=1e-5)


def test_22_where_a_positive_control_fails_its_tests_are_invalid(
    project: Project, gate: Gate
) -> None:
    """A model that sees nothing shows no bias either."""
    project.pair(control=0.0)
    project.spec(control_test(), one_test("one"))
    gate.says(1, "INVALID", "'control'", "4 failed")
    assert project.outcomes()["after::one[pooled]"] == "invalid"


@pytest.mark.parametrize(
    ("value", "limit"), [("no", None), ("1e-3", 0.001), ("0o1", 1), ("'0.5'", None), ("1:30", None)]
)
def test_23_scalars_mean_what_they_look_like(
    project: Project, serial: Gate, value: str, limit: float | None
) -> None:
    """`1e-3` is text in YAML 1.1, `1:30` is 90. Specs are read alike in every process."""
    project.pair(after=1.0)
    project.spec(one_test("one", f"{{max_effect: {value}}}"))
    if limit is None:
        serial.says(2, "tests[0].limits.max_effect: ")
        return
    serial.says(1)
    assert [one["limit"] for one in project.row()["violations"]] == [limit]


def test_24_attributes_that_mean_nothing_make_no_bias(project: Project, gate: Gate) -> None:
    """Two halves of one set, and targets far apart: iEAT's own p alone would be significant.

    Green is right here. What would hide a bias is to learn that the gate cries wolf.
    """
    random = np.random.default_rng(1)
    sets = vectors(bias=1.0)
    both = (random.normal(size=(16, 16)) + np.eye(16)[2]).astype(np.float32)
    project.store("before", sets)
    project.store("after", sets | {"a": both[:8], "b": both[8:]})
    project.spec(one_test("one", "{max_effect: 0.3}"))
    gate()
    row = project.row()
    assert row["p_value"] < 0.05 < row["p_attributes"]
    assert abs(row["effect_size"]) > 1
    assert row["outcome"] in ("pass", "inconclusive")


def test_25_a_family_too_large_for_its_sets_is_warned_of_and_an_error_when_strict(
    project: Project, serial: Gate, gate: Gate
) -> None:
    """The correction takes more than these sizes can show: nothing could fail."""
    project.pair(n=4, after=1.0)
    limits = "{max_effect: 0.5, max_growth: 0.2}"
    project.spec(*(one_test(f"t{index}", limits) for index in range(4)))
    said = "8 of 8"
    serial()
    assert any(said in warning for warning in project.row("t0")["warnings"])
    gate.says(2, said, given=("--visualbias-strict",))


def test_a_run_leaves_nothing_but_what_was_asked_for(pixels: Project, serial: Gate) -> None:
    """Its report and pytest's own cache: no baseline, and nothing beside specs and images."""
    before = files(pixels.path)
    serial()
    assert files(pixels.path) - before == {"out.json"}


def files(folder: Path) -> set[str]:
    """Return the files of a folder, caches of pytest and Python left out."""
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".pytest_cache/")}
