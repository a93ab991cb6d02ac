"""What it costs to have images embedded by workers of a cluster, beside one process.

    python benchmarks/sweep.py                          # some minutes on two cores
    python benchmarks/sweep.py --tasks 100 1000 --rounds 1

A task is one image of 8 x 8, and the network does nothing: what is left is overhead, of tasks here
and of images there. Both ways take turns; medians are printed. A task of `visualbias embed` is 512
images unless `--shard` says otherwise, so that its overhead is shared by as many.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from PIL import Image

from pytest_visualbias.cli.main import main as visualbias
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.engines.course import Course, Portions
from pytest_visualbias.embeddings.engines.crew import Came
from pytest_visualbias.embeddings.engines.plan import Wish, units_of
from pytest_visualbias.embeddings.engines.ray import RayCrew
from pytest_visualbias.embeddings.engines.worker import Part, Rows
from pytest_visualbias.embeddings.engines.writing import Writer
from pytest_visualbias.embeddings.request import EmbeddingJob, EmbeddingRequest
from pytest_visualbias.models.encoder import Context, Identity
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.stimuli.resolve import Stimulus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.embeddings.engines.crew import Event
    from pytest_visualbias.embeddings.engines.plan import Task, Unit

WORKERS = 2
TASKS, IMAGES, DIM = 24, 512, 2_048
NETWORK = """
import torch

def network():
    return torch.nn.Flatten()
"""
SPEC = """visualbias: 1
models:
  after: {source: factory, call: "trivial:network", random_init: 1, transform: {size: 8}}
stimuli: ../stimuli
concepts: {x: x, y: y}
tests:
  - name: one
    kind: intra-similarity
    targets: {X: x}
  - name: two
    kind: intra-similarity
    targets: {X: y}
"""


def main() -> None:
    """Run both ways at every size, and print what a task costs."""
    options = _options()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    times: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        for way in _ways(_project(Path("first"), 2)).values():
            _timed(way, "first")  # imports torch, here and on the workers' disks
        for tasks in options.tasks:
            spec = _project(Path(f"{tasks}"), tasks)
            for turn in range(options.rounds):
                for name, way in _ways(spec).items():
                    times.setdefault((name, tasks), []).append(_timed(way, f"{name}{turn}"))
        ray.shutdown()
    _print(options.tasks, times)
    _print_driver(options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _project(folder: Path, images: int) -> Path:
    """Draw images, no two of them alike, and write a spec of a network that does nothing."""
    random = np.random.default_rng(images)
    for half in "xy":
        (folder / "stimuli" / half).mkdir(parents=True)
    for index in range(images):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "stimuli" / "xy"[index % 2] / f"{index:06}.png")
    Path("trivial.py").write_text(NETWORK)
    (folder / "specs").mkdir()
    spec = folder / "specs" / "trivial.bias.yaml"
    spec.write_text(SPEC)
    return spec


def _ways(spec: Path) -> dict[str, Callable[[str], Sequence[str]]]:
    alike = ["embed", str(spec), "--batch-size", "1", "--device", "cpu"]
    return {
        "local": lambda cache: [*alike, "--cache", str(spec.parent / cache)],
        "ray": lambda cache: [
            *(*alike, "--cache", str(spec.parent / cache)),
            *("--engine", "ray", "--shard", "1", "--workers", str(WORKERS)),
        ],
    }


def _timed(way: Callable[[str], Sequence[str]], cache: str) -> tuple[float, float]:
    """Return the seconds until the first task of a cluster came back, and those after."""
    came: list[float] = []
    events = RayCrew.events

    def noted(crew: RayCrew, timeout: float) -> list[Event]:
        found = events(crew, timeout)
        if any(isinstance(event, Came) for event in found):
            came.append(time.perf_counter())
        return found

    patch = mock.patch.object(RayCrew, "events", noted)
    with contextlib.redirect_stdout(io.StringIO()) as said, patch:
        start = time.perf_counter()
        status = visualbias(way(cache))
        end = time.perf_counter()
    if status:
        raise SystemExit(said.getvalue())
    begun = came[0] if came else start
    return begun - start, end - begun


def _print(sizes: Sequence[int], times: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Print medians: until a worker has imported torch, and what all tasks take from then on."""
    print("| tasks | local s | start of ray s | then s | local ms / task | ray ms / task | ratio |")
    print("|---|---|---|---|---|---|---|")
    for size in sizes:
        local = statistics.median(after for _, after in times["local", size])
        started = statistics.median(before for before, _ in times["ray", size])
        cluster = statistics.median(after for _, after in times["ray", size])
        each = f"{1000 * local / size:.2f} | {1000 * cluster / size:.2f}"
        print(f"| {size:,} | {local:.2f} | {started:.1f} | {cluster:.2f} | {each} ", end="")
        print(f"| {cluster / local:.1f} |", flush=True)


# ---------------------------------------------------------------------------------------- driver


def _print_driver(rounds: int) -> None:
    """Print what the one driver does for many workers: check, gather and write their vectors."""
    found = [_driver_time() for _ in range(rounds)]
    seconds = statistics.median(found) / TASKS
    megabytes = IMAGES * DIM * 4 / 1e6
    size = f"{IMAGES} vectors of {DIM:,} values ({megabytes:.1f} MB)"
    rates = f"{IMAGES / seconds:,.0f} images/s, {megabytes / seconds:.0f} MB/s"
    print(f"\nA task of {size} costs the driver {1000 * seconds:.0f} ms: {rates}.")


def _driver_time() -> float:
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(folder=Path(folder))
        writer = Writer(cache)
        portions = Portions(batch_size=32, shard=IMAGES)
        course = Course.begin(_unit(TASKS * IMAGES), cache, writer, portions, 1)
        parts = [_part(task) for task in course.waiting]
        start = time.perf_counter()
        for part in parts:
            assert part.check() == part.checksum
            course.take(part)
        course.flush()
        writer.finish()
        took = time.perf_counter() - start
        writer.close()
    return took


def _unit(images: int) -> Unit:
    digests = [f"{number:064x}" for number in range(images)]
    stimuli = tuple(Stimulus(name=one, digest=one, identity=one) for one in digests)
    want = EmbeddingRequest(stimuli=stimuli, points=(parse_layer_point("pooled", "pooled"),))
    entry = TimmModel(source="timm", name="resnet50")
    identity = Identity(label="network", facts={})
    context = Context(folder=Path(), project=Path())
    job = EmbeddingJob(entry=entry, identity=identity, context=context, own=want, want=want)
    return units_of([Wish(owner=0, job=job)])[0]


def _part(task: Task) -> Part:
    vectors = np.random.default_rng(task.number).random((len(task.stimuli), DIM), np.float32)
    identities = tuple(stimulus.identity for stimulus in task.stimuli)
    rows = {"pooled": Rows(identities=identities, vectors=vectors, together=False)}
    part = Part(rows=rows, failures={}, notes={}, loaded="")
    return dataclasses.replace(part, checksum=part.check())


if __name__ == "__main__":
    main()
