"""What may lie in the place of a file: a pointer of Git LFS, a text, or what has no end."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LFS", "REMEDY", "TEXT", "is_pointer", "is_text", "refuse_endless"]

LFS = b"version https://git-lfs"
REMEDY = "is a Git LFS pointer; run 'git lfs pull'"
TEXT = "is a text file and holds no weights; name the file that does"
# So much of a file says whether it is text.
START = 512


def is_pointer(path: Path) -> bool:
    """Whether a file is such a pointer.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    refuse_endless(path)
    with path.open("rb") as stream:
        return stream.read(len(LFS)) == LFS


def is_text(path: Path) -> bool:
    """Whether a file is text for people, as far as its first letters tell.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    refuse_endless(path)
    with path.open("rb") as stream:
        start = stream.read(START)
    try:
        letters = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(start):  # else it is the last letter, which may be cut
            return False
        letters = start[: error.start].decode("utf-8")
    return bool(letters) and all(one.isprintable() or one in "\t\n\r\f" for one in letters)


def refuse_endless(path: Path) -> None:
    """Raise for a pipe, a socket or a device, which would be waited for or read for ever.

    Raises
    ------
    OSError
        Also where nothing is there.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, opening it says enough
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
