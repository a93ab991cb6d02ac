"""Tests of iEAT from image files to verdicts, with real networks, in a real pytest run."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image

if TYPE_CHECKING:
    from tests.reference.conftest import Gate

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture"
CIFAR = """
  after:
    source: factory
    call: cifar_resnet:resnet20
    checkpoint: {data}/checkpoints/cifar10_resnet20.th
    ignore: [linear.]
    transform: {{size: 32, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
"""
RESNET50 = """
  untrained: {{source: timm, name: resnet50, pretrained: false}}
"""
WEAPON = {"X": "weapon/white", "Y": "weapon/black", "A": "weapon/tool", "B": "weapon/weapon"}
# Of the 53 sets that the tests use: 4 images are counted twice or more by design.
DISTINCT = 654


def spec_text(data: Path, models: str, *names: str) -> str:
    """Return a spec of published tests, all 39 or those named, for some models, reported only."""
    with (data / "ieat" / "published.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] == "igpt_l_32"]
    rows = [row for row in rows if row["test"] in names or not names]
    concepts = sorted({row[role] for row in rows for role in "XYAB"})
    tests = [
        {
            "name": row["test"],
            "kind": "ieat",
            "targets": {"X": row["X"], "Y": row["Y"]},
            "attributes": {"A": row["A"], "B": row["B"]},
        }
        for row in rows
    ]
    return "\n".join(
        [
            "visualbias: 1",
            f"models: {models.format(data=data)}",
            f"stimuli: {data / 'ieat' / 'stimuli'}",
            f"concepts: {json.dumps({concept: concept for concept in concepts})}",
            f"tests: {json.dumps(tests)}",  # JSON is YAML
        ]
    )


def effect_by_hand(vectors: dict[str, np.ndarray]) -> float:
    """Return d of one test by its definition, one pair of images at a time."""

    def cosine(v: np.ndarray, w: np.ndarray) -> float:
        return float(v @ w / np.sqrt((v @ v) * (w @ w)))

    def association(w: np.ndarray) -> float:
        near = [cosine(w, a) for a in vectors["A"]]
        far = [cosine(w, b) for b in vectors["B"]]
        return sum(near) / len(near) - sum(far) / len(far)

    x = [association(w) for w in vectors["X"]]
    y = [association(w) for w in vectors["Y"]]
    return float((np.mean(x) - np.mean(y)) / np.std([*x, *y], ddof=1))


def images(data: Path, concept: str) -> list[Image.Image]:
    """Return the images of a concept; they are all RGB and need no rotation."""
    paths = sorted((data / "ieat" / "stimuli" / concept).iterdir())
    return [Image.open(path).convert("RGB") for path in paths]


def weapon(report: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one test."""
    row: dict[str, Any] = next(one for one in report["results"] if one["test"] == "Weapon")
    return row


def test_a_trained_network_of_the_users_own_gives_the_effect_computed_by_hand(
    gate: Gate,
    pytester: pytest.Pytester,
    reference_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All 39 tests run on a real checkpoint, and one of them equals a plain computation."""
    pytester.copy_example(str(EXAMPLE / "cifar_resnet.py"))
    report = gate(spec_text(reference_data, CIFAR), passed=39)
    assert len(report["results"]) == 39
    used = {
        image for row in report["results"] for s in row["sets"].values() for image in s["images"]
    }
    assert len(used) == DISTINCT

    monkeypatch.syspath_prepend(str(EXAMPLE))
    network = importlib.import_module("cifar_resnet").resnet20()
    path = reference_data / "checkpoints" / "cifar10_resnet20.th"
    stored = torch.load(path, weights_only=True, map_location="cpu")
    weights = {name.removeprefix("module."): value for name, value in stored["state_dict"].items()}
    assert network.load_state_dict(weights, strict=False).missing_keys == []
    network.eval()

    def vector(image: Image.Image) -> np.ndarray:
        side = min(image.size)
        width, height = (int(32 * length / side) for length in image.size)
        small = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - 32) / 2), round((height - 32) / 2)
        pixels = np.asarray(small.crop((left, top, left + 32, top + 32)), dtype=np.float64) / 255
        scaled = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.inference_mode():
            batch = torch.tensor(scaled.transpose(2, 0, 1)[None], dtype=torch.float32)
            features: np.ndarray = network(batch)[0].double().numpy()
        return features

    vectors = {
        role: np.stack([vector(image) for image in images(reference_data, concept)])
        for role, concept in WEAPON.items()
    }
    assert weapon(report)["effect_size"] == pytest.approx(effect_by_hand(vectors), abs=1e-4)


def test_an_untrained_timm_network_gives_the_effect_computed_by_hand(
    gate: Gate, reference_data: Path
) -> None:
    """On a ResNet-50 at 224 pixels, reported as a random control.

    All 39 tests run on one in `test_sb_ssl.py`; here those of few images are enough.
    """
    report = gate(spec_text(reference_data, RESNET50, "Weapon", "Weapon (Modern)"), passed=2)
    assert {row["role"] for row in report["results"]} == {"random"}
    torch.manual_seed(0)
    network: Any = timm.create_model("resnet50", pretrained=False, num_classes=1000).eval()
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)

    def vector(image: Image.Image) -> np.ndarray:
        with torch.inference_mode():
            features = network.forward_features(transform(image)[None])
            pooled: np.ndarray = network.global_pool(features)[0].double().numpy()
        return pooled

    vectors = {
        role: np.stack([vector(image) for image in images(reference_data, concept)])
        for role, concept in WEAPON.items()
    }
    assert weapon(report)["effect_size"] == pytest.approx(effect_by_hand(vectors), abs=1e-3)
