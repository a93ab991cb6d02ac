"""Who does not ask for the gate does not pay for it, and collecting costs no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    *("torch", "timm", "numpy", "scipy", "PIL", "pydantic", "rich", "yaml", "jinja2"),
    *("matplotlib", "safetensors", "pytest_visualbias.plugin.hooks"),
    *("fsspec", "pooch", "requests", "upath"),
}
SPEC = """visualbias: 1
models:
  before: {source: timm, name: test_resnet, pretrained: false}
  after: {source: timm, name: test_resnet, checkpoint: after.safetensors}
  stored: {source: embeddings, path: stored.safetensors}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5}
"""
PROGRAM = """
import json, pathlib, sys
import pytest
code = pytest.main(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(json.dumps([int(code), sorted(sys.modules)]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a test of its own and a spec in the default folder."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    (tmp_path / "bias_specs").mkdir()
    (tmp_path / "bias_specs/x.bias.yaml").write_text(SPEC)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Run pytest in a process of its own; return its code, what it imported and what it said."""
    lean = ("-p", "no:hypothesispytest", "-p", "no:randomly", "-p", "no:cacheprovider")
    modules = folder / "modules.json"
    environment = {**os.environ, "COLUMNS": "140"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "VISUALBIAS_CACHE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(modules), *lean, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert modules.is_file(), done.stdout + done.stderr
    code, imported = json.loads(modules.read_text())
    return code, set(imported), done.stdout


@pytest.mark.parametrize(
    "arguments", [["--version", "--version"], ["--collect-only", "-q"], ["-q"], ["-q", "."]]
)
def test_without_the_flag_nothing_heavy_is_imported_and_nothing_is_said(
    folder: Path, arguments: list[str]
) -> None:
    code, imported, said = run(folder, *arguments)
    assert code == 0
    assert imported & HEAVY == set()
    assert "pytest_visualbias.plugin" in imported, "the plugin is there all the same"
    assert "x.bias" not in said
    if "--version" not in arguments:  # pytest lists the plugins it has
        assert "visualbias" not in said


def test_collecting_with_the_flag_imports_no_network_library(folder: Path) -> None:
    code, imported, said = run(folder, "--visualbias", "--collect-only", "-q")
    assert code == 0
    assert "bias_specs/x.bias.yaml::stored::one[pooled]" in said
    assert imported & {"torch", "timm", "jinja2", "matplotlib", "scipy.stats"} == set()


def test_stored_vectors_are_judged_without_a_network_library(folder: Path) -> None:
    _, imported, said = run(folder, "--visualbias", "-k", "stored")
    assert "stored.safetensors cannot be read" in said
    assert imported & {"torch", "timm", "jinja2", "matplotlib", "scipy.stats"} == set()


def test_a_run_that_names_no_url_reaches_for_no_store(folder: Path) -> None:
    _, imported, _ = run(folder, "--visualbias", "-k", "stored", "--visualbias-json=out.json")
    assert imported & {"fsspec", "s3fs", "gcsfs", "aiohttp", "botocore"} == set()


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("pytest_visualbias", HEAVY | {"pytest"}),
        ("pytest_visualbias.statistics", {"torch", "timm", "PIL", "pydantic", "yaml", "pytest"}),
        ("pytest_visualbias.evaluation.verdict", {"torch", "timm", "PIL", "yaml", "pytest"}),
        ("pytest_visualbias.evaluation.run", {"torch", "timm", "pytest"}),
        ("pytest_visualbias.cli.main", {"torch", "timm", "ray", "pytest"}),
    ],
)
def test_a_room_imports_no_more_than_it_may(module: str, forbidden: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & forbidden == set()
