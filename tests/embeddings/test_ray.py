"""Embedding on a Ray cluster of two machines, which are processes here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

from pytest_visualbias.cli.embed import EmbeddingProgress
from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings import cache as caching
from pytest_visualbias.embeddings import ray_backend
from pytest_visualbias.embeddings.ray_cluster import MachineCapacity, RaySettings, tasks_on
from pytest_visualbias.embeddings.request import EmbeddingOutcome
from pytest_visualbias.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.embeddings.ray_backend import Order, TaskResult

pytestmark = [pytest.mark.slow, pytest.mark.torch]

MEMORY = 80_000_000
SPEC = "bias_specs/x.bias.yaml"
SPECS = (SPEC, "bias_specs/y.bias.yaml")
NETWORK = """
import os
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
    if pathlib.Path("workers").is_dir():
        pathlib.Path("workers", str(os.getpid())).touch()
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


def entries(folder: str, *, once: bool = True) -> dict[tuple[str, str], tuple[bytes, str]]:
    """Return the bytes of every vector in a cache, and what is noted with it."""
    found = {}
    for path in Path(folder).rglob("*.safetensors"):
        with safetensors.safe_open(path, "numpy") as stored:
            rows, noted = stored.get_tensor("vectors"), stored.metadata()
        for digest, row in zip(json.loads(noted["digests"]), rows, strict=True):
            assert not once or (path.parent.name, digest) not in found
            found[path.parent.name, digest] = (row.tobytes(), noted["notes"])
    return found


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Order, int, int]]:
    """What a worker would be given; nothing runs on a cluster."""
    given: list[tuple[Order, int, int]] = []
    orders_by_key: dict[str, Order] = {}

    class Function:
        """A remote function that notes its arguments."""

        def options(self, **_: object) -> Function:
            return self

        def remote(self, *arguments: Any) -> Any:
            holder, key, start, stop = arguments
            # A worker keeps an order by its key: no two orders may have the same.
            assert orders_by_key.setdefault(key, holder[0]) is holder[0]
            given.append((holder[0], start, stop))
            return len(given) - 1

    class Here:
        """The part of Ray that the backend uses, in this process."""

        exceptions = type("exceptions", (), {"RayError": ZeroDivisionError})

        def remote(self, _: object) -> Function:
            return Function()

        def nodes(self) -> list[dict[str, Any]]:
            return [{"Alive": True, "Resources": {"CPU": 2.0}}]

        def put(self, order: Order) -> Order:
            return order

        def wait(self, references: list[int], **_: object) -> tuple[list[int], list[int]]:
            return references, []

        def get(self, reference: int) -> TaskResult:
            return ray_backend.embed_images(*given[reference])

    @contextlib.contextmanager
    def connection(_: object) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(ray_backend, "connection", connection)
    monkeypatch.setattr("pytest_visualbias.cli.embed.require_ray", lambda: None)
    ray_backend._opened.clear()
    return given


@pytest.fixture
def call(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call ``visualbias embed``; return its exit code and what it prints."""

    def embed(*arguments: str, engine: str = "ray") -> tuple[int, str, str]:
        capsys.readouterr()
        more = ("--engine", engine, "--cache", engine, "--batch-size", "8", "--device", "cpu")
        shard = ("--shard", "8") if engine == "ray" else ()
        status = main(["embed", *more, *shard, *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return embed


def test_the_cache_holds_what_one_process_would_have_put_there(
    call: Callable[..., tuple[int, str, str]], orders: list[tuple[Order, int, int]]
) -> None:
    """Byte for byte, and the same is printed; a second call finds everything there."""
    Path("stimuli/x/07.png").write_bytes(b"no image")
    here, there = call(*SPECS, engine="local"), call(*SPECS)
    assert here[0] == there[0] == 1
    assert {*there[1].splitlines()} == {*here[1].splitlines()}
    assert entries("ray") == entries("local")
    assert len(orders) > 6
    Path("stimuli/x/07.png").unlink()
    orders.clear()
    status, printed, _ = call(*SPECS)
    assert (status, printed.count("; 0 embedded now"), orders) == (0, 4, [])


def test_a_task_goes_on_where_an_interrupted_call_stopped(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = ray_backend.embed_images
    done: list[object] = []

    def stopped(*arguments: Any) -> TaskResult:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(arguments)
        return work(*arguments)

    monkeypatch.setattr(ray_backend, "embed_images", stopped)
    assert call(SPEC)[0] not in (0, 1)
    monkeypatch.setattr(ray_backend, "embed_images", work)
    before = len(orders)
    status, printed, _ = call(SPEC)
    assert status == 0
    assert sum(map(int, re.findall(r"(\d+) embedded now", printed))) == 3 * 80 - 3 * 8
    assert len(orders) - before == 3 * 10 - 3
    call(SPEC, engine="local")
    assert entries("ray") == entries("local")


def test_a_task_reads_neither_the_cache_nor_the_checkpoint_of_the_task_before(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key may hold many gigabytes, and so may a checkpoint."""
    work, same = ray_backend.embed_images, ray_backend._same_identity
    identified: list[object] = []

    def identify(*arguments: Any) -> Any:
        identified.append(arguments)
        return same(*arguments)

    def task(*arguments: Any) -> TaskResult:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(caching, "_read", refuse)
            return work(*arguments)

    def refuse(*_: object) -> None:
        raise AssertionError("a task read the cache")

    monkeypatch.setattr(ray_backend, "_same_identity", identify)
    monkeypatch.setattr(ray_backend, "embed_images", task)
    status, printed, _ = call(SPEC, "--model", "after")
    assert status == 0, printed
    assert (len(orders), len(identified)) == (10, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda order: {"marker": f"{order.marker}-elsewhere"}, "does not see the cache"),
        (lambda order: {"job": with_facts(order, "timm")}, "is another one (timm)"),
        (lambda order: {"job": in_project(order, "/nowhere")}, "does not see /nowhere"),
    ],
)
def test_a_worker_that_sees_other_things_is_an_error(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Order], dict[str, Any]],
    words: str,
) -> None:
    work = ray_backend.embed_images

    def elsewhere(order: Order, start: int, stop: int) -> TaskResult:
        return work(dataclasses.replace(order, **change(order)), start, stop)

    monkeypatch.setattr(ray_backend, "embed_images", elsewhere)
    status, printed, _ = call(SPEC)
    assert status == 1
    assert printed.count(words) == 2
    assert not entries("ray")


def with_facts(order: Order, key: str) -> Any:
    facts = {**order.job.identity.facts, key: "another"}
    identity = dataclasses.replace(order.job.identity, facts=facts)
    return dataclasses.replace(order.job, identity=identity)


def in_project(order: Order, folder: str) -> Any:
    context = dataclasses.replace(order.job.context, project=Path(folder))
    return dataclasses.replace(order.job, context=context)


def test_an_image_that_differs_on_a_machine_is_an_error(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = ray_backend.embed_images

    def stale(order: Order, start: int, stop: int) -> TaskResult:
        Image.new("RGB", (32, 32)).save("stimuli/x/03.png")
        return work(order, start, stop)

    monkeypatch.setattr(ray_backend, "embed_images", stale)
    status, printed, _ = call(SPEC)
    assert status == 1
    assert "03.png" in printed


class Machines:
    """A cluster whose machines come and go."""

    def __init__(self) -> None:
        self.cpus = [2.0]

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in self.cpus]


@pytest.mark.parametrize(
    ("workers", "had_room", "patience"),
    [(None, False, 0), (None, True, 60), (3, False, 900), (3, True, 900)],
)
def test_a_cluster_without_room_is_waited_for_as_documented(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, patience: int, *, had_room: bool
) -> None:
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("pytest_visualbias.embeddings.ray_cluster.time", clock)
    settings = RaySettings(
        address="auto", cpus=1, gpus=0.0, device="cpu", workers=workers, shard=8, batch_size=8
    )
    machines = Machines()
    capacity = MachineCapacity(ray=machines, settings=settings, _since=0.0)
    if had_room:
        capacity.look()
        assert capacity.capacity == 2
    machines.cpus = []
    for seconds in range(5, patience, 5):
        now[0] = float(seconds)
        capacity.look()
    now[0] = float(max(patience, 5))
    with pytest.raises(EngineError):
        capacity.look()


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "tasks"),
    [
        ({"CPU": 7.0}, 2, 0.0, 3),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.5, 4),
        ({"CPU": 8.0, "GPU": 3.0}, 1, 0.7, 3),
        ({"CPU": 8.0, "GPU": 3.0}, 1, 2.0, 1),
        ({"CPU": 1.0, "GPU": 8.0}, 1, 1.0, 1),
        ({"CPU": 8.0}, 1, 1.0, 0),
    ],
)
def test_a_share_is_of_one_gpu(
    resources: dict[str, float], cpus: int, gpus: float, tasks: int
) -> None:
    assert tasks_on(resources, cpus, gpus) == tasks


@pytest.mark.parametrize(
    ("visible", "gpu", "device"),
    [(None, "1", "cuda:1"), ("2,3", "3", "cuda:1"), ("5", "5", "cuda:0")],
)
def test_a_task_uses_the_gpu_that_it_was_given(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    gpu: str,
    device: str,
) -> None:
    call(SPEC, "--model", "after")
    order = orders[0][0]
    context = dataclasses.replace(order.job.context, device="cuda")
    on_gpu = dataclasses.replace(order, job=dataclasses.replace(order.job, context=context))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    else:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert ray_backend._on_device(on_gpu, [gpu]).job.context.device == device
    assert ray_backend._on_device(order, [gpu]) is order


def test_a_lost_task_costs_its_images_and_two_in_a_row_the_network(
    call: Callable[..., tuple[int, str, str]],
    orders: list[tuple[Order, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, lost = ray_backend.embed_images, {0, 8}

    def crashing(order: Order, start: int, stop: int) -> TaskResult:
        if start in lost:
            raise ZeroDivisionError("the worker died")
        return work(order, start, stop)

    monkeypatch.setattr(ray_backend, "embed_images", crashing)
    arguments = (SPEC, "--model", "after", "--workers", "1")
    status, printed, _ = call(*arguments)
    assert (status, ", 1 network" in printed, printed.count("the worker died")) == (1, False, 1)
    lost.remove(8)
    status, printed, _ = call(*arguments)
    assert (status, "72 images, 1 network" in printed, printed.count("the worker died")) == (
        1,
        True,
        1,
    )


@pytest.mark.parametrize("address", ["nowhere", "a:b", "127.0.0.1:9"])
def test_an_address_without_a_cluster_is_one_sentence(
    call: Callable[..., tuple[int, str, str]], address: str
) -> None:
    pytest.importorskip("ray", reason="the engine 'ray' is an extra")
    status, _, err = call(SPEC, "--address", address)
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert address in err


def test_outcomes_of_the_networks_of_a_model_are_joined() -> None:
    first = EmbeddingOutcome(images=3, networks=1, layers=2, embedded=3, faults=("a",))
    second = EmbeddingOutcome(images=4, networks=1, layers=2, embedded=1, faults=("a", "b"))
    joined = first.joined(second)
    assert joined == EmbeddingOutcome(images=4, networks=2, layers=2, embedded=4, faults=("a", "b"))
    failed = EmbeddingOutcome(faults=("x",), failed=True)
    assert first.joined(failed) == failed.joined(first) == failed


def test_a_cluster_embeds_as_one_process_does(
    call: Callable[..., tuple[int, str, str]], cluster: Any
) -> None:
    status, printed, err = call(SPEC, "--address", cluster.address)
    assert status == 0, err
    assert sum(map(int, re.findall(r"(\d+) embedded now", printed))) == 3 * 80
    call(SPEC, engine="local")
    assert entries("ray") == entries("local")


@pytest.mark.nightly
def test_a_killed_worker_costs_nothing_but_time(
    call: Callable[..., tuple[int, str, str]], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("slow").touch()
    Path("workers").mkdir()
    killed: list[int] = []

    def kill(_meter: EmbeddingProgress, done: int, _total: int, _what: str) -> None:
        if done and not killed:
            running = [int(path.name) for path in Path("workers").iterdir()]
            for number in [number for number in running if alive(number)][:1]:
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    monkeypatch.setattr(EmbeddingProgress, "__call__", kill)
    status, _, err = call(SPEC, "--address", cluster.address)
    assert status == 0, err
    assert killed
    Path("slow").unlink()
    call(SPEC, engine="local")
    assert entries("ray") == entries("local")


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return number != os.getpid()


@pytest.mark.nightly
def test_two_calls_at_once_are_safe(
    call: Callable[..., tuple[int, str, str]], cluster: Any, project: Path
) -> None:
    arguments = ["--engine", "ray", "--cache", "ray", "--batch-size", "8", "--shard", "8"]
    command = [sys.executable, "-m", "pytest_visualbias", "embed", SPEC, *arguments]
    command += ["--device", "cpu", "--address", cluster.address]
    runs = [subprocess.Popen(command, cwd=project) for _ in range(2)]
    assert [run.wait(300) for run in runs] == [0, 0]
    call(SPEC, engine="local")
    assert entries("ray", once=False) == entries("local")


@pytest.mark.nightly
def test_a_place_that_no_machine_has_is_one_sentence(
    call: Callable[..., tuple[int, str, str]], cluster: Any
) -> None:
    for flags in (("--device", "auto", "--gpus-per-task", "2"), ("--cpus-per-task", "64")):
        status, _, err = call(SPEC, "--address", cluster.address, *flags)
        assert (status, len(err.strip().splitlines())) == (1, 1)
