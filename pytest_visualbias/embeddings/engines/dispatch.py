"""Who does what: tasks are given to workers, and those of lost ones to others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_visualbias.embeddings.engines.course import Course
from pytest_visualbias.embeddings.engines.crew import Came, Gone, Raised, Ready
from pytest_visualbias.embeddings.engines.plan import aligned, apart
from pytest_visualbias.embeddings.engines.staff import Staff
from pytest_visualbias.embeddings.engines.tally import Tallies
from pytest_visualbias.embeddings.engines.worker import Fault
from pytest_visualbias.embeddings.engines.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.engines.course import Portions
    from pytest_visualbias.embeddings.engines.crew import Crew, Event
    from pytest_visualbias.embeddings.engines.plan import Outcome, Task, Unit
    from pytest_visualbias.embeddings.engines.staff import Hand
    from pytest_visualbias.embeddings.engines.worker import Part

# A worker has one task more than it works on, so that it need not wait for the next one.
DEPTH: Final = 2
TICK_S: Final = 1.0


@dataclass(kw_only=True, slots=True)
class Dispatch:
    """Has units done by a crew."""

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
    _staff: Staff = field(init=False)
    _tallies: Tallies = field(default_factory=Tallies)
    _writer: Writer = field(init=False)
    _begun: int = 0
    _tickets: int = 0
    _images: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        """Make ready to hire and to write."""
        self._writer = Writer(self.cache)
        self._staff = Staff(crew=self.crew, most=self.most)

    def run(self, units: Sequence[Unit]) -> None:
        """Do all of them."""
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
            self._staff.fill(self._work)
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

    def _work(self) -> int:
        """Return about how many tasks there are."""
        size = aligned(self.portions.shard, self.portions.batch_size)
        ahead = sum(-(-len(unit.job.want.stimuli) // size) for unit in self._units)
        return ahead + sum(len(course.waiting) + course.out for course in self._courses)

    def _assign(self) -> None:
        for depth in range(DEPTH):
            for worker, hand in self._staff.hands.items():
                if hand.is_ready and len(hand.tasks) == depth:
                    self._give(worker, hand)

    def _give(self, worker: int, hand: Hand) -> None:
        course = self._choose(hand)
        if course is None:
            return
        task = course.waiting.popleft()
        course.out += 1
        self._tickets += 1
        hand.course = course
        hand.tasks[self._tickets] = (course, task)
        self.crew.give(worker, self._tickets, course.order, task)

    def _choose(self, hand: Hand) -> Course | None:
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
        hand = self._staff.hands.get(event.worker)
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
            self._staff.note_success()
            course.fail(value.reason)
        elif value.check() != value.checksum:
            self._lose(course, task, "its vectors were damaged on the way")
        else:
            self._staff.note_success()
            self.done += 1
            before = course.embedded
            course.take(value)
            self._images[0] += course.embedded - before

    def _lose(self, course: Course, task: Task, reason: str) -> None:
        before = len(course.waiting)
        if not course.error:
            course.lose(task, reason)
        self.again += len(course.waiting) > before

    def _replace(self, worker: int, hand: Hand, reason: str) -> None:
        """Put the tasks of a lost worker back; the one it was at may be why it was lost."""
        self.lost += 1
        tasks = [*hand.tasks.values()]
        for course, _ in tasks:
            course.out -= 1
        for course, task in reversed(tasks[1:]):
            if not course.error:
                course.waiting.appendleft(task)
                self.again += 1
        for course, task in tasks[:1]:
            self._lose(course, task, reason)
        self._staff.lose(worker, reason)

    def _show(self) -> None:
        done, total = self._images
        self.progress(done, total, str(self._staff))
