"""What embedding costs, against the least that it could cost and against the usual ways.

    python benchmarks/embedding.py                       # a quarter of an hour on two cores
    python benchmarks/embedding.py --device cuda --images 2000 --batch-size 128
    python benchmarks/embedding.py --only runs --specs FOLDER    # whole processes, on your specs

Alternatives take turns within one run; medians and their ratios are printed, for a machine that
others use, too, may be twice as slow a minute later. Images are drawn: JPEGs of 640 x 480.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from pytest_visualbias.embeddings.extraction import ExtractionRequest, extract
from pytest_visualbias.models.encoder import Context, Identity
from pytest_visualbias.models.timm import open_timm
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.stimuli.decoding import decode
from pytest_visualbias.stimuli.resolve import Stimulus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.models.torch_encoder import TorchEncoder

SIX = ("maxpool", "layer1", "layer2", "layer3", "layer4", "pooled")
THREADS = len(os.sched_getaffinity(0))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["throughput", "memory", "runs"])
    parser.add_argument("--specs", type=Path, help="a folder with bias_specs/ for whole runs")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        _peak(options)
        return
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    print(f"{options.model} on {name}, torch {torch.__version__}, {THREADS} cores\n")
    if options.only in (None, "throughput"):
        _throughput(options)
    if options.only in (None, "memory"):
        _memory(options)
    if options.only in (None, "runs") and options.specs is not None:
        _runs(options)


# ------------------------------------------------------------------------------------ throughput


def _throughput(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stimuli = _drawn(Path(folder), options.images)
        encoder = _encoder(options)
        device = str(encoder.description["device"])
        inputs = _inputs(encoder, stimuli[: options.batch_size])
        ways: dict[str, Callable[[], int]] = {
            "bare forward, inputs in memory": lambda: _bare(encoder, inputs, options, device),
            "ours, one layer": lambda: _ours(encoder, stimuli, ["pooled"], options),
            "ours, six layers": lambda: _ours(encoder, stimuli, SIX, options),
            "DataLoader loop, one layer": lambda: _loader(encoder, stimuli, options, device),
        }
        if options.device == "cpu":  # minutes, and nothing but six times the first
            ways["ours, six passes for six layers"] = lambda: (
                sum(_ours(encoder, stimuli, [layer], options) for layer in SIX) // len(SIX)
            )
        _table(ways, options.rounds, options.images)


def _ours(
    encoder: TorchEncoder,
    stimuli: Sequence[Stimulus],
    layers: Sequence[str],
    options: argparse.Namespace,
) -> int:
    extract(
        encoder,
        ExtractionRequest(
            stimuli=stimuli,
            layers=[parse_layer_point(layer, layer) for layer in layers],
            batch_size=options.batch_size,
            decoders=THREADS,
            add=lambda *_: None,
        ),
    )
    return len(stimuli)


def _bare(
    encoder: TorchEncoder, inputs: torch.Tensor, options: argparse.Namespace, device: str
) -> int:
    """Forward passes over inputs that are there already, in the order in memory that ours uses."""
    inputs = inputs.to(device).contiguous(memory_format=torch.channels_last)
    done, pooled = 0, _pooled(encoder)
    with torch.inference_mode():
        while done < options.images:
            pooled(inputs)
            done += len(inputs)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return done


class _Files(torch.utils.data.Dataset[torch.Tensor]):
    """What a script of everybody's does: decode and preprocess one image."""

    def __init__(self, encoder: TorchEncoder, stimuli: Sequence[Stimulus]) -> None:
        self._prepare, self._stimuli = encoder.prepare, stimuli

    def __len__(self) -> int:
        return len(self._stimuli)

    def __getitem__(self, index: int) -> torch.Tensor:
        path = self._stimuli[index].path
        assert path is not None
        return torch.from_numpy(self._prepare(Image.open(path).convert("RGB")))


def _pooled(encoder: TorchEncoder) -> Callable[[torch.Tensor], torch.Tensor]:
    pooled = encoder._network.pooled
    assert callable(pooled)
    return pooled


def _loader(
    encoder: TorchEncoder, stimuli: Sequence[Stimulus], options: argparse.Namespace, device: str
) -> int:
    """Run the loop of the tutorials: a DataLoader with workers, the network as it was made."""
    encoder._module.to(memory_format=torch.contiguous_format)
    pooled = _pooled(encoder)
    loader = torch.utils.data.DataLoader(
        _Files(encoder, stimuli), options.batch_size, num_workers=THREADS
    )
    with torch.inference_mode():
        vectors = [pooled(batch.to(device)).cpu() for batch in loader]
    encoder._module.to(memory_format=torch.channels_last)
    return sum(len(vector) for vector in vectors)


# ---------------------------------------------------------------------------------------- memory


def _memory(options: argparse.Namespace) -> None:
    """Peak memory of a process that embeds, with few images and with ten times as many."""
    print("\n| images | peak memory, MB | |\n|---|---|---|")
    first = 0.0
    for images in (options.images, 10 * options.images):
        command = [sys.executable, __file__, "--peak", str(images), "--model", "resnet18"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = float(found.stdout)
        first = first or peak
        print(f"| {images} | {peak:,.0f} | {peak / first:.2f} |", flush=True)


def _peak(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stimuli = _drawn(Path(folder), options.peak)
        _ours(_encoder(options), stimuli, ["pooled"], options)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


# ---------------------------------------------------------------------------------- whole processes


def _runs(options: argparse.Namespace) -> None:
    """Run the gate over the specs of a folder: cold and warm, alone and by two workers."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(options.specs, project, symlinks=True)
        cache = Path(folder) / "cache"
        plain = ["-p", "no:hypothesispytest", "-q", f"--visualbias-cache={cache}"]

        def gate(*more: str, cold: bool) -> int:
            if cold:
                shutil.rmtree(cache, ignore_errors=True)
            command = [sys.executable, "-m", "pytest", "--visualbias", *plain, *more]
            found = subprocess.run(
                command, cwd=project, capture_output=True, text=True, check=False
            )
            if found.returncode not in (0, 1):
                raise SystemExit(found.stdout + found.stderr)
            return 1

        ways: dict[str, Callable[[], int]] = {
            "cold": lambda: gate(cold=True),
            "warm": lambda: gate(cold=False),
            "cold, two workers": lambda: gate("-n2", cold=True),
            "warm, two workers": lambda: gate("-n2", cold=False),
        }
        _table(ways, options.rounds, None)


# ----------------------------------------------------------------------------------------- common


def _table(ways: dict[str, Callable[[], int]], rounds: int, images: int | None) -> None:
    """Let the alternatives take turns, and print their medians and ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            done = way()
            if turn or images is None:  # the first turn warms up
                times[name].append((time.perf_counter() - start) / done)
    unit = "ms / image" if images is not None else "s"
    scale = 1000 if images is not None else 1
    first = statistics.median(next(iter(times.values())))
    print(f"| | {unit} | times the first |\n|---|---|---|")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"| {name} | {scale * median:.2f} | {median / first:.2f} |", flush=True)


def _encoder(options: argparse.Namespace) -> TorchEncoder:
    entry = TimmModel(source="timm", name=options.model, pretrained=False)
    here = Path()
    context = Context(folder=here, project=here, device=options.device, threads=THREADS)
    return open_timm(entry, Identity(label="untrained", facts={}, seed=0), context)


def _inputs(encoder: TorchEncoder, stimuli: Sequence[Stimulus]) -> torch.Tensor:
    paths = [stimulus.path for stimulus in stimuli if stimulus.path is not None]
    return torch.from_numpy(np.stack([encoder.prepare(decode(path)) for path in paths]))


def _drawn(folder: Path, count: int) -> list[Stimulus]:
    """Draw smooth noise, whose JPEGs are about as large as those of photographs."""
    stimuli = []
    for index in range(count):
        coarse = np.random.default_rng(index).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        path = folder / f"{index:05}.jpg"
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        digest = digest_of_file(path)
        stimuli.append(Stimulus(name=path.name, digest=digest, identity=digest, path=path))
    return stimuli


if __name__ == "__main__":
    main()
