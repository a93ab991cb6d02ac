"""What `visualbias embed --engine ray` costs: the driver per task, and one worker beside two.

    python benchmarks/ray_tasks.py
    python benchmarks/ray_tasks.py --tasks 20 --images 40 --rounds 1

For the driver, a task is one image of 8 x 8 and the network does nothing. For the workers, a
network of some milliseconds an image embeds tasks of 32 images. Medians of the rounds are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import pickle
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from pytest_visualbias.cli.main import main as visualbias
from pytest_visualbias.embeddings.ray_backend import RayRun, TaskResult

NETWORK = """
import torch

def nothing():
    return torch.nn.Flatten()

def slow():
    layers = [torch.nn.Conv2d(3, 64, 7), *(torch.nn.Conv2d(64, 64, 5) for _ in range(4))]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""
SPEC = """visualbias: 1
models:
  after: {{source: factory, call: "networks:{call}", random_init: 1, transform: {{size: {size}}}}}
stimuli: stimuli
concepts: {{x: x}}
tests: [{{name: one, kind: intra-similarity, targets: {{X: x}}}}]
"""


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("networks.py").write_text(NETWORK)
        many = project("driver", options.tasks, size=8, call="nothing")
        large = project("workers", options.images, size=64, call="slow")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        embed(project("first", 4, size=8, call="nothing"), "--workers", "2", "--shard", "1")
        driver = [embed(many, "--shard", "1") for _ in range(options.rounds)]
        workers = {
            count: [
                embed(large, "--shard", "32", "--workers", str(count))
                for _ in range(options.rounds)
            ]
            for count in (1, 2)
        }
        ray.shutdown()
    seconds = statistics.median(cpu for _, cpu in driver) / options.tasks
    print(f"driver: {1000 * seconds:.2f} ms of processor a task, {options.tasks} tasks")
    print(f"driver: {task_bytes()} bytes a task (pickled, without the messages of Ray itself)")
    one, two = (statistics.median(wall for wall, _ in workers[count]) for count in (1, 2))
    print(
        f"{options.images} images: 1 worker {one:.1f} s, 2 workers {two:.1f} s, {one / two:.2f} x"
    )


def project(name: str, images: int, *, size: int, call: str) -> Path:
    """Draw images, no two of them alike, and write a spec."""
    random = np.random.default_rng(images)
    folder = Path(name, "stimuli", "x")
    folder.mkdir(parents=True)
    for index in range(images):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:06}.png")
    spec = Path(name, "x.bias.yaml")
    spec.write_text(SPEC.format(call=call, size=size))
    return spec


def embed(spec: Path, *arguments: str) -> tuple[float, float]:
    """Return the seconds of a call on the cluster, and the processor seconds of its loop."""
    spent: list[float] = []
    run = RayRun._run

    def timed(self: RayRun, *given: object) -> object:
        start = time.process_time()
        yield from run(self, *given)  # type: ignore[arg-type]
        spent.append(time.process_time() - start)

    with tempfile.TemporaryDirectory() as cache:
        command = ["embed", str(spec), "--engine", "ray", "--device", "cpu", "--batch-size", "1"]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), mock.patch.object(RayRun, "_run", timed):
            start = time.perf_counter()
            status = visualbias([*command, "--cache", cache, *arguments])
            end = time.perf_counter()
    if status:
        raise SystemExit(printed.getvalue())
    return end - start, spent[0]


def task_bytes() -> int:
    """Return the bytes of the arguments and the result of a task of 512 images."""
    result = TaskResult(embedded=512, network="0" * 64)
    reference = 28  # bytes that name an object of Ray
    return reference + len(pickle.dumps(("0" * 32, 0, 512))) + len(pickle.dumps(result))


if __name__ == "__main__":
    main()
