"""One contract for every source of networks: the library's own vectors, and strict checkpoints."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from pydantic import TypeAdapter

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.spec import model_entries
from pytest_visualbias.spec.effective_settings import parse_layer_point

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder, Identity

pytestmark = pytest.mark.torch

ENTRIES: dict[str, Any] = {
    "timm": model_entries.TimmModel,
    "torchvision": model_entries.TorchvisionModel,
    "transformers": model_entries.TransformersModel,
    "open_clip": model_entries.OpenClipModel,
    "factory": model_entries.FactoryModel,
}
NETS = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3)
        self.fc = torch.nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
"""


@dataclass(frozen=True)
class Library:
    """A network as its library builds it, and the entry that names its architecture."""

    source: str
    keys: dict[str, Any]
    network: Any
    layer: str
    pooled: Callable[[torch.Tensor], torch.Tensor]
    logits: Callable[[torch.Tensor], torch.Tensor] | None = None
    steps: Callable[[Image.Image], torch.Tensor] | None = None
    inside: str = ""

    def weight(self) -> str:
        """Return the name of a weight of the layer."""
        start = self.inside + self.layer
        names: list[str] = [name for name in self.network.state_dict() if name.startswith(start)]
        return next(name for name in names if name.endswith("weight"))

    def identities(self, context: Context, **keys: Any) -> tuple[Any, list[Identity]]:  # noqa: ANN401
        content = {"source": self.source, **self.keys, **keys}
        entry = TypeAdapter(ENTRIES[self.source]).validate_python(content)
        return entry, [*find_source(self.source).identify(entry, context)]

    def open(self, context: Context, number: int = 0, **keys: Any) -> Encoder:  # noqa: ANN401
        entry, identities = self.identities(context, **keys)
        return find_source(self.source).open(entry, identities[number], context)


def timm_library(_: Context) -> Library:
    network: Any = timm.create_model("test_resnet", num_classes=7).eval()
    return Library(
        source="timm",
        keys={"name": "test_resnet", "arguments": {"num_classes": 7}},
        network=network,
        layer="layer2",
        pooled=lambda x: network.forward_head(network.forward_features(x), pre_logits=True),
        logits=network,
        steps=timm.data.create_transform(**timm.data.resolve_model_data_config(network)),
    )


def torchvision_library(_: Context) -> Library:
    models = pytest.importorskip("torchvision", reason="an extra").models
    name = "shufflenet_v2_x0_5"
    network: Any = models.get_model(name, weights=None, num_classes=5)
    # Without statistics of its batches its vectors would be too small to compare.
    for module in network.modules():
        module.momentum = 1.0
    network.train()(torch.rand(4, 3, 64, 64))
    network.eval()
    return Library(
        source="torchvision",
        keys={"name": name, "arguments": {"num_classes": 5}},
        network=network,
        layer="conv5",
        pooled=lambda x: shufflenet_features(network, x),
        logits=network,
        steps=models.get_model_weights(name).DEFAULT.transforms(),
    )


def shufflenet_features(network: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    maps = network.maxpool(network.conv1(images))
    maps = network.conv5(network.stage4(network.stage3(network.stage2(maps))))
    features: torch.Tensor = maps.mean((2, 3))
    return features


def transformers_library(context: Context) -> Library:
    transformers = pytest.importorskip("transformers", reason="an extra")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        num_labels=3,
    )
    network = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    network.save_pretrained(context.folder / "vit")
    processor.save_pretrained(context.folder / "vit")
    return Library(
        source="transformers",
        keys={"path": "vit"},
        network=network,
        layer="vit.layers.1",
        pooled=lambda x: network.vit(x).last_hidden_state[:, 0],
        logits=lambda x: network(x).logits,
        steps=lambda image: processor(images=image, return_tensors="pt").pixel_values[0],
    )


def open_clip_library(context: Context) -> Library:
    open_clip = pytest.importorskip("open_clip", reason="an extra")
    text = {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    (context.folder / "contract-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(context.folder / "contract-clip.json")
    network, _, steps = open_clip.create_model_and_transforms("contract-clip")
    return Library(
        source="open_clip",
        keys={"name": "contract-clip"},
        network=network.eval(),
        layer="transformer.resblocks.1",
        inside="visual.",
        pooled=network.encode_image,
        steps=steps,
    )


def factory_library(context: Context) -> Library:
    (context.project / "vb_contract_nets.py").write_text(NETS)
    space: dict[str, Any] = {}
    exec(NETS, space)
    network = space["Net"]().eval()
    return Library(
        source="factory",
        keys={"call": "vb_contract_nets:Net", "transform": {"size": 16}},
        network=network,
        layer="conv",
        pooled=lambda x: network.conv(x).mean((2, 3)),
        logits=network,
    )


LIBRARIES = {
    "timm": timm_library,
    "torchvision": torchvision_library,
    "transformers": transformers_library,
    "open_clip": open_clip_library,
    "factory": factory_library,
}


@pytest.fixture(params=LIBRARIES)
def library(
    request: pytest.FixtureRequest, context: Context, monkeypatch: pytest.MonkeyPatch
) -> Library:
    """The network of each library, with drawn weights, and its checkpoint in `c.pt`."""
    monkeypatch.delitem(sys.modules, "vb_contract_nets", raising=False)
    if request.param == "open_clip":
        factory = pytest.importorskip("open_clip.factory", reason="an extra")
        monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS])
        monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        library = LIBRARIES[request.param](context)
    torch.save({"state_dict": library.network.state_dict()}, context.folder / "c.pt")
    return library


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def test_vectors_and_logits_of_a_checkpoint_are_those_of_the_library(
    library: Library, context: Context, images: list[Image.Image]
) -> None:
    encoder = library.open(context, checkpoint="c.pt")
    steps = library.steps or (lambda image: torch.from_numpy(encoder.prepare(image)))
    with torch.inference_mode():
        batch = torch.stack([steps(image) for image in images])
        pooled = library.pooled(batch)
        logits = library.logits(batch) if library.logits else None
    found = read(encoder, images, "pooled", library.layer)
    assert found["pooled"].dtype == np.float32
    largest = float(pooled.abs().max())
    assert largest > 0.01
    assert np.ptp(found["pooled"], axis=0).max() > 0.01 * largest, "all images have one vector"
    np.testing.assert_allclose(found["pooled"], pooled, rtol=1e-4, atol=1e-5 * largest)
    assert {"pooled", library.layer} <= {*encoder.layers()}
    if logits is None:
        assert not {"logits", "probabilities"} & {*encoder.layers()}
        return
    found = read(encoder, images, "logits", "probabilities")
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], logits.softmax(-1), rtol=1e-3, atol=1e-6)


def test_a_vector_does_not_depend_on_the_batch_or_its_order(
    library: Library, context: Context, images: list[Image.Image]
) -> None:
    encoder = library.open(context, checkpoint="c.pt")
    together = read(encoder, images, "pooled")["pooled"]
    alone = np.concatenate([read(encoder, [image], "pooled")["pooled"] for image in images])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5)
    backward = read(encoder, images[::-1], "pooled")["pooled"]
    np.testing.assert_allclose(backward[::-1], together, rtol=0, atol=1e-5)


def test_an_unknown_layer_is_refused(
    library: Library, context: Context, images: list[Image.Image]
) -> None:
    with pytest.raises(EncoderError, match="no layer 'pooledd'"):
        read(library.open(context, checkpoint="c.pt"), images[:1], "pooledd")


def test_untrained_networks_are_drawn_by_their_seed(library: Library, context: Context) -> None:
    keys = {} if library.source != "torchvision" else {"weights": "DEFAULT"}
    weights = [library.open(context, n, random_init=2, **keys).weights for n in (0, 1, 0)]
    assert weights[0] == weights[2] != weights[1]


def test_another_checkpoint_is_another_identity(library: Library, context: Context) -> None:
    state = library.network.state_dict()
    name = library.weight()
    torch.save(state | {name: state[name] + 1}, context.folder / "other.pt")
    fingerprints = {
        library.identities(context, checkpoint=path)[1][0].fingerprint()
        for path in ("c.pt", "other.pt")
    }
    digests = {library.open(context, checkpoint=path).weights for path in ("c.pt", "other.pt")}
    assert (len(fingerprints), len(digests)) == (2, 2)


def damage(case: str, library: Library, path: Path) -> None:
    whole = path.read_bytes()
    state = library.network.state_dict()
    last = library.weight()
    if case == "text":
        path.write_text("no weights at all")
    elif case == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif case == "absent":
        path.unlink()
    elif case == "another architecture":
        torch.save({"stem.weight": torch.ones(3, 3), "stem.bias": torch.ones(3)}, path)
    elif case == "lacks a weight":
        torch.save({name: value for name, value in state.items() if name != last}, path)
    elif case == "another shape":
        torch.save(state | {last: torch.ones(3, 5)}, path)
    else:
        torch.save(state | {last.replace("weight", "further"): torch.ones(3)}, path)


@pytest.mark.parametrize(
    "case",
    ["text", "cut", "absent", "another architecture", "lacks a weight", "another shape", "more"],
)
def test_a_wrong_checkpoint_is_refused_in_one_line_that_names_it(
    library: Library, context: Context, case: str
) -> None:
    damage(case, library, context.folder / "c.pt")
    with pytest.raises(EncoderError, match=r"c\.pt") as caught:
        library.open(context, checkpoint="c.pt")
    assert "\n" not in str(caught.value)
