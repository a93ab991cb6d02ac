"""Files that an ONNX file keeps weights in beside itself.

The file is walked as the protocol buffer that it is, field by field, whatever their order: a name
that is overlooked is a file that no digest has. Content that is long is skipped, and another
package is not needed.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["external_files"]

# The messages that lead to tensors, and the numbers of their fields that do (onnx.proto).
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
KEY, VALUE = 1, 2
LOCATION = b"location"
# How a field is written: a number, eight bytes, a length and as many bytes, four bytes.
NUMBER, EIGHT, BYTES, FOUR = 0, 1, 2, 5
LONGEST = 10  # bytes of a number
# Another format of onnxruntime, which keeps its weights itself.
OWN_FORMAT = b"ORTM"


def external_files(path: Path) -> list[Path]:
    """Return the files beside an ONNX file that it speaks of, as far as they are there.

    Raises
    ------
    EncoderError
        For a file that is no protocol buffer.
    OSError
        Where it cannot be read.
    """
    if path.stat().st_size == 0:
        return []
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            names = set() if content[4:8] == OWN_FORMAT else {*_names(content)}
        except (IndexError, ValueError, RecursionError):
            raise EncoderError(
                f"{path} is no ONNX program that can be loaded here, or is damaged; copy or save "
                "it again"
            ) from None
    found = (path.parent / os.fsdecode(name) for name in sorted(names) if b"\0" not in name)
    return [one for one in found if one.is_file()]


def _names(content: mmap.mmap) -> Iterator[bytes]:
    waiting = [("model", 0, len(content))]
    while waiting:
        kind, start, end = waiting.pop()
        if kind == "entry":
            yield from _location(content, start, end)
        for field, first, last in _fields(content, start, end):
            if inner := FIELDS[kind].get(field):
                waiting.append((inner, first, last))


def _location(content: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    """Yield the values of an entry that says where a tensor is."""
    fields = [(field, content[first:last]) for field, first, last in _fields(content, start, end)]
    if (KEY, LOCATION) in fields:
        yield from (value for field, value in fields if field == VALUE)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field that has a length, and where its content lies."""
    while start < end:
        tag, start = _number(content, start)
        kind, length = tag & 7, 0
        if kind == NUMBER:
            _, start = _number(content, start)
        elif kind == BYTES:
            length, start = _number(content, start)
            yield tag >> 3, start, start + length
        elif kind in (EIGHT, FOUR):
            length = {EIGHT: 8, FOUR: 4}[kind]
        else:
            raise ValueError("a field of another kind")
        start += length
    if start != end:
        raise ValueError("a field that is cut off")


def _number(content: mmap.mmap, start: int) -> tuple[int, int]:
    """Return a number, seven bits a byte, and where it ends."""
    value = 0
    for index in range(LONGEST):
        byte = content[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no eighth bit
            return value, start + index + 1
    raise ValueError("a number without an end")
