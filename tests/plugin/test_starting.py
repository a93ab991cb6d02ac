"""From an empty repository to a gate that runs, by two commands."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from pytest_visualbias.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SPEC = "bias_specs/first.bias.yaml"


@pytest.fixture
def repository(weights: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository that needs timm, with two checkpoints of a network that nobody names."""
    monkeypatch.chdir(project.path)
    (project.path / "requirements.txt").write_text("timm\n", encoding="utf-8")
    folder = project.path / "checkpoints"
    folder.mkdir()
    shutil.copy(weights / "before.safetensors", folder / "pretrained.safetensors")
    shutil.copy(weights / "after.safetensors", folder / "tuned.safetensors")
    return project


def test_two_checkpoints_are_measured_on_drawings_and_gated_by_a_control(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "its weights fit timm's test_resnet" in said
    assert main(["check", SPEC]) == 0
    repository.gate()
    rows = {(row["model"], row["test"]): row for row in repository.report()["results"]}
    assert len(rows) == 6
    for (model, test), row in rows.items():
        assert row["effect_size"] is not None
        assert row["limits"] == ({"min_effect": 0.5} if test == "square-ground" else {})
        assert (row["growth"] is None) is (model == "before")
        assert (row["n_x"], row["n_b"]) == (20, 20)
        assert row["sets"]["X"]["images"]


def test_limits_are_proposed_for_it_and_the_gate_goes_on(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside untrained networks of the same architecture, and from the embeddings of the gate."""
    assert main(["init"]) == 0
    repository.gate()
    capsys.readouterr()
    assert main(["suggest", SPEC, "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    keys = yaml.safe_load(said[said.index("\ntests:") : said.index("\npaste")])["tests"]
    spec = repository.path / SPEC
    document = yaml.safe_load(spec.read_text(encoding="utf-8"))
    (proposed,) = [test for test in keys if test["name"] == "shape-ground"]
    assert {"max_effect", "max_growth", "max_shift"} & proposed["limits"].keys()
    assert "tests" not in document, "all come from the suite"
    document["tests"] = [test for test in keys if "limits" in test]
    spec.write_text(yaml.safe_dump(document), encoding="utf-8")
    rows = [line.split() for line in said.splitlines() if line.startswith("shape-ground ")]
    # Two seeds that differ, beside an effect and its interval.
    assert [word for word in rows[0][5:8] if word == "to"] == ["to"]
    assert rows[0][5] != rows[0][7]
    assert main(["check", SPEC]) == 0
    repository.gate()
    limits = {row["test"]: row["limits"] for row in repository.report()["results"]}
    assert limits["shape-ground"]
    assert {row["model"] for row in repository.report()["results"]} == {"before", "after"}
    before = [row for row in repository.report()["results"] if row["model"] == "before"]
    for row in before:
        assert abs(row["effect_judged"]) <= row["limits"].get("max_effect", 2)


def test_an_architecture_that_nobody_knows_is_an_error_that_says_what_to_write(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never a pass: what stands for the architecture is no name of one."""
    for path in (repository.path / "checkpoints").iterdir():
        save_file({"nobodys.weight": np.zeros((2, 2), np.float32)}, path)
    assert main(["init"]) == 0
    assert main(["check", SPEC]) == 1
    result = repository.gate()
    assert result.ret == 1
    result.assert_outcomes(errors=3)
    assert "timm has no model 'NAME_OF_ITS_ARCHITECTURE'" in "\n".join(result.outlines)


def test_without_a_checkpoint_an_untrained_network_is_reported_and_nothing_passes(
    weights: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    assert main(["init"]) == 0
    result = project.gate("--visualbias-strict")
    assert result.ret == 0
    rows = project.report()["results"]
    assert [(row["model"], row["role"]) for row in rows] == [("stand-in", "random")] * 3
    assert all(row["reasons"] == ["random control, reported only"] for row in rows)
    assert "3 reported" in "\n".join(result.outlines)


def test_what_is_there_already_still_runs(repository: Project) -> None:
    """The configuration that is written changes nothing for the tests of the repository."""
    (repository.path / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    Image.new("RGB", (4, 4)).save(repository.path / "picture.png")
    assert main(["init", "--ci", "github"]) == 0
    repository.run().assert_outcomes(passed=1)
