"""The quickstart's checkpoints are what its training script makes, up to chance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SPEC = "bias_specs/quickstart.bias.yaml"


def gate(report: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run the gate on the quickstart spec and return its results."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("--visualbias", SPEC, f"--visualbias-json={report}", "--visualbias-no-cache"),
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
    )
    results: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["results"]
    return results


@pytest.mark.slow
def test_training_anew_reproduces_the_growth(tmp_path: Path) -> None:
    """Less training of the same kind, done here and now, grows the effect over its limits."""
    script = ROOT / "examples" / "quickstart" / "train.py"
    command = [sys.executable, str(script), "--quick", "--out", str(tmp_path)]
    subprocess.run(command, check=True)
    trained = tmp_path / "checkpoints"
    rows = gate(
        tmp_path / "report.json",
        f"--visualbias-before={trained / 'pretrained.safetensors'}",
        f"--visualbias-model=biased={trained / 'finetuned_biased.safetensors'}",
        "-k",
        "biased",
    )
    row = next(row for row in rows if row["test"] == "shape-ground")
    assert row["outcome"] == "fail"
    assert row["effect_judged"] > row["limits"]["max_effect"]
    assert row["growth"]["value"] > row["limits"]["max_growth"]


def test_the_checkpoints_that_ship_are_small() -> None:
    """All three together stay under 4 MB, so that a clone is quick."""
    paths = list((ROOT / "data" / "quickstart" / "checkpoints").glob("*.safetensors"))
    assert len(paths) == 3
    assert sum(path.stat().st_size for path in paths) < 4e6
