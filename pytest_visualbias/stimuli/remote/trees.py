"""Folders at URLs, mirrored: the same names, and the content of what is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import StorageError
from pytest_visualbias.stimuli.remote.mirror import OFFLINE, unwritable
from pytest_visualbias.stimuli.remote.names import below, refuse_unsafe
from pytest_visualbias.stimuli.remote.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.spec.urls import Url
    from pytest_visualbias.stimuli.remote.entries import Entry
    from pytest_visualbias.stimuli.remote.mirror import Mirror
    from pytest_visualbias.stimuli.remote.store import Store

THREADS = 8

# A killed run fetches at most so many files again.
AT_ONCE = 256

# No photograph is as large, whatever a store says of it.
LARGEST = 1 << 30
TREE, INDEX = "tree", "tree.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is wanted of a folder at a URL."""

    path: str
    names: tuple[str, ...] | None
    pattern: str
    chosen: Callable[[Path], Sequence[Path]]

    @property
    def is_deep(self) -> bool:
        """Whether folders in it are looked into."""
        return "/" in self.pattern or "**" in self.pattern

    @property
    def key(self) -> str:
        """What tells it from other parts."""
        return json.dumps([self.path, self.names, self.pattern])


@dataclass(kw_only=True, slots=True)
class _Index:
    """What lies in a mirrored folder: stamp and size by path, and the parts seen whole."""

    files: dict[str, list[Any]] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Index:
        with contextlib.suppress(AttributeError, KeyError, OSError, TypeError, ValueError):
            stored = json.loads(path.read_bytes())
            return cls(files=dict(stored["files"]), parts=dict(stored["parts"]))
        return cls()

    def write(self, path: Path) -> None:
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"files": self.files, "parts": self.parts}), encoding="ascii")
        part.replace(path)


def bring(mirror: Mirror, url: Url, part: Part) -> Path:
    """Return a local folder that stands for a URL, as far as a part of it is concerned."""
    return mirror.once(f"{url.text} {part.key}", lambda: [_brought(mirror, url, part)])[0]


def _brought(mirror: Mirror, url: Url, part: Part) -> Path:
    home = mirror.home(url)
    tree = home / TREE
    path = _inside(part.path, url)
    if mirror.must_stay(url):
        _refuse_missing(tree, _Index.read(home / INDEX), part, url)
        return tree
    try:
        with mirror.alone(url):
            tree.mkdir(parents=True, exist_ok=True)
            index = _Index.read(home / INDEX)
            try:
                _renew(tree, path, open_store(url), part, index)
            finally:
                index.write(home / INDEX)
            os.utime(home)
    except OSError as error:
        raise unwritable(tree, error) from None
    return tree


def _inside(path: str, url: Url) -> str:
    """Return a path of a spec as one below the URL, or nothing where it is the URL itself."""
    parts = PurePosixPath(path).parts
    if ".." in parts:
        raise StorageError(f"'{path}' leads out of {url}", "name a URL above both as 'stimuli'")
    for part in parts:
        refuse_unsafe(part, url)
    return "/".join(parts)


def _refuse_missing(tree: Path, index: _Index, part: Part, url: Url) -> None:
    """Raise unless everything of a part lies there from an earlier run."""
    names = index.parts.get(part.key)
    if names is None or not all(_is_there(tree, name, index) for name in names):
        raise StorageError(f"{url / part.path} was not fetched whole yet, {OFFLINE}")


def _renew(tree: Path, path: str, store: Store, part: Part, index: _Index) -> None:
    """Make a part of the local folder what it is in the store."""
    found = _found(store, path, part)
    _shape(tree, path, found, index, part)
    folder = tree / path
    chosen = [one for one in part.chosen(folder) if one.is_file()]
    # A pattern is about this folder alone: a link would lead out of it, and there is none here.
    names = [one.relative_to(tree).as_posix() for one in chosen]
    stale = [name for name in names if _stamp(found[name]) != index.files.get(name, [])]
    gone = [name for name in names if name not in stale and not _is_there(tree, name, index)]
    wanted = list(dict.fromkeys([*stale, *gone]))
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        told = dict(zip(some, _fetched(tree, some, found, store), strict=True))
        index.files |= {name: _stamp(found[name]) for name in some if told[name] is None}
        index.write(tree.parent / INDEX)
        for error in filter(None, told.values()):
            raise error
    index.parts[part.key] = names


def _found(store: Store, path: str, part: Part) -> dict[str, Entry]:
    """Return what is listed of a part, by the path below the URL; hidden files are nobody's."""
    if part.names is None:
        entries = store.listing(path, deep=part.is_deep)
        found = {below(entry.path, store.root, store.url): entry for entry in entries}
        start = len(path) + 1 if path else 0
        return {
            name: one
            for name, one in found.items()
            if not any(piece.startswith(".") for piece in name[start:].split("/"))
        }
    names = [_inside(f"{path}/{name}" if path else name, store.url) for name in part.names]
    folders = dict.fromkeys(name.rpartition("/")[0] for name in names)
    found = {}
    for folder in folders:
        with contextlib.suppress(_Missing):
            entries = _listing(store, folder)
            found |= {below(one.path, store.root, store.url): one for one in entries}
    return {name: found[name] for name in names if name in found}


class _Missing(Exception):  # noqa: N818 - never leaves this module
    """There is no such folder: what is in it is missing, and told so by name."""


def _listing(store: Store, folder: str) -> list[Entry]:
    try:
        return store.listing(folder)
    except StorageError as error:
        if error.is_missing:
            raise _Missing from None
        raise


def _shape(tree: Path, path: str, found: dict[str, Entry], index: _Index, part: Part) -> None:
    """Give a part of the local folder the names that it has in the store, and no others."""
    if part.names is None:
        there = (tree / path).rglob("*") if part.is_deep else (tree / path).glob("*")
    else:
        there = (tree / path / name for name in part.names)
    for one in sorted(there, reverse=True):
        name = one.relative_to(tree).as_posix()
        is_kind = one.is_dir() == found[name].is_folder if name in found else False
        if not is_kind and (part.names is not None or not _holds(name, found)):
            index.files.pop(name, None)
            _remove(one)
    (tree / path).mkdir(parents=True, exist_ok=True)
    for name, entry in found.items():
        at = tree / name
        (at if entry.is_folder else at.parent).mkdir(parents=True, exist_ok=True)
        if not entry.is_folder and not at.exists():
            index.files.pop(name, None)
            at.touch()


def _holds(name: str, found: dict[str, Entry]) -> bool:
    """Whether a folder that the store does not list by itself has files that it lists."""
    return any(one.startswith(f"{name}/") for one in found)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _fetched(
    tree: Path, names: Sequence[str], found: dict[str, Entry], store: Store
) -> list[StorageError | None]:
    """Fetch files several at a time; return for each what went wrong, if anything."""

    def fetch(name: str) -> StorageError | None:
        entry = found[name]
        if entry.size is not None and entry.size > LARGEST:
            return StorageError(f"{store.url / name} has {entry.size:,} bytes", "it is no image")
        try:
            store.fetch(entry, tree / name)
        except StorageError as error:
            return error
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(fetch, names))


def _stamp(entry: Entry) -> list[Any]:
    """Return what changes with the content; never the same where the store says nothing."""
    return [entry.stamp or os.urandom(8).hex(), entry.size]


def _is_there(tree: Path, name: str, index: _Index) -> bool:
    try:
        size = (tree / name).stat().st_size
    except OSError:
        return False
    said = index.files.get(name, [None, -1])[1]
    return name in index.files and said in (size, None)
