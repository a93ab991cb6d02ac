"""From a file to the RGB image that a person sees: a test for every rule."""

from __future__ import annotations

import io
import random
import struct
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.stimuli.decoding import decode

if TYPE_CHECKING:
    from pathlib import Path

RED, GREEN, BLUE, WHITE, BLACK = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
)


def colours(image: Image.Image) -> list[list[tuple[int, ...]]]:
    pixels = np.asarray(image)
    return [[tuple(map(int, pixel)) for pixel in row] for row in pixels]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the one image of a test lies; its suffix says nothing about its content."""
    return tmp_path / "image.jpg"


def test_an_rgb_image_is_as_it_is(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "png")
    found = decode(path)
    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), pixels)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[RED, GREEN], [BLUE, WHITE]]),
        (2, [[GREEN, RED], [WHITE, BLUE]]),
        (3, [[WHITE, BLUE], [GREEN, RED]]),
        (4, [[BLUE, WHITE], [RED, GREEN]]),
        (5, [[RED, BLUE], [GREEN, WHITE]]),
        (6, [[BLUE, RED], [WHITE, GREEN]]),
        (7, [[WHITE, GREEN], [BLUE, RED]]),
        (8, [[GREEN, WHITE], [RED, BLUE]]),
    ],
)
def test_the_orientation_of_a_camera_is_applied(
    path: Path, kind: str, orientation: int, expected: list[list[tuple[int, ...]]]
) -> None:
    image = Image.new("RGB", (2, 2))
    for position, colour in zip(
        [(0, 0), (1, 0), (0, 1), (1, 1)], (RED, GREEN, BLUE, WHITE), strict=True
    ):
        image.putpixel(position, colour)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, kind, exif=exif)
    assert colours(decode(path)) == expected
    assert colours(decode(path, path.read_bytes())) == expected


SHORT = struct.Struct("<H").pack
ODD_TAGS = {
    "a width in letters": (0x0100, 2, 4, b"12a\0"),
    "a maker that is a float": (0x010F, 11, 1, struct.pack("<f", 1.5)),
    "a comment of numbers": (0x9C9B, 3, 2, SHORT(6) + SHORT(1)),
    "a pointer past the end": (0x8769, 4, 1, struct.pack("<I", 900)),
    "a type that does not exist": (0x8769, 99, 1, struct.pack("<I", 900)),
}
ORIENTATIONS = {
    "as it should be": (0x0112, 3, 1, SHORT(6)),
    "a longer number": (0x0112, 4, 1, struct.pack("<I", 6)),
    "a signed number": (0x0112, 8, 1, struct.pack("<h", 6)),
    "two numbers": (0x0112, 3, 2, SHORT(6) + SHORT(1)),
}
NO_ORIENTATIONS = {
    "a letter": (0x0112, 2, 2, b"6\0"),
    "a pointer past the end": (0x0112, 5, 1, struct.pack("<I", 900)),
    "none": (0x0112, 3, 0, b""),
    "a number that means nothing": (0x0112, 3, 1, SHORT(9)),
}


def jpeg(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return a JPEG whose metadata are these entries of a TIFF directory."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((48, 32)).convert("RGB").save(stream, "jpeg", quality=95)
    entries = [struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in tags]
    exif = b"II*\0\x08\0\0\0" + SHORT(len(entries)) + b"".join(entries) + bytes(4)
    segment = b"Exif\0\0" + exif
    content = stream.getvalue()
    marker = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    return content[:2] + marker + content[2:]


class TestOfOddMetadata:
    """Pixels and orientation are sound, so the image is measured."""

    @pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
    @pytest.mark.parametrize("odd", [None, *ODD_TAGS.values()], ids=["nothing", *ODD_TAGS])
    def test_the_orientation_is_read(
        self,
        path: Path,
        orientation: tuple[int, int, int, bytes],
        odd: tuple[int, int, int, bytes] | None,
    ) -> None:
        tags = sorted((orientation, *([odd] if odd else [])))
        plain = np.asarray(Image.open(io.BytesIO(jpeg())))
        np.testing.assert_array_equal(np.asarray(decode(path, jpeg(*tags))), np.rot90(plain, -1))

    @pytest.mark.parametrize("orientation", NO_ORIENTATIONS.values(), ids=NO_ORIENTATIONS)
    def test_what_is_no_orientation_turns_nothing(
        self, path: Path, orientation: tuple[int, int, int, bytes]
    ) -> None:
        plain = np.asarray(Image.open(io.BytesIO(jpeg())))
        np.testing.assert_array_equal(np.asarray(decode(path, jpeg(orientation))), plain)


class TestTransparency:
    def test_of_every_pixel_is_composited_on_white(self, path: Path) -> None:
        pixels = [[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]]
        Image.fromarray(np.array(pixels, dtype=np.uint8)).save(path, "png")
        assert colours(decode(path)) == [[RED, WHITE, (204, 204, 204)]]

    def test_of_a_palette_is_composited_on_white(self, path: Path) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([*RED, *BLUE])
        image.putpixel((1, 0), 1)
        image.save(path, "png", transparency=1)
        assert colours(decode(path)) == [[RED, WHITE]]

    def test_of_parts_of_a_palette_is_composited_on_white(self, path: Path) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([*RED, *BLACK])
        image.putpixel((1, 0), 1)
        image.save(path, "png", transparency=bytes([255, 51]))
        assert colours(decode(path)) == [[RED, (204, 204, 204)]]

    def test_of_one_grey_is_composited_on_white(self, path: Path) -> None:
        image = Image.new("L", (2, 1))
        image.putpixel((1, 0), 90)
        image.save(path, "png", transparency=0)
        assert colours(decode(path)) == [[WHITE, (90, 90, 90)]]

    def test_of_grey_with_alpha_is_composited_on_white(self, path: Path) -> None:
        pixels = np.array([[[0, 255], [0, 0]]], dtype=np.uint8)
        Image.fromarray(pixels, mode=None).save(path, "png")
        assert colours(decode(path)) == [[BLACK, WHITE]]

    def test_of_a_webp_is_composited_on_white(self, path: Path) -> None:
        Image.new("RGBA", (1, 1), (0, 0, 0, 0)).save(path, "webp", lossless=True)
        assert colours(decode(path)) == [[WHITE]]


def test_a_palette_is_resolved(path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    image.save(path, "gif")
    assert colours(decode(path)) == [[RED, BLUE]]


@pytest.mark.parametrize(("mode", "value", "grey"), [("L", 90, 90), ("1", 1, 255), ("1", 0, 0)])
def test_grey_and_bilevel_become_three_equal_channels(
    path: Path, mode: str, value: int, grey: int
) -> None:
    Image.new(mode, (1, 1), value).save(path, "png")
    assert colours(decode(path)) == [[(grey, grey, grey)]]


def test_cmyk_is_converted(path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, "tiff")
    assert colours(decode(path))[0][0] == RED


@pytest.mark.parametrize(("kind", "suffix"), [("png", "png"), ("tiff", "tif"), ("ppm", "pgm")])
def test_16_bit_greys_are_scaled_not_clipped(path: Path, kind: str, suffix: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    file = path.with_suffix(f".{suffix}")
    Image.fromarray(values).save(file, kind)
    assert [pixel[0] for pixel in colours(decode(file))[0]] == [0, 1, 128, 255]


def test_floating_point_greys_are_refused_as_nothing_says_what_is_white(path: Path) -> None:
    """Pillow would clip them at 0 and 255: black, where they lie between 0 and 1."""
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(path, "tiff")
    with pytest.raises(StimulusError, match=r"floating-point .* save it in 8 bits"):
        decode(path)


def test_so_are_32_bit_greys(path: Path) -> None:
    """Taken for 16 bits, they would be all white, or all black."""
    Image.fromarray(np.full((8, 8), 10**9, dtype=np.int32)).save(path, "tiff")
    with pytest.raises(StimulusError, match=r"32-bit .* save it in 8 bits"):
        decode(path)


def test_transparency_of_one_16_bit_grey_is_composited_on_white(path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(path, "png", transparency=257)
    assert [pixel[0] for pixel in colours(decode(path))[0]] == [0, 255, 128, 255]


def test_jpegs_are_decoded_at_their_full_size(path: Path) -> None:
    """A smaller size would be another image; no transform may ask for it unseen."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(path, "jpeg")
    assert decode(path).size == (512, 512)


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
def test_the_first_frame_of_an_animation_is_taken(path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert colours(decode(path))[0][0] == RED


class TestFaults:
    def content(self, size: int = 64) -> bytes:
        stream = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "jpeg")
        return stream.getvalue()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty; replace the file"),
            (b"just some text\n", "is not an image; remove it from the set or replace it"),
            (b"\x00" * 100, "is not an image; remove it from the set or replace it"),
            (b"<html>404</html>", "is not an image; remove it from the set or replace it"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
                "is a Git LFS pointer; run 'git lfs pull'",
            ),
        ],
    )
    def test_what_is_no_image_is_named(self, path: Path, content: bytes, message: str) -> None:
        path.write_bytes(content)
        with pytest.raises(StimulusError) as caught:
            decode(path)
        assert str(caught.value) == f"{path} {message}"

    @pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
    def test_a_truncated_image_is_not_filled_with_grey(self, path: Path, share: float) -> None:
        whole = self.content()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(StimulusError, match=r"cannot be decoded \(.+\); replace the file"):
            decode(path)

    def test_what_another_program_would_have_to_run_is_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pillow hands PostScript to Ghostscript, whatever the name of the file says."""

        def run(*_: object, **__: object) -> None:
            raise AssertionError("a program was run")

        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
        Image.new("L", (4, 4)).save(path, "eps")
        for content in (None, path.read_bytes()):
            with pytest.raises(StimulusError) as caught:
                decode(path, content)
            assert "it is EPS, which is run and not decoded; save it as PNG" in str(caught.value)

    def test_a_missing_file_is_named(self, path: Path) -> None:
        with pytest.raises(StimulusError, match=r"image\.jpg .+No such file"):
            decode(path)

    def test_an_image_of_too_many_pixels_is_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between Pillow's limit, where it warns, and twice that, where it refuses itself, too."""
        Image.new("RGB", (40, 30)).save(path, "png")
        for limit in (1199, 500):
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            with pytest.raises(StimulusError, match="million pixels; scale it down"):
                decode(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with pytest.raises(StimulusError, match="million pixels; scale it down"):
                    decode(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
        assert decode(path).size == (40, 30)

    @pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "tiff", "ppm"])
    def test_a_damaged_image_is_decoded_or_refused_and_never_another_error(
        self, path: Path, kind: str
    ) -> None:
        stream = io.BytesIO()
        Image.open(io.BytesIO(self.content(16))).save(stream, kind)
        whole = stream.getvalue()
        rng = random.Random(0)
        refused = 0
        for _ in range(100):
            damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
            for _ in range(3 if damaged else 0):
                damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                assert decode(path).mode == "RGB"
            except StimulusError:
                refused += 1
        assert refused > 20
