"""The source transformers: the same vectors as the library's own networks and processors give."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.embeddings.extraction import check_network
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import NamesClasses, find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TransformersModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

transformers = pytest.importorskip("transformers", reason="an extra")
pytestmark = pytest.mark.torch

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
WORDS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "intermediate_size": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def made(kind: str, seed: int = 0, **keys: Any) -> Any:  # noqa: ANN401
    """A tiny network of a class, with weights that were drawn."""
    torch.manual_seed(seed)
    known = getattr(transformers, kind)
    tower = kind.removesuffix("Model")
    if kind in ("CLIPModel", "SiglipModel"):
        towers = (getattr(transformers, f"{tower}{part}Config") for part in ("Vision", "Text"))
        vision, text = (one(**given) for one, given in zip(towers, (TINY, WORDS), strict=True))
        parts = {"vision_config": vision.to_dict(), "text_config": text.to_dict()}
        return known(known.config_class(**parts)).eval()
    return known(known.config_class(**{**TINY, **keys})).eval()


def processor(kind: str = "ViTImageProcessor", **keys: Any) -> Any:  # noqa: ANN401
    given = {"size": {"height": 32, "width": 32}, **keys}
    return getattr(transformers, kind)(**given)


def saved(context: Context, name: str, model: Any, images: Any = None) -> Path:  # noqa: ANN401
    folder = context.folder / name
    model.save_pretrained(folder)
    (images or processor()).save_pretrained(folder)
    return folder


def opened(context: Context, **keys: Any) -> Encoder:  # noqa: ANN401
    entry = TransformersModel.model_validate({"source": "transformers", **keys})
    source = find_source("transformers")
    return source.open(entry, source.identify(entry, context)[0], context)


def classes_of(encoder: Encoder) -> tuple[str, ...]:
    assert isinstance(encoder, NamesClasses)
    return tuple(encoder.classes)


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def seen(model: Any, images: list[Image.Image], steps: Any) -> Any:  # noqa: ANN401
    """What the library's own processor and network make of images."""
    with torch.inference_mode():
        batch = torch.cat([steps(images=one, return_tensors="pt").pixel_values for one in images])
        if hasattr(model, "get_image_features"):
            return model.get_image_features(pixel_values=batch)
        return model(pixel_values=batch, output_hidden_states=True)


def test_a_classifier_and_its_features_are_those_of_the_library(
    context: Context, images: list[Image.Image]
) -> None:
    model = made("ViTForImageClassification", num_labels=3)
    saved(context, "vit", model)
    encoder = opened(context, path="vit")
    layers = ("pooled", "logits", "probabilities", "vit.layers.1:cls", "vit.layers.0")
    found = read(encoder, images, *layers)
    expected = seen(model, images, processor())
    # The classifier of a ViT is given the class token, which the last norm has seen.
    tokens = model.vit(seen_pixels(images)).last_hidden_state.detach()
    assert np.allclose(found["pooled"], tokens[:, 0], atol=1e-6)
    assert np.allclose(found["logits"], expected.logits, atol=1e-6)
    assert np.allclose(found["probabilities"], expected.logits.softmax(-1), atol=1e-6)
    assert np.allclose(found["vit.layers.0"], expected.hidden_states[1][:, 1:].mean(1), atol=1e-6)
    assert encoder.preprocessing == {
        "input_size": [3, 32, 32],
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }


def seen_pixels(images: list[Image.Image]) -> torch.Tensor:
    steps = processor()
    return torch.cat([steps(images=one, return_tensors="pt").pixel_values for one in images])


def test_what_a_classifier_was_finetuned_from_is_read_at_the_same_place(
    context: Context, images: list[Image.Image]
) -> None:
    """A base model saved without a classifier, and one of two classes that was made from it."""
    base = made("Dinov2Model")
    tuned = made("Dinov2ForImageClassification", seed=1)
    tuned.dinov2.load_state_dict(base.state_dict())
    saved(context, "before", base)
    saved(context, "after", tuned)
    before, after = opened(context, path="before"), opened(context, path="after")
    assert "logits" in after.layers()
    assert "logits" not in before.layers()
    for layer in ("logits", "output", "classifier"):
        pattern = rf"no layer '{layer}': '.+before' has no weights of 'cla"
        with pytest.raises(EncoderError, match=pattern):
            read(before, images, layer)
    one, other = (read(encoder, images, "pooled")["pooled"] for encoder in (before, after))
    assert one.shape == (5, 32), "the class token and the mean of the patches"
    assert np.array_equal(one, other)


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel"])
def test_a_model_of_images_and_texts_gives_the_features_that_meet_texts(
    context: Context, images: list[Image.Image], kind: str
) -> None:
    steps = transformers.CLIPImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    )
    model = made(kind)
    saved(context, "clip", model, steps)
    encoder = opened(context, path="clip")
    expected = seen(model, images, steps).pooler_output
    assert np.allclose(read(encoder, images, "pooled")["pooled"], expected, atol=1e-6)
    assert encoder.preprocessing["crop_pct"] == pytest.approx(32 / 36)
    assert encoder.preprocessing["interpolation"] == "bicubic"


def test_a_processor_that_does_more_is_used_and_described_by_its_settings(
    context: Context, images: list[Image.Image]
) -> None:
    """ConvNeXt's crops where an image is small, and squashes where it is large."""
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1])
    model = transformers.ConvNextForImageClassification(config).eval()
    steps = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.9)
    saved(context, "convnext", model, steps)
    encoder = opened(context, path="convnext")
    found = read(encoder, images, "pooled", "logits")
    expected = seen(model, images, steps)
    assert np.allclose(found["logits"], expected.logits, atol=1e-6)
    assert found["pooled"].shape == (5, 16)
    facts = encoder.preprocessing
    assert facts["processor"] == "ConvNextImageProcessor"
    assert (facts["crop_pct"], facts["size"]) == (0.9, {"shortest_edge": 32})
    assert json.loads(json.dumps(facts)) == facts
    with pytest.raises(EncoderError, match="'crop', 'mean', 'std'"):
        opened(context, path="convnext", transform={"size": 32})


@pytest.mark.parametrize("names", ["of modules", "of files", "of modules, by Lightning"])
def test_a_checkpoint_is_read_under_either_of_its_names(
    context: Context, images: list[Image.Image], names: str
) -> None:
    """Files keep the names that the library once published; modules have others by now."""
    from transformers.core_model_loading import revert_weight_conversion

    saved(context, "vit", made("ViTForImageClassification", seed=1, num_labels=3))
    tuned = made("ViTForImageClassification", seed=2, num_labels=3)
    weights = dict(tuned.state_dict())
    if names == "of files":
        weights = dict(revert_weight_conversion(tuned, weights))
        assert weights.keys() != tuned.state_dict().keys()
    if names.endswith("Lightning"):
        weights = {"state_dict": {f"model.{name}": value for name, value in weights.items()}}
    torch.save(weights, context.folder / "tuned.pt")
    encoder = opened(context, path="vit", checkpoint="tuned.pt")
    expected = seen(tuned, images, processor()).logits
    assert np.allclose(read(encoder, images, "logits")["logits"], expected, atol=1e-6)


def test_a_checkpoint_of_other_classes_leaves_the_features(
    context: Context, images: list[Image.Image]
) -> None:
    saved(context, "vit", made("ViTForImageClassification", seed=1, num_labels=3))
    tuned = made("ViTForImageClassification", seed=2, num_labels=4)
    folder = saved(context, "tuned", tuned)
    encoder = opened(context, path="vit", checkpoint="tuned/model.safetensors")
    whole = opened(context, path=folder.name)
    assert "logits" not in encoder.layers()
    one, other = (read(one, images, "pooled")["pooled"] for one in (encoder, whole))
    assert np.array_equal(one, other)


def test_shards_are_one_model(context: Context, images: list[Image.Image]) -> None:
    model = made("ViTForImageClassification", num_labels=3)
    whole = saved(context, "whole", model)
    model.save_pretrained(context.folder / "shards", max_shard_size="8KB")
    processor().save_pretrained(context.folder / "shards")
    assert len([*(context.folder / "shards").glob("*.safetensors")]) > 1
    expected = read(opened(context, path=whole.name), images, "pooled")["pooled"]
    for keys in ({"path": "shards"}, {"path": "whole", "checkpoint": "shards"}):
        assert np.array_equal(read(opened(context, **keys), images, "pooled")["pooled"], expected)


def test_weights_of_half_the_bits_are_computed_in_full(
    context: Context, images: list[Image.Image]
) -> None:
    """What is compared is what was saved, not the rounding of every product."""
    model = made("ViTForImageClassification", num_labels=3)
    saved(context, "half", model.to(torch.bfloat16))
    found = read(opened(context, path="half"), images, "logits")["logits"]
    expected = seen(model.to(torch.float32), images, processor()).logits
    assert np.allclose(found, expected, atol=1e-6)


def test_several_folders_are_trials(context: Context) -> None:
    for seed in range(2):
        saved(context, f"seed_{seed}", made("ViTForImageClassification", seed=seed))
    entry = TransformersModel.model_validate({"source": "transformers", "path": "seed_*"})
    found = find_source("transformers").identify(entry, context)
    assert [one.label for one in found] == ["seed_0", "seed_1"]
    assert len({one.fingerprint() for one in found}) == 2


def test_another_processor_is_another_identity(context: Context) -> None:
    folder = saved(context, "vit", made("ViTForImageClassification"))
    entry = TransformersModel.model_validate({"source": "transformers", "path": "vit"})
    source = find_source("transformers")
    (before,) = source.identify(entry, context)
    processor(image_mean=[0.4, 0.4, 0.4]).save_pretrained(folder)
    (after,) = source.identify(entry, context)
    assert before.fingerprint() != after.fingerprint()


# Of peft with the newest transformers.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
class TestAdapters:
    """LoRA, merged: the vectors are those of peft's own network."""

    @pytest.fixture
    def adapter(self, context: Context) -> Any:  # noqa: ANN401
        """An adapter of a ViT with a classifier of its own, neither of them zero."""
        peft = pytest.importorskip("peft", reason="an extra")
        saved(context, "vit", made("ViTForImageClassification", num_labels=3))
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["classifier"])
        network = peft.get_peft_model(made("ViTForImageClassification", num_labels=3), config)
        torch.manual_seed(4)
        for name, value in network.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                torch.nn.init.normal_(value, std=0.3)
        network.save_pretrained(context.folder / "lora")
        return network.eval()

    def test_vectors_are_those_of_peft(
        self, context: Context, images: list[Image.Image], adapter: torch.nn.Module
    ) -> None:
        encoder = opened(context, path="vit", adapter="lora")
        with torch.inference_mode():
            expected = adapter(pixel_values=seen_pixels(images)).logits
        assert np.allclose(read(encoder, images, "logits")["logits"], expected, atol=1e-5)
        before = opened(context, path="vit")
        assert encoder.layers() == before.layers(), "modules have the names that they had"
        one, other = (read(one, images, "pooled")["pooled"] for one in (encoder, before))
        assert not np.allclose(one, other, atol=1e-3)
        assert encoder.description["adapter"] == {"kind": "LORA", "saves_classifier": True}

    @pytest.mark.usefixtures("adapter")
    def test_an_adapter_may_be_the_checkpoint(
        self, context: Context, images: list[Image.Image]
    ) -> None:
        """So that trials and series may be of adapters, each with an identity of its own."""
        own = opened(context, path="vit", adapter="lora")
        shutil.copytree(context.folder / "lora", context.folder / "run/step-2")
        given = {"source": "transformers", "path": "vit"}
        entry = TransformersModel.model_validate({**given, "checkpoint": ["lora", "run/step-2"]})
        found = find_source("transformers").identify(entry, context)
        assert [one.label for one in found] == ["lora", "step-2"]
        for one in found:
            encoder = find_source("transformers").open(entry, one, context)
            ours, theirs = (read(each, images, "logits")["logits"] for each in (encoder, own))
            assert np.array_equal(ours, theirs)

    @pytest.mark.usefixtures("adapter")
    def test_an_adapter_is_no_model(self, context: Context) -> None:
        with pytest.raises(EncoderError, match="adapter"):
            opened(context, path="lora")

    @pytest.mark.usefixtures("adapter")
    def test_another_adapter_is_another_identity(self, context: Context) -> None:
        given = {"source": "transformers", "path": "vit", "adapter": "lora"}
        entry = TransformersModel.model_validate(given)
        (before,) = find_source("transformers").identify(entry, context)
        config = context.folder / "lora" / "adapter_config.json"
        config.write_text(config.read_text().replace('"r": 2', '"r": 3'))
        (after,) = find_source("transformers").identify(entry, context)
        assert before.fingerprint() != after.fingerprint()

    @pytest.mark.usefixtures("adapter")
    def test_an_adapter_that_names_a_module_does_not_import_it(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Peft imports what stands there; a folder of weights may hold a file of Python."""
        monkeypatch.syspath_prepend(context.folder)
        (context.folder / "lora" / "harm.py").write_text("open('harmed', 'w').close()")
        config = context.folder / "lora" / "adapter_config.json"
        settings = {"megatron_config": {"a": 1}, "megatron_core": "lora.harm"}
        config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
        monkeypatch.chdir(context.folder)
        with pytest.raises(EncoderError, match="megatron_config"):
            opened(context, path="vit", adapter="lora")
        assert not (context.folder / "harmed").exists()

    @pytest.mark.usefixtures("adapter")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("gone", r"there is no adapter .+lora; correct the path"),
            ("no weights", r"has no adapter_model\.safetensors; name the folder"),
            ("cut", r"the adapter .+lora does not fit the network \(.+; name the model that it"),
            (
                "another network",
                r"the adapter .+ has weights for vit\..+, which the network has not",
            ),
            ("other sizes", r"the adapter .+lora does not fit the network \(.+size mismatch"),
            ("half", r"the adapter .+lora does not fit the network \(.+missing adapter keys"),
        ],
    )
    def test_an_adapter_that_does_not_fit_is_one_sentence(
        self, context: Context, change: str, message: str
    ) -> None:
        import safetensors.torch

        folder, path = context.folder / "lora", "vit"
        weights = folder / "adapter_model.safetensors"
        if change == "gone":
            folder.rename(context.folder / "elsewhere")
        elif change == "no weights":
            weights.unlink()
        elif change == "cut":
            weights.write_bytes(weights.read_bytes()[:300])
        elif change == "another network":
            saved(context, "other", made("Dinov2ForImageClassification"))
            path = "other"
        elif change == "other sizes":
            saved(context, "other", made("ViTForImageClassification", hidden_size=24))
            path = "other"
        else:
            found = safetensors.torch.load_file(weights)
            safetensors.torch.save_file(dict([*found.items()][:-2]), weights)
        with pytest.raises(EncoderError, match=message) as caught:
            opened(context, path=path, adapter="lora")
        assert "\n" not in str(caught.value)


class TestWhatIsWrong:
    """One sentence each, and no code of a repository."""

    @pytest.mark.parametrize("content", [b"no weights at all", b"", None])
    def test_weights_that_are_none(self, context: Context, content: bytes | None) -> None:
        folder = saved(context, "vit", made("ViTForImageClassification"))
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:3000] if content is None else content)
        with pytest.raises(EncoderError, match=r"transformers cannot read '.+vit' \(") as caught:
            opened(context, path="vit")
        assert "\n" not in str(caught.value)

    def test_a_folder_without_weights_is_told(self, context: Context) -> None:
        folder = saved(context, "vit", made("ViTForImageClassification"))
        (folder / "model.safetensors").unlink()
        said = (
            r"vit holds no weights, as model\.safetensors; save the model there, name them by 'chec"
        )
        with pytest.raises(EncoderError, match=said):
            opened(context, path="vit")
        assert opened(context, path="vit", random_init=1).layers()

    def test_weights_of_another_architecture(self, context: Context) -> None:
        folder = saved(context, "vit", made("ViTForImageClassification"))
        other = saved(context, "other", made("Dinov2Model"))
        (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
        with pytest.raises(
            EncoderError,
            match=r"ViTForImageClassification.+layernorm_after",
        ):
            opened(context, path="vit")
        torch.save(made("ViTForImageClassification").state_dict(), context.folder / "tuned.pt")
        with pytest.raises(EncoderError, match=r"tuned\.pt does not fit the network"):
            opened(context, path="other", checkpoint="tuned.pt")

    def test_a_folder_that_is_not_there(self, context: Context) -> None:
        with pytest.raises(EncoderError, match="nowhere"):
            opened(context, path="nowhere")

    def test_code_of_a_repository_is_never_run(self, context: Context) -> None:
        folder = saved(context, "vit", made("ViTForImageClassification"))
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "own.py").write_text("raise SystemExit('was run')")
        with pytest.raises(EncoderError, match="code"):
            opened(context, path="vit")

    @pytest.mark.parametrize(
        "settings",
        [
            {"_attn_implementation": "own/kernel"},
            {"attn_implementation": "own/kernel@main:function"},
            {"attn_implementation": {"": "eager", "vision_config": "own/kernel"}},
            {"vision_config": {"_attn_implementation": "own/kernel"}},
            {"_experts_implementation": "own/kernel"},
            {"attn_implementation": "paged|own/kernel"},
        ],
    )
    def test_a_kernel_of_a_hub_is_not_run(
        self, context: Context, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", _refuse)
        folder = saved(context, "vit", made("ViTForImageClassification"))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **settings}))
        with pytest.raises(EncoderError, match="own/kernel"):
            opened(context, path="vit")
        with pytest.raises(EncoderError, match="own/kernel"):
            opened(context, path="vit", random_init=1)

    def test_a_pickle_that_could_run_code_is_not_loaded(self, context: Context) -> None:
        folder = saved(context, "vit", made("ViTForImageClassification"))
        (folder / "model.safetensors").unlink()
        torch.save({"a": _Harm()}, folder / "pytorch_model.bin")
        with pytest.raises(EncoderError, match="transformers cannot read"):
            opened(context, path="vit")
        assert not (context.folder / "harmed").exists()

    def test_a_network_that_hides_random_patches_is_refused(self, context: Context) -> None:
        decoder = {f"decoder_{key}": TINY[key] for key in ("hidden_size", "num_attention_heads")}
        saved(context, "mae", made("ViTMAEModel", **decoder))
        encoder = opened(context, path="mae")
        with pytest.raises(EncoderError, match="another pass"):
            check_network(encoder, [parse_layer_point("pooled", "pooled")])

    def test_a_model_of_texts_is_none(self, context: Context) -> None:
        model = transformers.BertModel(transformers.BertConfig(**WORDS))
        model.save_pretrained(context.folder / "bert")
        with pytest.raises(EncoderError, match="'bert'"):
            opened(context, path="bert")

    def test_without_a_processor_the_spec_says_how_images_are_prepared(
        self, context: Context
    ) -> None:
        made("ViTForImageClassification").save_pretrained(context.folder / "vit")
        with pytest.raises(EncoderError, match="'transform'"):
            opened(context, path="vit")
        with pytest.raises(EncoderError, match="'crop', 'mean', 'std'"):
            opened(context, path="vit", transform={"size": 32})
        whole = {"size": 32, "crop": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}
        whole["interpolation"] = "bilinear"
        assert opened(context, path="vit", transform=whole).preprocessing["crop_mode"] == "squash"

    def test_offline_and_not_on_this_machine(self, context: Context) -> None:
        offline = dataclasses.replace(context, offline=True)
        with pytest.raises(EncoderError, match="--visualbias-offline"):
            opened(offline, name="somebody/no-such-vit", revision="abc")


class _Harm:
    """Touches a file when it is unpickled by anybody who allows that."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("harmed", "w"))


HUB = """
import sys, pathlib
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.spec.model_entries import TransformersModel

here = pathlib.Path(sys.argv[1])
context = Context(folder=here, project=here, device="cpu", offline=True)
for keys in ({"name": "org/vit"}, {"name": "org/vit", "revision": sys.argv[2]}, {"path": "vit"}):
    entry = TransformersModel.model_validate({"source": "transformers", **keys})
    source = find_source("transformers")
    (identity,) = source.identify(entry, context)
    print(identity.is_whole, source.open(entry, identity, context).weights)
"""


@pytest.mark.slow
def test_offline_what_the_hub_s_cache_has_is_found(context: Context) -> None:
    """By its name, by its revision, and as the folder that it is: the same weights."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = saved(context, "vit", made("ViTForImageClassification"))
    kept = context.project / "home" / "hub" / "models--org--vit"
    shutil.copytree(folder, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    environment = {**os.environ, "HF_HOME": str(context.project / "home")}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", HUB, str(context.folder), commit],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [whole for whole, _ in lines] == ["False", "False", "True"]
    assert len({weights for _, weights in lines}) == 1


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("a kernel was fetched")


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "ResNetForImageClassification"])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_network_of_other_channels_is_refused(context: Context, kind: str, channels: int) -> None:
    """Images have three channels; neither the first pass nor its error comes from torch."""
    more = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
    keys: dict[str, Any] = more if kind.startswith("ResNet") else {}
    saved(context, "other", made(kind, num_channels=channels, **keys))
    with pytest.raises(EncoderError, match=f"images of {channels} channels, and .+ three"):
        opened(context, path="other")


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"image_mean": [0.5], "image_std": [0.5]}, "channels"),
        ({"image_std": [0.5, 0.0, 0.5]}, "std"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "mean"),
        ({"size": {"height": 0, "width": 32}}, "size"),
    ],
)
def test_an_image_processor_that_makes_no_sense_is_refused_without_text_of_pydantic(
    context: Context, keys: dict[str, Any], word: str
) -> None:
    saved(context, "odd", made("ViTForImageClassification"), processor(**keys))
    with pytest.raises(EncoderError, match=f"image processor .+{word}") as refused:
        opened(context, path="odd")
    assert "validation" not in str(refused.value)
