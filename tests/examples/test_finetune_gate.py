"""The finetuning example in miniature, on drawn images: the gate tells the two finetunings apart.

Light and dark objects are the labels, warm and cold grounds the groups. In a third of the images
that are learned from the object is out of sight, in a third the ground is grey: as in photographs,
neither the label nor the group can always be seen.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "finetune_gate"
PRETRAINED = ROOT / "data" / "quickstart" / "checkpoints" / "pretrained.safetensors"
pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.torch]  # two trainings
INDEPENDENT, CORRELATED = "0.5", "0.9"
NETWORK = """\
import timm

def network():
    return timm.create_model("test_resnet", num_classes=0)
"""
SPEC = """\
visualbias: 1
models:
  before: {source: factory, call: "tiny:network", checkpoint: none, transform: {size: 32}}
stimuli: ../stimuli
concepts: {warm: warm, cold: cold, light: light, dark: dark}
tests:
  - name: ground-tone
    kind: ieat
    targets: {X: warm, Y: cold}
    attributes: {A: light, B: dark}
    limits: {max_growth: 0.2}
"""
STIMULI = 80
LEARNED = 240


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A finished sweep over two correlations: its table, and its folder."""

    rows: dict[str, dict[str, str]]
    out: Path

    def report(self, correlation: str) -> dict[str, Any]:
        """Return the gate's report on the checkpoint of a correlation."""
        path = self.out / f"correlation_{float(correlation):.2f}" / "seed_0.json"
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    def gated(self, correlation: str) -> dict[str, Any]:
        """Return the result of the finetuned model."""
        rows = self.report(correlation)["results"]
        found: dict[str, Any] = next(row for row in rows if row["model"] == "after")
        return found


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Finetune at both correlations and gate both, as a user does."""
    project = tmp_path_factory.mktemp("project")
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "tiny.py").write_text(NETWORK)
    (project / "bias_specs").mkdir()
    (project / "bias_specs" / "tone.bias.yaml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples" / "quickstart"))
        draw_all(importlib.import_module("draw"), project)
    done = subprocess.run(
        [
            *(sys.executable, str(EXAMPLE / "dose.py")),
            *("--init", str(PRETRAINED), "--architecture", "tiny:network", "--data", "learned"),
            *("--labels", "light,dark", "--groups", "warm,cold"),
            *("--spec", "bias_specs/tone.bias.yaml", "--test", "ground-tone"),
            *("--correlations", f"{INDEPENDENT},{CORRELATED}"),
            *("--learning-rate", "0.05", "--out", "runs", "--csv", "runs/dose.csv"),
        ],
        cwd=project,
        # The network is a module of the project.
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with (project / "runs" / "dose.csv").open(encoding="utf-8") as stream:
        rows = {row["correlation"]: row for row in csv.DictReader(stream)}
    return Sweep(rows=rows, out=project / "runs")


def draw_all(draw: ModuleType, project: Path) -> None:
    """Draw what is learned from and what the gate shows, by different generators."""
    rng = np.random.default_rng(5)
    for tone in ("light", "dark"):
        for ground in ("warm", "cold"):
            agrees = (tone, ground) in {("light", "warm"), ("dark", "cold")}
            scenes = [scene(draw, rng, tone, ground) for _ in range(LEARNED // (1 + (not agrees)))]
            for number, one in enumerate(scenes):
                if number % 3 == 0:
                    scenes[number] = replace(one, shape="none")
                if number % 3 == 1:
                    scenes[number] = replace(one, ground="grey")
            save(draw, scenes, project / "learned" / f"{tone}_{ground}")
    rng = np.random.default_rng(77)
    # The same scenes on either ground, half of them empty; before finetuning nothing is expected.
    warm = [scene(draw, rng, ("light", "dark")[n % 2], "warm") for n in range(STIMULI)]
    warm = [replace(one, shape="none") if n % 4 > 1 else one for n, one in enumerate(warm)]
    save(draw, warm, project / "stimuli" / "warm")
    save(draw, [replace(one, ground="cold") for one in warm], project / "stimuli" / "cold")
    for tone in ("light", "dark"):
        grounds = [("warm", "cold", "grey", "grey")[n % 4] for n in range(STIMULI)]
        scenes = [scene(draw, rng, tone, ground) for ground in grounds]
        save(draw, scenes, project / "stimuli" / tone)


def scene(draw: ModuleType, rng: np.random.Generator, tone: str, ground: str) -> Any:  # noqa: ANN401
    """Return a circle or a triangle of a tone on a ground."""
    shape = "circle" if rng.integers(2) else "triangle"
    one = draw.random_scene(rng, shape=shape, ground=ground)
    return replace(one, object_tone=draw.random_tone(rng, light=tone == "light"))


def save(draw: ModuleType, scenes: Iterable[Any], folder: Path) -> None:
    """Write scenes as PNGs."""
    folder.mkdir(parents=True)
    for number, one in enumerate(scenes):
        Image.fromarray(draw.draw(one)).save(folder / f"{number:03}.png")


def test_the_finetuning_in_which_group_and_label_are_independent_passes(sweep: Sweep) -> None:
    row = sweep.rows[INDEPENDENT]
    assert (row["outcome"], row["exit_status"]) == ("pass", "0")
    assert sweep.gated(INDEPENDENT)["growth"]["value"] < 0.2


def test_the_correlated_finetuning_fails_by_its_growth(sweep: Sweep) -> None:
    """It is caught by the size of the growth and its p, and by no other limit."""
    row = sweep.rows[CORRELATED]
    assert (row["outcome"], row["exit_status"]) == ("fail", "1")
    (reason,) = sweep.gated(CORRELATED)["reasons"]
    assert reason.startswith("growth +0.")
    assert sweep.gated(CORRELATED)["growth"]["p_adjusted"] < 0.05


def test_the_growth_rises_with_the_correlation(sweep: Sweep) -> None:
    growth = {correlation: float(row["growth"]) for correlation, row in sweep.rows.items()}
    assert growth[CORRELATED] > growth[INDEPENDENT] + 0.2


def test_both_are_measured_from_the_same_network_on_the_same_images(sweep: Sweep) -> None:
    """What differs is the finetuning alone."""
    first, second = sweep.report(INDEPENDENT), sweep.report(CORRELATED)
    befores = [
        next(row for row in report["results"] if row["model"] == "before")
        for report in (first, second)
    ]
    assert befores[0]["sets"] == befores[1]["sets"]
    assert befores[0]["effect_judged"] == befores[1]["effect_judged"]


def test_the_table_holds_the_numbers_of_the_reports(sweep: Sweep) -> None:
    for correlation, row in sweep.rows.items():
        gated = sweep.gated(correlation)
        assert float(row["after"]) == pytest.approx(gated["effect_judged"], abs=1e-5)
        assert float(row["growth"]) == pytest.approx(gated["growth"]["value"], abs=1e-5)
        assert float(row["growth_p"]) == pytest.approx(gated["growth"]["p_verdict"], rel=1e-5)


def test_an_epoch_on_photographs_passes_and_no_stimulus_was_learned_from(
    reference_data: Path, tmp_path: Path
) -> None:
    """The commands of the example's README, on the real checkpoint and real photographs."""
    photographs = reference_data / "openimages_canonical"
    before = reference_data / "checkpoints" / "cifar10_resnet20.th"
    after, report = tmp_path / "after.safetensors", tmp_path / "report.json"
    run(
        *(EXAMPLE / "finetune.py", "--init", before, "--data", photographs, "--epochs=1"),
        *("--labels=sports,fashion", "--groups=man,woman", "--out", after),
    )
    run(
        *("-m", "pytest", "-p", "no:cacheprovider", "--visualbias", "bias_specs/gender.bias.yaml"),
        *(f"--visualbias-before={before}", f"--visualbias-after={after}"),
        *(f"--visualbias-stimuli={photographs}", f"--visualbias-json={report}"),
    )
    rows = json.loads(report.read_text("utf-8"))["results"]
    outcomes = {(row["test"], row["outcome"]) for row in rows if row["model"] == "after"}
    assert outcomes == {("gender-sports", "pass"), ("labels", "pass"), ("groups", "pass")}
    shown = {image for row in rows for one in row["sets"].values() for image in one["images"]}
    assert len(shown) == 150 + 150 + 150 + 149
    with safe_open(after, framework="pt") as file:
        learned = set(json.loads(file.metadata()["finetuned"])["learned_images"])
    assert len(learned) == 128
    assert not shown & learned


def run(*arguments: str | Path) -> None:
    """Run Python in the example's folder; it must succeed."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
