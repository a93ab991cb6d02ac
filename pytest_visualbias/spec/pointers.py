"""What Git LFS leaves in the place of a file whose content was not fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LFS", "REMEDY", "is_pointer"]

LFS = b"version https://git-lfs"
REMEDY = "is a Git LFS pointer; run 'git lfs pull'"


def is_pointer(path: Path) -> bool:
    """Whether a file is such a pointer.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(len(LFS)) == LFS
