"""The source timm: real architectures, their own preprocessing, their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
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

    def test_a_map_has_no_class_token(self, opened: Opened, images: list[Image.Image]) -> None:
        encoder = opened("test_resnet")
        with pytest.raises(EncoderError, match=r"'layer4:cls'.+feature map"):
            encoder.encode(
                inputs(encoder, images[:1]), [parse_layer_point("layer4:cls", "layer4:cls")]
            )

    def test_tokens_may_have_no_class_token(
        self, opened: Opened, images: list[Image.Image]
    ) -> None:
        encoder = opened("test_vit_relpos")
        assert untrained("test_vit_relpos").num_prefix_tokens == 0
        with pytest.raises(EncoderError, match=r"'blocks\.0:cls'.+class token"):
            encoder.encode(
                inputs(encoder, images[:1]), [parse_layer_point("blocks.0:cls", "blocks.0:cls")]
            )


class TestCheckpoint:
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
            ("test_resnt", "'test_resnet'"),
            ("resnett50", "'resnet50'"),
            ("qqqqqqqq", r"timm\.list_models"),
        ],
    )
    def test_an_unknown_one_is_an_error_with_the_nearest(
        self, opened: Opened, name: str, hint: str
    ) -> None:
        with pytest.raises(EncoderError, match=rf"'{name}'.+{hint}"):
            opened(name)

    def test_an_unknown_tag_is_an_error(self, opened: Opened) -> None:
        with pytest.raises(EncoderError, match=r"'test_resnet\.nonsense'"):
            opened("test_resnet.nonsense")

    def test_a_model_without_published_weights_is_never_random_in_their_place(
        self, opened: Opened
    ) -> None:
        with pytest.raises(EncoderError, match="timm cannot make 'test_maxvit'"):
            opened("test_maxvit", pretrained=True)
