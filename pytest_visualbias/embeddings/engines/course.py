"""One network on its way: what waits, what is out, and what came back and goes into the cache."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.embeddings.engines.plan import Task, tasks_of
from pytest_visualbias.embeddings.engines.worker import Order
from pytest_visualbias.embeddings.request import CacheLookup, EmbeddingRequest
from pytest_visualbias.spec.hashing import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.engines.plan import Unit
    from pytest_visualbias.embeddings.engines.worker import Part
    from pytest_visualbias.embeddings.engines.writing import Writer

# As in one process: a call that is cut off loses less than this much of its work.
EVERY_S: Final = 30.0

# Many networks are gathered at once, and fast workers give more than memory holds.
MOST_BYTES: Final = 2**26

# A task that so many workers were lost over is not given to another one ...
TRIES: Final = 3

# ... nor the rest of a network's, where so many were lost in a row.
LOSSES: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Portions:
    """How much is done at a time."""

    batch_size: int
    shard: int


@dataclass(kw_only=True, slots=True, eq=False)
class Course:
    """A unit being worked on."""

    unit: Unit
    cache: EmbeddingCache
    writer: Writer
    portions: Portions
    order: Order
    waiting: deque[Task] = field(default_factory=deque)
    out: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    error: str = ""
    embedded: int = 0
    _is_planned: bool = False
    _keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    _known: dict[str, set[str]] = field(default_factory=dict)
    _pending: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    _bytes: int = 0
    _notes: Mapping[str, Any] = field(default_factory=dict)
    _flushed: float = field(default_factory=time.monotonic)
    _tries: Counter[int] = field(default_factory=Counter)
    _losses: int = 0

    @classmethod
    def begin(
        cls, unit: Unit, cache: EmbeddingCache, writer: Writer, portions: Portions, number: int
    ) -> Course:
        """Find what the cache lacks of a network, if that is known before it is loaded."""
        job = unit.job
        bare = EmbeddingRequest(stimuli=(), points=job.want.points)
        context = dataclasses.replace(job.context, digest=digest_of_file)
        sent = dataclasses.replace(job, own=bare, want=bare, context=context)
        order = Order(key=str(number), job=sent, batch_size=portions.batch_size)
        course = cls(unit=unit, cache=cache, writer=writer, portions=portions, order=order)
        if job.identity.is_whole:
            course._plan("")
        else:
            course.waiting.append(Task(number=-1, stimuli=(), points=()))
        return course

    @property
    def is_over(self) -> bool:
        """Whether nothing waits and nothing is out."""
        return not self.waiting and not self.out

    @property
    def is_planned(self) -> bool:
        """Whether it is known what is to be done."""
        return self._is_planned

    def _plan(self, loaded: str) -> None:
        job = self.unit.job
        self._keys = job.keys(job.identity.fingerprint(loaded))
        # A memory of its own: those of all networks together would not fit.
        own = dataclasses.replace(self.cache, _memory={})
        known = CacheLookup.of(own, self._keys, job.want)
        portions = self.portions
        self.waiting.extend(tasks_of(known, shard=portions.shard, batch_size=portions.batch_size))
        self._known = {name: set(vectors) for name, vectors in known.vectors.items()}
        self._is_planned = True

    def take(self, part: Part) -> None:
        """Take what came of a task; the writer has it after `flush` at the latest."""
        self._losses = 0
        if not self._is_planned:
            self.order = dataclasses.replace(self.order, loaded=part.loaded)
            self._plan(part.loaded)
            return
        self._notes = part.notes
        self.failures |= part.failures
        done = set(part.failures)
        for name, rows in part.rows.items():
            done |= {*rows.identities}
            # What is read in place would keep the memory that workers share.
            vectors = rows.vectors.copy()
            found = dict(zip(rows.identities, vectors, strict=True))
            if rows.together:
                self.writer.put(self._keys[name][1], found, self._notes)
                continue
            new = {one: row for one, row in found.items() if one not in self._known[name]}
            self._pending.setdefault(name, {}).update(new)
            self._bytes += vectors.nbytes
        self.embedded += len(done)
        if self._bytes > MOST_BYTES or time.monotonic() - self._flushed > EVERY_S:
            self.flush()

    def lose(self, task: Task, reason: str) -> None:
        """Let a task be done again that a worker was lost over, or give it up."""
        self._tries[task.number] += 1
        self._losses += 1
        label = self.unit.job.identity.label
        if self._losses >= LOSSES:
            self.fail(
                f"the network '{label}' was given up after {self._losses} lost workers in a row "
                f"({reason}); give its tasks more memory, or smaller ones with --batch-size"
            )
        elif self._tries[task.number] < TRIES:
            self.waiting.appendleft(task)
        elif not task.stimuli:
            self.fail(f"the network '{label}' was given up after {TRIES} tries ({reason})")
        else:
            self.given_up.append(
                f"the network '{label}' was tried {TRIES} times on {task}, and then given up "
                f"({reason}); run again"
            )
            self.failures |= {stimulus.identity: "" for stimulus in task.stimuli}

    def fail(self, reason: str) -> None:
        """Stop; what is out still comes, and is kept."""
        self.error = self.error or reason
        self.waiting.clear()

    def flush(self) -> None:
        """Have written what is not."""
        for name, vectors in self._pending.items():
            if vectors:
                self.writer.put(self._keys[name][0], vectors, self._notes)
        self._pending, self._bytes, self._flushed = {}, 0, time.monotonic()
