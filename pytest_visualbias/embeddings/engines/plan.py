"""What is to be embedded: every network once, in tasks of some images each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.embed_model import network_key
from pytest_visualbias.embeddings.request import merge_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.embeddings.request import CacheLookup, EmbeddingJob
    from pytest_visualbias.stimuli.resolve import Stimulus


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What one model of one spec wants of one network."""

    owner: int
    job: EmbeddingJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One network, for all who want something of it."""

    job: EmbeddingJob
    wishes: tuple[Wish, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Some images for one network."""

    number: int
    stimuli: tuple[Stimulus, ...]
    points: tuple[str, ...]

    def __str__(self) -> str:
        """Name it by its images."""
        if not self.stimuli:
            return "a look at the network"
        first, last = self.stimuli[0].name, self.stimuli[-1].name
        return f"the image {first}" if first == last else f"the images from {first} to {last}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a model of a spec."""

    images: int = 0
    networks: int = 0
    layers: int = 0
    embedded: int = 0
    faults: tuple[str, ...] = ()
    failed: bool = False
    is_kept: bool = True


def units_of(wishes: Iterable[Wish]) -> tuple[Unit, ...]:
    """Return every network once, in the order in which networks are first wanted."""
    found: dict[tuple[str, str], list[Wish]] = {}
    for wish in wishes:
        # One network at two precisions gives vectors of two kinds.
        key = (network_key(wish.job.identity), wish.job.context.precision)
        found.setdefault(key, []).append(wish)
    return tuple(_unit(group) for group in found.values())


def apart(unit: Unit) -> tuple[Unit, ...]:
    """Return a unit for each of its wishes: what one gets wrong is no other's error."""
    return tuple(_unit([wish]) for wish in unit.wishes)


def _unit(wishes: Sequence[Wish]) -> Unit:
    job = wishes[0].job
    want = merge_requests(job.own, [wish.job.own for wish in wishes[1:]])
    return Unit(job=dataclasses.replace(job, want=want), wishes=tuple(wishes))


def aligned(shard: int, batch_size: int) -> int:
    """Return the images of a task: whole batches, so that the batches are those of one process."""
    return -(-shard // batch_size) * batch_size


def tasks_of(known: CacheLookup, *, shard: int, batch_size: int) -> tuple[Task, ...]:
    """Return the tasks for what the cache lacks of a network; none where it lacks nothing."""
    # Flattened maps may be too large to be kept: their vectors are made of all of them at once.
    is_whole = any(point.pooling == "flatten" for point in known.points)
    size = len(known.missing) if is_whole else aligned(shard, batch_size)
    points = tuple(point.name for point in known.points)
    starts = range(0, len(known.missing), max(1, size))
    return tuple(
        Task(number=number, stimuli=known.missing[start : start + size], points=points)
        for number, start in enumerate(starts)
    )
