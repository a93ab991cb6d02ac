"""The preprocessing of iEAT: a square from the top left, averaged over areas, not normalised."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_visualbias.models.preprocessing import area_average, ieat_facts, ieat_input
from pytest_visualbias.spec.model_entries import Transform

pytestmark = pytest.mark.torch

# What cv2.resize(..., interpolation=cv2.INTER_AREA) of OpenCV 5.0 makes of `pattern`, by its side:
# to 5 and 4 pixels whose edges cut others, to averages of 2 x 2 and of 3 x 3.
OPENCV: dict[int, list[list[int]]] = {
    7: [
        [28, 107, 184, 130, 105],
        [76, 156, 105, 79, 160],
        [129, 191, 78, 138, 195],
        [183, 120, 104, 151, 68],
        [178, 92, 156, 141, 81],
    ],
    8: [[49, 172, 103, 162], [124, 123, 122, 121], [199, 74, 141, 80], [82, 153, 96, 167]],
    9: [[66, 159, 109, 145], [143, 102, 158, 86], [167, 124, 97, 162], [74, 162, 115, 109]],
    12: [[99, 114, 130, 145], [156, 124, 119, 115], [99, 133, 138, 143], [128, 142, 127, 113]],
}


def pattern(side: int) -> Image.Image:
    y, x = np.mgrid[:side, :side]
    return Image.fromarray(np.dstack([(37 * y + 61 * x + x * y) % 256] * 3).astype(np.uint8))


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng((width, height))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def average_by_hand(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return every average as a sum over all pixels, each by the area that it shares."""
    count = len(pixels)
    step = count / size
    found = np.zeros((3, size, size))
    for row in range(size):
        for column in range(size):
            for y in range(count):
                for x in range(count):
                    tall = min((row + 1) * step, y + 1) - max(row * step, y)
                    wide = min((column + 1) * step, x + 1) - max(column * step, x)
                    if tall > 0 and wide > 0:
                        found[:, row, column] += tall * wide * pixels[y, x] / step**2
    return found


@pytest.mark.parametrize(
    ("count", "size"), [(7, 3), (5, 8), (6, 3), (10, 4), (9, 9), (3, 7), (1, 4), (4, 1), (11, 10)]
)
def test_the_average_is_over_areas(count: int, size: int) -> None:
    pixels = np.asarray(noise(count, count))
    found = area_average(pixels, size)
    np.testing.assert_allclose(found, average_by_hand(pixels, size), rtol=1e-12)


@pytest.mark.parametrize("side", OPENCV)
def test_it_is_opencvs(side: int) -> None:
    (found, _, _) = ieat_input(Transform(size=len(OPENCV[side])))(pattern(side)) * 255
    np.testing.assert_allclose(found, OPENCV[side], atol=1e-4)


def test_it_is_neither_pillows_box_nor_torchs_area() -> None:
    """Both weigh whole pixels alike, and are averages over areas for whole factors only."""
    pixels = np.asarray(noise(256, 256))
    ours = area_average(pixels, 224)
    box = np.asarray(noise(256, 256).resize((224, 224), Image.Resampling.BOX)).transpose(2, 0, 1)
    tensor = torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float64)
    area = torch.nn.functional.interpolate(tensor, 224, mode="area")[0].numpy()
    for other in (box, area):
        assert np.abs(ours - other).mean() > 10


@pytest.mark.parametrize("factor", [2, 3])
def test_for_whole_factors_it_is_the_average_of_whole_pixels(factor: int) -> None:
    pixels = np.asarray(noise(8 * factor, 8 * factor))
    tensor = torch.tensor(pixels.transpose(2, 0, 1), dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(tensor, factor).numpy()
    np.testing.assert_allclose(area_average(pixels, 8), expected, rtol=1e-12)


@pytest.mark.parametrize(("width", "height"), [(300, 256), (256, 300), (40, 30), (30, 40)])
def test_the_square_is_cut_from_the_top_left(width: int, height: int) -> None:
    side = min(width, height)
    image = noise(width, height)
    square = Image.fromarray(np.asarray(image)[:side, :side])
    prepare = ieat_input(None)
    found = prepare(image)
    assert (found.shape, found.dtype.name) == ((3, 224, 224), "float32")
    np.testing.assert_array_equal(found, prepare(square))
    spoilt = np.asarray(image).copy()
    spoilt[side:] = spoilt[:, side:] = 255
    np.testing.assert_array_equal(found, prepare(Image.fromarray(spoilt)))


def test_pixels_are_scaled_to_one_and_not_normalised() -> None:
    found = ieat_input(None)(Image.new("RGB", (260, 240), (0, 51, 255)))
    for channel, value in enumerate((0.0, 0.2, 1.0)):
        np.testing.assert_array_equal(found[channel], np.float32(value))
    levels = ieat_input(None)(noise(256, 256)) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)


def test_it_says_what_it_does_by_the_keys_of_a_declared_transform() -> None:
    assert ieat_facts(Transform(size=32)) == {
        "size": [32, 32],
        "crop": "top left",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "interpolation": "area",
    }
    assert ieat_facts(None)["size"] == [224, 224]
    assert ieat_input(Transform(size=(32, 32)))(noise(50, 40)).shape == (3, 32, 32)


def test_every_row_and_column_keeps_its_place() -> None:
    """Rows and columns are averaged by the same shares, in their own order."""
    rows = np.zeros((64, 64, 3), dtype=np.uint8)
    rows[:32] = 200
    found = ieat_input(Transform(size=8))(Image.fromarray(rows))
    np.testing.assert_allclose(found[0].mean(axis=1) * 255, [200] * 4 + [0] * 4, atol=1e-4)
    assert math.isclose(float(found[0, 0].std()), 0.0)
