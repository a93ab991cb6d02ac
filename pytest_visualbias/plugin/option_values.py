"""Read single options from the command line, the ini file and the environment."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from pytest_visualbias.embeddings.cache import SharedCache
from pytest_visualbias.errors import UsageError
from pytest_visualbias.spec.urls import Url, is_url, miswritten_url


def value_of(config: pytest.Config, name: str) -> str | None:
    """Return the text of an option or of its ini key; None where there is none."""
    given: str | None = config.getoption(f"--visualbias-{name}")
    place, text = f"--visualbias-{name}", given
    if given is None:
        place, text = ini_key(name), config.getini(ini_key(name))
    if text is not None and not text.strip():
        raise pytest.UsageError(f"{place}: the value is empty; give one or leave the option out")
    return text


def switch_of(config: pytest.Config, name: str) -> bool:
    """Whether an option or its ini key turns something on."""
    return bool(config.getoption(f"--visualbias-{name}") or config.getini(ini_key(name)))


def ini_key(name: str) -> str:
    """Return the key in the ini file of an option without its beginning."""
    return f"visualbias_{name.replace('-', '_')}"


def path_of(config: pytest.Config, name: str) -> Path | None:
    """Return a path: of the command line below the working directory, of the ini below its own."""
    text = value_of(config, name)
    is_given = config.getoption(f"--visualbias-{name}") is not None
    folder = config.invocation_params.dir if is_given else config.rootpath
    return None if text is None else _usable(below(folder, text), name)


def place_of(config: pytest.Config, name: str) -> Path | Url | None:
    """Return a URL as it is given, or a path as `path_of` does."""
    given = value_of(config, name)
    if problem := miswritten_url(given or ""):
        raise pytest.UsageError(f"--visualbias-{name}: {problem}")
    return Url(given) if given and is_url(given) else path_of(config, name)


def _usable(path: Path, name: str) -> Path:
    """Return a path that may be there or not; one that no file can have is refused."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise pytest.UsageError(f"--visualbias-{name}: {UsageError.of_path(error)}") from None
    except ValueError as error:  # a null byte
        raise pytest.UsageError(f"--visualbias-{name}: {path!r}: {error}; correct it") from None
    return path


def below(folder: Path, text: str) -> Path:
    """Return a path that is relative to a folder, or to the home where it begins so."""
    return folder / Path(text).expanduser()


def refuse_moved_root(config: pytest.Config) -> None:
    """Raise where an option's value moved pytest's root away from where it was called."""
    start, root = Path(config.invocation_params.dir), config.rootpath
    arguments = config.invocation_params.args
    for name, value in itertools.pairwise(arguments):
        is_apart = name.startswith("--visualbias-") and "=" not in name and value[:1] != "-"
        is_moved = config.inipath is None and root != start and start.is_relative_to(root)
        if is_apart and is_moved and not (start / value).is_relative_to(start):
            raise pytest.UsageError(
                f"{name} {value}: pytest takes the path for one of a test, and {root} for the root "
                f"of the project; write {name}={value}"
            )


def caches(config: pytest.Config) -> tuple[Path | None, SharedCache | None]:
    """Return the folder of the cache, and the cache at a URL behind it, where there are such."""
    if switch_of(config, "no-cache"):
        return None, None
    named, environment = place_of(config, "cache"), os.environ.get("VISUALBIAS_CACHE", "")
    if problem := miswritten_url(environment):
        raise pytest.UsageError(f"VISUALBIAS_CACHE: {problem}")
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
