"""Networks whose vectors depend on chance or on other images of a pass are refused, others not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional

from pytest_visualbias.embeddings.extraction import check_network
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.loaded_network import LoadedNetwork, readers
from pytest_visualbias.models.preprocessing import make_transform, transform_facts
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[["Net", torch.Tensor], torch.Tensor]

pytestmark = pytest.mark.torch

SIZE, WIDTH = 12, 8


class Net(torch.nn.Module):
    """A small network with a step that a test chooses, before its classifier."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, WIDTH, 3)
        self.norm = torch.nn.BatchNorm2d(WIDTH, track_running_stats=False)
        # Its first axis is the sequence, where images are given.
        self.attention = torch.nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0)
        self.fc = torch.nn.Linear(WIDTH, 4)
        self.step = step

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.step(self, self.conv(images)))
        return found


def mean(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3))


def masked(maps: torch.Tensor) -> torch.Tensor:
    return maps * (torch.rand(maps.shape[2:]) > 0.5)


UNSTEADY: dict[str, Step] = {
    "dropout that is always on": lambda _, x: mean(functional.dropout(x, 0.5, training=True)),
    "random patches": lambda _, x: mean(masked(x)),
    "noise": lambda _, x: mean(x) + torch.randn(len(x), WIDTH),
    "batch normalisation without running statistics": lambda net, x: mean(net.norm(x)),
    "outputs centred over the pass": lambda _, x: mean(x) - mean(x).mean(0),
    "norms over the pass": lambda _, x: functional.normalize(mean(x), dim=0),
    "softmax over the pass": lambda _, x: mean(x).softmax(0),
    "attention between images": lambda net, x: net.attention(mean(x)[:, None])[:, 0],
    "dropout from a seed": lambda _, x: mean(_seeded(x)),
}
STEADY: dict[str, Step] = {
    "nothing": lambda _, x: mean(x),
    "dropout that is off": lambda _, x: mean(functional.dropout(x, 0.5, training=False)),
    "norms of each image": lambda _, x: functional.normalize(mean(x)),
    "layer normalisation": lambda _, x: functional.layer_norm(mean(x), (WIDTH,)),
    "instance normalisation": lambda _, x: mean(functional.instance_norm(x) * x),
}


def _seeded(maps: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return functional.dropout(maps, 0.5, training=True)


def encoder_of(module: torch.nn.Module, **keys: Any) -> TorchEncoder:  # noqa: ANN401
    transform = Transform(size=SIZE)
    network = LoadedNetwork(
        module=module,
        notes={},
        prepare=make_transform(transform),
        preprocessing=transform_facts(transform),
        **readers(module),
    )
    return TorchEncoder(network, device="cpu", **keys)


@pytest.mark.parametrize("kind", UNSTEADY)
@pytest.mark.parametrize("layer", ["pooled", "logits", "fc"])
def test_such_a_network_is_refused(kind: str, layer: str) -> None:
    encoder = encoder_of(Net(UNSTEADY[kind]))
    with pytest.raises(EncoderError, match="another vector"):
        check_network(encoder, [parse_layer_point(layer, layer)])


@pytest.mark.parametrize("kind", STEADY)
def test_another_is_not(kind: str) -> None:
    check_network(encoder_of(Net(STEADY[kind])), [parse_layer_point("pooled", "pooled")])


def test_what_is_not_read_may_be_random() -> None:
    encoder = encoder_of(Net(UNSTEADY["random patches"]))
    check_network(encoder, [parse_layer_point("conv", "conv")])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_fewer_bits_are_measured(precision: str) -> None:
    encoder = encoder_of(Net(STEADY["nothing"]), precision=precision)
    check_network(
        encoder, [parse_layer_point("pooled", "pooled"), parse_layer_point("logits", "logits")]
    )


def test_int8_is_measured() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(
            Net(STEADY["nothing"]).eval(), {torch.nn.Linear}, dtype=torch.qint8
        )
    check_network(encoder_of(small), [parse_layer_point("logits", "logits")])
