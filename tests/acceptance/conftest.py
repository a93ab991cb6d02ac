"""Gates as users run them: a repository in a temporary folder, with or without workers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx  # noqa: F401 - see below
import onnxruntime  # noqa: F401
import pytest

# Pytester forgets what a run inside this process imported, and torch does not bear a second import.
import timm  # noqa: F401
import torch  # noqa: F401

from tests.plugin.conftest import (  # the fixtures are used below their names
    Project,
    networks,
    one_test,
    project,
    sentences,
    weights,
)

__all__ = ["Gate", "gate", "networks", "pixels", "project", "serial", "weights"]

# What is loaded is named: each worker would import the whole of hypothesis otherwise.
PLUGINS = ("-p", "xdist.plugin", "-p", "pytest_visualbias.plugin")
HERE = Path(__file__).parent
PIXELS = """
  before: {source: pixels, checkpoint: ../before.txt}
  after: {source: pixels, checkpoint: ../after.txt}
"""
ENTRY = "[pytest_visualbias.sources]\npixels = pixels:source\n"
INSTALLED = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what loads torch, and what starts workers."""
    for item in items:
        if item.path.parent != HERE:
            continue
        names = getattr(item, "fixturenames", ())
        if "weights" in names:
            item.add_marker(pytest.mark.torch)
        if "gate" in names and "two workers" in item.name:
            item.add_marker(pytest.mark.slow)


@dataclass
class Gate:
    """The gate of a project, in this process or with two workers."""

    project: Project
    workers: int

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest."""
        spread = ("-n", "2") if self.workers else ()
        return self.project.pytester.runpytest_inprocess(*PLUGINS, *spread, *arguments)

    def __call__(self, *arguments: str) -> pytest.RunResult:
        """Run the gate, with a report in ``out.json``."""
        return self.run("--visualbias", "--visualbias-json=out.json", *arguments)

    def says(self, code: int, *said: str, given: tuple[str, ...] = ()) -> str:
        """Run the gate, and make sure of its exit code and of what it says, without a traceback."""
        result = self(*given)
        text = sentences(result)
        assert result.ret == code, text
        for sentence in said:
            assert sentence in text
        return text


@pytest.fixture(params=[0, 2], ids=["serial", "two workers"])
def gate(request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate of the project, once in one process and once with two workers of xdist."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Gate(project=project, workers=request.param)


@pytest.fixture
def serial(project: Project, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate of the project in one process, where workers would add nothing."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Gate(project=project, workers=0)


@pytest.fixture
def pixels(project: Project) -> Project:
    """A project with drawn images and two models of another package, which need no torch."""
    shutil.copy(HERE / "pixels.py", project.path)
    installed = project.path / "pixels-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: pixels\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRY)
    (project.path / "conftest.py").write_text(INSTALLED)
    (project.path / "before.txt").write_text("1 " * 16)
    (project.path / "after.txt").write_text("1 " * 8 + "0.5 " * 8)
    project.drawn()
    project.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=PIXELS,
        concepts="{x: x, y: y, a: a, b: b}",
    )
    return project
