"""The source timm: real architectures, their own preprocessing, their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import timm
import timm.data
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.identity import identify_timm
from pytest_visualbias.models.timm import open_timm
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.spec.schema import LayerPoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.models.torch_encoder import TorchEncoder

    Opened = Callable[..., TorchEncoder]

pytestmark = pytest.mark.torch

POOLED = LayerPoint(name="pooled", module="pooled")
# Layouts that timm's test models cover: maps, tokens with and without a class token, NHWC maps.
ARCHITECTURES = ("test_resnet", "test_vit", "test_convnext", "test_vit2", "test_mambaout")


def entry_of(name: str, **keys: Any) -> TimmModel:  # noqa: ANN401 - of the spec
    if not keys.keys() & {"checkpoint", "random_init", "pretrained"}:
        keys["pretrained"] = False
    return TimmModel.model_validate({"source": "timm", "name": name, **keys})


@pytest.fixture
def opened(context: Context) -> Opened:
    """Encoder of an entry's n-th identity."""

    def encoder(name: str, number: int = 0, **keys: Any) -> TorchEncoder:  # noqa: ANN401
        entry = entry_of(name, **keys)
        return open_timm(entry, identify_timm(entry, context)[number], context)

    return encoder


def untrained(name: str, seed: int = 0) -> Any:  # noqa: ANN401 - timm's
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, pretrained=False).eval()


def inputs(encoder: TorchEncoder, images: list[Image.Image]) -> list[np.ndarray]:
    return [encoder.prepare(image) for image in images]


@pytest.mark.parametrize("name", ARCHITECTURES)
class TestEveryArchitecture:
    def test_pooled_is_the_models_own_head_before_the_classifier(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened(name)
        batch = inputs(encoder, images)
        found = encoder.encode(batch, [POOLED])["pooled"]
        model = untrained(name)
        with torch.inference_mode():
            features = model.forward_features(torch.from_numpy(np.stack(batch)))
            expected = model.forward_head(features, pre_logits=True).numpy()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_preprocessing_is_the_models_own(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        config = timm.data.resolve_model_data_config(untrained(name))
        transform = timm.data.create_transform(**config, is_training=False)
        encoder = opened(name)
        for image, found in zip(images, inputs(encoder, images), strict=True):
            np.testing.assert_array_equal(found, transform(image).numpy())
        assert encoder.preprocessing["input_size"] == list(config["input_size"])
        assert encoder.preprocessing["mean"] == list(config["mean"])

    def test_vectors_do_not_depend_on_the_batch(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened(name)
        batch = inputs(encoder, images)
        together = encoder.encode(batch, [POOLED])["pooled"]
        alone = np.concatenate([encoder.encode([one], [POOLED])["pooled"] for one in batch])
        np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5)
        assert np.ptp(together, axis=0).max() > 1e-3, "all images have the same vector"

    def test_seeds_are_reproducible_and_differ(
        self, name: str, opened: Opened, images: list[Image.Image]
    ) -> None:
        one, again, other = (opened(name, number, random_init=2) for number in (0, 0, 1))
        assert one.weights == again.weights != other.weights
        batch = inputs(one, images)
        first, second, third = (e.encode(batch, [POOLED])["pooled"] for e in (one, again, other))
        np.testing.assert_array_equal(first, second)
        assert not np.allclose(first, third)


def test_the_order_of_a_batch_does_not_matter(opened: Opened, images: list[Image.Image]) -> None:
    encoder = opened("test_resnet")
    batch = inputs(encoder, images)
    forward = encoder.encode(batch, [POOLED])["pooled"]
    backward = encoder.encode(batch[::-1], [POOLED])["pooled"]
    np.testing.assert_allclose(forward, backward[::-1], rtol=0, atol=1e-5)


def test_the_users_random_numbers_are_left_alone(opened: Opened) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    opened("test_resnet")
    assert torch.equal(torch.rand(3), expected)


class TestLayers:
    def test_of_a_map_are_pooled_as_by_hand(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_resnet")
        batch = inputs(encoder, images)
        model = untrained("test_resnet")
        with torch.inference_mode():
            x = model.maxpool(model.act1(model.bn1(model.conv1(torch.from_numpy(np.stack(batch))))))
            first = model.layer1(x)
            second = model.layer2(first)
        expected = {
            "layer1": first.mean((2, 3)),
            "layer2": second.mean((2, 3)),
            "layer2:mean": second.mean((2, 3)),
            "layer2:max": second.amax((2, 3)),
            "layer2:flatten": second.flatten(1),
        }
        found = encoder.encode(batch, [parse_layer_point(name, name) for name in expected])
        assert found.keys() == expected.keys()
        for name, vectors in found.items():
            np.testing.assert_allclose(vectors, expected[name].numpy(), rtol=1e-5, atol=1e-6)

    def test_of_tokens_are_pooled_without_the_class_token(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_vit")
        batch = inputs(encoder, images)
        model = untrained("test_vit")
        with torch.inference_mode():
            tokens = model.patch_embed(torch.from_numpy(np.stack(batch)))
            tokens = model.norm_pre(model.patch_drop(model._pos_embed(tokens)))
            tokens = model.blocks[1](model.blocks[0](tokens))
        assert model.num_prefix_tokens == 1
        expected = {
            "blocks.1": tokens[:, 1:].mean(1),
            "blocks.1:max": tokens[:, 1:].amax(1),
            "blocks.1:cls": tokens[:, 0],
            "blocks.1:flatten": tokens.flatten(1),
        }
        found = encoder.encode(batch, [parse_layer_point(name, name) for name in expected])
        for name, vectors in found.items():
            np.testing.assert_allclose(vectors, expected[name].numpy(), rtol=1e-5, atol=1e-6)

    def test_of_maps_with_the_channels_last_are_pooled_over_the_image(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_mambaout")
        batch = inputs(encoder, images)
        model = untrained("test_mambaout")
        assert model.output_fmt == "NHWC"
        with torch.inference_mode():
            features = model.forward_features(torch.from_numpy(np.stack(batch)))
        stage = f"stages.{len(model.stages) - 1}"
        found = encoder.encode(batch, [parse_layer_point(stage, stage)])[stage]
        np.testing.assert_allclose(found, features.mean((1, 2)).numpy(), rtol=1e-5, atol=1e-6)

    def test_what_works_in_place_behind_a_layer_does_not_change_it(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        """A ReLU in place follows this normalisation, whose output has negative values."""
        encoder = opened("test_resnet")
        batch = inputs(encoder, images)
        model = untrained("test_resnet")
        assert model.act1.inplace
        with torch.inference_mode():
            expected = model.bn1(model.conv1(torch.from_numpy(np.stack(batch)))).flatten(1)
        found = encoder.encode(batch, [parse_layer_point("bn1:flatten", "bn1:flatten")])[
            "bn1:flatten"
        ]
        assert (found < 0).any()
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)

    def test_many_are_read_in_one_pass(self, opened: Opened, images: list[Image.Image]) -> None:
        encoder = opened("test_resnet")
        passes = []
        encoder._module.get_submodule("conv1").register_forward_hook(lambda *_: passes.append(1))
        names = ("pooled", "layer1", "layer2", "layer3:max", "layer4")
        found = encoder.encode(
            inputs(encoder, images[:4]), [parse_layer_point(n, n) for n in names]
        )
        assert found.keys() == {*names}
        assert len(passes) == 1

    def test_leave_no_hooks_behind(self, opened: Opened, images: list[Image.Image]) -> None:
        encoder = opened("test_resnet")
        batch = inputs(encoder, images[:1])
        encoder.encode(batch, [parse_layer_point("layer1", "layer1")])
        with pytest.raises(EncoderError):
            encoder.encode(
                batch, [parse_layer_point("layer1", "layer1"), parse_layer_point("lay", "lay")]
            )
        hooks = [m for m in encoder._module.modules() if m._forward_hooks]
        assert hooks == []

    @pytest.mark.parametrize(
        ("layer", "hint"),
        [
            ("layer5", "did you mean 'layer4'?"),
            ("layer4.0.conv9", "did you mean 'layer4.0.conv"),
            (
                "xyzzy",
                "known: pooled, logits, probabilities, output, conv1, bn1, act1, maxpool, layer1",
            ),
        ],
    )
    def test_an_unknown_one_is_an_error_with_the_nearest(
        self, opened: Opened, images: list[Image.Image], layer: str, hint: str
    ) -> None:
        encoder = opened("test_resnet")
        with pytest.raises(EncoderError) as caught:
            encoder.encode(inputs(encoder, images[:1]), [parse_layer_point(layer, layer)])
        assert str(caught.value).startswith(f"there is no layer '{layer}'; {hint}")

    def test_are_listed(self, opened: Opened) -> None:
        layers = opened("test_resnet").layers()
        assert layers[0] == "pooled"
        assert {"layer1", "layer4", "layer1.0.conv1"} <= {*layers}

    def test_a_map_has_no_class_token(self, opened: Opened, images: list[Image.Image]) -> None:
        encoder = opened("test_resnet")
        with pytest.raises(EncoderError, match="'layer4:cls' is a feature map without a class"):
            encoder.encode(
                inputs(encoder, images[:1]), [parse_layer_point("layer4:cls", "layer4:cls")]
            )

    def test_tokens_may_have_no_class_token(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_vit_relpos")
        assert untrained("test_vit_relpos").num_prefix_tokens == 0
        with pytest.raises(EncoderError, match=r"'blocks\.0:cls' has no class token; use mean"):
            encoder.encode(
                inputs(encoder, images[:1]), [parse_layer_point("blocks.0:cls", "blocks.0:cls")]
            )

    def test_the_last_one_pooled_is_pooled(self, opened: Opened, images: list[Image.Image]) -> None:
        encoder = opened("test_resnet")
        found = encoder.encode(inputs(encoder, images), [POOLED, parse_layer_point("l", "layer4")])
        np.testing.assert_allclose(found["l"], found["pooled"], rtol=1e-5, atol=1e-6)


class TestCheckpoint:
    def saved(self, folder: Path, name: str, seed: int = 5) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = untrained(name, seed).state_dict()
        safetensors.torch.save_file(state, folder / "c.safetensors")
        return state

    @pytest.mark.parametrize(
        ("name", "head"),
        [("test_resnet", "fc."), ("test_vit", "head."), ("test_convnext", "head.fc.")],
    )
    def test_is_loaded_without_its_head_which_may_have_other_classes(
        self, name: str, head: str, opened: Opened, context: Context, images: list[Image.Image]
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            model: Any = timm.create_model(name, pretrained=False, num_classes=7).eval()
        torch.save({"state_dict": model.state_dict()}, context.folder / "c.pt")
        encoder = opened(name, checkpoint="c.pt")
        assert encoder.description["left_out"] == [f"{head} (2 weights)"]
        assert encoder.description["container"] == "state_dict"
        batch = inputs(encoder, images)
        with torch.inference_mode():
            features = model.forward_features(torch.from_numpy(np.stack(batch)))
            expected = model.forward_head(features, pre_logits=True).numpy()
        found = encoder.encode(batch, [POOLED])["pooled"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_of_another_architecture_is_refused(self, opened: Opened, context: Context) -> None:
        self.saved(context.folder, "test_vit")
        with pytest.raises(EncoderError, match=r"fit the network: none .*\(conv1\.0\.weight"):
            opened("test_resnet", checkpoint="c.safetensors")

    def test_of_resnet34_does_not_pass_in_resnet18(self, opened: Opened, context: Context) -> None:
        """Every weight of the shallower network is in the deeper one's checkpoint."""
        torch.save(untrained("resnet34").state_dict(), context.folder / "c.pt")
        with pytest.raises(EncoderError, match=r"network does not have: layer1\.2\.conv1\.weight"):
            opened("resnet18", checkpoint="c.pt")

    def test_what_is_ignored_is_left_out(self, opened: Opened, context: Context) -> None:
        state = self.saved(context.folder, "test_resnet")
        state |= {"projector.0.weight": torch.zeros(2, 2)}
        torch.save(state, context.folder / "c.pt")
        with pytest.raises(EncoderError, match=r"does not have: projector\.0\.weight"):
            opened("test_resnet", checkpoint="c.pt")
        encoder = opened("test_resnet", checkpoint="c.pt", ignore=["projector."])
        assert "projector.0.weight" in encoder.description["left_out"]

    def test_other_weights_have_another_digest(self, opened: Opened, context: Context) -> None:
        digests = set()
        for seed in (5, 6):
            self.saved(context.folder, "test_resnet", seed)
            digests.add(opened("test_resnet", checkpoint="c.safetensors").weights)
        assert len(digests) == 2


class TestTransform:
    @pytest.mark.parametrize(
        ("transform", "config"),
        [
            ({"size": 96}, {"input_size": (3, 96, 96)}),
            ({"size": [64, 96]}, {"input_size": (3, 64, 96)}),
            ({"size": 64, "crop": "center"}, {"input_size": (3, 64, 64), "crop_pct": 1.0}),
            ({"size": 64, "crop": 0.5}, {"input_size": (3, 64, 64), "crop_pct": 0.5}),
            (
                {"size": 64, "crop": "squash"},
                {"input_size": (3, 64, 64), "crop_mode": "squash", "crop_pct": 1.0},
            ),
            (
                {"size": 64, "mean": [0, 0.5, 1], "std": [1, 2, 3], "interpolation": "bilinear"},
                {
                    "input_size": (3, 64, 64),
                    "mean": (0, 0.5, 1),
                    "std": (1, 2, 3),
                    "interpolation": "bilinear",
                },
            ),
        ],
    )
    def test_changes_what_it_names_and_keeps_the_rest(
        self,
        opened: Opened,
        images: list[Image.Image],
        transform: dict[str, Any],
        config: dict[str, Any],
    ) -> None:
        encoder = opened("test_resnet", transform=transform)
        own = timm.data.resolve_model_data_config(untrained("test_resnet"))
        steps = timm.data.create_transform(**{**own, **config}, is_training=False)
        for image in images:
            np.testing.assert_array_equal(encoder.prepare(image), steps(image).numpy())
        assert encoder.preprocessing["input_size"] == list(config["input_size"])


class TestNames:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("test_resnt", "did you mean 'test_resnet'?"),
            ("resnett50", "did you mean 'resnet50'?"),
            ("qqqqqqqq", "see timm.list_models()"),
        ],
    )
    def test_an_unknown_one_is_an_error_with_the_nearest(
        self, opened: Opened, name: str, hint: str
    ) -> None:
        with pytest.raises(EncoderError) as caught:
            opened(name)
        assert str(caught.value) == f"timm has no model '{name}'; {hint}"

    def test_an_unknown_tag_is_an_error(self, opened: Opened) -> None:
        with pytest.raises(
            EncoderError, match=r"timm has no weights 'test_resnet\.nonsense'; did you mean"
        ):
            opened("test_resnet.nonsense")

    def test_a_model_without_published_weights_is_never_random_in_their_place(
        self, opened: Opened
    ) -> None:
        with pytest.raises(EncoderError, match="timm cannot make 'test_maxvit'"):
            opened("test_maxvit", pretrained=True)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_lower_precision_gives_nearly_the_same_vectors(
    precision: str, opened: Opened, images: list[Image.Image], context: Context
) -> None:
    full = opened("test_resnet")
    entry = entry_of("test_resnet")
    low_context = type(context)(
        folder=context.folder, project=context.project, device="cpu", precision=precision
    )
    low = open_timm(entry, identify_timm(entry, low_context)[0], low_context)
    batch = inputs(full, images)
    one, other = (encoder.encode(batch, [POOLED])["pooled"] for encoder in (full, low))
    assert other.dtype == np.float32
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(one, other)
