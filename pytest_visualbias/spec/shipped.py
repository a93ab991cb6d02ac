"""Where what travels with the package is, and where what it can fetch is put."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "DATA_VARIABLE",
    "SUITE_SUFFIXES",
    "data_folder",
    "fetched",
    "shipped",
    "suite_names",
    "suite_path",
]

DATA_VARIABLE = "VISUALBIAS_DATA"
SUITE_SUFFIXES = (".suite.yaml", ".suite.yml")
SUITES = "bias_specs"


def shipped(folder: str) -> Path:
    """Return a folder that ships: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_shipped" / folder
    return inside if inside.is_dir() else package.parent / folder


def suite_names() -> tuple[str, ...]:
    """Return the names of the suites that ship."""
    suffix = SUITE_SUFFIXES[0]
    found = shipped(SUITES).glob(f"*{suffix}")
    return tuple(sorted(path.name.removesuffix(suffix) for path in found))


def suite_path(name: str) -> Path:
    """Return the file of a suite that ships."""
    return shipped(SUITES) / f"{name}{SUITE_SUFFIXES[0]}"


def data_folder() -> Path:
    """Return the folder below which fetched stimuli are kept, a folder for each suite.

    That is ``$VISUALBIAS_DATA``, else ``$XDG_DATA_HOME/visualbias``, else
    ``~/.local/share/visualbias``. It is no cache: what a source sent first is remembered there, and
    may be gone from the source when it is wanted again.
    """
    named = os.environ.get(DATA_VARIABLE)
    # The rules of XDG: what is not absolute does not count.
    shared = os.environ.get("XDG_DATA_HOME", "")
    below = Path(shared) if Path(shared).is_absolute() else Path("~", ".local", "share")
    folder = Path(named) if named else below / "visualbias"
    return Path(os.path.expanduser(folder))  # noqa: PTH111 - pathlib's raises without a home


def fetched(suite: str) -> Path:
    """Return the folder in which the stimuli of a suite that ships are looked for."""
    return data_folder() / suite
