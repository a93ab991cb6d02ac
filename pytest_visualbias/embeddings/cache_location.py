"""Find the folder of the cache."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_visualbias.embeddings.cache import SharedCache
from pytest_visualbias.spec.urls import Url, to_path

VARIABLE = "VISUALBIAS_CACHE"
PYTESTS = ".pytest_cache"
BELOW = Path("d", "visualbias")
MARKS = (".git", "pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")


def place_of(named: Path | Url | None) -> Path | None:
    """Return the folder of the cache that pytest would use, where there is one already."""
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


def _chosen(named: Path | Url | None) -> Path | Url | None:
    if isinstance(named, Url):
        return named
    text = str(named) if named is not None else os.environ.get(VARIABLE, "")
    location = to_path(text)
    if isinstance(location, Url):
        return location
    return location.expanduser() if text else None


def _nearest() -> Path | None:
    """Return the folder below pytest's cache of this folder or the nearest above it."""
    homes = (folder / PYTESTS for folder in _project(Path.cwd()))
    return next((home / BELOW for home in homes if home.is_dir()), None)


def _project(here: Path) -> list[Path]:
    """Return a folder and those above it, to the last that holds a file only projects hold."""
    folders = [here, *here.parents]
    marked = (any((folder / name).exists() for name in MARKS) for folder in folders)
    last = max((number for number, holds in enumerate(marked) if holds), default=0)
    return folders[: last + 1]
