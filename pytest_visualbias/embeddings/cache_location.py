"""Find the folder or URL of the cache."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_visualbias.embeddings.cache import SharedCache
from pytest_visualbias.spec.urls import Url, to_path

VARIABLE = "VISUALBIAS_CACHE"
PYTEST_CACHE = ".pytest_cache"
BELOW = Path("d", "visualbias")
MARKS = (".git", "pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")


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
    return next((home / BELOW for home in homes if home.is_dir()), None)


def _project_folders(here: Path) -> list[Path]:
    """Return a folder and its parents up to the last that looks like a project root."""
    folders = [here, *here.parents]
    marked = (any((folder / name).exists() for name in MARKS) for folder in folders)
    last = max((number for number, holds in enumerate(marked) if holds), default=0)
    return folders[: last + 1]
