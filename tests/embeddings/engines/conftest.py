"""A crew without a cluster, whose workers can be lost, and networks without weights."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.engines.course import Portions
from pytest_visualbias.embeddings.engines.crew import Came, Gone, Raised, Ready
from pytest_visualbias.embeddings.engines.dispatch import Dispatch
from pytest_visualbias.embeddings.engines.plan import Outcome, Wish
from pytest_visualbias.embeddings.engines.worker import Fault, Order, Part, Rows
from pytest_visualbias.embeddings.request import EmbeddingJob, EmbeddingRequest
from pytest_visualbias.models.encoder import Context, Identity
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.stimuli.resolve import Stimulus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.embeddings.engines.crew import Event
    from pytest_visualbias.embeddings.engines.plan import Task

ENTRY = TimmModel(source="timm", name="test_resnet", pretrained=False)


def stimuli(count: int, start: int = 0) -> tuple[Stimulus, ...]:
    """Return images that are nowhere, in the order of their names."""
    digests = [f"{number:064x}" for number in range(start, start + count)]
    return tuple(Stimulus(name=f"{d[-3:]}.png", digest=d, identity=d) for d in digests)


def a_wish(
    owner: int,
    network: str,
    images: tuple[Stimulus, ...],
    *layers: str,
    is_whole: bool = True,
) -> Wish:
    """Return what a model wants of a network of this name."""
    layers = layers or ("pooled",)
    want = EmbeddingRequest(
        stimuli=images, points=tuple(parse_layer_point(one, one) for one in layers)
    )
    identity = Identity(label=network, facts={"name": network}, is_whole=is_whole)
    context = Context(folder=Path(), project=Path())
    return Wish(
        owner=owner,
        job=EmbeddingJob(entry=ENTRY, identity=identity, context=context, own=want, want=want),
    )


def part_of(order: Order, task: Task) -> Part:
    """Return vectors made of the digests."""
    random = {one.identity: int(one.identity, 16) for one in task.stimuli}
    vectors = np.array([[value, value + 1] for value in random.values()], np.float32)
    rows = {
        name: Rows(identities=(*random,), vectors=vectors, together=False) for name in task.points
    }
    bare = {"rows": rows if random else {}, "failures": {}, "notes": {}, "loaded": "weights"}
    return Part(**bare, checksum=Part(**bare).check())  # type: ignore[arg-type]


@dataclass
class Hands:
    """A crew in this process: every worker does a task for each call of `events`.

    `accident` is asked before every task what happens: nothing, "lost", "raised", "damaged", or a
    `Fault`.
    """

    places: int = 2
    accident: Callable[[int, Order, Task], str | Fault] = lambda _worker, _order, _task: ""
    log: list[tuple[int, str, Task]] = field(default_factory=list)
    given: list[tuple[int, str, Task]] = field(default_factory=list)
    waiting: dict[int, deque[tuple[int, Order, Task]]] = field(default_factory=dict)
    fresh: list[int] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    needs: str = "1 processor"

    def room(self) -> int:
        return self.places

    def hire(self) -> int:
        worker = next(self.numbers)
        self.waiting[worker] = deque()
        self.fresh.append(worker)
        return worker

    def dismiss(self, worker: int) -> None:
        self.waiting.pop(worker, None)

    def give(self, worker: int, ticket: int, order: Order, task: Task) -> None:
        self.given.append((worker, order.job.identity.label, task))
        self.waiting[worker].append((ticket, order, task))

    def forget(self, order: Order) -> None:
        pass

    def events(self, timeout: float) -> list[Event]:
        ready: list[Event] = [Ready(worker=worker) for worker in self.fresh]
        self.fresh = []
        return ready or [self._one(worker) for worker in [*self.waiting] if self.waiting[worker]]

    def _one(self, worker: int) -> Event:
        ticket, order, task = self.waiting[worker].popleft()
        self.log.append((worker, order.job.identity.label, task))
        what = self.accident(worker, order, task)
        if isinstance(what, Fault):
            return Came(worker=worker, ticket=ticket, value=what)
        if what == "lost":
            return Gone(worker=worker, reason="out of memory")
        if what == "raised":
            return Raised(worker=worker, ticket=ticket, reason="ValueError: no")
        part = part_of(order, task)
        if what == "damaged":
            part.rows["pooled"].vectors[0] += 1
        return Came(worker=worker, ticket=ticket, value=part)


@dataclass
class Run:
    """A dispatch with what it told."""

    hands: Hands
    cache: EmbeddingCache
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    seen: list[tuple[int, int, str]] = field(default_factory=list)

    def dispatch(self, *, batch_size: int = 2, shard: int = 4, most: int | None = None) -> Dispatch:
        return Dispatch(
            crew=self.hands,
            cache=self.cache,
            portions=Portions(batch_size=batch_size, shard=shard),
            most=most,
            tell=self.outcomes.__setitem__,
            progress=lambda *told: self.seen.append(told),
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two workers and an empty cache."""
    return Run(hands=Hands(), cache=EmbeddingCache(folder=tmp_path / "cache", is_required=True))
