"""A crew that is sought when there is work for it: where the cache has everything, it never is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.embeddings.engines.crew import Crew, Event
    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.engines.worker import Order


@dataclass(kw_only=True, slots=True)
class LateCrew:
    """Workers that nobody looks for before they are needed."""

    connect: Callable[[], tuple[Crew, str]]
    _found: tuple[Crew, str] | None = None
    _orders: dict[str, tuple[Order, Order]] = field(default_factory=dict)

    @property
    def needs(self) -> str:
        """What a worker takes of a machine, in words."""
        return self._crew.needs

    def room(self) -> int:
        """Return how many workers the machines hold that are there now."""
        return self._crew.room()

    def hire(self) -> int:
        """Ask for a worker; return its number."""
        return self._crew.hire()

    def dismiss(self, worker: int) -> None:
        """Let a worker go, if it is there."""
        self._crew.dismiss(worker)

    def give(self, worker: int, ticket: int, order: Order, task: Task) -> None:
        """Give a worker a task, to be done after those it has."""
        kept = self._orders.get(order.key)
        if kept is None or kept[0] is not order:
            # Made once: a crew sends the same order only once.
            kept = self._orders[order.key] = (order, self._placed(order))
        self._crew.give(worker, ticket, kept[1], task)

    def forget(self, order: Order) -> None:
        """Let go of what was kept of a network."""
        kept = self._orders.pop(order.key, None)
        if kept is not None:
            self._crew.forget(kept[1])

    def events(self, timeout: float) -> Sequence[Event]:
        """Return what happened, after so many seconds at the latest."""
        return self._crew.events(timeout)

    @property
    def _crew(self) -> Crew:
        return self._connected()[0]

    def _connected(self) -> tuple[Crew, str]:
        if self._found is None:
            self._found = self.connect()
        return self._found

    def _placed(self, order: Order) -> Order:
        """Return an order that says where workers compute, which only the cluster knows."""
        context = dataclasses.replace(order.job.context, device=self._connected()[1])
        return dataclasses.replace(order, job=dataclasses.replace(order.job, context=context))
