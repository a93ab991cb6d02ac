"""What is given for an option: on the command line, else in the ini file."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from pytest_visualbias.errors import path_sentence
from pytest_visualbias.remote.urls import Url, is_url, miswritten

__all__ = [
    "below",
    "ini_key",
    "path_of",
    "place_of",
    "refuse_moved_root",
    "switch_of",
    "value_of",
]


def value_of(config: pytest.Config, name: str) -> str | None:
    """Return the text of an option or of its ini key; None where there is none.

    Raises
    ------
    pytest.UsageError
        For an empty one (exit 4): a variable that is not set does not switch anything off.
    """
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
    """Return a path: of the command line below the working directory, of the ini below its own.

    Raises
    ------
    pytest.UsageError
        For an empty one (exit 4).
    """
    text = value_of(config, name)
    is_given = config.getoption(f"--visualbias-{name}") is not None
    folder = config.invocation_params.dir if is_given else config.rootpath
    return None if text is None else _usable(below(folder, text), name)


def place_of(config: pytest.Config, name: str) -> Path | Url | None:
    """Return a URL as it is given, or a path as `path_of` does.

    Raises
    ------
    pytest.UsageError
        For an empty one, and a URL that lacks a slash (exit 4).
    """
    given = value_of(config, name)
    if said := miswritten(given or ""):
        raise pytest.UsageError(f"--visualbias-{name}: {said}")
    return Url(given) if given and is_url(given) else path_of(config, name)


def _usable(path: Path, name: str) -> Path:
    """Return a path that may be there or not; one that no file can have is refused."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise pytest.UsageError(f"--visualbias-{name}: {path_sentence(error)}") from None
    except ValueError as error:  # a null byte
        raise pytest.UsageError(f"--visualbias-{name}: {path!r}: {error}; correct it") from None
    return path


def below(folder: Path, text: str) -> Path:
    """Return a path that is relative to a folder, or to the home where it begins so."""
    return folder / Path(text).expanduser()


def refuse_moved_root(config: pytest.Config) -> None:
    """Raise where an option's value moved pytest's root away from where it was called.

    Before it knows our options, pytest takes a path that stands after a space for one of a test,
    and looks for its root above all such paths.

    Raises
    ------
    pytest.UsageError
        Always then (exit 4).
    """
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
