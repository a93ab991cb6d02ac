"""Words read by open_clip: the vectors that the library itself gives to texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import ReadsTexts, find_source
from pytest_visualbias.spec.model_entries import OpenClipModel

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context

open_clip = pytest.importorskip("open_clip", reason="an extra")
pytestmark = pytest.mark.torch

# The tokenizer that ships with the library has so many tokens.
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
CONFIG = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}
WORDS = ["a photo of a scientist", "a poet", "Engineer", "one word", "five"]


@pytest.fixture
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny architecture that open_clip knows by name."""
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    (tmp_path / "tiny-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")


def opened(context: Context, **keys: Any) -> ReadsTexts:  # noqa: ANN401
    entry = OpenClipModel.model_validate({"source": "open_clip", "name": "tiny-clip", **keys})
    source = find_source("open_clip")
    encoder = source.open(entry, source.identify(entry, context)[0], context)
    assert isinstance(encoder, ReadsTexts)
    return encoder


def saved(context: Context, *, whole: bool = True) -> Any:  # noqa: ANN401
    """Save a model with random weights under the name of a checkpoint, and return it."""
    torch.manual_seed(5)
    model = open_clip.create_model("tiny-clip").eval()
    weights = (model if whole else model.visual).state_dict()
    torch.save({"epoch": 3, "state_dict": weights}, context.folder / "tuned.pt")
    return model


@pytest.mark.usefixtures("architecture")
def test_vectors_of_texts_are_those_of_the_library(context: Context) -> None:
    model = saved(context)
    found = opened(context, checkpoint="tuned.pt").encode_texts(WORDS)
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer("tiny-clip")(WORDS))
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.usefixtures("architecture")
def test_a_vector_does_not_depend_on_the_other_texts(context: Context) -> None:
    encoder = opened(context, random_init=1)
    every = encoder.encode_texts(WORDS)
    alone = np.concatenate([encoder.encode_texts([word]) for word in WORDS])
    assert np.array_equal(every, alone)


@pytest.mark.usefixtures("architecture")
def test_an_image_tower_alone_reads_no_texts(context: Context) -> None:
    """What was not saved would be random, and published weights would be another model's."""
    saved(context, whole=False)
    encoder = opened(context, checkpoint="tuned.pt")
    with pytest.raises(EncoderError, match="whole model") as e:
        encoder.encode_texts(["a"])
    # The architecture is right: it is the one that the image tower fits.
    assert "name the architecture" not in str(e.value)
    assert str(e.value).endswith(
        "; save all of the model, 'model.state_dict()', and name that file"
    )


@pytest.mark.usefixtures("architecture")
def test_a_text_that_would_be_cut_is_refused(context: Context) -> None:
    encoder = opened(context, random_init=1)
    fits, long = "one two three four five six seven eight nine ten", "a " * 11
    assert encoder.encode_texts([fits]).shape == (1, 12)
    with pytest.raises(EncoderError, match="12 tokens"):
        encoder.encode_texts(["short", long.strip()])


@pytest.mark.usefixtures("architecture")
def test_what_texts_are_read_by_has_a_digest(context: Context) -> None:
    model = saved(context)
    first = opened(context, checkpoint="tuned.pt").texts_identity()
    model.text_projection.data += 1
    torch.save(model.state_dict(), context.folder / "tuned.pt")
    assert opened(context, checkpoint="tuned.pt").texts_identity() != first
