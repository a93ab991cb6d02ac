"""From an empty repository to a gate that runs, by two commands."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import yaml
from PIL import Image

from pytest_visualbias.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SPEC = "bias_specs/first.bias.yaml"
FILES = (
    *("--before", "checkpoints/pretrained.safetensors"),
    *("--after", "checkpoints/tuned.safetensors"),
)
INIT = ("init", *FILES, "--source", "timm", "--name", "test_resnet")


@pytest.fixture
def repository(weights: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with two checkpoints of a network."""
    monkeypatch.chdir(project.path)
    folder = project.path / "checkpoints"
    folder.mkdir()
    shutil.copy(weights / "before.safetensors", folder / "pretrained.safetensors")
    shutil.copy(weights / "after.safetensors", folder / "tuned.safetensors")
    return project


def test_two_checkpoints_are_measured_gated_by_a_control_and_get_limits(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside untrained networks of the same architecture, and from the embeddings of the gate."""
    assert main(INIT) == 0
    assert main(["check", SPEC]) == 0
    repository.gate()
    rows = {(row["model"], row["test"]): row for row in repository.report()["results"]}
    assert len(rows) == 6
    for (model, test), row in rows.items():
        assert row["effect_size"] is not None
        assert row["limits"] == ({"min_effect": 0.5} if test == "square-ground" else {})
        assert (row["growth"] is None) is (model == "before")
        assert (row["n_x"], row["n_b"]) == (20, 20)
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
    assert main(["check", SPEC]) == 0
    repository.gate()
    results = repository.report()["results"]
    assert {row["test"]: row["limits"] for row in results}["shape-ground"]
    for row in results:
        if row["model"] == "before":
            assert abs(row["effect_judged"]) <= row["limits"].get("max_effect", 2)


def test_an_architecture_that_nobody_knows_is_refused_and_never_passes(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*INIT[:-1], "nobodys_net"]) == 1
    assert "nobodys_net" in "".join(capsys.readouterr())
    assert repository.gate().ret != 0


def test_without_a_checkpoint_nothing_passes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    assert main(["init"]) == 1
    assert project.gate().ret == 5


def test_what_is_there_already_still_runs(repository: Project) -> None:
    """The configuration that is written changes nothing for the tests of the repository."""
    (repository.path / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    Image.new("RGB", (4, 4)).save(repository.path / "picture.png")
    assert main([*INIT, "--ci", "github"]) == 0
    repository.run().assert_outcomes(passed=1)
