"""Embedding on a real cluster of two machines, which are processes here."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

from pytest_visualbias.cli.embed import EmbeddingProgress
from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.engines.connecting import crew_at
from pytest_visualbias.embeddings.engines.crew import Gone, Raised, Ready
from pytest_visualbias.embeddings.engines.ray import Place, RayCrew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.embeddings.engines.crew import Event
    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.engines.worker import Order

pytestmark = [pytest.mark.slow, pytest.mark.torch]

MEMORY = 80_000_000
SPEC = "bias_specs/x.bias.yaml"
SPECS = (SPEC, "bias_specs/y.bias.yaml")
NETWORK = """
import pathlib
import time
import torch

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.second = torch.nn.Conv2d(8, 16, 3, stride=2)

    def forward(self, images):
        time.sleep(0.1 if pathlib.Path("slow").exists() else 0)
        return self.second(torch.relu(self.first(images))).mean((2, 3))

def network():
    return Tiny()
"""
TEXT = """visualbias: 1
models:
  before: {source: factory, call: "tiny:network", random_init: 2, transform: {size: SIZE}}
  after: {source: factory, call: "tiny:network", checkpoint: ../after.pt, transform: {size: SIZE}}
layers: [pooled, LAYER]
stimuli: ../stimuli
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 1.9}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines with a processor each, one of which says that it has a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS", "0")
        pytest.importorskip("ray", reason="the engine 'ray' is an extra")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
        found: Any = Cluster(initialize_head=True, head_node_args=head)
        found.add_node(num_cpus=1, num_gpus=1, object_store_memory=MEMORY)
        yield found
        found.shutdown()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two specs of three networks each, over 20 images in each of four sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUALBIAS_CACHE", raising=False)
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    Path("tiny.py").write_text(NETWORK)
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    torch.manual_seed(1)
    torch.save(names["network"]().state_dict(), "after.pt")
    Path("bias_specs").mkdir()
    for spec, size, layer in zip(SPECS, ("32", "28"), ("first", '"first:flatten"'), strict=True):
        Path(spec).write_text(TEXT.replace("LAYER", layer).replace("SIZE", size))
    random = np.random.default_rng(0)
    for name in "xyab":
        (Path("stimuli") / name).mkdir(parents=True)
        for index in range(20):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("stimuli") / name / f"{index:02}.png")
    return tmp_path


@pytest.fixture
def embed(
    project: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call ``visualbias embed``; return its exit code and what it says."""

    def call(*arguments: str, engine: str = "ray") -> tuple[int, str, str]:
        capsys.readouterr()
        where = ("--address", cluster.address, "--shard", "8") if engine == "ray" else ()
        more = ("--engine", engine, "--cache", engine, "--batch-size", "8", *where)
        status = main(["embed", *more, "--device", "cpu", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def entries(folder: str) -> dict[tuple[str, str], tuple[bytes, str]]:
    """Return the bytes of every vector in a cache, and what is noted with it."""
    found = {}
    for path in Path(folder).rglob("*.safetensors"):
        with safetensors.safe_open(path, "numpy") as stored:
            rows, noted = stored.get_tensor("vectors"), stored.metadata()
        for digest, row in zip(json.loads(noted["digests"]), rows, strict=True):
            assert (path.parent.name, digest) not in found, "embedded once"
            found[path.parent.name, digest] = (row.tobytes(), noted["notes"])
    return found


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int]]:
    """Every task that a worker is given: the worker, the network and the number."""
    found: list[tuple[int, str, int]] = []
    give = RayCrew.give

    def noted(crew: RayCrew, worker: int, ticket: int, order: Order, task: Task) -> None:
        found.append((worker, order.key, task.number))
        give(crew, worker, ticket, order, task)

    monkeypatch.setattr(RayCrew, "give", noted)
    return found


def test_the_cache_holds_what_one_process_would_have_put_there(
    embed: Callable[..., tuple[int, str, str]], given: list[tuple[int, str, int]]
) -> None:
    """Byte for byte, and the same is said; the other engine then finds everything there."""
    (Path("stimuli/x/07.png")).write_bytes(b"no image")
    here, there = embed(*SPECS, engine="local"), embed(*SPECS)
    assert here[0] == there[0] == 1
    assert there[1].count("07.png ") == 4
    assert {*there[1].splitlines()} == {*here[1].splitlines()}
    assert entries("ray") == entries("local")
    assert len({worker for worker, _, _ in given}) == 2
    assert max(Counter((network, task) for _, network, task in given).values()) == 1
    Path("stimuli/x/07.png").unlink()
    Path("local").rename("before")
    Path("ray").rename("local")
    status, said, _ = embed(*SPECS, engine="local")
    assert (status, said.count("; 0 embedded now")) == (0, 4)


def test_a_machine_lost_in_the_middle_costs_its_tasks_and_nothing_else(
    embed: Callable[..., tuple[int, str, str]],
    given: list[tuple[int, str, int]],
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    Path("slow").touch()
    removed: list[float] = []

    def remove(_meter: EmbeddingProgress, done: int, _total: int, what: str) -> None:
        workers = {worker for worker, _, _ in given}
        if done and len(workers) == 3 and not removed:
            removed.append(time.monotonic())
            cluster.remove_node(machine, allow_graceful=False)

    monkeypatch.setattr(EmbeddingProgress, "__call__", remove)
    status, _, err = embed(SPEC)
    assert status == 0, err
    assert removed
    counts = Counter((network, task) for _, network, task in given)
    again = {task for task, times in counts.items() if times > 1}
    assert max(counts.values()) == 2
    assert 1 <= len(again) <= 2, "what one worker had: a task and the next one"
    first = {(network, task): worker for worker, network, task in reversed(given)}
    assert len({first[one] for one in again}) == 1, "one and the same worker had them"
    # One that began there before the cluster knew of the loss is lost as well, without a task.
    tasks = f"{len(again)} task{'s' * (len(again) > 1)}"
    assert re.search(rf"\b(1 worker|2 workers) lost, {tasks} given out again", err), err
    Path("slow").unlink()
    embed(SPEC, engine="local")
    assert entries("ray") == entries("local")


def until(crew: RayCrew, kind: type[Event]) -> Event:
    """Return the next event of a kind."""
    end = time.monotonic() + 120  # a worker imports torch first, on a busy machine
    while time.monotonic() < end:
        for event in crew.events(1.0):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came")


def test_what_a_worker_raises_and_a_worker_that_is_killed_are_told_apart(
    project: Path, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    broken: Any = None
    with crew_at(cluster.address, cpus=1, gpus=0.5) as crew:
        assert crew.place == Place(cpus=1, gpus=0.5)
        assert crew.room() == 1, "there is half a GPU twice, but one processor beside it"
        assert crew.device("auto") == "cuda"
        worker = crew.hire()
        assert until(crew, Ready) == Ready(worker=worker)
        crew.give(worker, 7, Broken(), broken)  # type: ignore[arg-type]
        raised = until(crew, Raised)
        assert isinstance(raised, Raised)
        assert (raised.worker, raised.ticket) == (worker, 7)
        assert raised.reason == "AttributeError: 'Broken' object has no attribute 'loaded'"
        crew.ray.kill(crew._workers[worker], no_restart=True)
        crew.give(worker, 8, Broken(), broken)  # type: ignore[arg-type]
        gone = until(crew, Gone)
        assert isinstance(gone, Gone)
        assert gone.reason == "it was killed by `ray.kill`"
    assert capfd.readouterr().out == "", "Ray says nothing of all this"


class Broken:
    """An order that no worker can follow."""

    key = ""


def test_a_place_that_no_machine_has_is_a_sentence(
    embed: Callable[..., tuple[int, str, str]],
) -> None:
    status, _, err = embed(SPEC, "--device", "auto", "--gpus-per-task", "2")
    assert status == 1
    assert err.strip() == (
        "no machine of the cluster has 1 processor and 2 GPU; ask for less with --gpus-per-task "
        "or --cpus-per-task, or say with --workers how many will come"
    )
    status, _, err = embed(SPEC, "--device", "cuda", "--gpus-per-task", "0")
    assert err.strip() == "--device cuda needs GPUs in the cluster, and --gpus-per-task over 0"
    assert status == 1


def test_where_the_cluster_has_gpus_a_worker_gets_one_and_does_not_do_without(
    embed: Callable[..., tuple[int, str, str]],
) -> None:
    """The GPU of this cluster is none, so nothing is embedded on the processor in its place."""
    if torch.cuda.is_available():
        pytest.skip("there is one after all")
    status, out, _ = embed(SPEC, "--device", "auto", "--model", "before")
    assert status == 1
    assert out == f"{SPEC} :: before: there is no device 'cuda' here; choose another, or 'auto'\n"
    assert not Path("ray/3").exists()
