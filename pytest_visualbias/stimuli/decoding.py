"""Decode image files to RGB."""

from __future__ import annotations

import io
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.spec.hashing import LFS, POINTER, REMEDY

if TYPE_CHECKING:
    from pathlib import Path

# Part of every cache key: another number wherever a rule changes what is decoded.
DECODING = "2"

# Programs and drawings, which Pillow hands to Ghostscript or to the system to be run.
EXECUTABLE_FORMATS = frozenset({"EMF", "EPS", "WMF"})

# What makes an image upright, by its EXIF orientation.
ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The filters of warnings are shared by all threads.
_WARNINGS_LOCK = threading.Lock()


def decode(path: Path, content: bytes | None = None) -> Image.Image:
    """Decode an image file to upright RGB."""
    try:
        # By its bytes alone: Pillow forgets the orientation of some TIFFs that it opens by name.
        content = path.read_bytes() if content is None else content
        try:
            return _decode_bytes(content)
        except Image.DecompressionBombWarning:
            raise
        except Warning:  # odd metadata, where the user's filters make warnings errors
            with _WARNINGS_LOCK, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _decode_bytes(content)
    except UnidentifiedImageError:
        raise StimulusError(*_explain_unreadable(content), place=str(path)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f}"
        raise StimulusError(
            f"has more than {limit} million pixels", "scale it down", place=str(path)
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise StimulusError(
            f"cannot be decoded ({error})", "replace the file", place=str(path)
        ) from None


def _decode_bytes(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        _refuse_bomb(image)
        _refuse_program(image)
        image.load()
        _refuse_unknown_range(image)
        return _rgb(_apply_orientation(image))


def _apply_orientation(image: Image.Image) -> Image.Image:
    # Only the orientation is read: Pillow's exif_transpose writes the metadata back, and fails
    # where another tag has a type that it cannot write.
    method = ROTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if method is None else image.transpose(method)


def _refuse_bomb(image: Image.Image) -> None:
    # Pillow itself only warns up to twice its limit.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise Image.DecompressionBombError


def _refuse_program(image: Image.Image) -> None:
    if image.format in EXECUTABLE_FORMATS:
        raise ValueError(f"it is {image.format}, which is run and not decoded; save it as PNG")


def _refuse_unknown_range(image: Image.Image) -> None:
    # Pillow reads greys of 16 bits as numbers of 32 from some formats, which hold no larger ones.
    is_16_bit = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode in ("F", "I") and not is_16_bit:
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueError(f"its greys are {kind} numbers of no known range; save it in 8 bits")


def _explain_unreadable(content: bytes | None) -> tuple[str, str]:
    """Return what a file is instead of an image, and what to do."""
    if not content:
        return "is empty", "replace the file"
    if content.startswith(LFS):
        return POINTER, REMEDY
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        return "is AVIF, which this Pillow cannot read", "install pillow>=11.3, or save it as PNG"
    return "is not an image", "remove it from the set or replace it"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 instead of scaling.
    values = np.asarray(image).astype(np.int64).clip(0, 65535)
    grey = (values // 257).astype(np.uint8)
    if (transparent := image.info.get("transparency")) is not None:
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")
