"""Removing from a cache folder what nobody used for the longest time.

It may be done beside running processes: they miss a file and compute it again. The folders in which
they read and write stay for a day, and what the cache has not written itself is never touched.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from pytest_visualbias.embeddings.contents import DAY, survey
from pytest_visualbias.spec.remembered import MEMO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.embeddings.contents import Contents, Key

__all__ = ["Removed", "bound", "clear", "prune"]


@dataclass(kw_only=True, slots=True)
class Removed:
    """What was removed, counted while it is.

    Attributes
    ----------
    keys, leftovers : int
        How many; locks are leftovers, too.
    size : int
        Bytes.
    problems : list of str
        A sentence for each that could not be removed.
    """

    keys: int = 0
    leftovers: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


def prune(folder: Path, *, limit: int | None = None, unused_for: float | None = None) -> Removed:
    """Remove what runs and older formats left, and the keys that are too old or too many.

    Parameters
    ----------
    folder : Path
        Of the cache.
    limit : int or None
        Bytes to get under, by removing the least recently used keys.
    unused_for : float or None
        Seconds after which an unused key is removed.

    Raises
    ------
    OSError
        Where the folder cannot be read.
    """
    found = survey(folder)
    oldest = time.time() - unused_for if unused_for is not None else 0.0
    doomed = [key for key in found.idle if key.is_outdated or key.used < oldest]
    if limit is not None:
        # Both are taken from the front of one order, so that the longer holds the other.
        doomed = max(doomed, _overflow(found, limit), key=len)
    return _remove(found, doomed)


def bound(folder: Path, limit_bytes: int) -> Removed:
    """Keep a cache under a size, after a run: whatever goes wrong costs room only.

    Keys of older formats, which another version may still use, go only where room is needed.

    Parameters
    ----------
    folder : Path
        Of the cache.
    limit_bytes : int
        What it may hold.
    """
    try:
        found = survey(folder)
    except OSError:
        return Removed()
    return _remove(found, _overflow(found, limit_bytes))


def clear(folder: Path) -> Removed:
    """Remove everything but what running processes hold or are about to write.

    Raises
    ------
    OSError
        Where the folder cannot be read.
    """
    found = survey(folder)
    removed = _remove(found, (*found.keys, *found.fetched), age=0.0)
    if found.memo:
        _unlink(folder / MEMO, found.memo, removed)
    _drop_lock(folder / f"{MEMO}.lock", removed)
    return removed


def _overflow(found: Contents, limit: int) -> list[Key]:
    """Return the keys without which the others are under a size."""
    excess = found.size - limit
    doomed: list[Key] = []
    for key in found.idle:
        if excess <= 0:
            break
        doomed.append(key)
        excess -= key.size
    return doomed


def _remove(found: Contents, doomed: Iterable[Key], *, age: float = DAY) -> Removed:
    """Remove keys and leftovers, and the locks of this age that nobody holds."""
    removed = Removed()
    for path, size in found.leftovers.items():
        removed.leftovers += _unlink(path, size, removed)
    for path, made in found.locks.items():
        if made <= time.time() - age:
            _drop_lock(path, removed)
    for key in doomed:
        _drop_key(key, removed)
    _drop_empty(found.hollow)
    return removed


def _drop_key(key: Key, removed: Removed) -> None:
    with contextlib.suppress(OSError):  # removed by somebody else
        if key.path.stat().st_mtime > key.used:
            return  # used since it was looked at
        gone = [_unlink(path, size, removed) for path, size in key.files.items()]
        removed.keys += any(gone)
    if key.is_fetched:
        inner = (Path(folder) for folder, _, _ in os.walk(key.path, topdown=False))
        _drop_empty([*inner, key.path])
    elif key.is_outdated:
        _drop_empty([key.path])


def _unlink(path: Path, size: int, removed: Removed) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        removed.problems.append(f"{path} cannot be removed ({error.strerror})")
        return False
    removed.size += size
    return True


def _drop_lock(path: Path, removed: Removed) -> None:
    if not path.exists():
        return  # to take the lock would make it
    # Held by somebody, or on a file system without locks: it stays.
    with contextlib.suppress(OSError, NotImplementedError):
        with filelock.FileLock(path, timeout=0):
            path.unlink()
        removed.leftovers += 1


def _drop_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
