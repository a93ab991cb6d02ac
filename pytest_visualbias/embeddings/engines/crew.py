"""What a cluster is to us: workers that are hired, are given tasks, and may be lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.engines.worker import Fault, Order, Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A worker is at work."""

    worker: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """What came of a task."""

    worker: int
    ticket: int
    value: Part | Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """Nothing came of a task, but the worker is there."""

    worker: int
    ticket: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """A worker is lost, with all that it had."""

    worker: int
    reason: str


Event: TypeAlias = Ready | Came | Raised | Gone


class Crew(Protocol):
    """Workers somewhere."""

    @property
    def needs(self) -> str:
        """What a worker takes of a machine, in words."""
        ...  # pragma: no cover

    def room(self) -> int:
        """Return how many workers the machines hold that are there now."""
        ...  # pragma: no cover

    def hire(self) -> int:
        """Ask for a worker; return its number. It is `Ready` when there is a place for it."""
        ...  # pragma: no cover

    def dismiss(self, worker: int) -> None:
        """Let a worker go, if it is there."""
        ...  # pragma: no cover

    def give(self, worker: int, ticket: int, order: Order, task: Task) -> None:
        """Give a worker a task, to be done after those it has."""
        ...  # pragma: no cover

    def forget(self, order: Order) -> None:
        """Let go of what was kept of a network."""
        ...  # pragma: no cover

    def events(self, timeout: float) -> Sequence[Event]:
        """Return what happened, after so many seconds at the latest."""
        ...  # pragma: no cover
