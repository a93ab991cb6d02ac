"""What to do about a path at which nothing is."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["correction"]

DRIVE = re.compile(r"[A-Za-z]:")


def correction(path: Path) -> str:
    """Return how to correct a path at which nothing is: by "/", or by the nearest name there."""
    if "\\" in path.name:
        return f"write / in paths: {path.name.replace(chr(92), '/')}"
    if any(DRIVE.fullmatch(part) for part in path.parts[1:]):
        return "this is a path of Windows; write one of this machine, relative to the spec"
    for part in (path, *path.parents):
        if part.parent.is_dir():
            # Endings alone make no two names alike.
            names = {other.stem: other.name for other in sorted(part.parent.iterdir())}
            near = difflib.get_close_matches(part.stem, names, n=1)
            return f"did you mean {names[near[0]]}?" if near else "correct the path"
    return "correct the path"
