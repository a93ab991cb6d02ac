"""Find the cache, and list, measure and evict its entries."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import safetensors

from pytest_visualbias.embeddings.cache import FORMAT, SharedCache
from pytest_visualbias.spec.urls import Url, to_path
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE
from pytest_visualbias.stimuli.mirror import FETCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

KEY = re.compile(r"[0-9a-f]{64}")
LOCK = re.compile(rf"{KEY.pattern}\.lock")
FORMATS = re.compile(r"[0-9]+")
VECTORS, PART = ".safetensors", ".part"
DAY = 86_400.0
UNREADABLE = (KeyError, OSError, TypeError, ValueError, safetensors.SafetensorError)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheKey:
    """The vectors of one network at one layer, or the results of a family of tests."""

    path: Path
    files: Mapping[Path, int]
    used: float

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def is_outdated(self) -> bool:
        """Whether an older cache format wrote the key, so that it is never read."""
        return not self.is_fetched and _is_outdated(self.path.parent)

    @property
    def is_fetched(self) -> bool:
        """Whether the key holds downloaded files."""
        return self.path.parent.name == FETCHED


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheContents:
    """The contents of a cache folder."""

    keys: tuple[CacheKey, ...]
    leftovers: Mapping[Path, int]
    locks: Mapping[Path, float]
    hollow: tuple[Path, ...]
    memo: int
    fetched: tuple[CacheKey, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the keys, downloads and digests."""
        return sum(key.size for key in (*self.keys, *self.fetched)) + self.memo

    @property
    def idle(self) -> list[CacheKey]:
        """Keys in the order of eviction; downloads are included after a day."""
        fetched = [key for key in self.fetched if key.used < time.time() - DAY]
        return sorted([*self.keys, *fetched], key=_eviction_order)


def list_cache(folder: Path) -> CacheContents:
    """Return the contents of a cache folder; nothing if it does not exist."""
    top = _entries(folder)
    homes = [
        path for path, status in top.items() if FORMATS.fullmatch(path.name) and _is_folder(status)
    ]
    inside = {path: entry for home in homes for path, entry in _entries(home).items()}
    leftovers = _unfinished(top, prefix=DIGESTS_FILE)
    keys: list[CacheKey] = []
    hollow: list[Path] = []
    for path, status in inside.items():
        if not (KEY.fullmatch(path.name) and _is_folder(status)):
            continue
        entries = _entries(path)
        leftovers |= _unfinished(entries)
        if files := _cache_files(entries):
            keys.append(CacheKey(path=path, files=files, used=status.st_mtime))
        elif _is_old(status):
            hollow.append(path)
    return CacheContents(
        keys=tuple(sorted(keys, key=_eviction_order)),
        leftovers=leftovers,
        locks={
            path: status.st_mtime for path, status in inside.items() if LOCK.fullmatch(path.name)
        },
        hollow=(*hollow, *(home for home in homes if _is_outdated(home))),
        memo=top[folder / DIGESTS_FILE].st_size if folder / DIGESTS_FILE in top else 0,
        fetched=tuple(_fetched(folder / FETCHED)),
    )


def _eviction_order(key: CacheKey) -> tuple[bool, float, Path]:
    return not key.is_outdated, key.used, key.path


def _fetched(home: Path) -> Iterator[CacheKey]:
    for path, entry in _entries(home).items():
        if KEY.fullmatch(path.name) and _is_folder(entry):
            yield CacheKey(path=path, files=dict(_files_below(path)), used=entry.st_mtime)


def _files_below(folder: Path) -> Iterator[tuple[Path, int]]:
    for path, entry in _entries(folder).items():
        if _is_folder(entry):
            yield from _files_below(path)
        else:
            yield path, entry.st_size


def _entries(folder: Path) -> dict[Path, os.stat_result]:
    """Return the entries of a folder, sorted by name; symlinks are not followed."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    entries = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            entries[path] = path.lstat()
    return entries


def _is_outdated(home: Path) -> bool:
    return int(home.name) < int(FORMAT)


def _cache_files(entries: Mapping[Path, os.stat_result]) -> dict[Path, int]:
    return {
        path: entry.st_size
        for path, entry in entries.items()
        if path.suffix == VECTORS and stat.S_ISREG(entry.st_mode)
    }


def _unfinished(entries: Mapping[Path, os.stat_result], prefix: str = "") -> dict[Path, int]:
    """Return temporary files that are too old to be in use."""
    return {
        path: entry.st_size
        for path, entry in entries.items()
        if path.suffix == PART and path.name.startswith(prefix) and _is_old(entry)
    }


def _is_old(status: os.stat_result) -> bool:
    return status.st_mtime < time.time() - DAY


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def count_images(keys: Iterable[CacheKey]) -> int:
    """Return the number of distinct images with vectors; unreadable files count as empty."""
    digests: set[str] = set()
    for path in (path for key in keys for path in key.files if path.suffix == VECTORS):
        with contextlib.suppress(*UNREADABLE), safetensors.safe_open(path, "numpy") as stored:
            digests.update(json.loads(stored.metadata()["digests"]))
    return len(digests)


@dataclass(kw_only=True, slots=True)
class RemovedEntries:
    """Counts of removed entries."""

    keys: int = 0
    leftovers: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


def prune(
    folder: Path, *, limit: int | None = None, unused_for: float | None = None
) -> RemovedEntries:
    """Remove leftovers, outdated keys, and keys that are unused for long or exceed the limit."""
    contents = list_cache(folder)
    oldest = time.time() - unused_for if unused_for is not None else 0.0
    doomed = [key for key in contents.idle if key.is_outdated or key.used < oldest]
    if limit is not None:
        # Both are taken from the front of one order, so that the longer holds the other.
        doomed = max(doomed, _overflow(contents, limit), key=len)
    return _remove(contents, doomed)


def evict_to_limit(folder: Path, limit_bytes: int) -> RemovedEntries:
    """Reduce a cache to a size after a run; ignore errors, which cost space only."""
    try:
        contents = list_cache(folder)
    except OSError:
        return RemovedEntries()
    return _remove(contents, _overflow(contents, limit_bytes))


def clear(folder: Path) -> RemovedEntries:
    """Remove everything that running processes do not use."""
    contents = list_cache(folder)
    removed = _remove(contents, (*contents.keys, *contents.fetched), age=0.0)
    if contents.memo:
        _unlink(folder / DIGESTS_FILE, contents.memo, removed)
    _drop_lock(folder / f"{DIGESTS_FILE}.lock", removed)
    return removed


def _overflow(cache_contents: CacheContents, limit: int) -> list[CacheKey]:
    """Return the keys to remove so that the cache fits a size."""
    excess = cache_contents.size - limit
    doomed: list[CacheKey] = []
    for key in cache_contents.idle:
        if excess <= 0:
            break
        doomed.append(key)
        excess -= key.size
    return doomed


def _remove(
    cache_contents: CacheContents, doomed: Iterable[CacheKey], *, age: float = DAY
) -> RemovedEntries:
    """Remove keys, leftovers and unused locks of an age."""
    removed = RemovedEntries()
    for path, size in cache_contents.leftovers.items():
        removed.leftovers += _unlink(path, size, removed)
    for path, made in cache_contents.locks.items():
        if made <= time.time() - age:
            _drop_lock(path, removed)
    for key in doomed:
        _drop_key(key, removed)
    _drop_empty(cache_contents.hollow)
    return removed


def _drop_key(key: CacheKey, removed: RemovedEntries) -> None:
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


def _unlink(path: Path, size: int, removed: RemovedEntries) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        removed.problems.append(f"{path} cannot be removed ({error.strerror})")
        return False
    removed.size += size
    return True


def _drop_lock(path: Path, removed: RemovedEntries) -> None:
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


VARIABLE = "VISUALBIAS_CACHE"
PYTEST_CACHE = ".pytest_cache"
SUBFOLDER = Path("d", "visualbias")
PROJECT_FILES = (".git", "pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")


def find_cache(named: Path | Url | None) -> Path | None:
    """Return the existing cache folder that pytest would use."""
    chosen = _configured(named)
    if isinstance(chosen, Url):
        chosen = _configured(None) if named is not None else None
    return chosen if isinstance(chosen, Path) else _nearest_cache()


def shared_cache(
    named: Path | Url | None, *, offline: bool, fills: bool = False
) -> SharedCache | None:
    """Return the shared cache, if one is configured and may be reached."""
    chosen = _configured(named)
    if isinstance(chosen, Url) and (chosen.is_near or not offline):
        return SharedCache(url=chosen, fills=fills)
    return None


def _configured(named: Path | Url | None) -> Path | Url | None:
    if isinstance(named, Url):
        return named
    text = str(named) if named is not None else os.environ.get(VARIABLE, "")
    location = to_path(text)
    if isinstance(location, Url):
        return location
    return location.expanduser() if text else None


def _nearest_cache() -> Path | None:
    """Return the visualbias folder in the nearest pytest cache of this folder or a parent."""
    homes = (folder / PYTEST_CACHE for folder in _project_folders(Path.cwd()))
    return next((home / SUBFOLDER for home in homes if home.is_dir()), None)


def _project_folders(here: Path) -> list[Path]:
    """Return a folder and its parents up to the last that looks like a project root."""
    folders = [here, *here.parents]
    marked = (any((folder / name).exists() for name in PROJECT_FILES) for folder in folders)
    last = max((number for number, holds in enumerate(marked) if holds), default=0)
    return folders[: last + 1]
