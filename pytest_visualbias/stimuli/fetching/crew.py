"""Several threads at work on a list, and one that takes what they bring."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

Task = TypeVar("Task")
Result = TypeVar("Result")

# How long a wait goes on without looking up: on Windows an interrupt is not seen before.
GLANCE = 0.2
FAREWELL = 1.0


class Crew(Generic[Task, Result]):
    """Threads that a process does not wait for when it ends."""

    def __init__(self, work: Callable[[Task], Result], jobs: int, stop: threading.Event) -> None:
        self._work, self._jobs, self._stop = work, jobs, stop
        self._todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

    def results(self, tasks: Sequence[Task]) -> Generator[Result, None, None]:
        """Yield the results as they come; what `work` raises is raised here."""
        for task in tasks:
            self._todo.put(task)
        threads = [
            threading.Thread(target=self._serve, daemon=True)
            for _ in range(min(self._jobs, len(tasks)))
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in tasks:
                result = self._next()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(FAREWELL)

    def _next(self) -> Result | BaseException:
        while True:
            try:
                return self._done.get(timeout=GLANCE)
            except queue.Empty:
                continue

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                task = self._todo.get_nowait()
            except queue.Empty:
                return
            try:
                self._done.put(self._work(task))
            except BaseException as error:  # noqa: BLE001 - raised again where it is taken
                self._done.put(error)
