"""What a network gives by itself (features, logits, probabilities), and its tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.factory import open_factory
from pytest_visualbias.models.identity import identify_factory, identify_timm
from pytest_visualbias.models.timm import open_timm
from pytest_visualbias.spec.effective_settings import expand_layers, parse_layer_point
from pytest_visualbias.spec.model_entries import FactoryModel, TimmModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.models.torch_encoder import TorchEncoder

    Opened = Callable[..., TorchEncoder]

pytestmark = pytest.mark.torch

ARCHITECTURES = ("test_resnet", "test_vit", "test_convnext", "test_vit3", "test_mambaout")
OTHER_CLASSES = (
    r"there is no layer 'logits': .+ 7 classes, the network's 1000 \(fc\.weight\); write "
    r"'arguments: \{num_classes: 7\}', or test embeddings at 'pooled'"
)


def entry_of(name: str, **keys: Any) -> TimmModel:  # noqa: ANN401 - of the spec
    if not keys.keys() & {"checkpoint", "random_init", "pretrained"}:
        keys["pretrained"] = False
    return TimmModel.model_validate({"source": "timm", "name": name, **keys})


@pytest.fixture
def opened(context: Context) -> Opened:
    """Encoder of an entry."""

    def encoder(name: str, **keys: Any) -> TorchEncoder:  # noqa: ANN401
        entry = entry_of(name, **keys)
        return open_timm(entry, identify_timm(entry, context)[0], context)

    return encoder


def made(name: str, seed: int = 0, **arguments: Any) -> Any:  # noqa: ANN401 - timm's
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, pretrained=False, **arguments).eval()


def save(context: Context, weights: dict[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(weights, context.folder / "c.safetensors")


def encode(encoder: TorchEncoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(layer, layer) for layer in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def batch_of(encoder: TorchEncoder, images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([encoder.prepare(image) for image in images]))


class TestLogits:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_are_the_output_of_the_whole_network(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened(name)
        found = encode(encoder, images, "logits", "pooled", "probabilities")
        model = made(name)
        with torch.inference_mode():
            batch = batch_of(encoder, images)
            logits = model(batch)
            pooled = model.forward_head(model.forward_features(batch), pre_logits=True)
        assert found["logits"].shape == (5, 1000)
        np.testing.assert_allclose(found["logits"], logits.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["pooled"], pooled.numpy(), rtol=1e-4, atol=1e-5)
        shares = np.exp(logits.double().numpy())
        shares /= shares.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found["probabilities"], shares, rtol=1e-3, atol=1e-8)
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-5)

    def test_come_from_the_same_pass_as_all_layers(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        """Modules that the head shares with what is pooled are read once."""
        encoder = opened("test_resnet")
        passes = []
        encoder._module.get_submodule("conv1").register_forward_hook(lambda *_: passes.append(1))
        names = ("logits", "layer1", "global_pool", "pooled", "probabilities")
        assert encode(encoder, images[:4], *names).keys() == {*names}
        assert len(passes) == 1

    def test_are_listed_where_there_are_any(self, opened: Opened) -> None:
        assert opened("test_vit").layers()[:3] == ["pooled", "logits", "probabilities"]
        headless = opened("test_vit", arguments={"num_classes": 0}).layers()
        assert headless[0] == "pooled"
        assert not {"logits", "probabilities"} & {*headless}

    @pytest.mark.parametrize("layer", ["logits", "probabilities"])
    def test_of_a_network_without_a_classifier_are_an_error(
        self, layer: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_vit", arguments={"num_classes": 0})
        message = f"there is no layer '{layer}': the network has no classifier; give one that has"
        with pytest.raises(EncoderError, match=message):
            encode(encoder, images[:1], layer)

    def test_of_other_classes_are_an_error_and_the_features_are_not(
        self, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        """An untrained classifier never stands in for one that does not fit."""
        model = made("test_resnet", seed=5, num_classes=7)
        save(context, model.state_dict())
        encoder = opened("test_resnet", checkpoint="c.safetensors")
        for layer in ("logits", "output", "fc"):
            with pytest.raises(EncoderError, match=OTHER_CLASSES.replace("logits", layer)):
                encode(encoder, images[:1], layer)
        assert encode(encoder, images, "pooled")["pooled"].shape[0] == 5
        assert encoder.description["left_out"] == ["fc. (2 weights)"]

    def test_of_a_checkpoint_without_its_classifier_are_an_error(
        self, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        weights = made("test_resnet").state_dict()
        save(context, {name: weights[name] for name in weights if not name.startswith("fc.")})
        encoder = opened("test_resnet", checkpoint="c.safetensors")
        with pytest.raises(
            EncoderError, match=r"'logits': .+ no classifier \(fc\.weight, fc\.bias\); "
        ):
            encode(encoder, images[:1], "logits")
        assert encode(encoder, images, "pooled")["pooled"].shape[0] == 5

    def test_of_a_classifier_elsewhere_in_the_file_are_an_error(
        self, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        """A classifier is never taken from other weights than the features are."""
        whole = made("test_resnet", seed=5).state_dict()
        bare = {name: value for name, value in whole.items() if not name.startswith("fc.")}
        heads = {name: value for name, value in whole.items() if name.startswith("fc.")}
        torch.save({"state_dict": bare, "probe": heads}, context.folder / "c.pt")
        encoder = opened("test_resnet", checkpoint="c.pt")
        with pytest.raises(EncoderError, match=r"no classifier \(fc\.weight, fc\.bias\)"):
            encode(encoder, images[:1], "logits")

    def test_of_an_ignored_classifier_are_an_error(
        self, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        save(context, made("test_resnet").state_dict())
        encoder = opened("test_resnet", checkpoint="c.safetensors", ignore=["fc."])
        assert encoder.description["left_out"] == ["fc. (2 weights)"]
        with pytest.raises(EncoderError, match="'ignore'"):
            encode(encoder, images[:1], "logits")

    def test_of_pretrained_weights_with_other_classes_are_an_error(
        self, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        """Where timm is asked for other classes than it has learned, it draws their weights."""
        folder = context.folder / "model"
        folder.mkdir()
        safetensors.torch.save_file(made("test_resnet").state_dict(), folder / "model.safetensors")
        config = {"architecture": "test_resnet", "num_classes": 1000}
        config["pretrained_cfg"] = {"input_size": [3, 160, 160], "classifier": "fc"}
        (folder / "config.json").write_text(json.dumps(config))
        name = f"local-dir:{folder}"
        whole = opened(name, pretrained=True)
        assert encode(whole, images, "logits")["logits"].shape == (5, 1000)
        other = opened(name, pretrained=True, arguments={"num_classes": 7})
        with pytest.raises(EncoderError, match="7 classes"):
            encode(other, images[:1], "logits")
        one, two = (encode(encoder, images, "pooled")["pooled"] for encoder in (whole, other))
        np.testing.assert_array_equal(one, two)


class TestArguments:
    def test_are_those_of_timm(self, opened: Opened) -> None:
        """So a ResNet starts with its residual branches at one, as torchvision's does."""
        for start, arguments in ((0.0, {}), (1.0, {"zero_init_last": False})):
            encoder = opened("test_resnet", arguments=arguments)
            last = encoder._module.get_parameter("layer1.0.bn2.weight")
            np.testing.assert_array_equal(last.numpy(), start)

    def test_that_timm_does_not_know_are_an_error(self, opened: Opened) -> None:
        with pytest.raises(EncoderError, match=r"TypeError: .+'zero_init'\); correct 'arguments'"):
            opened("test_resnet", arguments={"zero_init": False})

    def test_are_part_of_the_identity(self, context: Context) -> None:
        fingerprints = {
            identify_timm(entry_of("test_resnet", **keys), context)[0].fingerprint()
            for keys in (
                {},
                {"arguments": {"num_classes": 7}},
                {"arguments": {"num_classes": 8}},
                {"preprocess": "ieat"},
                {"preprocess": "ieat", "transform": {"size": 32}},
            )
        }
        assert len(fingerprints) == 5


NETS = """\
import timm
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3)
        self.head = torch.nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))

def make():
    return timm.create_model('test_resnet', num_classes=9)
"""


class TestFactory:
    @pytest.fixture
    def own(self, context: Context, monkeypatch: pytest.MonkeyPatch) -> Opened:
        (context.project / "vb_readouts.py").write_text(NETS)

        def encoder(call: str, **keys: Any) -> TorchEncoder:  # noqa: ANN401
            keys = {"transform": {"size": 32}} | keys
            entry = FactoryModel.model_validate(
                {"source": "factory", "call": f"vb_readouts:{call}", "random_init": 1, **keys}
            )
            monkeypatch.delitem(__import__("sys").modules, "vb_readouts", raising=False)
            return open_factory(entry, identify_factory(entry, context)[0], context)

        return encoder

    def test_logits_are_what_the_network_returns(
        self, own: Opened, images: list[Image.Image]
    ) -> None:
        encoder = own("Net")
        found = encode(encoder, images, "logits", "output", "pooled", "head", "probabilities")
        with torch.inference_mode():
            batch = batch_of(encoder, images)
            expected = encoder._module(batch).numpy()
            features = encoder._module.get_submodule("conv")(batch).mean((2, 3)).numpy()
        assert expected.shape == (5, 4)
        np.testing.assert_allclose(found["pooled"], features, rtol=1e-4, atol=1e-6)
        for name in ("logits", "output", "head"):
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-5)

    def test_of_a_timm_like_network_they_come_behind_its_features(
        self, own: Opened, images: list[Image.Image]
    ) -> None:
        encoder = own("make")
        found = encode(encoder, images, "logits", "pooled")
        with torch.inference_mode():
            expected = encoder._module(batch_of(encoder, images)).numpy()
        np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-5)
        assert found["pooled"].shape[1] != 9

    def test_ieats_preprocessing_needs_no_transform(
        self, own: Opened, opened: Opened, images: list[Image.Image]
    ) -> None:
        """It is the same for every source, and so are its facts."""
        encoder = own("make", preprocess="ieat", transform=None)
        theirs = opened("test_resnet", preprocess="ieat")
        assert encoder.preprocessing == theirs.preprocessing
        assert encoder.preprocessing["size"] == [224, 224]
        for image in images:
            np.testing.assert_array_equal(encoder.prepare(image), theirs.prepare(image))
        small = own("make", preprocess="ieat", transform={"size": 32})
        assert small.prepare(images[0]).shape == (3, 32, 32)


class TestTokens:
    @pytest.mark.parametrize(
        ("name", "arguments", "prefix"),
        [
            ("test_vit", {}, 1),
            ("test_vit", {"reg_tokens": 4}, 5),
            ("test_vit2", {}, 1),
            ("test_vit3", {"class_token": False, "reg_tokens": 3}, 3),
        ],
    )
    def test_that_are_no_patches_are_left_out_of_the_mean(
        self,
        name: str,
        arguments: dict[str, Any],
        prefix: int,
        opened: Opened,
        images: list[Image.Image],
    ) -> None:
        """The second network has a class token and four registers, the third one register."""
        encoder = opened(name, arguments=arguments)
        model = made(name, **arguments)
        assert model.num_prefix_tokens == prefix
        tokens = _after_block(model, 1, batch_of(encoder, images))
        found = encode(encoder, images, "blocks.1", "blocks.1:max")
        patches = tokens[:, prefix:]
        np.testing.assert_allclose(found["blocks.1"], patches.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["blocks.1:max"], patches.amax(1), rtol=1e-4, atol=1e-5)
        assert not np.allclose(found["blocks.1"], tokens.mean(1), atol=1e-4)

    @pytest.mark.parametrize("arguments", [{}, {"reg_tokens": 4}])
    def test_of_the_class_are_the_first(
        self, arguments: dict[str, Any], opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_vit", arguments=arguments)
        tokens = _after_block(made("test_vit", **arguments), 1, batch_of(encoder, images))
        found = encode(encoder, images, "blocks.1:cls")["blocks.1:cls"]
        np.testing.assert_allclose(found, tokens[:, 0], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ["test_vit2", "test_vit3"])
    def test_a_register_is_no_class_token(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        """These have one token before the patches, which is a register."""
        assert made(name).num_prefix_tokens == 1
        with pytest.raises(EncoderError, match=r"'blocks\.1:cls'.+class token"):
            encode(opened(name), images[:1], "blocks.1:cls")

    def test_every_block_of_a_vision_transformer_is_read_in_one_pass(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("vit_tiny_patch16_224")
        names = (*expand_layers("blocks.{0..11}"), *expand_layers("blocks.{0..11}:cls"))
        found = encode(encoder, images[:2], *names)
        model = made("vit_tiny_patch16_224")
        with torch.inference_mode():
            blocks = model.forward_intermediates(
                batch_of(encoder, images[:2]),
                return_prefix_tokens=True,
                norm=False,
                output_fmt="NLC",
                intermediates_only=True,
            )
        assert len(blocks) == 12
        for number, (patches, prefix) in enumerate(blocks):
            mean, first = found[f"blocks.{number}"], found[f"blocks.{number}:cls"]
            np.testing.assert_allclose(mean, patches.mean(1), rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(first, prefix[:, 0], rtol=1e-3, atol=1e-5)


def _after_block(model: Any, number: int, batch: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    seen: list[torch.Tensor] = []
    model.blocks[number].register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.inference_mode():
        model(batch)
    return seen[0]
