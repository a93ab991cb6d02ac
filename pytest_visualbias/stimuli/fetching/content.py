"""Whether bytes that came are a whole image, and of which format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.spec.hashing import LFS
from pytest_visualbias.stimuli.decoding import decode
from pytest_visualbias.stimuli.fetching.outcomes import MANIFEST, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

START = 512
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    *((f"P{number}".encode(), "PPM") for number in range(1, 7)),
)
WEBP = (b"RIFF", b"WEBP")
AVIF = (b"ftypavif", b"ftypavis")
NAMES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "AVIF": (".avif",),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "WEBP": (".webp",),
}


def image_format(path: Path) -> str:
    """Return the format of a whole image, by its bytes."""
    with path.open("rb") as stream:
        start = stream.read(START)
    kind = _signature(start)
    if not kind:
        raise RefusedError(_instead(start), MANIFEST)
    try:
        decode(path)
    except StimulusError as error:
        raise RefusedError(error.problem, MANIFEST) from None
    return kind


def is_named_so(name: str, kind: str) -> bool:
    """Whether the name of a file says its format."""
    return name.lower().endswith(NAMES[kind])


def _signature(start: bytes) -> str:
    if (start[:4], start[8:12]) == WEBP:
        return "WEBP"
    if start[4:12] in AVIF:
        return "AVIF"
    return next((kind for mark, kind in SIGNATURES if start.startswith(mark)), "")


def _instead(start: bytes) -> str:
    if not start:
        return "is empty"
    if start.startswith(LFS):
        return "is a Git LFS pointer, not the image"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "is a page of HTML or XML, not an image"
    return "is not an image"
