"""Paths in sentences as a person would write them: below the project, and without '..'."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["shortened"]

# What a path may have before it; within a longer one the folder would be another.
START = r"(?<![\w./\\-])"


def shortened(text: str, folder: Path, project: Path) -> str:
    """Return a sentence with its paths relative to the project, where they lie in it.

    Parameters
    ----------
    text : str
        The sentence; the paths in it that begin with the folder or the project are changed.
    folder : Path
        Of a spec: what its paths are relative to, and so often begin with, followed by '..'.
    project : Path
        Root of the repository.
    """
    for up in reversed(range(1, len(folder.parts) + 1)):
        climb = f"{folder.as_posix()}/{'../' * up}"
        if climb in text and (above := _above(folder, up)) is not None:
            text = _without(text, climb, above)
    root = project.as_posix()
    return text if root == "/" else _without(text, f"{root}/", "")


def _above(folder: Path, up: int) -> str | None:
    """Return so many folders above one; None where a link leads elsewhere."""
    above = folder
    for _ in range(up):
        above = above.parent
    climbed = folder.joinpath(*[".."] * up)
    if os.path.realpath(above) != os.path.realpath(climbed):
        return None
    shown = above.as_posix()
    return "" if shown == "." else f"{shown.rstrip('/')}/"


def _without(text: str, start: str, other: str) -> str:
    return re.sub(START + re.escape(start), lambda _: other, text)
