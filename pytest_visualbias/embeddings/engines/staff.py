"""The workers that there are: as many as there is room and work for, and no end of losses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_visualbias.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.embeddings.engines.course import Course
    from pytest_visualbias.embeddings.engines.crew import Crew
    from pytest_visualbias.embeddings.engines.plan import Task

FILLED_EVERY_S: Final = 5.0

# How long a cluster may be without any machine that holds a worker; longer where somebody said how
# many will come, for machines take minutes to start.
PATIENCE_S: Final = 60.0
STARTING_S: Final = 900.0

# Workers that may be lost in a row before any task is done, besides all that there ever were.
BARREN: Final = 6


@dataclass(kw_only=True, slots=True)
class Hand:
    """A worker."""

    is_ready: bool = False
    course: Course | None = None
    tasks: dict[int, tuple[Course, Task]] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Staff:
    """Hires workers, and counts those that are lost."""

    crew: Crew
    most: int | None
    hands: dict[int, Hand] = field(default_factory=dict)
    _peak: int = 0
    _barren: int = 0
    _filled: float = float("-inf")
    _homeless: float | None = None

    def __str__(self) -> str:
        """Say how many are at work; what is done without any was done before."""
        if not self._peak:
            return "in the cache"
        ready = sum(hand.is_ready for hand in self.hands.values())
        awaited = f", waiting for {self.crew.needs}" if self.hands and not ready else ""
        return f"{ready} worker{'s' * (ready != 1)}{awaited}"

    def fill(self, work: Callable[[], int]) -> None:
        """Hire as many workers as there is room and work for, now and then."""
        now = time.monotonic()
        if now - self._filled < FILLED_EVERY_S:
            return
        self._filled = now
        room = self.crew.room()
        places = room if self.most is None else self.most
        for _ in range(len(self.hands), min(places, work())):
            self.hands[self.crew.hire()] = Hand()
        self._peak = max(self._peak, len(self.hands))
        self._check_place(room, now)

    def lose(self, worker: int, reason: str) -> None:
        """Let a worker go that is lost, and look for another one."""
        self.crew.dismiss(worker)
        del self.hands[worker]
        self._filled = float("-inf")
        self._barren += 1
        if self._barren > BARREN + self._peak:
            raise EngineError(
                f"{self._barren} workers were lost one after the other ({reason})",
                "see that every machine has the same Python and packages, and memory for the "
                "network",
            )

    def note_success(self) -> None:
        """Take note that a worker got something done."""
        self._barren = 0

    def _check_place(self, room: int, now: float) -> None:
        """Give up where no machine could hold a worker for a while, or from the start."""
        if room or any(hand.is_ready for hand in self.hands.values()):
            self._homeless = None
            return
        self._homeless = now if self._homeless is None else self._homeless
        if self.most is None and not self._peak:
            raise EngineError(
                f"no machine of the cluster has {self.crew.needs}",
                "ask for less with --gpus-per-task or --cpus-per-task, or say with --workers how "
                "many will come",
            )
        patience = PATIENCE_S if self.most is None else STARTING_S
        if now - self._homeless > patience:
            raise EngineError(
                f"no machine of the cluster had {self.crew.needs} for {patience:.0f} s",
                "run again when there is one: what was done is kept",
            )
