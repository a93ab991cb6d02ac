"""Vectors of words: the mean over templates, the cache, and what cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.request import EmbeddingJob, EmbeddingRequest, distinct_requests
from pytest_visualbias.embeddings.table import TextVectors, embed_texts
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Context, Identity
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import OpenClipModel
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.stimuli.resolve import resolve_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEMPLATES = ("a {}", "the {} here")
POOLED = parse_layer_point("pooled", "pooled")


class Blind:
    """An encoder of images alone."""

    @property
    def description(self) -> dict[str, str]:
        return {"device": "none"}


class Reader(Blind):
    """One that reads texts: a vector from the characters."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.read += texts
        if any("fails" in text for text in texts):
            raise RuntimeError("no such token")
        return np.array([vector(text) for text in texts], np.float32)

    def texts_identity(self) -> str:
        return "tokenizer"


def vector(text: str) -> list[float]:
    return [float(text.count("a")) + 1, float(len(text)), float(text.count("e"))]


def job(
    folder: Path,
    *words: str,
    templates: tuple[str, ...] = TEMPLATES,
    **keys: Any,  # noqa: ANN401 - fields of a job
) -> EmbeddingJob:
    concept = ConceptWords(text=words, templates=templates)
    found = distinct_requests([resolve_words("c", concept)], words=True)
    want = EmbeddingRequest(stimuli=(), points=(POOLED,), words=found)
    return EmbeddingJob(
        entry=OpenClipModel.model_validate({"source": "open_clip", "name": "a"}),
        identity=Identity(label="a", facts={}, **keys),
        context=Context(folder=folder, project=folder),
        request=want,
        merged_request=want,
    )


def read(wanted: EmbeddingJob, cache: EmbeddingCache, encoder: Any) -> TextVectors:  # noqa: ANN401
    return embed_texts(wanted, "network", cache, lambda: encoder)


def test_a_word_is_the_unit_mean_of_the_unit_vectors_of_its_prompts(tmp_path: Path) -> None:
    wanted, encoder = job(tmp_path, "cat", "tree"), Reader()
    found = read(wanted, EmbeddingCache(folder=None), encoder)
    for word in wanted.merged_request.words:
        prompts = np.array([vector(template.replace("{}", word.name)) for template in TEMPLATES])
        mean = (prompts / np.linalg.norm(prompts, axis=1)[:, None]).mean(axis=0)
        assert np.allclose(found.vectors[word.identity], mean / np.linalg.norm(mean), atol=1e-6)
    assert not found.failures


def test_words_that_are_kept_are_not_read_again(tmp_path: Path) -> None:
    first, second = Reader(), Reader()
    read(job(tmp_path, "cat", "tree"), EmbeddingCache(folder=tmp_path), first)
    found = read(job(tmp_path, "tree", "dog"), EmbeddingCache(folder=tmp_path), second)
    assert second.read == ["a dog", "the dog here"]
    assert len(found.vectors) == 2

    def never() -> Any:  # noqa: ANN401
        raise AssertionError

    cache = EmbeddingCache(folder=tmp_path)
    again = embed_texts(job(tmp_path, "cat", "dog"), "network", cache, never)
    assert len(again.vectors) == 2
    assert again.description == {"device": "none"}


@pytest.mark.parametrize("keys", [{"texts": "another tokenizer"}, {"is_whole": False}])
def test_another_tokenizer_reads_anew(tmp_path: Path, keys: dict[str, Any]) -> None:
    """Said by its files, or where nothing says it, by the encoder once it is loaded."""
    encoder = Reader()
    read(job(tmp_path, "cat"), EmbeddingCache(folder=tmp_path), Reader())
    read(job(tmp_path, "cat", **keys), EmbeddingCache(folder=tmp_path), encoder)
    assert encoder.read == ["a cat", "the cat here"]
    again = Reader()
    read(job(tmp_path, "cat", **keys), EmbeddingCache(folder=tmp_path), again)
    assert again.read == []


def test_a_model_that_reads_no_texts_is_said_of_every_word(tmp_path: Path) -> None:
    wanted = job(tmp_path, "cat", "dog")
    found = read(wanted, EmbeddingCache(folder=None), Blind())
    assert found.faults.keys() == {one.identity for one in wanted.merged_request.words}
    (sentence,) = {*found.faults.values()}
    assert "'open_clip'" in sentence


def test_what_a_network_raises_is_a_sentence(tmp_path: Path) -> None:
    found = read(job(tmp_path, "fails"), EmbeddingCache(folder=None), Reader())
    (sentence,) = found.failures.values()
    assert "no such token" in sentence


def test_a_word_that_cannot_be_read_keeps_no_other_from_it(tmp_path: Path) -> None:
    cache = EmbeddingCache(folder=tmp_path)
    wanted = job(tmp_path, "cat", "fails", "dog")
    found = read(wanted, cache, Reader())
    lost = next(one for one in wanted.merged_request.words if one.name == "fails")
    assert found.failures.keys() == {lost.identity}
    assert len(found.vectors) == 2
    again = read(job(tmp_path, "cat", "dog"), cache, Reader())
    assert {key: row.tolist() for key, row in again.vectors.items()} == {
        key: row.tolist() for key, row in found.vectors.items()
    }
    alone = read(job(tmp_path, "cat", "dog"), EmbeddingCache(folder=None), Reader())
    assert all(np.array_equal(alone.vectors[key], row) for key, row in found.vectors.items())


def test_what_is_wrong_with_every_word_is_the_networks_fault(tmp_path: Path) -> None:
    found = read(job(tmp_path, "fails", "fails too"), EmbeddingCache(folder=None), Reader())
    assert not found.failures
    assert len(found.faults) == 2


def test_a_model_that_cannot_be_loaded_loses_only_what_is_not_kept(tmp_path: Path) -> None:
    cache = EmbeddingCache(folder=tmp_path)
    read(job(tmp_path, "cat"), cache, Reader())

    def broken() -> Any:  # noqa: ANN401
        raise EncoderError("the file is gone")

    found = embed_texts(job(tmp_path, "cat", "dog"), "network", cache, broken)
    assert len(found.vectors) == 1
    assert [*found.faults.values()] == ["the file is gone"]


def test_words_are_at_the_layer_that_images_share_with_them_alone(tmp_path: Path) -> None:
    found = read(job(tmp_path, "cat"), EmbeddingCache(folder=None), Reader())
    images = {"image": np.ones(3, np.float32)}
    assert len(found.table(POOLED, images, {}, {}).vectors) == 2
    other = parse_layer_point("blocks.1", "blocks.1")
    assert found.table(other, images, {}, {}).vectors.keys() == {"image"}


def test_vectors_of_other_lengths_share_no_space(tmp_path: Path) -> None:
    found = read(job(tmp_path, "cat"), EmbeddingCache(folder=None), Reader())
    table = found.table(POOLED, {"image": np.ones(4, np.float32)}, {}, {})
    assert table.vectors.keys() == {"image"}
    assert len(table.faults) == 1
