"""The example of a model repository, copied, trained and gated as its README says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "model_repo"
GATE = ("-m", "pytest", "-p", "no:hypothesispytest", "--visualbias", "--visualbias-strict")
pytestmark = [pytest.mark.slow, pytest.mark.torch]


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What the gate said of a copy of the repository."""

    exit_status: int
    shown: str
    rows: dict[str, dict[str, Any]]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy of the repository, which is not on a CI."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "VISUALBIAS_CACHE"):
        environment.pop(name, None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def gate(folder: Path, *arguments: str) -> Gated:
    """Run the gate in a copy of the repository."""
    done = python(folder, *GATE, "--visualbias-json=reports/bias.json", *arguments)
    rows = json.loads((folder / "reports" / "bias.json").read_text("utf-8"))["results"]
    return Gated(
        exit_status=done.returncode,
        shown=done.stdout + done.stderr,
        rows={row["test"]: row for row in rows},
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, with the checkpoints of an independent finetuning."""
    folder = tmp_path_factory.mktemp("user") / "repository"
    made = shutil.ignore_patterns("__pycache__", "checkpoints", "reports", ".*cache*")
    shutil.copytree(EXAMPLE, folder, ignore=made)
    done = python(folder, "-m", "shapes.training")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(repository: Path, tmp_path: Path) -> Path:
    """Another copy, for a test that breaks something."""
    return Path(shutil.copytree(repository, tmp_path / "copied"))


def test_the_independent_finetuning_passes_with_the_repository_s_own_tests(
    repository: Path,
) -> None:
    gated = gate(repository)
    assert gated.exit_status == 0, gated.shown
    assert {name: row["outcome"] for name, row in gated.rows.items()} == {
        "shape-ground": "pass",
        "square-ground": "pass",
    }
    assert "tests/test_network.py" in gated.shown


def test_growth_is_measured_from_the_committed_record(repository: Path) -> None:
    """Of the checkpoint before itself the growth is small, so the record is of this training."""
    before = repository / "checkpoints" / "before.safetensors"
    gated = gate(repository, f"--visualbias-after={before}")
    growth = gated.rows["shape-ground"]["growth"]
    assert growth["from"] == "baseline"
    assert abs(growth["value"]) < 0.25


def test_the_correlated_finetuning_fails_by_effect_and_growth(copied: Path) -> None:
    done = python(copied, "-m", "shapes.training", "--agreement", "0.95")
    assert done.returncode == 0, done.stderr
    gated = gate(copied)
    assert gated.exit_status == 1
    assert gated.rows["square-ground"]["outcome"] == "pass"
    reasons = gated.rows["shape-ground"]["reasons"]
    assert [reason.split()[0] for reason in reasons] == ["effect", "growth"]


def test_a_missing_checkpoint_is_no_pass(copied: Path) -> None:
    (copied / "checkpoints" / "after.safetensors").unlink()
    gated = gate(copied)
    assert gated.exit_status == 1
    assert {row["outcome"] for row in gated.rows.values()} == {"error"}


def test_a_changed_image_is_no_pass(copied: Path) -> None:
    images = copied / "stimuli" / "disc"
    (images / "00.png").write_bytes((copied / "stimuli" / "warm" / "01.png").read_bytes())
    gated = gate(copied, "-k", "shape-ground")
    assert gated.exit_status == 1
    assert gated.rows["shape-ground"]["reasons"][0].startswith("not_comparable")


def test_without_the_option_only_the_repository_s_own_tests_run(repository: Path) -> None:
    done = python(repository, "-m", "pytest", "-p", "no:hypothesispytest", "--collect-only", "-q")
    assert done.returncode == 0
    assert "16 tests collected" in done.stdout
    assert "bias.yaml" not in done.stdout


def test_the_committed_stimuli_are_what_the_script_draws(repository: Path, tmp_path: Path) -> None:
    """Pixels are compared: another release of Pillow may pack them otherwise."""
    from PIL import Image

    done = python(repository, "-m", "shapes.drawing", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    paths = sorted((repository / "stimuli").glob("*/*.png"))
    assert len(paths) == 96
    for path in paths:
        again = tmp_path / path.relative_to(repository / "stimuli")
        assert Image.open(path).tobytes() == Image.open(again).tobytes(), path


def test_the_workflow_runs_the_gate_and_keeps_reports_and_embeddings() -> None:
    text = (EXAMPLE / ".github" / "workflows" / "gate.yml").read_text("utf-8")
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    by_name = {step.get("name"): step for step in steps}
    assert "--visualbias --visualbias-strict" in by_name["Gate"]["run"]
    assert by_name["Restore embeddings"]["uses"].startswith("actions/cache@")
    assert by_name["Keep the reports"]["if"] == "always()"
