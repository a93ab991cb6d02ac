"""What is to be embedded: every network once, in tasks of some images each.

Pure: what the cache has is asked of it elsewhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.plan import merged
from pytest_visualbias.pipeline.embedding import network_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.pipeline.network import Job, Known
    from pytest_visualbias.spec.stimuli import Stimulus

__all__ = ["Outcome", "Task", "Unit", "Wish", "aligned", "apart", "tasks_of", "units_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What one model of one spec wants of one network.

    Attributes
    ----------
    owner : int
        Position of the model among those that were asked for.
    job : Job
        The network; its two wants are the same.
    """

    owner: int
    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One network, for all who want something of it.

    Attributes
    ----------
    job : Job
        Of the first wish, with what all of them want.
    wishes : tuple of Wish
        One or more.
    """

    job: Job
    wishes: tuple[Wish, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Some images for one network.

    Attributes
    ----------
    number : int
        Among the tasks of its unit.
    stimuli : tuple of Stimulus
        None where only the network is asked what it is.
    points : tuple of str
        Names of the layers at which any image of the unit lacks a vector.
    """

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
    """What came of a model of a spec.

    Attributes
    ----------
    images, networks, layers : int
        How many are in the cache now.
    embedded : int
        Images that passed through a network for it in this call.
    faults : tuple of str
        A sentence for all that could not be embedded.
    failed : bool
        Whether there is nothing else to say than the faults.
    is_kept : bool
        Whether the cache keeps the vectors of the model; if not, nothing was embedded.
    """

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
        key = (network_of(wish.job.identity), wish.job.context.precision)
        found.setdefault(key, []).append(wish)
    return tuple(_unit(group) for group in found.values())


def apart(unit: Unit) -> tuple[Unit, ...]:
    """Return a unit for each of its wishes: what one gets wrong is no other's error."""
    return tuple(_unit([wish]) for wish in unit.wishes)


def _unit(wishes: Sequence[Wish]) -> Unit:
    job = wishes[0].job
    want = merged(job.own, [wish.job.own for wish in wishes[1:]])
    return Unit(job=dataclasses.replace(job, want=want), wishes=tuple(wishes))


def aligned(shard: int, batch_size: int) -> int:
    """Return the images of a task: whole batches, so that the batches are those of one process."""
    return -(-shard // batch_size) * batch_size


def tasks_of(known: Known, *, shard: int, batch_size: int) -> tuple[Task, ...]:
    """Return the tasks for what the cache lacks of a network; none where it lacks nothing.

    Parameters
    ----------
    known : Known
        What the cache has and lacks.
    shard : int
        Images in a task, at most; rounded up to whole batches.
    batch_size : int
        Images in one forward pass.
    """
    # Flattened maps may be too large to be kept: their vectors are made of all of them at once.
    is_whole = any(point.pooling == "flatten" for point in known.points)
    size = len(known.missing) if is_whole else aligned(shard, batch_size)
    points = tuple(point.name for point in known.points)
    starts = range(0, len(known.missing), max(1, size))
    return tuple(
        Task(number=number, stimuli=known.missing[start : start + size], points=points)
        for number, start in enumerate(starts)
    )
