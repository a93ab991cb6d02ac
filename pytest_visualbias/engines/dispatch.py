"""Who does what: tasks are given to workers, and those of lost ones to others."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_visualbias.engines.course import Course
from pytest_visualbias.engines.crew import Came, Gone, Raised, Ready
from pytest_visualbias.engines.plan import aligned, apart
from pytest_visualbias.engines.tally import Tallies
from pytest_visualbias.engines.worker import Fault
from pytest_visualbias.engines.writing import Writer
from pytest_visualbias.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.engines.course import Portions
    from pytest_visualbias.engines.crew import Crew, Event
    from pytest_visualbias.engines.plan import Outcome, Task, Unit
    from pytest_visualbias.engines.worker import Part

__all__ = ["Dispatch"]

# A worker has one task more than it works on, so that it need not wait for the next one.
DEPTH: Final = 2
TICK_S: Final = 1.0
STAFFED_EVERY_S: Final = 5.0
# How long a cluster may be without any machine that holds a worker; longer where somebody said how
# many will come, for machines take minutes to start.
PATIENCE_S: Final = 60.0
STARTING_S: Final = 900.0
# Workers that may be lost in a row before any task is done, besides all that there ever were.
BARREN: Final = 6


@dataclass(kw_only=True, slots=True)
class _Hand:
    """A worker, as the driver sees it."""

    is_ready: bool = False
    course: Course | None = None
    tasks: dict[int, tuple[Course, Task]] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Dispatch:
    """Has units done by a crew.

    Attributes
    ----------
    crew : Crew
        Who does it.
    cache : EmbeddingCache
        Where vectors go.
    portions : Portions
        How much is done at a time.
    most : int or None
        Workers at most; None for as many as there is room for.
    tell : callable
        Told the position of a model and its outcome, once all of its networks are done.
    progress : callable
        Told how many images of how many are done, and in words by whom.
    done : int
        Tasks that were done.
    again : int
        Tasks that were given out again.
    lost : int
        Workers that were lost.
    """

    crew: Crew
    cache: EmbeddingCache
    portions: Portions
    most: int | None = None
    tell: Callable[[int, Outcome], None]
    progress: Callable[[int, int, str], None]
    done: int = 0
    again: int = 0
    lost: int = 0
    _units: deque[Unit] = field(default_factory=deque)
    _courses: list[Course] = field(default_factory=list)
    _hands: dict[int, _Hand] = field(default_factory=dict)
    _tallies: Tallies = field(default_factory=Tallies)
    _writer: Writer = field(init=False)
    _begun: int = 0
    _tickets: int = 0
    _images: list[int] = field(default_factory=lambda: [0, 0])
    _barren: int = 0
    _peak: int = 0
    _staffed: float = float("-inf")
    _homeless: float | None = None

    def __post_init__(self) -> None:
        """Make ready to write."""
        self._writer = Writer(self.cache)

    def run(self, units: Sequence[Unit]) -> None:
        """Do all of them.

        Raises
        ------
        EngineError
            Where no worker can be had, or the cache cannot be written. What was done is kept.
        """
        self._units.extend(units)
        self._tallies = Tallies.of(units)
        self._images = [0, sum(len(unit.job.want.stimuli) for unit in units)]
        try:
            while self._units or self._courses:
                self._step()
        finally:
            try:
                for course in self._courses:
                    course.flush()
                self._writer.finish()
            finally:
                self._writer.close()

    def _step(self) -> None:
        if not any(course.waiting or course.out for course in self._courses):
            self._begin()
        if self._courses:
            self._staff()
            self._assign()
            for event in self.crew.events(TICK_S):
                self._take(event)
        for course in [one for one in self._courses if one.is_over]:
            self._close(course)
        self._show()

    def _begin(self) -> Course | None:
        """Begin with the next unit of which the cache lacks anything."""
        while self._units:
            unit = self._units.popleft()
            self._begun += 1
            course = Course.begin(unit, self.cache, self._writer, self.portions, self._begun)
            if not course.is_over:
                self._courses.append(course)
                return course
            self._settle(course)
        return None

    def _close(self, course: Course) -> None:
        course.flush()
        self._writer.finish()  # what is told to be in the cache is there
        self._courses.remove(course)
        self.crew.forget(course.order)
        if course.error and len(course.unit.wishes) > 1:
            found = apart(course.unit)
            self._images[1] += sum(len(unit.job.want.stimuli) for unit in found)
            self._images[1] -= len(course.unit.job.want.stimuli)
            self._images[0] -= course.embedded
            self._units.extendleft(reversed(found))
            return
        self._settle(course)

    def _settle(self, course: Course) -> None:
        self._images[0] += len(course.unit.job.want.stimuli) - course.embedded
        self._tallies.add(course)
        for owner in {wish.owner: None for wish in course.unit.wishes}:
            outcome = self._tallies.finished(owner)
            if outcome is not None:
                self.tell(owner, outcome)

    # -------------------------------------------------------------------------------- workers

    def _staff(self) -> None:
        """Hire as many workers as there is room and work for."""
        now = time.monotonic()
        if now - self._staffed < STAFFED_EVERY_S:
            return
        self._staffed = now
        room = self.crew.room()
        places = room if self.most is None else self.most
        for _ in range(len(self._hands), min(places, self._work())):
            self._hands[self.crew.hire()] = _Hand()
        self._peak = max(self._peak, len(self._hands))
        self._check_place(room, now)

    def _work(self) -> int:
        """Return about how many tasks there are."""
        size = aligned(self.portions.shard, self.portions.batch_size)
        ahead = sum(-(-len(unit.job.want.stimuli) // size) for unit in self._units)
        return ahead + sum(len(course.waiting) + course.out for course in self._courses)

    def _check_place(self, room: int, now: float) -> None:
        """Give up where no machine could hold a worker for a while, or from the start."""
        if room or any(hand.is_ready for hand in self._hands.values()):
            self._homeless = None
            return
        self._homeless = now if self._homeless is None else self._homeless
        if self.most is None and not self._peak:
            raise EngineError(
                f"no machine of the cluster has {self.crew.needs}; ask for less with "
                "--gpus-per-task or --cpus-per-task, or say with --workers how many will come"
            )
        patience = PATIENCE_S if self.most is None else STARTING_S
        if now - self._homeless > patience:
            raise EngineError(
                f"no machine of the cluster had {self.crew.needs} for {patience:.0f} s; run "
                "again when there is one: what was done is kept"
            )

    # ---------------------------------------------------------------------------------- tasks

    def _assign(self) -> None:
        for depth in range(DEPTH):
            for worker, hand in self._hands.items():
                if hand.is_ready and len(hand.tasks) == depth:
                    self._give(worker, hand)

    def _give(self, worker: int, hand: _Hand) -> None:
        course = self._choose(hand)
        if course is None:
            return
        task = course.waiting.popleft()
        course.out += 1
        self._tickets += 1
        hand.course = course
        hand.tasks[self._tickets] = (course, task)
        self.crew.give(worker, self._tickets, course.order, task)

    def _choose(self, hand: _Hand) -> Course | None:
        """Return what a worker goes on with: its own network, else a new one, else a large one."""
        own = hand.course
        if own is not None and own in self._courses:
            if own.waiting:
                return own
            if not own.is_planned:  # its tasks come next; another network would push it out
                return None
        waiting = [course for course in self._courses if course.waiting]
        unbegun = [course for course in waiting if not course.out]
        if unbegun:
            return unbegun[0]
        begun = self._begin()
        if begun is not None:
            return begun
        return max(waiting, key=lambda course: len(course.waiting), default=None)

    def _take(self, event: Event) -> None:
        hand = self._hands.get(event.worker)
        if hand is None:
            return
        if isinstance(event, Ready):
            hand.is_ready = True
        elif isinstance(event, Gone):
            self._replace(event.worker, hand, event.reason)
        elif event.ticket in hand.tasks:
            course, task = hand.tasks.pop(event.ticket)
            course.out -= 1
            if isinstance(event, Raised):
                self._lose(course, task, event.reason)
            else:
                self._keep(event, course, task)

    def _keep(self, event: Came, course: Course, task: Task) -> None:
        value: Part | Fault = event.value
        if isinstance(value, Fault):
            self._barren = 0
            course.fail(value.reason)
        elif value.check() != value.checksum:
            self._lose(course, task, "its vectors were damaged on the way")
        else:
            self._barren = 0
            self.done += 1
            before = course.embedded
            course.take(value)
            self._images[0] += course.embedded - before

    def _lose(self, course: Course, task: Task, reason: str) -> None:
        before = len(course.waiting)
        if not course.error:
            course.lose(task, reason)
        self.again += len(course.waiting) > before

    def _replace(self, worker: int, hand: _Hand, reason: str) -> None:
        """Put the tasks of a lost worker back; the one it was at may be why it was lost."""
        self.lost += 1
        self._barren += 1
        self.crew.dismiss(worker)
        del self._hands[worker]
        tasks = [*hand.tasks.values()]
        for course, _ in tasks:
            course.out -= 1
        for course, task in reversed(tasks[1:]):
            if not course.error:
                course.waiting.appendleft(task)
                self.again += 1
        for course, task in tasks[:1]:
            self._lose(course, task, reason)
        if self._barren > BARREN + self._peak:
            raise EngineError(
                f"{self._barren} workers were lost one after the other ({reason}); see that every "
                "machine has the same Python and packages, and memory for the network"
            )
        self._staffed = float("-inf")

    def _show(self) -> None:
        ready = sum(hand.is_ready for hand in self._hands.values())
        awaited = f", waiting for {self.crew.needs}" if self._hands and not ready else ""
        done, total = self._images
        self.progress(done, total, f"{ready} worker{'s' * (ready != 1)}{awaited}")
