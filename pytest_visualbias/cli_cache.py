"""The console script's word on the cache: where it is, what lies in it, and pruning it."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.cli_shared import shared_info, shared_prune
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.contents import count_images, survey
from pytest_visualbias.embeddings.housekeeping import clear, prune
from pytest_visualbias.embeddings.shared import SharedCache
from pytest_visualbias.embeddings.sizes import parse_size, shown_size
from pytest_visualbias.errors import UsageError
from pytest_visualbias.remote.urls import Url, place
from pytest_visualbias.spec.remembered import DigestMemo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_visualbias.embeddings.contents import Contents, Key

__all__ = [
    "add_actions",
    "add_place",
    "cache_folder",
    "opened",
    "place_of",
    "remembered",
    "shared_of",
]

OK, FAULTY, USAGE = 0, 1, 2
VARIABLE = "VISUALBIAS_CACHE"
PYTESTS = ".pytest_cache"
BELOW = Path("d", "visualbias")
MARKS = (".git", "pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}
Result = TypeVar("Result")
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([hdw])", re.IGNORECASE | re.ASCII)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare the option that says where the cache is."""
    parser.add_argument(
        "--cache",
        type=_place,
        metavar="DIR|URL",
        help=f"the cache (default: ${VARIABLE}, else pytest's cache of the nearest folder)",
    )


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done with the cache."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    info = actions.add_parser("info", help="say what lies in the cache, and since when")
    add_place(info)
    info.set_defaults(run=_info)
    pruning = actions.add_parser(
        "prune", help="remove what killed runs and older versions left, and what is unused"
    )
    add_place(pruning)
    pruning.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="remove the least recently used until the rest is under a size, such as 2GB",
    )
    pruning.add_argument(
        "--older-than",
        type=_age,
        metavar="AGE",
        help="remove what was not used for so long, such as 12h, 30d or 8w",
    )
    pruning.add_argument("--all", action="store_true", help="remove everything")
    pruning.set_defaults(run=_prune)


def remembered(named: Path | Url | None, *, rehash: bool) -> DigestMemo:
    """Return the digests of the cache that pytest would use; none is made for them alone."""
    return DigestMemo.inside(place_of(named), rehash=rehash)


def place_of(named: Path | Url | None) -> Path | None:
    """Return the folder of the cache that pytest would use, where there is one already.

    Of a cache at a URL, it is the folder on this machine: the one that is not at a URL.
    """
    chosen = _chosen(named)
    if isinstance(chosen, Url):
        chosen = _chosen(None) if named is not None else None
    return chosen if isinstance(chosen, Path) else _nearest()


def shared_of(
    named: Path | Url | None, *, offline: bool, fills: bool = False
) -> SharedCache | None:
    """Return the cache at a URL, where one is meant that may be reached."""
    chosen = _chosen(named)
    if isinstance(chosen, Url) and (chosen.is_near or not offline):
        return SharedCache(url=chosen, fills=fills)
    return None


def opened(
    named: Path | Url | None, *, offline: bool = False, fills: bool = False
) -> EmbeddingCache:
    """Return the cache that pytest would use here, reached where it is at a URL.

    Parameters
    ----------
    named : Path, Url or None
        What an option says.
    offline : bool
        Whether the network must not be touched.
    fills : bool
        Whether what lies in the folder already is to be at the URL, too.

    Raises
    ------
    StorageError
        Where it cannot be reached.
    """
    shared = shared_of(named, offline=offline, fills=fills)
    if shared is not None:
        shared.check()
    return EmbeddingCache(folder=cache_folder(named), shared=shared)


def cache_folder(named: Path | Url | None) -> Path:
    """Return the folder of the cache that pytest would use here, whether it is there or not."""
    return place_of(named) or Path.cwd() / PYTESTS / BELOW


def _chosen(named: Path | Url | None) -> Path | Url | None:
    if isinstance(named, Url):
        return named
    text = str(named) if named is not None else os.environ.get(VARIABLE, "")
    found = place(text)
    if isinstance(found, Url):
        return found
    return found.expanduser() if text else None


def _nearest() -> Path | None:
    """Return the folder below pytest's cache of this folder or the nearest above it.

    None above the project is looked at: that of a shared folder may be somebody else's.
    """
    homes = (folder / PYTESTS for folder in _project(Path.cwd()))
    return next((home / BELOW for home in homes if home.is_dir()), None)


def _project(here: Path) -> list[Path]:
    """Return a folder and those above it, to the last that holds a file only projects hold."""
    folders = [here, *here.parents]
    marked = (any((folder / name).exists() for name in MARKS) for folder in folders)
    last = max((number for number, holds in enumerate(marked) if holds), default=0)
    return folders[: last + 1]


def _folder(named: Path | None) -> Path:
    """Return the folder of the cache, which is there."""
    folder = cache_folder(named)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UsageError(f"{folder} is not a folder; say with --cache where the cache is")
    raise UsageError(f"there is no cache in {folder}; say with --cache where it is")


def _place(text: str) -> Path | Url:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give one")
    return place(text)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _age(text: str) -> float:
    found = AGE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not an age; write one such as 12h or 30d")
    return float(found[1]) * SECONDS[found[2].lower()]


def _info(options: argparse.Namespace) -> int:
    shared = shared_of(options.cache, offline=False)
    if shared is not None:
        print("\n".join(shared_info(shared)))
        return OK
    folder = _folder(options.cache)
    print("\n".join([f"cache in {folder}", *_told(_read(survey, folder))]))
    return OK


def _told(found: Contents) -> Iterator[str]:
    keys = [key for key in found.keys if not key.is_outdated]
    outdated = [key for key in found.keys if key.is_outdated]
    files = sum(len(key.files) for key in keys)
    yield f"{_counted(len(keys), 'key')}, each a network at a layer or results of tests"
    yield f"{_counted(count_images(keys), 'image')}"
    yield f"{_counted(files, 'file')}, {_sum(keys)}"
    if keys:
        yield f"used between {_day(keys[0].used)} and {_day(keys[-1].used)}"
    if found.fetched:
        yield f"copies of {_counted(len(found.fetched), 'URL')}: {_sum(found.fetched)}"
    yield f"digests of files: {shown_size(found.memo)}"
    if outdated:
        what = _counted(len(outdated), "key")
        yield f"to prune: {what} of older versions, {_sum(outdated)}"
    if found.leftovers:
        size = shown_size(sum(found.leftovers.values()))
        yield f"to prune: {_counted(len(found.leftovers), 'leftover')} of killed runs, {size}"


def _prune(options: argparse.Namespace) -> int:
    asked = {"limit": options.max_size, "unused_for": options.older_than}
    if options.all and any(value is not None for value in asked.values()):
        print("--all removes everything; leave out --max-size and --older-than", file=sys.stderr)
        return USAGE
    shared = shared_of(options.cache, offline=False)
    if shared is not None:
        print(shared_prune(shared, is_all=options.all, **asked))
        return OK
    folder = _folder(options.cache)
    removed = _read(clear if options.all else functools.partial(prune, **asked), folder)
    for problem in removed.problems:
        print(problem, file=sys.stderr)
    keys, leftovers = _counted(removed.keys, "key"), _counted(removed.leftovers, "leftover")
    left = shown_size(_read(survey, folder).size)
    print(f"removed {keys} and {leftovers}, {shown_size(removed.size)}; {left} left in {folder}")
    return FAULTY if removed.problems else OK


def _read(action: Callable[[Path], Result], folder: Path) -> Result:
    try:
        return action(folder)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be read ({error.strerror}); correct its permissions"
        ) from None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sum(keys: Iterable[Key]) -> str:
    return shown_size(sum(key.size for key in keys))


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
