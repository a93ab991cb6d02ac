"""Measure every model of the spec at every layer, probe its accuracy, and draw the figures.

    python sweep.py

A model whose report is there is not measured again: remove `reports/MODEL.json` to do it anew.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
# Relative, as in the reports: by this name an accuracy finds the effects of its model.
SPEC = "bias_specs/sweep.bias.yaml"
DRAW = HERE.parent / "quickstart" / "draw.py"
MODELS = ("before", "independent", "correlated", "untrained")
# Scenes that no bias test shows and no network has learned from: other seeds of the same drawings.
PROBED_SEEDS = (11, 12, 13)
PROBED_MODELS = ("before", "independent", "correlated")
PROBED_CLASSES = ("circle", "triangle")


def measure(model: str, report: Path) -> None:
    """Run the items of one model; whatever is not measured well ends the sweep."""
    if report.exists():
        return
    written = report.with_suffix(".part.json")
    status = pytest.main(
        [
            *("-q", f"--rootdir={HERE}", "--visualbias", f"{HERE / SPEC}::{model}"),
            f"--visualbias-json={written}",
        ]
    )
    if status != pytest.ExitCode.OK:
        sys.exit(f"{model}: pytest exited with {int(status)}; its sentences above say why")
    written.rename(report)


def draw_labelled(folder: Path) -> None:
    """Draw the images of the probe, a folder for each class."""
    for seed in PROBED_SEEDS:
        with tempfile.TemporaryDirectory() as drawn:
            run(str(DRAW), "--out", drawn, "--seed", str(seed))
            for name in PROBED_CLASSES:
                (folder / name).mkdir(parents=True, exist_ok=True)
                for path in Path(drawn, "stimuli", name).iterdir():
                    shutil.copyfile(path, folder / name / f"{seed}_{path.name}")


def run(*arguments: str) -> None:
    """Run Python; where it fails, so does the sweep."""
    done = subprocess.run([sys.executable, *arguments], cwd=HERE, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, probe, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="where everything is written")
    out = parser.parse_args(argv).out.resolve()
    (out / "reports").mkdir(parents=True, exist_ok=True)
    reports = [out / "reports" / f"{model}.json" for model in MODELS]
    for model, report in zip(MODELS, reports, strict=True):
        measure(model, report)
    accuracy, labelled = out / "accuracy.json", out / "labelled"
    if not accuracy.exists():
        draw_labelled(labelled)
        models = (f"--model={model}" for model in PROBED_MODELS)
        probed = ("probe", SPEC, *models, "--folds=3", f"--data={labelled}", f"--json={accuracy}")
        run("-m", "pytest_visualbias", *probed)
    drawn = (f"--plots={out / 'figures'}", f"--accuracy={accuracy}")
    run("-m", "pytest_visualbias", "report", *map(str, reports), *drawn)


if __name__ == "__main__":
    main()
