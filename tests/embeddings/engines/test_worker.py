"""A worker loads a network once, makes sure that it is the one that is meant, and embeds tasks."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from pytest_visualbias.embeddings.engines.plan import Task
from pytest_visualbias.embeddings.engines.worker import Fault, Order, Part, Worker
from pytest_visualbias.embeddings.request import EmbeddingJob, EmbeddingRequest
from pytest_visualbias.models.encoder import Context, Encoder, Identity
from pytest_visualbias.models.identity import identify_factory
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.model_entries import FactoryModel
from pytest_visualbias.stimuli.resolve import Stimulus

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch

NETWORK = """
import torch

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1))
"""
LAYERS = ("0", "0:flatten")


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Tell of a network whose layers are read in two ways."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "small", raising=False)
    Path("small.py").write_text(NETWORK)
    entry = FactoryModel.model_validate(
        {"source": "factory", "call": "small:network", "random_init": 2, "transform": {"size": 16}}
    )
    context = Context(folder=tmp_path, project=tmp_path, device="cpu", threads=1)
    want = EmbeddingRequest(stimuli=(), points=tuple(parse_layer_point(one, one) for one in LAYERS))
    identity = identify_factory(entry, context)[1]
    job = EmbeddingJob(entry=entry, identity=identity, context=context, own=want, want=want)
    return Order(key="1", job=job, batch_size=2)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Five images."""
    random = np.random.default_rng(0)
    found = []
    for index in range(5):
        path = tmp_path / f"{index}.png"
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        digest = digest_of_file(path)
        found.append(Stimulus(name=path.name, digest=digest, identity=digest, path=path))
    return Task(number=0, stimuli=tuple(found), points=LAYERS)


def facts_with(order: Order, **facts: str) -> Order:
    identity = dataclasses.replace(order.job.identity, facts={**order.job.identity.facts, **facts})
    return dataclasses.replace(order, job=dataclasses.replace(order.job, identity=identity))


def test_a_network_is_loaded_once_for_all_of_its_tasks(
    order: Order, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Identity] = []
    open_: Callable[[EmbeddingJob], Encoder] = EmbeddingJob.open

    def noted(job: EmbeddingJob) -> Encoder:
        opened.append(job.identity)
        return open_(job)

    monkeypatch.setattr(EmbeddingJob, "open", noted)
    worker = Worker()
    for _ in range(3):
        assert isinstance(worker.embed(order, task), Part)
    assert len(opened) == 1
    assert isinstance(worker.embed(dataclasses.replace(order, key="2"), task), Part)
    assert len(opened) == 2


def test_a_part_holds_the_vectors_of_every_layer_in_the_order_of_the_task(
    order: Order, task: Task
) -> None:
    part = Worker().embed(order, task)
    assert isinstance(part, Part)
    assert {name: rows.vectors.shape for name, rows in part.rows.items()} == {
        "0": (5, 4),
        "0:flatten": (5, 4 * 14 * 14),
    }
    for rows in part.rows.values():
        assert rows.identities == tuple(one.identity for one in task.stimuli)
        assert not rows.together
    assert part.checksum == part.check() != 0
    only = dataclasses.replace(task, points=("0",))
    fewer = Worker().embed(order, only)
    assert isinstance(fewer, Part)
    np.testing.assert_array_equal(fewer.rows["0"].vectors, part.rows["0"].vectors)
    assert [*fewer.rows] == ["0"]


def test_maps_that_are_too_large_become_vectors_that_are_compared_with_each_other_only(
    order: Order, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Worker().embed(order, task)
    monkeypatch.setattr("pytest_visualbias.embeddings.extraction.LARGEST", 100)
    part = Worker().embed(order, task)
    assert isinstance(part, Part)
    assert isinstance(whole, Part)
    assert [part.rows[name].together for name in LAYERS] == [False, True]
    short, long = part.rows["0:flatten"].vectors, whole.rows["0:flatten"].vectors.astype(float)
    assert short.shape == (5, 5)
    long /= np.linalg.norm(long, axis=1, keepdims=True)
    np.testing.assert_allclose(short @ short.T, long @ long.T, atol=1e-5)


def test_an_image_that_cannot_be_decoded_is_said_and_leaves_the_others(
    order: Order, task: Task
) -> None:
    path = task.stimuli[1].path
    assert path is not None
    path.write_bytes(b"something else")
    part = Worker().embed(order, task)
    assert isinstance(part, Part)
    assert part.failures == {
        task.stimuli[1].identity: f"{path} was changed during the run; run again"
    }
    assert len(part.rows["0"].identities) == 4


@pytest.mark.parametrize("what", ["code", "torch", "seed"])
def test_another_network_on_this_machine_is_refused_with_what_differs(
    order: Order, task: Task, what: str
) -> None:
    fault = Worker().embed(facts_with(order, **{what: "other"}), task)
    assert isinstance(fault, Fault)
    assert f"is another one ({what}); install the same versions and show" in fault.reason


def test_of_many_checkpoints_a_worker_looks_at_its_own_only(order: Order, task: Task) -> None:
    """Each would otherwise digest all of them, for every network."""
    context = order.job.context
    for number in range(3):
        weights = {"0.weight": torch.zeros(4, 3, 3, 3) + number, "0.bias": torch.zeros(4)}
        safetensors.torch.save_file(weights, context.folder / f"epoch_{number}.safetensors")
    entry = order.job.entry.model_copy(
        update={"checkpoint": "epoch_*.safetensors", "random_init": None}
    )
    assert isinstance(entry, FactoryModel)
    found = identify_factory(entry, context)
    assert len(found) == 3
    job = dataclasses.replace(order.job, entry=entry, identity=found[1])
    (context.folder / "epoch_0.safetensors").write_bytes(b"still being written")
    part = Worker().embed(dataclasses.replace(order, job=job), task)
    assert isinstance(part, Part), part
    (context.folder / "epoch_1.safetensors").write_bytes(b"another one")
    fault = Worker().embed(dataclasses.replace(order, job=job), task)
    assert isinstance(fault, Fault)
    assert "the network 'epoch_1.safetensors' is another one (checkpoint)" in fault.reason


def test_a_damaged_checkpoint_of_a_series_is_told_with_its_step(order: Order, task: Task) -> None:
    Path("run").mkdir()
    for step in (1, 2):
        Path(f"run/epoch_{step}.safetensors").write_bytes(b"\0no weights" * step)
    entry = FactoryModel.model_validate(
        {
            "source": "factory",
            "call": "small:network",
            "transform": {"size": 16},
            "checkpoints": "run/epoch_*.safetensors",
            "series": "epoch",
        }
    )
    identity = identify_factory(entry, order.job.context)[1]
    job = dataclasses.replace(order.job, entry=entry, identity=identity)
    fault = Worker().embed(dataclasses.replace(order, job=job), task)
    assert isinstance(fault, Fault)
    assert fault.reason.startswith(f"epoch 2: the checkpoint {identity.checkpoint} is damaged")


def test_a_network_that_loads_other_weights_each_time_is_refused(order: Order, task: Task) -> None:
    part = Worker().embed(order, task)
    assert isinstance(part, Part)
    again = Worker().embed(dataclasses.replace(order, loaded=part.loaded), task)
    assert isinstance(again, Part)
    fault = Worker().embed(dataclasses.replace(order, loaded="0" * 64), task)
    assert isinstance(fault, Fault)
    assert "has other weights, or prepares images otherwise, on " in fault.reason


def test_a_machine_that_does_not_see_the_project_is_named(order: Order, task: Task) -> None:
    context = dataclasses.replace(order.job.context, project=Path("/nowhere"))
    job = dataclasses.replace(order.job, context=context)
    fault = Worker().embed(dataclasses.replace(order, job=job), task)
    assert isinstance(fault, Fault)
    assert fault.reason == (
        f"{Worker().where()} does not see /nowhere (No such file or directory); show every machine "
        "of the cluster the same files at the same paths"
    )


def test_a_task_without_images_says_what_the_network_is(order: Order, task: Task) -> None:
    empty = Task(number=-1, stimuli=(), points=())
    part, whole = Worker().embed(order, empty), Worker().embed(order, task)
    assert isinstance(part, Part)
    assert isinstance(whole, Part)
    assert (part.rows, part.loaded) == ({}, whole.loaded)
