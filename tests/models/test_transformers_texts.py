"""Words read by transformers: the vectors that the library itself gives to texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import ReadsTexts, find_source
from pytest_visualbias.spec.model_entries import TransformersModel

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity

transformers = pytest.importorskip("transformers", reason="an extra")
pytestmark = pytest.mark.torch

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 16,
}
WORDS = ["a photo of a scientist", "a poet", "poet", "a photo", "of a scientist"]
VOCABULARY = ["<pad>", "<start>", "<end>", "<unk>", "a", "of", "photo", "poet", "scientist"]


def tokenizer() -> Any:  # noqa: ANN401
    """A tokenizer of nine words, with a start and an end as CLIP has them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    ids = {word: index for index, word in enumerate(VOCABULARY)}
    made = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    marks = [("<start>", 1), ("<end>", 2)]
    made.post_processor = TemplateProcessing(single="<start> $A <end>", special_tokens=marks)
    names = dict(zip(("pad", "bos", "eos", "unk"), VOCABULARY, strict=False))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **{f"{key}_token": word for key, word in names.items()}
    )


def saved(context: Context, kind: str, *, has_tokenizer: bool = True) -> Any:  # noqa: ANN401
    """Save a tiny network of a class in the folder ``net``, and return it."""
    torch.manual_seed(3)
    known, tower = getattr(transformers, kind), kind.removesuffix("Model")
    words = {"vocab_size": 9, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
    towers = [getattr(transformers, f"{tower}{part}Config") for part in ("Vision", "Text")]
    vision, text = (
        one(**TINY, **more)
        for one, more in zip(towers, ({}, {"pad_token_id": 0, **words}), strict=True)
    )
    parts = {"vision_config": vision.to_dict(), "text_config": text.to_dict()}
    model = known(known.config_class(**parts)).eval()
    folder = context.folder / "net"
    model.save_pretrained(folder)
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    if has_tokenizer:
        tokenizer().save_pretrained(folder)
    return model


def identified(context: Context, **keys: Any) -> tuple[TransformersModel, Identity]:  # noqa: ANN401
    entry = TransformersModel.model_validate({"source": "transformers", "path": "net", **keys})
    return entry, find_source("transformers").identify(entry, context)[0]


def opened(context: Context, **keys: Any) -> ReadsTexts:  # noqa: ANN401
    encoder = find_source("transformers").open(*identified(context, **keys), context)
    assert isinstance(encoder, ReadsTexts)
    return encoder


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel"])
def test_vectors_of_texts_are_those_of_the_library(context: Context, kind: str) -> None:
    """Filled up to the length that the model was made for."""
    model = saved(context, kind)
    found = opened(context).encode_texts(WORDS)
    given = tokenizer()(WORDS, padding="max_length", max_length=8, return_tensors="pt")
    given = {name: given[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        expected = model.get_text_features(**given).pooler_output
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-5)


def test_texts_that_are_too_long_are_refused(context: Context) -> None:
    saved(context, "CLIPModel")
    with pytest.raises(EncoderError, match="8 tokens"):
        opened(context).encode_texts(["a " * 6 + "poet"])


def test_a_folder_without_a_tokenizer_reads_no_texts(context: Context) -> None:
    saved(context, "CLIPModel", has_tokenizer=False)
    with pytest.raises(EncoderError, match="tokenizer"):
        opened(context).encode_texts(["a"])


def test_a_model_that_sees_only_reads_no_texts(context: Context) -> None:
    folder = context.folder / "net"
    transformers.ViTForImageClassification(transformers.ViTConfig(**TINY)).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    with pytest.raises(EncoderError, match="ViTForImageClassification"):
        opened(context).encode_texts(["a"])


def test_images_that_the_model_compares_elsewhere_share_no_space(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a silent mix: the model itself says which vectors it compares."""
    saved(context, "CLIPModel")
    own = transformers.CLIPModel.forward

    def turned(self: Any, **given: Any) -> Any:  # noqa: ANN401
        found = own(self, **given)
        found.image_embeds = found.image_embeds.flip(1)
        return found

    monkeypatch.setattr(transformers.CLIPModel, "forward", turned)
    with pytest.raises(EncoderError, match="CLIPModel does not compare images and texts at 'poo"):
        opened(context).encode_texts(["a"])


def test_another_tokenizer_is_another_identity_of_texts_alone(context: Context) -> None:
    """Vectors of images need not be computed anew for it."""
    saved(context, "CLIPModel")
    path: Path = context.folder / "net" / "merges.txt"
    _, before = identified(context)
    path.write_text("a b\n")
    _, after = identified(context)
    assert before.facts == after.facts
    assert before.texts != after.texts


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_texts_are_read_with_the_adapter(context: Context) -> None:
    """As peft's own network reads them, where it changes what texts are read by."""
    peft = pytest.importorskip("peft", reason="an extra")
    model = saved(context, "CLIPModel")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "fc1"])
    network = peft.get_peft_model(model, config)
    torch.manual_seed(4)
    for name, value in network.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(value, std=0.3)
    network.save_pretrained(context.folder / "lora")
    given = tokenizer()(WORDS, padding="max_length", max_length=8, return_tensors="pt")
    with torch.inference_mode():
        expected = network.eval().get_text_features(
            **{name: given[name] for name in ("input_ids", "attention_mask")}
        )
    found = opened(context, adapter="lora").encode_texts(WORDS)
    assert np.allclose(found, expected.pooler_output, atol=1e-5)
    assert not np.allclose(found, opened(context).encode_texts(WORDS), atol=1e-2)
    _, plain = identified(context)
    _, adapted = identified(context, adapter="lora")
    assert plain.fingerprint() != adapted.fingerprint()
