"""Files that look like specs to people, and were read by nobody: their gates would be missed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.baseline.files import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["overlooked"]

YAML = (".yaml", ".yml")
SUITES = (".suite.yaml", ".suite.yml")


def overlooked(folder: Path, known: Collection[Path], *, is_ours: bool) -> Iterator[str]:
    """Yield a sentence about each file that was not read as a spec and may be meant as one.

    Parameters
    ----------
    folder : Path
        Where specs are looked for.
    known : collection of Path
        The specs that were read.
    is_ours : bool
        Whether the folder is for specs only, so that any YAML there is one by its looks.
    """
    read = {path.resolve() for path in known}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if one[:1] not in "._")
        specs = [one for one in folders if one.endswith(SUFFIXES)]
        for path in (Path(place) / name for name in sorted([*files, *specs])):
            lower = path.name.lower()
            if lower.endswith(SUFFIXES):
                if path.resolve() not in read:
                    yield f"{path} was not read: {_why(path)}"
            elif is_ours and _may_be_meant(lower):
                yield f"{path} is no spec by its name; call it *.bias.yaml, or move it away"


def _may_be_meant(name: str) -> bool:
    return name.endswith(YAML) and not name.endswith(SUITES) and not name.startswith(".")


def _why(path: Path) -> str:
    if not path.name.endswith(SUFFIXES):
        return f"the end of its name is written {SUFFIXES[0]} in small letters; rename it"
    if not path.exists():
        return "it links to nothing; mend the link, or remove it"
    if not path.is_file():
        return "it is no file; move it away"
    return "pytest leaves it or its folder out (norecursedirs, --ignore); name it, or move it"
