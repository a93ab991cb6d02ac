"""Compute digests of files, lists and texts."""

from __future__ import annotations

import errno
import hashlib
import json
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LFS = b"version https://git-lfs"
POINTER, REMEDY = "is a Git LFS pointer", "run 'git lfs pull'"
TEXT = "is a text file and holds no weights; name the file that does"

# So much of a file says whether it is text.
START = 512


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer."""
    require_regular_file(path)
    with path.open("rb") as stream:
        return stream.read(len(LFS)) == LFS


def is_text(path: Path) -> bool:
    """Return whether a file starts with readable text."""
    require_regular_file(path)
    with path.open("rb") as stream:
        start = stream.read(START)
    try:
        letters = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(start):  # else it is the last letter, which may be cut
            return False
        letters = start[: error.start].decode("utf-8")
    return bool(letters) and all(letter.isprintable() or letter in "\t\n\r\f" for letter in letters)


def require_regular_file(path: Path) -> None:
    """Raise for a pipe, socket or device, which would block or never end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, opening it says enough
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


CHUNK = 1 << 20


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    require_regular_file(path)
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def digest_of_text(text: str) -> str:
    """Return the sha256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def digest_of_list(items: Iterable[str]) -> str:
    """Return the sha256 of a list of texts in its order."""
    return digest_of_text(json.dumps(list(items)))


def digest_of_mapping(mapping: Mapping[str, object]) -> str:
    """Return the sha256 of a mapping of plain values, independent of the order of keys."""
    return digest_of_text(json.dumps(mapping, sort_keys=True))
