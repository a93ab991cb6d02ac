"""What a trainer saved with the weights decides how images are prepared, or is an error.

The right vectors are those of timm's and transformers' own models and transforms.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import timm
import timm.data
import torch
import yaml
from timm.models import save_for_hf

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TimmModel, TorchvisionModel, TransformersModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

pytestmark = pytest.mark.torch
NAME = "test_resnet"
OWN = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 64, 64), "crop_pct": 1.0}
KINDS: dict[str, Any] = {
    "timm": TimmModel,
    "torchvision": TorchvisionModel,
    "transformers": TransformersModel,
}


def entry_of(source: str = "timm", **keys: Any) -> Any:  # noqa: ANN401
    keys = {"name": NAME, **keys} if source == "timm" else keys
    return KINDS[source].model_validate({"source": source, **keys})


def opened(context: Context, source: str = "timm", **keys: Any) -> Encoder:  # noqa: ANN401
    entry = entry_of(source, **keys)
    found = find_source(source)
    return found.open(entry, found.identify(entry, context)[0], context)


def read(encoder: Encoder, images: list[Image.Image], layer: str = "pooled") -> np.ndarray:
    batch = [encoder.prepare(image) for image in images]
    vectors: np.ndarray = encoder.encode(batch, [parse_layer_point(layer, layer)])[layer]
    return vectors


def trained(name: str = NAME, **keys: Any) -> Any:  # noqa: ANN401
    torch.manual_seed(5)
    return timm.create_model(name, num_classes=3, **keys).eval()


def expected(model: Any, images: list[Image.Image], **changes: Any) -> np.ndarray:  # noqa: ANN401
    """Return what timm gives, its images prepared as changed."""
    config = timm.data.resolve_model_data_config(model) | changes
    steps = timm.data.create_transform(**config, is_training=False)
    with torch.inference_mode():
        maps = model.forward_features(torch.stack([steps(image) for image in images]))
        vectors: np.ndarray = model.forward_head(maps, pre_logits=True).numpy()
    return vectors


def saved_for_hub(folder: Path) -> Any:  # noqa: ANN401
    model = trained()
    model.pretrained_cfg = {**model.pretrained_cfg, **OWN}
    save_for_hf(model, str(folder), safe_serialization=True)
    return model


ARGS = {
    "model": NAME,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": "",
    "crop_pct": 1.0,
    "img_size": 64,
    "input_size": None,
    "gp": None,
    "lr": 0.1,
}


@pytest.mark.parametrize("which", ["hf", "hf/model.safetensors"])
def test_timms_own_configuration_is_used(
    which: str, context: Context, images: list[Image.Image]
) -> None:
    model = saved_for_hub(context.folder / "hf")
    right = expected(model, images, **OWN)
    encoder = opened(context, checkpoint=which)
    assert np.allclose(read(encoder, images), right, atol=1e-5)
    assert not np.allclose(right, expected(trained(), images), atol=1e-2)
    assert "logits" in encoder.layers()  # of as many classes as it says


@pytest.mark.parametrize("is_inside", [True, False])
def test_the_settings_of_timms_trainer_are_used(
    is_inside: bool, context: Context, images: list[Image.Image]
) -> None:
    model = trained()
    content: dict[str, Any] = {"state_dict": model.state_dict(), "epoch": 3}
    if is_inside:
        content["args"] = argparse.Namespace(**ARGS)
    else:
        (context.folder / "args.yaml").write_text(yaml.safe_dump(ARGS))
    torch.save(content, context.folder / "c.pth")
    found = read(opened(context, checkpoint="c.pth"), images)
    assert np.allclose(found, expected(model, images, **OWN), atol=1e-5)


def test_a_transform_of_the_spec_is_above_what_was_saved(
    context: Context, images: list[Image.Image]
) -> None:
    model = saved_for_hub(context.folder / "hf")
    transform = {"size": 48, "mean": [0.5, 0.5, 0.5]}
    found = read(opened(context, checkpoint="hf", transform=transform), images)
    changes = {**OWN, "input_size": (3, 48, 48), "mean": (0.5, 0.5, 0.5)}
    assert np.allclose(found, expected(model, images, **changes), atol=1e-5)


def test_another_architecture_is_named(context: Context) -> None:
    saved_for_hub(context.folder / "hf")
    with pytest.raises(EncoderError, match=f"write 'name: {NAME}'"):
        opened(context, name="resnet10t", checkpoint="hf")


def test_what_the_network_was_built_with_is_used_or_its_contradiction_named(
    context: Context, images: list[Image.Image]
) -> None:
    """No weight tells how positions are pooled."""
    model = trained("test_vit", global_pool="avg", class_token=False, img_size=64)
    arguments = {"global_pool": "avg", "class_token": False, "img_size": 64}
    save_for_hf(model, str(context.folder / "hf"), model_args=arguments, safe_serialization=True)
    found = read(
        opened(context, name="test_vit", checkpoint="hf", arguments={"img_size": 64}), images
    )
    assert np.allclose(found, expected(model, images, input_size=(3, 64, 64)), atol=1e-5)
    with pytest.raises(EncoderError, match="global_pool avg"):
        opened(context, name="test_vit", checkpoint="hf", arguments={"global_pool": "token"})


def test_two_settings_that_disagree_are_named(context: Context) -> None:
    saved_for_hub(context.folder / "hf")
    (context.folder / "hf/args.yaml").write_text(yaml.safe_dump({**ARGS, "mean": [0.5] * 3}))
    with pytest.raises(EncoderError, match=r"config\.json and .+args\.yaml disagree.+mean"):
        opened(context, checkpoint="hf")


@pytest.mark.parametrize("name", ["config.json", "args.yaml", "preprocessor_config.json"])
def test_a_file_that_cannot_be_read_is_an_error(name: str, context: Context) -> None:
    torch.save(trained().state_dict(), context.folder / "c.pth")
    (context.folder / name).write_text("{ : [")
    with pytest.raises(EncoderError, match=re.escape(name)):
        opened(context, checkpoint="c.pth")


def test_settings_of_other_trainers_do_not_matter(context: Context) -> None:
    torch.save(trained().state_dict(), context.folder / "c.pth")
    (context.folder / "args.yaml").write_text("task: classify\nimgsz: 224\n")
    (context.folder / "config.json").write_text('{"model_type": "custom"}')
    assert opened(context, checkpoint="c.pth").preprocessing["input_size"] == [3, 160, 160]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("preprocessor_config.json", {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4] * 3}),
        ("processor_config.json", {"image_processor": {"image_mean": [0.1, 0.2, 0.3]}}),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 64}}),
        ("preprocessor_config.json", {"crop_size": 64, "do_center_crop": True, "size": 96}),
        ("open_clip_config.json", {"preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "size": [64, 64]}}),
    ],
)
def test_another_preprocessing_beside_weights_is_refused_with_the_line_to_write(
    name: str, said: dict[str, Any], context: Context
) -> None:
    torch.save(trained().state_dict(), context.folder / "c.pth")
    (context.folder / name).write_text(json.dumps(said))
    with pytest.raises(EncoderError, match=rf"{re.escape(name)} says .+ instead of ") as caught:
        opened(context, checkpoint="c.pth")
    line = str(caught.value).partition("'transform: ")[2].removesuffix("'")
    encoder = opened(context, checkpoint="c.pth", transform=yaml.safe_load(line))
    if "mean" in str(said):
        assert encoder.preprocessing["mean"] == [0.1, 0.2, 0.3]


def test_the_sizes_of_torchvisions_trainer_are_compared(context: Context) -> None:
    pytest.importorskip("torchvision")
    import torchvision

    args = {"val_crop_size": 192, "val_resize_size": 232, "interpolation": "bilinear", "lr": 0.1}
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    content = {"model": model.state_dict(), "args": argparse.Namespace(**args)}
    torch.save(content, context.folder / "c.pth")
    keys = {"name": "shufflenet_v2_x0_5", "checkpoint": "c.pth"}
    with pytest.raises(EncoderError, match=r"'args' in .+ size \[192, 192\] instead of"):
        opened(context, "torchvision", **keys)
    opened(context, "torchvision", **keys, transform={"size": 192, "crop": 0.8275})


@pytest.mark.parametrize("name", ["config.json", "args.yaml", "preprocessor_config.json"])
def test_vectors_kept_before_the_settings_changed_are_not_served(
    name: str, context: Context
) -> None:
    """Keys of the cache are made of the fingerprint."""
    torch.save(trained().state_dict(), context.folder / "c.pth")
    entry = entry_of(checkpoint="c.pth")
    prints = set()
    for text in (None, "{}", '{"a": 1}'):
        if text is not None:
            (context.folder / name).write_text(text)
        prints.add(find_source("timm").identify(entry, context)[0].fingerprint())
    assert len(prints) == 3


class TestTransformers:
    """With a checkpoint of a trainer, its own image processor prepares the images."""

    def wrapped(self, folder: Path) -> Any:  # noqa: ANN401
        transformers = pytest.importorskip("transformers")
        config = {**trained().pretrained_cfg, **OWN}
        torch.manual_seed(5)
        model = transformers.TimmWrapperForImageClassification(
            transformers.TimmWrapperConfig(
                architecture=NAME, num_labels=3, pretrained_cfg=dict(config)
            )
        )
        model.save_pretrained(folder)
        return model.timm_model.eval()

    def test_a_network_of_timm_in_a_folder_of_transformers(
        self, context: Context, images: list[Image.Image]
    ) -> None:
        model = self.wrapped(context.folder / "run")
        right = expected(model, images, **OWN)
        with torch.inference_mode():
            logits = model.forward_head(torch.from_numpy(np.zeros((1, 96, 2, 2), np.float32)))
        encoder = opened(context, "transformers", path="run")
        assert np.allclose(read(encoder, images), right, atol=1e-5)
        assert read(encoder, images, "logits").shape == (len(images), logits.shape[1])
        beside = opened(context, checkpoint="run")
        assert np.allclose(read(beside, images), right, atol=1e-5)

    def test_the_processor_beside_a_checkpoint_is_used(
        self, context: Context, images: list[Image.Image]
    ) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2
        )
        processors = [
            transformers.ViTImageProcessor(size={"height": 48, "width": 48}, image_mean=[mean] * 3)
            for mean in (0.5, 0.2)
        ]
        for name, processor in zip(("base", "run"), processors, strict=True):
            torch.manual_seed(7)
            model = transformers.ResNetForImageClassification(config).eval()
            model.save_pretrained(context.folder / name)
            processor.save_pretrained(context.folder / name)
        encoder = opened(context, "transformers", path="base", checkpoint="run")
        found = [encoder.prepare(image) for image in images]
        right = processors[1](images=images, return_tensors="pt")["pixel_values"].numpy()
        assert np.allclose(np.stack(found), right, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_swin_from_before_timm_09_is_read_as_by_timm(
    prefix: str, context: Context, images: list[Image.Image]
) -> None:
    """It had other names, and tables that the network computes by itself."""
    name, sizes = "swin_tiny_patch4_window7_224", {"img_size": 32, "window_size": 4}
    sizes |= {"patch_size": 2, "embed_dim": 8}
    arguments = {**sizes, "depths": [2, 1], "num_heads": [1, 1]}
    model = trained(name, **arguments)
    tables = {key: value for key, value in model.named_buffers() if key not in model.state_dict()}
    old = {
        prefix
        + key.replace("layers.1.downsample", "layers.0.downsample").replace(
            "head.fc.", "head."
        ): value
        for key, value in {**model.state_dict(), **tables}.items()
    }
    torch.save({"model": old}, context.folder / "c.pth")
    keys: dict[str, Any] = {"name": name, "checkpoint": "c.pth"}
    keys |= {"arguments": {**arguments, "num_classes": 3}}
    encoder = opened(context, **keys)
    right = expected(model, images, input_size=(3, 32, 32))
    assert np.allclose(read(encoder, images), right, atol=1e-5)
    assert "logits" in encoder.layers()
    index = next(key for key in old if "relative_position_index" in key)
    torch.save({"model": old | {index: old[index] + 1}}, context.folder / "c.pth")
    with pytest.raises(EncoderError, match="does not fit"):
        opened(context, **keys)


class TestSize:
    """Images have the size that a network is built for, whatever its name stands for."""

    @pytest.mark.parametrize("size", [96, [64, 128]])
    def test_of_arguments(
        self, size: int | list[int], context: Context, images: list[Image.Image]
    ) -> None:
        model = trained("test_vit", img_size=size)
        torch.save(model.state_dict(), context.folder / "c.pth")
        encoder = opened(context, name="test_vit", checkpoint="c.pth", arguments={"img_size": size})
        height, width = (size, size) if isinstance(size, int) else size
        assert encoder.prepare(images[0]).shape == (3, height, width)
        right = expected(model, images, input_size=(3, height, width))
        assert np.allclose(read(encoder, images), right, atol=1e-5)

    def test_a_transform_is_above_them(self, context: Context, images: list[Image.Image]) -> None:
        keys: dict[str, Any] = {"random_init": 1, "transform": {"size": 32}}
        assert opened(context, **keys).prepare(images[0]).shape == (3, 32, 32)


@pytest.mark.parametrize("count", [1, 4])
def test_images_have_three_channels(count: int, context: Context) -> None:
    arguments = {"in_chans": count}
    with pytest.raises(EncoderError, match="images have three") as caught:
        opened(context, random_init=1, arguments=arguments)
    assert "validation" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn])
def test_values_of_another_kind_in_a_folder_of_timm_are_refused(
    kind: torch.dtype, context: Context
) -> None:
    saved_for_hub(context.folder / "hf")
    name = f"local-dir:{context.folder / 'hf'}"
    opened(context, name=name)
    path = context.folder / "hf/model.safetensors"
    state = safetensors.torch.load_file(path)
    safetensors.torch.save_file(state | {"fc.bias": state["fc.bias"].to(kind)}, path)
    with pytest.raises(EncoderError, match=r"fc\.bias"):
        opened(context, name=name)


class TestUnread:
    """A folder of transformers holds no weights that the network has no place for."""

    def folder(self, context: Context) -> Any:  # noqa: ANN401
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(7)
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2
        )
        transformers.ResNetForImageClassification(config).save_pretrained(context.folder / "run")
        processor = transformers.ViTImageProcessor(size={"height": 48, "width": 48})
        processor.save_pretrained(context.folder / "run")
        return safetensors.torch.load_file(context.folder / "run/model.safetensors")

    def save(self, context: Context, state: dict[str, torch.Tensor]) -> None:
        path = context.folder / "run/model.safetensors"
        safetensors.torch.save_file(state, path, metadata={"format": "pt"})

    @pytest.mark.parametrize(
        "name",
        [
            "resnet.encoder.stages.0.layers.1.layer.0.convolution.weight",
            "resnet.encoder.stages.0.layers.0.layer.0.convolution.lora_A.default.weight",
            "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight_scale",
            "resnet.encoder.stages.0.layers.0.layer.0.convolution.SCB",
        ],
    )
    def test_others_are_refused_unless_they_are_ignored(self, name: str, context: Context) -> None:
        state = self.folder(context)
        self.save(context, state | {name: torch.ones(2)})
        with pytest.raises(EncoderError, match=re.escape(name)):
            opened(context, "transformers", path="run")
        opened(context, "transformers", path="run", ignore=[name.rpartition(".")[0] + ".*"])

    @pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn])
    def test_values_of_another_kind_are_refused(self, kind: torch.dtype, context: Context) -> None:
        state = self.folder(context)
        name = next(key for key, value in state.items() if value.ndim == 4)
        self.save(context, state | {name: state[name].to(kind)})
        with pytest.raises(EncoderError, match=re.escape(name)):
            opened(context, "transformers", path="run")

    def test_an_adapter_beside_a_model_is_refused(self, context: Context) -> None:
        self.folder(context)
        adapter = context.folder / "run/adapter_model.safetensors"
        safetensors.torch.save_file({"lora_A.weight": torch.ones(2)}, adapter)
        with pytest.raises(EncoderError, match="a model and an adapter"):
            opened(context, "transformers", path="run")
