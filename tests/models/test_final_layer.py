"""What is read at `pooled`: what the final linear layer is given, never class scores unseen."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Context, InMemory, StatesReadOut, find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import InMemoryModel, ProgramModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Encoder, ReadOut

    End = Callable[[Any, torch.Tensor], torch.Tensor]

pytestmark = pytest.mark.torch

SIZE, WIDTH, CLASSES = 12, 8, 4
SUFFIXES = {"torchscript": "ts", "export": "pt2", "onnx": "onnx"}
SOURCES = ("in-memory", *SUFFIXES)


class Net(torch.nn.Module):
    """A small classifier whose last steps a test chooses."""

    def __init__(self, end: End, head: torch.nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, WIDTH, 3), torch.nn.ReLU())
        self.fc = head if head is not None else torch.nn.Linear(WIDTH, CLASSES)
        self.end = end
        self.eval()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(images)
        return found.mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.end(self, self.features(images))


# Networks whose output is that of a final linear layer.
LINEAR: dict[str, tuple[End, torch.nn.Module | None]] = {
    "linear": (lambda net, x: net.fc(x), None),
    "without bias": (lambda net, x: net.fc(x), torch.nn.Linear(WIDTH, CLASSES, bias=False)),
    "dropout behind it": (lambda net, x: functional.dropout(net.fc(x), training=False), None),
    "one class": (lambda net, x: net.fc(x), torch.nn.Linear(WIDTH, 1)),
    "point convolution": (
        lambda net, x: net.fc(x[:, :, None, None]).flatten(1),
        torch.nn.Conv2d(WIDTH, CLASSES, 1),
    ),
    "its weights by hand": (lambda net, x: functional.linear(x, net.fc.weight), None),
}
# Networks whose output holds probabilities.
SHARES: dict[str, tuple[End, str]] = {
    "softmax": (lambda net, x: net.fc(x).softmax(1), "softmax"),
    "cool softmax": (lambda net, x: (net.fc(x) / 0.2).softmax(1), "softmax"),
    "log_softmax": (lambda net, x: functional.log_softmax(net.fc(x), 1), "log_softmax"),
    "sigmoid": (lambda net, x: net.fc(x).sigmoid(), "sigmoid"),
}
# Networks whose output is neither, and whether a person is warned.
OTHERS: dict[str, tuple[End, bool]] = {
    "features": (lambda _net, x: functional.layer_norm(x, (WIDTH,)), False),
    "scaled scores": (lambda net, x: net.fc(x) * 3, True),
    "scores of cosines": (
        lambda net, x: functional.normalize(x) @ functional.normalize(net.fc.weight).T * 9,
        True,
    ),
    "scores within 0 and 1": (lambda net, x: net.fc(x).clamp(0, 1), True),
}


def combined(kinds: dict[str, Any]) -> list[tuple[str, str]]:
    """Return every kind with every source; torch.export is slow, and sees the first one only."""
    first = next(iter(kinds))
    return [
        (kind, source)
        for kind in kinds
        for source in SOURCES
        if source != "export" or kind == first
    ]


def encoder_of(context: Context, tmp_path: Path, net: torch.nn.Module, source: str) -> Encoder:
    """Open a network as a source gives it."""
    transform = {"size": SIZE}
    if source == "in-memory":
        held = Context(
            folder=tmp_path, project=tmp_path, device="cpu", modules={"net": InMemory(module=net)}
        )
        entry: Any = InMemoryModel.model_validate(
            {"source": source, "key": "net", "transform": transform}
        )
        return find_source(source).open(entry, find_source(source).identify(entry, held)[0], held)
    path = tmp_path / f"net.{SUFFIXES[source]}"
    batch = torch.rand(2, 3, SIZE, SIZE)
    shapes = ({0: torch.export.Dim("n", min=1, max=64)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source == "torchscript":
            torch.jit.save(torch.jit.trace(net, batch, check_trace=False), path)
        elif source == "export":
            torch.export.save(torch.export.export(net, (batch,), dynamic_shapes=shapes), path)
        else:
            pytest.importorskip("onnxruntime", reason="an extra")
            axes = {"images": {0: "n"}}
            torch.onnx.export(
                *(net, (batch,), path),
                dynamo=False,
                input_names=["images"],
                dynamic_axes=axes,
            )
    entry = ProgramModel.model_validate(
        {"source": source, "path": str(path), "transform": transform}
    )
    return find_source(source).open(entry, find_source(source).identify(entry, context)[0], context)


def read_out(encoder: Encoder) -> ReadOut:
    assert isinstance(encoder, StatesReadOut)
    return encoder.read_out


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def expected(net: Net, encoder: Encoder, images: list[Image.Image]) -> tuple[Any, Any]:
    """Return features and output, by the network itself."""
    batch = torch.from_numpy(np.stack([encoder.prepare(image) for image in images]))
    with torch.inference_mode():
        return net.features(batch).numpy(), net(batch).numpy()


@pytest.mark.parametrize(("kind", "source"), combined(LINEAR))
def test_pooled_is_what_the_final_linear_layer_is_given(
    context: Context, tmp_path: Path, images: list[Image.Image], kind: str, source: str
) -> None:
    net = Net(*LINEAR[kind])
    encoder = encoder_of(context, tmp_path, net, source)
    features, output = expected(net, encoder, images)
    found = read(encoder, images, "pooled", "output", "logits")
    np.testing.assert_allclose(found["pooled"], features, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["output"], output, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["logits"], output, rtol=1e-4, atol=1e-6)
    assert read_out(encoder).side == "input"
    assert not read_out(encoder).doubt


def test_the_layer_is_named(context: Context, tmp_path: Path) -> None:
    encoder = encoder_of(context, tmp_path, Net(*LINEAR["linear"]), "in-memory")
    assert (read_out(encoder).module, read_out(encoder).side) == ("fc", "input")


@pytest.mark.parametrize(("kind", "source"), combined(SHARES))
def test_probabilities_are_not_pooled(
    context: Context, tmp_path: Path, images: list[Image.Image], kind: str, source: str
) -> None:
    end, activation = SHARES[kind]
    net = Net(end)
    encoder = encoder_of(context, tmp_path, net, source)
    assert read_out(encoder).activation == activation
    with pytest.raises(EncoderError, match=r"layers: \{pooled: output\}"):
        read(encoder, images, "pooled")
    _, output = expected(net, encoder, images)
    found = read(encoder, images, "output", "probabilities")
    np.testing.assert_allclose(found["output"], output, rtol=1e-4, atol=1e-6)
    shares = np.exp(output) if activation == "log_softmax" else output
    np.testing.assert_allclose(found["probabilities"], shares, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("source", ["in-memory", "export", "onnx"])
def test_the_error_names_a_layer_that_holds_features(
    context: Context, tmp_path: Path, images: list[Image.Image], source: str
) -> None:
    net = Net(SHARES["softmax"][0])
    encoder = encoder_of(context, tmp_path, net, source)
    with pytest.raises(EncoderError) as caught:
        read(encoder, images, "pooled")
    name = str(caught.value).partition("layers: {pooled: ")[2].partition("}")[0]
    features, _ = expected(net, encoder, images)
    np.testing.assert_allclose(read(encoder, images, name)[name], features, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "source"), combined(OTHERS))
def test_of_other_networks_the_output_is_read(
    context: Context, tmp_path: Path, images: list[Image.Image], kind: str, source: str
) -> None:
    end, is_doubtful = OTHERS[kind]
    net = Net(end)
    encoder = encoder_of(context, tmp_path, net, source)
    _, output = expected(net, encoder, images)
    found = read(encoder, images, "pooled")["pooled"]
    np.testing.assert_allclose(found, output, rtol=1e-4, atol=1e-6)
    assert read_out(encoder).side == "output"
    assert bool(read_out(encoder).doubt) == is_doubtful


class Last(torch.nn.Module):
    """A headless network whose last module works in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(3, 5)
        self.act = torch.nn.ReLU(inplace=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.act(images.mean((2, 3))))
        return found


def test_what_is_read_does_not_change_afterwards(
    context: Context, tmp_path: Path, images: list[Image.Image]
) -> None:
    net = Last().eval()
    encoder = encoder_of(context, tmp_path, net, "in-memory")
    batch = torch.from_numpy(np.stack([encoder.prepare(image) for image in images]))
    expected = batch.mean((2, 3)).relu().numpy()
    np.testing.assert_allclose(read(encoder, images, "pooled")["pooled"], expected, atol=1e-6)
