"""The order of channels, whole numbers, and channels last: what compiled programs are given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.models.preprocessing import make_transform
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import ProgramModel, Transform

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

pytestmark = pytest.mark.torch

SIZE = 12


def test_bgr_is_the_reverse_of_rgb(images: list[Image.Image]) -> None:
    """Mean and deviation stay in the order of red, green and blue."""
    keys: dict[str, Any] = {"size": SIZE, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    rgb, bgr = make_transform(Transform(**keys)), make_transform(Transform(**keys, channels="bgr"))
    for image in images:
        np.testing.assert_array_equal(bgr(image), rgb(image)[::-1])


class Whole(torch.nn.Module):
    """Takes pixels (n, height, width, 3) as a camera gives them, and also returns numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 6, 3)

    def forward(self, pixels: torch.Tensor) -> Any:  # noqa: ANN401
        maps = self.conv(pixels.float().permute(0, 3, 1, 2) / 255)
        pooled = torch.nn.functional.adaptive_avg_pool2d(maps.relu(), 1)
        return pooled, pooled.flatten(1).argmax(1)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="an extra")
    path = tmp_path / "whole.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            *(Whole().eval(), (torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8),), path),
            dynamo=False,
            input_names=["pixels"],
            output_names=["embedding", "label"],
            dynamic_axes={"pixels": {0: "n"}},
        )
    return path


def exported(path: Path, *free: int, dtype: torch.dtype = torch.uint8) -> Path:
    """Export the network with some axes of its input left open."""
    axes = {axis: torch.export.Dim(f"d{axis}", min=1 if axis == 0 else 4, max=64) for axis in free}
    pixels = torch.zeros(2, SIZE, SIZE, 3, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Whole().eval(), (pixels,), dynamic_shapes=(axes,))
        torch.export.save(program, path)
    return path


def opened(context: Context, path: Path, **transform: Any) -> Encoder:  # noqa: ANN401
    kind = "export" if path.suffix == ".pt2" else "onnx"
    entry = ProgramModel.model_validate(
        {"source": kind, "path": str(path), "transform": {"size": SIZE, **transform}}
    )
    source = find_source(kind)
    return source.open(entry, source.identify(entry, context)[0], context)


def test_a_program_of_whole_numbers_and_channels_last(
    context: Context, images: list[Image.Image], whole: Path
) -> None:
    encoder = opened(context, whole, crop="squash")
    pixels = [np.asarray(image.resize((SIZE, SIZE), 2)) for image in images]
    with torch.inference_mode():
        expected = Whole().eval()(torch.from_numpy(np.stack(pixels)))[0].flatten(1).numpy()
    inputs = [encoder.prepare(image) for image in images]
    inner = next(name for name in encoder.layers() if "Relu" in name)
    found = encoder.encode(inputs, [parse_layer_point(name, name) for name in ("embedding", inner)])
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[inner], expected, rtol=1e-4, atol=1e-6)
    alone = encoder.encode(inputs, [parse_layer_point("pooled", "pooled")])
    np.testing.assert_allclose(alone["pooled"], expected, rtol=1e-4, atol=1e-6)
    assert "label" not in encoder.layers()


def test_whole_numbers_are_not_normalised(context: Context, whole: Path) -> None:
    with pytest.raises(EncoderError, match="uint8"):
        opened(context, whole, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])


def test_an_exported_program_of_whole_numbers_and_channels_last(
    context: Context, images: list[Image.Image], tmp_path: Path
) -> None:
    encoder = opened(context, exported(tmp_path / "whole.pt2", 0), crop="squash")
    pixels = [np.asarray(image.resize((SIZE, SIZE), 2)) for image in images]
    with torch.inference_mode():
        expected = Whole().eval()(torch.from_numpy(np.stack(pixels)))[0].flatten(1).numpy()
    name = next(name for name in encoder.layers() if name.startswith("output"))
    inputs = [encoder.prepare(image) for image in images]
    found = encoder.encode(inputs, [parse_layer_point(name, name)])[name]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(EncoderError, match="uint8"):
        opened(context, tmp_path / "whole.pt2", mean=[0.5] * 3, std=[0.5] * 3)


def test_an_exported_program_of_floats_and_channels_last(
    context: Context, images: list[Image.Image], tmp_path: Path
) -> None:
    path = exported(tmp_path / "floats.pt2", 0, dtype=torch.float32)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    encoder = opened(context, path, crop="squash", mean=mean, std=std)
    rows = [
        (np.asarray(image.resize((SIZE, SIZE), 2), dtype=np.float32) / 255 - mean) / std
        for image in images
    ]
    batch = torch.from_numpy(np.stack(rows).astype(np.float32))
    with torch.inference_mode():
        expected = Whole().eval()(batch)[0].flatten(1).numpy()
    name = next(name for name in encoder.layers() if name.startswith("output"))
    inputs = [encoder.prepare(image) for image in images]
    found = encoder.encode(inputs, [parse_layer_point(name, name)])[name]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


class Folded(torch.nn.Module):
    """Takes (n, height, width, 3) of any size."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((1, 2)) @ torch.ones(3, 5)


def test_a_program_of_any_height_and_width_has_its_channels_last(
    context: Context, tmp_path: Path, images: list[Image.Image]
) -> None:
    axes = {axis: torch.export.Dim(f"d{axis}", min=2, max=64) for axis in (0, 1, 2)}
    program = torch.export.export(
        Folded(), (torch.zeros(2, SIZE, SIZE, 3),), dynamic_shapes=(axes,)
    )
    torch.export.save(program, tmp_path / "folded.pt2")
    encoder = opened(context, tmp_path / "folded.pt2")
    inputs = [encoder.prepare(image) for image in images]
    name = next(name for name in encoder.layers() if name.startswith("output"))
    found = encoder.encode(inputs, [parse_layer_point(name, name)])[name]
    plain = np.stack(inputs).transpose(0, 2, 3, 1).mean((1, 2)) @ np.ones((3, 5))
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)


def test_a_program_that_says_nothing_of_its_axes_gets_a_hint(
    context: Context, tmp_path: Path
) -> None:
    """Channels first is assumed, and the error names the other layout.

    torch.export fixes the axis of the channels whatever it is told: weights say how many there are.
    """
    pytest.importorskip("onnxruntime", reason="an extra")
    path = tmp_path / "open.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            *(Open().eval(), (torch.zeros(2, SIZE, SIZE + 1, 3),), path),
            dynamo=False,
            input_names=["pixels"],
            dynamic_axes={"pixels": dict(enumerate("nhwc"))},
        )
    with pytest.raises(EncoderError, match="channels last"):
        opened(context, path)


class Open(torch.nn.Module):
    """Takes channels last; only its weights say how many channels there are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.point = torch.nn.Linear(3, 6)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.point(pixels).relu().mean((1, 2))  # type: ignore[no-any-return]
