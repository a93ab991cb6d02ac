"""The order of channels, whole numbers, and channels last: what compiled programs are given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.models.preprocessing import declared
from pytest_visualbias.spec.layers import layer_point
from pytest_visualbias.spec.schema import ProgramModel, Transform

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

pytestmark = pytest.mark.torch

SIZE = 12


def test_bgr_is_the_reverse_of_rgb(images: list[Image.Image]) -> None:
    """Mean and deviation stay in the order of red, green and blue."""
    keys: dict[str, Any] = {"size": SIZE, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    rgb, bgr = declared(Transform(**keys)), declared(Transform(**keys, channels="bgr"))
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


def opened(context: Context, path: Path, **transform: Any) -> Encoder:  # noqa: ANN401
    entry = ProgramModel.model_validate(
        {"source": "onnx", "path": str(path), "transform": {"size": SIZE, **transform}}
    )
    source = find_source("onnx")
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
    found = encoder.encode(inputs, [layer_point(name, name) for name in ("embedding", inner)])
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[inner], expected, rtol=1e-4, atol=1e-6)
    alone = encoder.encode(inputs, [layer_point("pooled", "pooled")])
    np.testing.assert_allclose(alone["pooled"], expected, rtol=1e-4, atol=1e-6)
    assert "label" not in encoder.layers()


def test_whole_numbers_are_not_normalised(context: Context, whole: Path) -> None:
    with pytest.raises(EncoderError, match="uint8"):
        opened(context, whole, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
