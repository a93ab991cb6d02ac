"""Files that an ONNX file keeps weights in beside itself."""

from __future__ import annotations

import mmap
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["external_files"]

# How protocol buffers write the entry of a tensor whose key is `location`; the length and the
# name follow. Names longer than 127 bytes have a length of two bytes.
LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])")
MORE = 0x80


def external_files(path: Path) -> list[Path]:
    """Return the files beside an ONNX file that it speaks of, as far as they are there.

    They are found without reading the file as a graph, for which another package would be needed.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    if path.stat().st_size == 0:
        return []
    names: set[str] = set()
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for match in LOCATION.finditer(content):
            low, *high = match[1]
            count = (low & (MORE - 1)) + (high[0] * MORE if high else 0)
            name = content[match.end() : match.end() + count]
            names.add(name.decode("utf-8", "replace"))
    found = (path.parent / name for name in sorted(names) if "\0" not in name)
    return [one for one in found if one.is_file()]
