"""Workers on a cluster of Ray, which holds places and processors; what is done again is ours."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.embeddings.engines.crew import Came, Gone, Raised, Ready
from pytest_visualbias.embeddings.engines.worker import Worker
from pytest_visualbias.errors import UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.embeddings.engines.crew import Event
    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.engines.worker import Order

# How the line begins in which Ray says why a worker is lost.
DEAD: Final = "The actor is dead because "


def require_ray() -> None:
    """Make sure that Ray is there."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "the engine 'ray' needs Ray, which is not installed",
            "pip install 'pytest-visualbias[ray]'",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a worker takes of a machine; Ray gives it no more."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        """Say it in words."""
        cpus = f"{self.cpus} processor{'s' * (self.cpus != 1)}"
        return f"{cpus} and {self.gpus:g} GPU" if self.gpus else cpus

    def on(self, resources: dict[str, float]) -> int:
        """Return how many of these a machine holds."""
        most = math.floor(resources.get("CPU", 0.0) / self.cpus)
        if not self.gpus:
            return most
        # A share is of one GPU, so what is over of several is of no use.
        gpus = resources.get("GPU", 0.0)
        per_gpu = math.floor(1 / self.gpus + 1e-9)
        held = math.floor(gpus) * per_gpu if self.gpus < 1 else math.floor(gpus / self.gpus)
        return min(most, held)


def alive(ray: Any) -> list[dict[str, Any]]:
    """Return the machines of a cluster that are there, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


@dataclass(kw_only=True, slots=True)
class RayCrew:
    """Actors of Ray."""

    ray: Any
    place: Place
    _workers: dict[int, Any] = field(default_factory=dict)
    _orders: dict[str, tuple[Order, Any]] = field(default_factory=dict)
    _awaited: dict[Any, tuple[int, int | None]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def needs(self) -> str:
        """What a worker takes of a machine, in words."""
        return str(self.place)

    def device(self, wanted: str) -> str:
        """Return where workers compute: Ray hides no GPU from a worker that has none."""
        if wanted == "cuda" and not self.place.gpus:
            raise UsageError("--device cuda needs GPUs in the cluster, and --gpus-per-task over 0")
        if wanted == "auto":
            return "cuda" if self.place.gpus else "cpu"
        return wanted

    def room(self) -> int:
        """Return how many workers the machines hold that are there now."""
        return sum(self.place.on(node["Resources"]) for node in alive(self.ray))

    def hire(self) -> int:
        """Ask for a worker; return its number."""
        number = next(self._numbers)
        # Ray would start a lost one anew and repeat its tasks, but count nobody's tries.
        options = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        actor = self.ray.remote(Worker).options(
            num_cpus=self.place.cpus, num_gpus=self.place.gpus, **options
        )
        worker = self._workers[number] = actor.remote()
        self._awaited[worker.where.remote()] = (number, None)
        return number

    def dismiss(self, worker: int) -> None:
        """Let a worker go, if it is there."""
        self._awaited = {
            reference: given for reference, given in self._awaited.items() if given[0] != worker
        }
        actor = self._workers.pop(worker, None)
        if actor is not None:
            with contextlib.suppress(Exception):  # it is gone already
                self.ray.kill(actor, no_restart=True)

    def leave(self) -> None:
        """Let all workers go."""
        for worker in [*self._workers]:
            self.dismiss(worker)

    def give(self, worker: int, ticket: int, order: Order, task: Task) -> None:
        """Give a worker a task, to be done after those it has."""
        kept = self._orders.get(order.key)
        if kept is None or kept[0] is not order:
            # Sent once, however many tasks there are.
            kept = self._orders[order.key] = (order, self.ray.put(order))
        reference = self._workers[worker].embed.remote(kept[1], task)
        self._awaited[reference] = (worker, ticket)

    def forget(self, order: Order) -> None:
        """Let go of what was kept of a network."""
        self._orders.pop(order.key, None)

    def events(self, timeout: float) -> list[Event]:
        """Return what happened, after so many seconds at the latest."""
        awaited = [*self._awaited]
        first, _ = self.ray.wait(awaited, num_returns=1, timeout=timeout)
        if not first:
            return []
        come, _ = self.ray.wait(awaited, num_returns=len(awaited), timeout=0)
        found = [self._event(fromkey) for fromkey in dict.fromkeys((*come, *first))]
        # What a lost worker had done before is kept.
        return sorted(found, key=lambda event: isinstance(event, Gone))

    def _event(self, reference: Any) -> Event:
        worker, ticket = self._awaited.pop(reference)
        errors = self.ray.exceptions
        try:
            value = self.ray.get(reference)
        except (errors.RayActorError, errors.ActorUnschedulableError) as error:
            return Gone(worker=worker, reason=_cause(error))
        except Exception as error:  # noqa: BLE001 - of ours, a lost object, one that is damaged
            cause = getattr(error, "cause", None)
            reason = _first_line(cause if isinstance(cause, Exception) else error)
            if ticket is None:
                return Gone(worker=worker, reason=reason)
            return Raised(worker=worker, ticket=ticket, reason=reason)
        if ticket is None:
            return Ready(worker=worker)
        return Came(worker=worker, ticket=ticket, value=value)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return printable(f"{name}: {lines[0]}" if lines else name)


def _cause(error: BaseException) -> str:
    """Return what Ray says of a lost worker, without its numbers and without advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "creation task" in lines[0]:  # a traceback follows
        return printable(lines[-1])
    told = next((line for line in lines if line.startswith(DEAD)), lines[0])
    return printable(". ".join(told.removeprefix(DEAD).split(". ")[:2]).rstrip("."))
