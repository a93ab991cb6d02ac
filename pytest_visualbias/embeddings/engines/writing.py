"""Writing to the cache beside the work: digests and disks take their time, and no processor."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pytest_visualbias.embeddings.cache import EmbeddingCache

THREADS: Final = 4

# Portions that wait to be written, in memory: who gives more waits, too.
MOST: Final = 8


class Writer:
    """Writes portions of vectors, a few of them at a time."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="visualbias-write")
        self._waiting: deque[Future[None]] = deque()

    def put(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Write vectors soon; they must not be changed."""
        while len(self._waiting) >= MOST:
            self._wait()
        self._waiting.append(self._pool.submit(self._cache.append, key, vectors, notes))

    def finish(self) -> None:
        """Return when everything is written."""
        while self._waiting:
            self._wait()

    def close(self) -> None:
        """Let the threads go, when they are done."""
        self._pool.shutdown()

    def _wait(self) -> None:
        self._waiting.popleft().result()
