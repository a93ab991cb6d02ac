"""Show and prune the embedding cache, local or at a URL (`visualbias cache`)."""

from __future__ import annotations

import argparse
import functools
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.embeddings.cache import FORMAT, EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import (
    PYTEST_CACHE,
    SUBFOLDER,
    VARIABLE,
    clear,
    count_images,
    find_cache,
    list_cache,
    prune,
    shared_cache,
)
from pytest_visualbias.errors import UsageError
from pytest_visualbias.reports.formatting import format_count
from pytest_visualbias.spec.urls import Url, to_path
from pytest_visualbias.stimuli.byte_sizes import format_size, parse_size
from pytest_visualbias.stimuli.digest_cache import DigestCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_visualbias.embeddings.cache import RemoteCacheKey, SharedCache
    from pytest_visualbias.embeddings.cache_maintenance import CacheContents, CacheKey


def shared_cache_lines(shared: SharedCache) -> Iterator[str]:
    """Yield the contents of a cache at a URL; image counts would need every file."""
    keys, leftovers = shared.list_keys()
    yield f"cache at {shared.url}"
    yield f"{format_count(len(keys), 'key')}, each a network at a layer"
    files = sum(len(key.files) for key in keys)
    yield f"{format_count(files, 'file')}, {format_size(sum(key.size for key in keys))}"
    if keys:
        yield f"written between {_day(keys[0].written)} and {_day(keys[-1].written)}"
    if leftovers:
        yield f"to prune: {format_count(len(leftovers), 'leftover')} of killed runs"


def prune_shared_cache(
    shared: SharedCache, *, limit: int | None, unused_for: float | None, is_all: bool
) -> str:
    """Remove keys of a cache at a URL, oldest first; return a summary."""
    keys, leftovers = shared.list_keys()
    oldest = time.time() - unused_for if unused_for is not None else 0.0
    doomed = [
        key for key in keys if is_all or int(key.format) < int(FORMAT) or key.written < oldest
    ]
    if limit is not None:
        doomed += _overflow([key for key in keys if key not in doomed], limit)
    files = [file for key in doomed for file in key.files]
    shared.remove([*files, *leftovers])
    freed = format_size(sum(entry.size or 0 for entry in [*files, *leftovers]))
    remaining = format_size(sum(key.size for key in keys if key not in doomed))
    counts = f"{format_count(len(doomed), 'key')} and {format_count(len(leftovers), 'leftover')}"
    return f"removed {counts}, {freed}; {remaining} left at {shared.url}"


def _overflow(keys: Sequence[RemoteCacheKey], limit: int) -> list[RemoteCacheKey]:
    excess = sum(key.size for key in keys) - limit
    doomed: list[RemoteCacheKey] = []
    for key in keys:
        if excess <= 0:
            break
        doomed.append(key)
        excess -= key.size
    return doomed


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


OK, FAULTY, USAGE = 0, 1, 2
SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}
Result = TypeVar("Result")
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([hdw])", re.IGNORECASE | re.ASCII)


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that locates the cache."""
    parser.add_argument(
        "--cache",
        type=_place,
        metavar="DIR|URL",
        help=f"the cache (default: ${VARIABLE}, else pytest's cache of the nearest folder)",
    )


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    info = actions.add_parser("info", help="say what lies in the cache, and since when")
    add_cache_option(info)
    info.set_defaults(run=_info)
    pruning = actions.add_parser(
        "prune", help="remove what killed runs and older versions left, and what is unused"
    )
    add_cache_option(pruning)
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


def open_digest_cache(location: Path | Url | None, *, rehash: bool) -> DigestCache:
    """Return the digest cache that pytest would use, without creating a folder."""
    return DigestCache.inside(find_cache(location), rehash=rehash)


def open_cache(
    location: Path | Url | None, *, offline: bool = False, fills: bool = False
) -> EmbeddingCache:
    """Return the embedding cache that pytest would use here."""
    shared = shared_cache(location, offline=offline, fills=fills)
    if shared is not None:
        shared.check()
    return EmbeddingCache(folder=cache_folder(location), shared=shared)


def cache_folder(location: Path | Url | None) -> Path:
    """Return the cache folder that pytest would use here, existing or not."""
    return find_cache(location) or Path.cwd() / PYTEST_CACHE / SUBFOLDER


def _folder(location: Path | None) -> Path:
    """Return the existing cache folder; raise if there is none."""
    folder = cache_folder(location)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UsageError(f"{folder} is not a folder", "say with --cache where the cache is")
    raise UsageError(f"there is no cache in {folder}", "say with --cache where it is")


def _place(text: str) -> Path | Url:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give one")
    return to_path(text)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _age(text: str) -> float:
    match = AGE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not an age; write one such as 12h or 30d")
    return float(match[1]) * SECONDS[match[2].lower()]


def _info(options: argparse.Namespace) -> int:
    shared = shared_cache(options.cache, offline=False)
    if shared is not None:
        print("\n".join(shared_cache_lines(shared)))
        return OK
    folder = _folder(options.cache)
    print("\n".join([f"cache in {folder}", *_info_lines(_read(list_cache, folder))]))
    return OK


def _info_lines(cache_contents: CacheContents) -> Iterator[str]:
    keys = [key for key in cache_contents.keys if not key.is_outdated]
    outdated = [key for key in cache_contents.keys if key.is_outdated]
    files = sum(len(key.files) for key in keys)
    yield f"{format_count(len(keys), 'key')}, each a network at a layer"
    yield f"{format_count(count_images(keys), 'image')}"
    yield f"{format_count(files, 'file')}, {_sum(keys)}"
    if keys:
        yield f"used between {_day(keys[0].used)} and {_day(keys[-1].used)}"
    if cache_contents.fetched:
        urls = format_count(len(cache_contents.fetched), "URL")
        yield f"copies of {urls}: {_sum(cache_contents.fetched)}"
    yield f"digests of files: {format_size(cache_contents.memo)}"
    if outdated:
        outdated_keys = format_count(len(outdated), "key")
        yield f"to prune: {outdated_keys} of older versions, {_sum(outdated)}"
    if cache_contents.leftovers:
        size = format_size(sum(cache_contents.leftovers.values()))
        leftovers = format_count(len(cache_contents.leftovers), "leftover")
        yield f"to prune: {leftovers} of killed runs, {size}"


def _prune(options: argparse.Namespace) -> int:
    bounds = {"limit": options.max_size, "unused_for": options.older_than}
    if options.all and any(value is not None for value in bounds.values()):
        print("--all removes everything; leave out --max-size and --older-than", file=sys.stderr)
        return USAGE
    shared = shared_cache(options.cache, offline=False)
    if shared is not None:
        print(prune_shared_cache(shared, is_all=options.all, **bounds))
        return OK
    folder = _folder(options.cache)
    removed = _read(clear if options.all else functools.partial(prune, **bounds), folder)
    for problem in removed.problems:
        print(problem, file=sys.stderr)
    keys, leftovers = format_count(removed.keys, "key"), format_count(removed.leftovers, "leftover")
    remaining = format_size(_read(list_cache, folder).size)
    print(
        f"removed {keys} and {leftovers}, {format_size(removed.size)}; {remaining} left in {folder}"
    )
    return FAULTY if removed.problems else OK


def _read(action: Callable[[Path], Result], folder: Path) -> Result:
    try:
        return action(folder)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be read ({error.strerror})", "correct its permissions"
        ) from None


def _sum(keys: Iterable[CacheKey]) -> str:
    return format_size(sum(key.size for key in keys))
