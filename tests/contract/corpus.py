"""Numbers and verdicts of a few gates, recorded: a change of the code must not move them.

``python tests/contract/corpus.py`` records them again after a change that is meant. With
``--output FILE`` it writes them elsewhere, and ``PYTHONPATH`` chooses another version of the
package to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("corpus.json")
BASELINE = Path(__file__).with_name("baseline.json")
REFERENCE = Path(os.environ.get("VISUALBIAS_REFERENCE_DATA", ROOT.parent / "shared" / "data"))

CI = ("CI", "BUILD_NUMBER", "TF_BUILD")  # a baseline is not recorded on a CI machine

# What the spec states, and numbers of single images.
LEFT_OUT = frozenset({"alpha", "basis", "limits", "line", "scores", "sets"})
VERDICT_WORDS = frozenset({"kind", "outcome", "p_method", "p_verdict_method"})
PRIME = 1009
DIMENSIONS, IMAGES = 8, 10

KINDS = """
visualbias: 1
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors, growth_from: before}
concepts: {x: x, y: y, a: a, b: b, flower: flower, insect: insect}
tests:
  - {name: ieat, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5, max_growth: 0.2, max_shift: 0.2}}
  - {name: point, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5, max_growth: 0.2}, evidence: point}
  - {name: interval, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5, max_growth: 0.2}, evidence: interval}
  - {name: equivalence, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5}, evidence: equivalence}
  - {name: greater, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5}, alternative: greater, sides: targets}
  - {name: control, kind: ieat, targets: {X: flower, Y: insect}, attributes: {A: a, B: b},
     control: positive, limits: {min_effect: 0.5}}
  - {name: sc-eat, kind: sc-eat, targets: {X: x}, attributes: {A: a, B: b},
     limits: {max_effect: 0.3, max_growth: 0.2}}
  - {name: similarity-gap, kind: similarity-gap, targets: {X: x, Y: y}, attributes: {A: a},
     limits: {max_gap: 0.05, max_growth: 0.2}}
  - {name: intra-similarity, kind: intra-similarity, targets: {X: x}, evidence: interval,
     limits: {max_shift: 0.1}}
"""
OUTCOMES = """
visualbias: 1
models:
  before: {source: embeddings, path: logits_before.safetensors}
  after: {source: embeddings, path: logits_after.safetensors}
concepts: {women: women, men: men}
tests:
  - {name: share, kind: outcome-gap, targets: {X: women, Y: men},
     prediction: {class: 1, rate: share}, limits: {max_gap: 0.05, max_growth: 0.02}}
  - {name: score, kind: outcome-gap, targets: {X: women, Y: men},
     prediction: {class: 1, rate: score}, limits: {max_gap: 0.05, max_growth: 0.02}}
"""
RECORD = """
visualbias: 1
models:
  network: {source: embeddings, path: NAME.safetensors}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - {name: effect, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b},
     limits: {max_effect: 0.5, max_growth: 0.2}}
  - {name: gap, kind: similarity-gap, targets: {X: x, Y: y}, attributes: {A: a},
     limits: {max_growth: 0.1}}
"""
SERIES = """
visualbias: 1
models:
  before: {source: timm, name: test_resnet, transform: {size: 64, crop: 1.0},
           checkpoint: CHECKPOINTS/pretrained.safetensors}
  after: {source: timm, name: test_resnet, transform: {size: 64, crop: 1.0},
          checkpoints: run/step_*.safetensors, series: step, gate: all}
stimuli: STIMULI
concepts: {circle: circle, triangle: triangle, warm: warm, cold: cold}
tests:
  - {name: shape-ground, kind: ieat, targets: {X: circle, Y: triangle},
     attributes: {A: warm, B: cold}, limits: {max_effect: 0.8, max_growth: 0.5}}
"""
IEAT = """
visualbias: 1
models:
  random: {source: embeddings, path: VECTORS, prefix: random/}
  igpt: {source: embeddings, path: VECTORS, prefix: igpt_l_32/, growth_from: random}
  logit: {source: embeddings, path: VECTORS, prefix: igpt-logit_l_32/, growth_from: random}
suite: {name: ieat, limits: {max_effect: 0.5, max_growth: 0.2}}
"""


def rows(seed: int, count: int, columns: int) -> np.ndarray:
    """Return values ``(count, columns)`` in -0.5 to 0.5, the same bits on every machine."""
    row, column = np.indices((count, columns))
    mixed = (row * 131 + column * 37 + seed * 211 + 17) ** 3 % PRIME
    return (mixed / PRIME - 0.5).astype(np.float32)


def vectors(bias: float) -> dict[str, np.ndarray]:
    """Return sets of vectors: x and y differ by `bias` along the axis of a and b."""
    along = np.eye(DIMENSIONS, dtype=np.float32)[0]
    shifts = {"x": bias, "y": -bias, "a": 1.0, "b": -1.0, "flower": 0.5, "insect": -0.5}
    return {
        name: rows(seed, IMAGES, DIMENSIONS) + np.float32(shift) * along
        for seed, (name, shift) in enumerate(shifts.items())
    }


def logits(bias: float) -> dict[str, np.ndarray]:
    """Return logits of three classes; the second is given to women more often by `bias`."""
    favoured = np.eye(3, dtype=np.float32)[1] * np.float32(bias)
    return {"women": rows(7, 30, 3) + favoured, "men": rows(8, 30, 3)}


def store(folder: Path, name: str, sets: dict[str, np.ndarray]) -> None:
    """Write sets of vectors with a name for each row."""
    names = {key: [f"{row:03}.png" for row in range(len(value))] for key, value in sets.items()}
    metadata = {"names": json.dumps(names)}
    safetensors.numpy.save_file(sets, folder / f"{name}.safetensors", metadata=metadata)


def kinds(folder: Path) -> dict[str, Any]:
    """Return the verdicts of all kinds of tests on small vectors."""
    for name, bias in (("before", 0.05), ("after", 0.4)):
        store(folder, name, vectors(bias))
        store(folder, f"logits_{name}", logits(3 * bias))
    (folder / "kinds.bias.yaml").write_text(KINDS, encoding="utf-8")
    (folder / "outcomes.bias.yaml").write_text(OUTCOMES, encoding="utf-8")
    return gate(folder, "kinds.bias.yaml", "outcomes.bias.yaml")


def baseline(folder: Path) -> dict[str, Any]:
    """Return the verdicts of a network without and of one with growth since the baseline."""
    verdicts = {}
    for name, bias in (("same", 0.05), ("grown", 0.4)):
        store(folder, name, vectors(bias))
        spec = folder / "record.bias.yaml"
        spec.write_text(RECORD.replace("NAME", name), encoding="utf-8")
        target = folder / "__visualbias__" / "record.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(BASELINE.read_text(encoding="utf-8"), encoding="utf-8")
        verdicts[name] = gate(folder, spec.name)
    return verdicts


def recorded_baseline(folder: Path) -> dict[str, Any]:
    """Return the baseline file that today's code records."""
    store(folder, "same", vectors(0.05))
    spec = folder / "record.bias.yaml"
    spec.write_text(RECORD.replace("NAME", "same"), encoding="utf-8")
    gate(folder, spec.name, "--visualbias-update")
    written: dict[str, Any] = json.loads(
        (folder / "__visualbias__" / "record.json").read_text(encoding="utf-8")
    )
    return written


def quickstart(folder: Path) -> dict[str, Any]:
    """Return the verdicts of the quickstart, and of its checkpoints as a series."""
    data = ROOT / "data" / "quickstart"
    (folder / "run").mkdir()
    for step, name in enumerate(("balanced", "biased")):
        target = folder / "run" / f"step_{step}.safetensors"
        target.write_bytes((data / "checkpoints" / f"finetuned_{name}.safetensors").read_bytes())
    text = SERIES.replace("CHECKPOINTS", str(data / "checkpoints"))
    series = folder / "series.bias.yaml"
    series.write_text(text.replace("STIMULI", str(data / "stimuli")), encoding="utf-8")
    return gate(folder, str(ROOT / "bias_specs" / "quickstart.bias.yaml"), series.name)


def ieat(folder: Path) -> dict[str, Any]:
    """Return the verdicts of the 39 tests of iEAT on the published vectors of three models."""
    text = IEAT.replace("VECTORS", str(REFERENCE / "ieat" / "embeddings.safetensors"))
    (folder / "ieat.bias.yaml").write_text(text, encoding="utf-8")
    return gate(folder, "ieat.bias.yaml")


# What runs a network here differs between processors in the last digits of single precision.
PROJECTS = {"kinds": kinds, "baseline": baseline, "ieat": ieat, "quickstart": quickstart}
TOLERANCES = {"quickstart": 0.05}
TOLERANCE = 1e-12


def gate(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the gate in a process of its own; return its exit code and the verdict of each item."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "--visualbias", *arguments]
    options = [f"--visualbias-json={report}", "--visualbias-no-cache", "-q"]
    environment = {name: value for name, value in os.environ.items() if name not in CI}
    done = subprocess.run(
        [*command, *options, "-p", "no:cacheprovider", f"--rootdir={folder}"],
        cwd=folder,
        # With another number of threads, sums differ in their last digits.
        env=environment | {"OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    if not report.exists():
        raise RuntimeError(done.stdout + done.stderr)
    results = json.loads(report.read_text(encoding="utf-8"))["results"]
    items = {
        f"{Path(result['spec']).name}::{result['nodeid'].split('::', 1)[1]}": numbers(result)
        for result in results
    }
    return {"exit code": done.returncode, **items}


def numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the numbers of a record and the words of its verdict, without names and sentences."""
    if isinstance(value, list):
        return [item for item in map(numbers, value) if item not in (None, {})]
    if not isinstance(value, dict):
        return None if isinstance(value, str) else value
    kept = {
        key: item if key in VERDICT_WORDS else numbers(item)
        for key, item in value.items()
        if key not in LEFT_OUT
    }
    return {key: item for key, item in kept.items() if item not in (None, {}, [])}


def verdicts(project: str) -> dict[str, Any]:
    """Return what the gate says of a project, made in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return PROJECTS[project](Path(folder).resolve())


def as_json(projects: dict[str, Any]) -> str:
    """Return the text of the recorded file, an item a line."""
    parts = [f' "{name}": {_items(project)}' for name, project in projects.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _items(project: dict[str, Any]) -> str:
    lines = [f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in project.items()]
    return "{\n" + ",\n".join(lines) + "\n }"


def main() -> None:
    """Record what the gate says today."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORDED)
    output = parser.parse_args().output
    if output == RECORDED:
        with tempfile.TemporaryDirectory() as folder:
            written = recorded_baseline(Path(folder).resolve())
        BASELINE.write_text(json.dumps(written) + "\n", encoding="utf-8")
    output.write_text(as_json({name: verdicts(name) for name in PROJECTS}), encoding="utf-8")


if __name__ == "__main__":
    main()
