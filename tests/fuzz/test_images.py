"""Whatever bytes an image file holds: it is an RGB image, or a sentence says why it is none."""

from __future__ import annotations

import io
import subprocess
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.stimuli.decoding import decode
from tests.fuzz.effort import answered, cases
from tests.fuzz.mutations import edits, torn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.property

MODES = {
    "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK"),
    "PPM": ("1", "L", "RGB"),
    # Not by their names, but a file is decoded by what it holds.
    "ICO": ("RGBA",),
    "TGA": ("RGB",),
    "PCX": ("P", "RGB"),
    "EPS": ("L", "RGB"),
}
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "PNG": ({}, {"interlace": 1}),
    "JPEG": ({}, {"progressive": True}, {"quality": 5}),
    "WEBP": ({}, {"lossless": True}),
    "TIFF": ({}, *({"compression": f"tiff_{name}"} for name in ("lzw", "deflate", "packbits"))),
}
STILL = ("PPM", "BMP", "JPEG", "ICO", "TGA", "PCX", "EPS")


@st.composite
def drawn(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(MODES)) -> bytes:
    """Draw the bytes of a small image of some format and mode, with or without metadata."""
    kind = draw(st.sampled_from(kinds))
    mode = draw(st.sampled_from(MODES[kind]))
    size = (draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    pixels = draw(st.binary(min_size=400, max_size=400))
    base = Image.frombytes("L", size, pixels[: size[0] * size[1]])
    image = base.convert(mode) if mode != "I;16" else Image.new("I;16", size, 40_000)
    options = dict(draw(st.sampled_from(OPTIONS.get(kind, ({},)))))
    if kind in ("PNG", "JPEG", "WEBP", "TIFF") and draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(1, 8))  # orientation
        options["exif"] = exif.tobytes()
    if kind not in STILL and draw(st.booleans()) and mode != "I;16":
        options |= {"save_all": True, "append_images": [base.convert(mode)]}
        options.pop("exif", None)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def check(path: Path, content: bytes) -> Image.Image | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in most runs, where a warning stops nothing
        from_file = answered(decode, path, content, StimulusError)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = answered(lambda path: decode(path, content), path, content, StimulusError)
    for image in (from_file, found):
        assert image is None or (isinstance(image, Image.Image) and image.mode == "RGB")
    if isinstance(found, Image.Image) and isinstance(from_file, Image.Image):
        assert found.tobytes() == from_file.tobytes()
    return from_file if isinstance(from_file, Image.Image) else None


@cases(40)
@given(content=drawn())
def test_an_image_is_decoded(tmp_path: Path, content: bytes) -> None:
    """All but programs, and greys of which nothing says what is white."""
    found = check(tmp_path / "x.png", content)
    with Image.open(io.BytesIO(content)) as image:
        assert (found is None) == (image.format == "EPS" or image.mode in ("F", "I"))


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding starts no other program."""

    def run(*_: object, **__: object) -> None:
        pytest.fail("a program was run")

    monkeypatch.setattr(subprocess, "Popen", run)


@cases(150)
@given(content=drawn(), changes=edits())
def test_torn_bytes_are_an_rgb_image_or_told(
    tmp_path: Path, content: bytes, changes: list[Any]
) -> None:
    check(tmp_path / "x.png", torn(content, changes))


@cases(40)
@given(first=drawn(), second=drawn(), at=st.integers(0, 200), junk=st.binary(max_size=40))
def test_parts_of_two_files_are_an_rgb_image_or_told(
    tmp_path: Path, first: bytes, second: bytes, at: int, junk: bytes
) -> None:
    check(tmp_path / "x.png", first[:at] + junk + second[at:])
