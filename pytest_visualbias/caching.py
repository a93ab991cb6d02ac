"""Where a run keeps embeddings: in a folder, and at a URL behind it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_visualbias.embeddings.shared import SharedCache
from pytest_visualbias.given import below, place_of, switch_of
from pytest_visualbias.remote.urls import Url, is_url, miswritten

__all__ = ["caches"]


def caches(config: pytest.Config) -> tuple[Path | None, SharedCache | None]:
    """Return the folder of the cache, and the cache at a URL behind it, where there are such.

    Raises
    ------
    pytest.UsageError
        For a folder that is none (exit 4).
    """
    if switch_of(config, "no-cache"):
        return None, None
    named, environment = place_of(config, "cache"), os.environ.get("VISUALBIAS_CACHE", "")
    if said := miswritten(environment):
        raise pytest.UsageError(f"VISUALBIAS_CACHE: {said}")
    chosen = named if named is not None else Url(environment) if is_url(environment) else None
    if not isinstance(chosen, Url):
        return _cache_folder(config, chosen), None
    is_reached = chosen.is_near or not switch_of(config, "offline")
    return _cache_folder(config, None), SharedCache(url=chosen) if is_reached else None


def _cache_folder(config: pytest.Config, named: Path | None) -> Path | None:
    name, path = "--visualbias-cache", named
    from_environment = os.environ.get("VISUALBIAS_CACHE", "")
    if path is None and from_environment and not is_url(from_environment):
        name, path = "VISUALBIAS_CACHE", below(config.invocation_params.dir, from_environment)
    if path is not None:
        if path.exists() and not path.is_dir():
            raise pytest.UsageError(f"{name}: {path} is not a folder; choose another")
        return path
    # Pytest's cache is not there with `-p no:cacheprovider`.
    cache: pytest.Cache | None = getattr(config, "cache", None)
    try:
        return None if cache is None else Path(cache.mkdir("visualbias"))
    except OSError:
        return None  # a repository that cannot be written to; pytest warns of that itself
