"""What a stream can show."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["has_colour", "has_unicode", "width"]


def has_unicode(stream: TextIO) -> bool:
    """Whether lines and arrows can be written to a stream."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "→─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not turned colours off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return the columns of the terminal; a file or a pipe has those of a wide one."""
    return shutil.get_terminal_size(fallback=(160, 24)).columns
