"""Make thumbnails of stimuli, each once per page."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import features

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.stimuli.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.reports.image_examples import ImageInfluence

# Longer side in pixels.
SIDE = 96

# Characters of a page that all thumbnails may use.
BUDGET = 450_000

# Largest image file to read, in bytes.
LARGEST = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnails:
    """Thumbnails of a page, and how many were missing or left out."""

    pictures: Mapping[str, str]
    missing: int = 0
    cut: int = 0


def make_thumbnails(
    wanted: Iterable[ImageInfluence], root: Path, *, budget: int = BUDGET
) -> Thumbnails:
    """Return thumbnails of images whose files are unchanged."""
    pictures: dict[str, str] = {}
    missing, cut, remaining = 0, 0, budget
    for influence in _unique_images(wanted):
        content = _content(influence, root)
        address = (
            None if content is None else _address(root / influence.folder / influence.name, content)
        )
        if address is None:
            missing += 1
        elif len(address) > remaining:
            cut += 1
        else:
            pictures[influence.identity] = address
            remaining -= len(address)
    return Thumbnails(pictures=pictures, missing=missing, cut=cut)


def _unique_images(wanted: Iterable[ImageInfluence]) -> Iterable[ImageInfluence]:
    """Return each image once; rows of stored vectors have no image."""
    by_identity: dict[str, ImageInfluence] = {}
    for influence in wanted:
        if influence.folder:
            by_identity.setdefault(influence.identity, influence)
    return by_identity.values()


def _content(image_influence: ImageInfluence, root: Path) -> bytes | None:
    """Return the bytes of an image if its digest still matches, else None."""
    path = root / image_influence.folder / image_influence.name
    try:
        # Reading a device or a pipe might never end.
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return content if hashlib.sha256(content).hexdigest() == image_influence.identity else None


def _address(path: Path, content: bytes) -> str | None:
    try:
        image = decode(path, content)
    except StimulusError:
        return None
    image.thumbnail((SIDE, SIDE))
    kind = "webp" if features.check("webp") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(_encoded(image, kind)).decode('ascii')}"


def _encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, quality=60)
    return stream.getvalue()
