"""What lies in a cache folder, told from other people's files by its place and name.

The layout is ``<folder>/<format>/<key>/*.safetensors`` for vectors and ``.../numbers.json`` for the
results of tests, with ``<folder>/<format>/<key>.lock`` and
the remembered digests beside it. Copies of what lies at URLs are below ``<folder>/fetched/<key>/``.
"""

from __future__ import annotations

import contextlib
import json
import re
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import safetensors

from pytest_visualbias.embeddings.cache import FORMAT
from pytest_visualbias.remote.mirror import FETCHED
from pytest_visualbias.spec.remembered import MEMO

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Contents", "Key", "count_images", "survey"]

KEY = re.compile(r"[0-9a-f]{64}")
LOCK = re.compile(rf"{KEY.pattern}\.lock")
FORMATS = re.compile(r"[0-9]+")
VECTORS, NUMBERS, PART = ".safetensors", "numbers.json", ".part"
DAY = 86_400.0
UNREADABLE = (KeyError, OSError, TypeError, ValueError, safetensors.SafetensorError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The vectors of one network at one layer, or the results of a family of tests.

    Attributes
    ----------
    path : Path
        The folder.
    files : mapping of Path to int
        Bytes by file.
    used : float
        When it was last loaded or added to, in seconds since the epoch: the time of the folder.
    """

    path: Path
    files: Mapping[Path, int]
    used: float

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def is_outdated(self) -> bool:
        """Whether an older version of the cache wrote it, so that this one never reads it."""
        return not self.is_fetched and _is_outdated(self.path.parent)

    @property
    def is_fetched(self) -> bool:
        """Whether it holds copies of what lies at a URL."""
        return self.path.parent.name == FETCHED


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What lies in a cache folder.

    Attributes
    ----------
    keys : tuple of Key
        In the order in which they should go: older formats, then the least recently used.
    leftovers : mapping of Path to int
        Files that killed runs left unfinished more than a day ago, with their bytes.
    locks : mapping of Path to float
        When the files of locks were made, in seconds since the epoch; held or not.
    hollow : tuple of Path
        Folders of older formats, and old ones of keys without vectors: they go once they are empty.
    memo : int
        Bytes of the remembered digests.
    fetched : tuple of Key
        Copies of what lies at URLs, a key for each URL.
    """

    keys: tuple[Key, ...]
    leftovers: Mapping[Path, int]
    locks: Mapping[Path, float]
    hollow: tuple[Path, ...]
    memo: int
    fetched: tuple[Key, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the keys, of what was fetched, and of the remembered digests."""
        return sum(key.size for key in (*self.keys, *self.fetched)) + self.memo

    @property
    def idle(self) -> list[Key]:
        """What may go in the order in which it should: what was fetched, once a day has passed.

        A run that lacks vectors makes them again; one that lacks an image fails.
        """
        fetched = [key for key in self.fetched if key.used < time.time() - DAY]
        return sorted([*self.keys, *fetched], key=_turn)


def survey(folder: Path) -> Contents:
    """Return what lies in a cache folder; nothing where there is none.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    top = _entries(folder)
    homes = [one for one, said in top.items() if FORMATS.fullmatch(one.name) and _is_folder(said)]
    inside = {path: said for home in homes for path, said in _entries(home).items()}
    leftovers = _unfinished(top, prefix=MEMO)
    keys: list[Key] = []
    hollow: list[Path] = []
    for path, said in inside.items():
        if not (KEY.fullmatch(path.name) and _is_folder(said)):
            continue
        entries = _entries(path)
        leftovers |= _unfinished(entries)
        if files := _kept(entries):
            keys.append(Key(path=path, files=files, used=said.st_mtime))
        elif _is_old(said):
            hollow.append(path)
    return Contents(
        keys=tuple(sorted(keys, key=_turn)),
        leftovers=leftovers,
        locks={one: said.st_mtime for one, said in inside.items() if LOCK.fullmatch(one.name)},
        hollow=(*hollow, *(home for home in homes if _is_outdated(home))),
        memo=top[folder / MEMO].st_size if folder / MEMO in top else 0,
        fetched=tuple(_fetched(folder / FETCHED)),
    )


def _turn(key: Key) -> tuple[bool, float, Path]:
    return not key.is_outdated, key.used, key.path


def _fetched(home: Path) -> Iterator[Key]:
    for path, said in _entries(home).items():
        if KEY.fullmatch(path.name) and _is_folder(said):
            yield Key(path=path, files=dict(_below(path)), used=said.st_mtime)


def _below(folder: Path) -> Iterator[tuple[Path, int]]:
    for path, said in _entries(folder).items():
        if _is_folder(said):
            yield from _below(path)
        else:
            yield path, said.st_size


def _entries(folder: Path) -> dict[Path, os.stat_result]:
    """Return what a folder holds, in the order of names; links are not followed."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            found[path] = path.lstat()
    return found


def _is_outdated(home: Path) -> bool:
    return int(home.name) < int(FORMAT)


def _kept(entries: Mapping[Path, os.stat_result]) -> dict[Path, int]:
    return {
        path: said.st_size
        for path, said in entries.items()
        if (path.suffix == VECTORS or path.name == NUMBERS) and stat.S_ISREG(said.st_mode)
    }


def _unfinished(entries: Mapping[Path, os.stat_result], prefix: str = "") -> dict[Path, int]:
    """Return the files that nobody can still be writing."""
    return {
        path: said.st_size
        for path, said in entries.items()
        if path.suffix == PART and path.name.startswith(prefix) and _is_old(said)
    }


def _is_old(said: os.stat_result) -> bool:
    return said.st_mtime < time.time() - DAY


def _is_folder(said: os.stat_result) -> bool:
    return stat.S_ISDIR(said.st_mode)


def count_images(keys: Iterable[Key]) -> int:
    """Return how many different images have vectors; files that cannot be read have none."""
    digests: set[str] = set()
    for path in (path for key in keys for path in key.files if path.suffix == VECTORS):
        with contextlib.suppress(*UNREADABLE), safetensors.safe_open(path, "numpy") as stored:
            digests.update(json.loads(stored.metadata()["digests"]))
    return len(digests)
