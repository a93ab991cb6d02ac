"""The console script's word on a cache at a URL: what lies there, and pruning it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.cache import FORMAT
from pytest_visualbias.embeddings.sizes import shown_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.embeddings.shared import Held, SharedCache

__all__ = ["shared_info", "shared_prune"]


def shared_info(shared: SharedCache) -> Iterator[str]:
    """Yield what lies in a cache at a URL; how many images, only the content of all files says.

    Raises
    ------
    StorageError
        Where it cannot be read.
    """
    keys, leftovers = shared.survey()
    yield f"cache at {shared.url}"
    yield f"{_counted(len(keys), 'key')}, each a network at a layer or results of tests"
    files = sum(len(key.files) for key in keys)
    yield f"{_counted(files, 'file')}, {shown_size(sum(key.size for key in keys))}"
    if keys:
        yield f"written between {_day(keys[0].written)} and {_day(keys[-1].written)}"
    if leftovers:
        yield f"to prune: {_counted(len(leftovers), 'leftover')} of killed runs"


def shared_prune(
    shared: SharedCache, *, limit: int | None, unused_for: float | None, is_all: bool
) -> str:
    """Remove keys of a cache at a URL, those first that nobody added to for the longest time.

    Parameters
    ----------
    shared : SharedCache
        The cache.
    limit : int or None
        Bytes to get under.
    unused_for : float or None
        Seconds after which a key is removed to which nothing was added.
    is_all : bool
        Whether everything goes.

    Returns
    -------
    str
        What was done, in a sentence.

    Raises
    ------
    StorageError
        Where it cannot be read, or something cannot be removed.
    """
    keys, leftovers = shared.survey()
    oldest = time.time() - unused_for if unused_for is not None else 0.0
    doomed = [
        one for one in keys if is_all or int(one.format) < int(FORMAT) or one.written < oldest
    ]
    if limit is not None:
        doomed += _overflow([one for one in keys if one not in doomed], limit)
    files = [file for one in doomed for file in one.files]
    shared.remove([*files, *leftovers])
    gone = shown_size(sum(one.size or 0 for one in [*files, *leftovers]))
    left = shown_size(sum(one.size for one in keys if one not in doomed))
    counts = f"{_counted(len(doomed), 'key')} and {_counted(len(leftovers), 'leftover')}"
    return f"removed {counts}, {gone}; {left} left at {shared.url}"


def _overflow(keys: Sequence[Held], limit: int) -> list[Held]:
    excess = sum(one.size for one in keys) - limit
    doomed: list[Held] = []
    for one in keys:
        if excess <= 0:
            break
        doomed.append(one)
        excess -= one.size
    return doomed


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
