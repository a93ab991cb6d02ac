"""A small project of images and untrained networks, and one run of its spec in this process."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from pytest_visualbias.embeddings import extraction
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import evict_to_limit
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings
from pytest_visualbias.spec.effective_settings import layer_points
from pytest_visualbias.stimuli.digest_cache import SETTLED_NS, DigestCache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_visualbias.evaluation.model_embedder import LoadedSpec


__all__ = ["SPEC", "draw", "run"]

SPEC = "bias_specs/soak.bias.yaml"
GROUNDS = {"x": (200, 30, 30), "y": (30, 30, 200), "a": (180, 120, 0), "b": (0, 120, 180)}
TEXT = """\
visualbias: 1
models:
  before: {source: timm, name: test_resnet, transform: {size: 48}, checkpoint: ../before.pt}
  after: {source: timm, name: test_resnet, transform: {size: 48}, checkpoint: ../after.pt}
  untrained: {source: timm, name: test_resnet, transform: {size: 48}, random_init: 2}
layers: [pooled, layer2]
stimuli: ../stimuli
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5, max_growth: 0.2}
  - {name: two, kind: sc-eat, targets: {X: x}, attributes: {A: a, B: b}}
  - {name: three, kind: similarity-gap, targets: {X: x, Y: y}, attributes: {A: a}}
"""
# Cosines of an image follow from its batch by rounding, and results are compared to the last bit.
BATCH = 1
LIMIT = 20_000_000


def draw(folder: Path, images: int = 5) -> None:
    """Draw the images, and save two networks with other weights each."""
    import timm
    import torch

    for name, ground in GROUNDS.items():
        (folder / "stimuli" / name).mkdir(parents=True)
        for index in range(images):
            image = Image.new("RGB", (40, 40), ground)
            box = (3, 3, 10 + 4 * index, 10 + 3 * index)
            ImageDraw.Draw(image).rectangle(box, fill=(250, 40 * index, 90))
            image.save(folder / "stimuli" / name / f"{index}.png")
    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        model = timm.create_model("test_resnet", pretrained=False)
        torch.save(model.state_dict(), folder / f"{name}.pt")
    (folder / SPEC).parent.mkdir()
    (folder / SPEC).write_text(TEXT, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    time.sleep(SETTLED_NS / 1e9)  # or no digest of them would be remembered


def run(
    folder: Path, cache: Path | None, target: Path, pause: float = extraction.FLUSH_INTERVAL_S
) -> None:
    """Judge the spec as a run of pytest does, and write its results.

    Parameters
    ----------
    folder : Path
        The project.
    cache : Path or None
        Where vectors, results and digests are kept.
    target : Path
        The file for the results.
    pause : float
        Seconds between two writes of vectors: with none, a killed run leaves some of them.
    """
    import torch

    torch.set_num_threads(1)
    extraction.FLUSH_INTERVAL_S = pause  # type: ignore[misc]  # of this process alone
    memo = DigestCache.inside(cache)
    session = EvaluationRun(
        settings=RunSettings(project=folder, device="cpu"),
        resources=Resources(
            cache=EmbeddingCache(folder=cache), batch_size=BATCH, progress=lambda *_: None
        ),
        digest=memo.of,
    )
    loaded = session.load(folder / SPEC, SPEC)
    rows = [json.loads(row) for row in _results(session, loaded)]
    memo.save()
    if cache is not None:
        evict_to_limit(cache, LIMIT)
    temporary = target.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(rows, sort_keys=True), encoding="utf-8")
    temporary.replace(target)


def _results(session: EvaluationRun, loaded: LoadedSpec) -> Iterator[str]:
    spec = loaded.file.spec
    for model in spec.models:
        for test in spec.tests:
            for point in layer_points(spec.layers, {}):
                found = session.result(loaded, model, test.name, point.name, nodeid="")
                yield found.model_dump_json(by_alias=True)
