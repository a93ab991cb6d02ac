"""The sweep over models and layers ends in the figures and the numbers that its README shows."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "research_sweep"
LAYERS = ("layer1", "layer2", "layer3", "layer4")
MODELS = ("before", "independent", "correlated", "untrained")
pytestmark = [pytest.mark.slow, pytest.mark.torch]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A finished sweep."""

    out: Path
    shown: str

    def effect(self, model: str, test: str, layer: str) -> float:
        rows = json.loads((self.out / "reports" / f"{model}.json").read_text("utf-8"))["results"]
        row = next(row for row in rows if (row["test"], row["layer"]) == (test, layer))
        return float(row["effect_judged"])

    def accuracies(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = json.loads((self.out / "accuracy.json").read_text("utf-8"))["accuracies"]
        return {(one["model"], one["layer"]): one for one in found}


def sweep(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        environment.pop(name, None)
    environment["VISUALBIAS_CACHE"] = str(out / "cache")
    command = [sys.executable, str(folder / "sweep.py"), "--out", str(out)]
    return subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Run the example once."""
    for name in ("matplotlib", "sklearn"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("sweep")
    done = sweep(EXAMPLE, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return Swept(out=out, shown=done.stdout)


def test_every_kind_of_figure_is_drawn(swept: Swept) -> None:
    names = {path.name for path in (swept.out / "figures").glob("*.svg")}
    by_layer = ("forest", "before-after", "bias-counts", "transfer", "accuracy")
    wanted = {f"{kind}-sweep-{layer}.svg" for kind in by_layer for layer in LAYERS}
    assert names == wanted | {"layers-sweep.svg", "bias-map-sweep.svg", "labels-training.svg"}


def test_what_was_taught_shows_in_the_last_layer_of_one_network_only(swept: Swept) -> None:
    for test in ("shape-ground", "shape-square"):
        effects = {
            (model, layer): swept.effect(model, test, layer) for model in MODELS for layer in LAYERS
        }
        assert effects.pop(("correlated", "layer4")) > 1
        assert max(abs(effect) for effect in effects.values()) < 0.87


def test_the_figure_of_the_layers_has_a_panel_for_every_test_and_a_line_for_every_network(
    swept: Swept,
) -> None:
    text = (swept.out / "figures" / "layers-sweep.svg").read_text("utf-8")
    tests = {"shape-ground", "shape-size", "size-ground", "shape-square", "size-square"}
    shown = {*re.findall(r"<!-- (.*?) -->", text)}  # letters are drawn, words are comments
    assert {*tests, "square-ground", *MODELS, *LAYERS} <= shown


def test_both_finetunings_know_the_shapes(swept: Swept) -> None:
    found = swept.accuracies()
    assert {model for model, _ in found} == {"before", "independent", "correlated"}
    for model in ("independent", "correlated"):
        assert found[model, "layer4"]["ci_low"] > 0.85
    assert found["before", "layer4"]["accuracy"] < 0.85


def test_the_readme_shows_the_numbers_of_the_sweep(swept: Swept) -> None:
    text = (EXAMPLE / "README.md").read_text("utf-8").replace("−", "-")
    found = swept.accuracies()
    for model in ("before", "independent", "correlated"):
        one = found[model, "layer4"]
        share = "{accuracy:.0%} ({ci_low:.0%} to {ci_high:.0%})".format(**one).replace("%", " %")
        share = share.replace(" % to", " to")
        effect = swept.effect(model, "shape-ground", "layer4")
        assert f"| `{model}` | {share} | {effect:.2f} |" in text


def test_what_was_measured_is_not_measured_again(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run draws the figures from what is there, and starts nothing else."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "sweep", raising=False)
    again = importlib.import_module("sweep")
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(again, "run", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(again.pytest, "main", lambda arguments: pytest.fail(str(arguments)))
    again.main(["--out", str(swept.out)])
    assert "passed" in swept.shown
    reports = [str(swept.out / "reports" / f"{model}.json") for model in MODELS]
    drawn = (f"--plots={swept.out / 'figures'}", f"--accuracy={swept.out / 'accuracy.json'}")
    assert started == [("-m", "pytest_visualbias", "report", *reports, *drawn)]


def test_a_model_that_cannot_be_measured_ends_the_sweep(tmp_path: Path) -> None:
    """No figure may leave a model out in silence."""
    folder = tmp_path / "examples" / "research_sweep"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".*cache*", "__pycache__"))
    done = sweep(folder, tmp_path)
    assert done.returncode == 1
    assert "before: " in done.stderr
    assert not (tmp_path / "figures").exists()
