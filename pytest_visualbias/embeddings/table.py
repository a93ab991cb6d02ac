"""Hold the vectors of stimuli, and embed the texts of image-text models."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import EncoderError, StimulusError, StorageError, VisualBiasError
from pytest_visualbias.models.encoder import ReadOut, ReadsTexts, foreign_errors
from pytest_visualbias.spec.effective_settings import POOLED
from pytest_visualbias.spec.hashing import digest_of_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.request import EmbeddingJob
    from pytest_visualbias.models.encoder import Encoder
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.spec.yaml_document import KeyPath
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

    Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EmbeddingTable:
    """The vectors of stimuli at one layer of one network."""

    vectors: Mapping[str, np.ndarray]
    failures: Mapping[str, str]
    preprocessing: Mapping[str, Any]
    faults: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def messages(self) -> tuple[str, ...]:
        """Messages about missing vectors."""
        problem = (self.problem,) if self.problem else ()
        return (*problem, *self.failures.values(), *self.faults.values())

    def rows(self, stimuli: StimulusSet) -> np.ndarray:
        """Return the vectors of a set, ``(n, dim)``, in the order of the set."""
        faults = (
            self.faults[stimulus.identity]
            for stimulus in stimuli.stimuli
            if stimulus.identity in self.faults
        )
        if problem := self.problem or next(faults, ""):
            raise EncoderError(problem)
        failed = [stimulus for stimulus in stimuli.stimuli if stimulus.identity in self.failures]
        if failed:
            more = f" (and {len(failed) - 1} more of '{stimuli.concept}')" if failed[1:] else ""
            raise StimulusError(self.failures[failed[0].identity] + more)
        rows = [self.vectors[stimulus.identity] for stimulus in stimuli.stimuli]
        return np.stack(rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAt:
    """Where the vectors of a layer were read."""

    module: str
    side: str
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What embedding needs besides a model and images."""

    cache: EmbeddingCache
    batch_size: int
    progress: Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One network of a model, with a table for every layer."""

    label: str
    facts: Mapping[str, str]
    fingerprint: str
    tables: Mapping[str, EmbeddingTable]
    precision: str = ""
    origin: str = ""
    classes: tuple[str, ...] = ()
    read_out: ReadOut = field(default_factory=ReadOut)

    def read_at(self, point: LayerPoint) -> ReadAt:
        """Return where the vectors of a layer were read."""
        module, side = point.module, "output"
        if module == POOLED:
            module, side = self.read_out.module or module, self.read_out.side
        vectors = self.tables[point.name].vectors.values()
        length = 0 if point.pooling == "flatten" else next((vector.size for vector in vectors), 0)
        return ReadAt(module=module, side=side, length=length)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVectors:
    """The vectors of a model."""

    trials: tuple[Trial, ...]
    points: tuple[LayerPoint, ...]
    description: Mapping[str, Any]


# Another one wherever the vector of a word is made of those of its prompts otherwise.
ENSEMBLE = "mean of unit vectors"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextVectors:
    """The vectors of words from one network."""

    vectors: Vectors = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, Any] = field(default_factory=dict)

    def table(
        self,
        point: LayerPoint,
        images: Vectors,
        failures: Mapping[str, str],
        notes: Mapping[str, Any],
    ) -> EmbeddingTable:
        """Return the table of a layer, with the words if the layer is `pooled`."""
        vectors, faults = dict(images), dict(self.faults)
        if point.module == POOLED and self.vectors:
            unlike = _explain_dimensions(images, self.vectors)
            faults |= dict.fromkeys(self.vectors, unlike) if unlike else {}
            vectors |= {} if unlike else self.vectors
        return EmbeddingTable(
            vectors=vectors,
            failures={**failures, **self.failures},
            preprocessing=notes.get("preprocessing", {}),
            faults=faults,
        )


def _explain_dimensions(images: Vectors, words: Vectors) -> str:
    """Return a message if images and words have different dimensions, else an empty text."""
    for image in images.values():
        word = next(iter(words.values()))
        if image.shape != word.shape:
            return (
                f"'{POOLED}' gives {len(image)} values for an image and {len(word)} for a word, "
                "which share no space; use a model that compares them"
            )
        break
    return ""


def embed_texts(
    job: EmbeddingJob, fingerprint: str, cache: EmbeddingCache, opened: Callable[[], Encoder]
) -> TextVectors:
    """Return the vectors of all requested words."""
    wanted = job.merged_request.words
    if not wanted:
        return TextVectors()
    kept: Vectors = {}
    try:
        key = _key(job, fingerprint, opened)
        kept = cache.load(key, {word.identity for word in wanted}).vectors
        missing = [word for word in wanted if word.identity not in kept]
        if not missing:
            return TextVectors(vectors=_select(kept, wanted), description=cache.load(key).notes)
        encoder = opened()
        vectors, failures = _embed_words(_text_encoder(encoder, job), missing)
    except VisualBiasError as error:
        lost = {word.identity: str(error) for word in wanted if word.identity not in kept}
        return TextVectors(vectors=_select(kept, wanted), faults=lost)
    description = dict(encoder.description)
    with contextlib.suppress(OSError, StorageError):  # costs the next run time, never this one
        cache.store(key, vectors, description)
    return TextVectors(
        vectors={**_select(kept, wanted), **vectors}, failures=failures, description=description
    )


def unread_texts(table: EmbeddingTable, stimuli: StimulusSet) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path in the spec and the message for words without a vector."""
    for index, stimulus in enumerate(stimuli.stimuli):
        if stimulus.prompts and stimulus.identity in table.failures:
            yield ("concepts", stimuli.concept, "text", index), table.failures[stimulus.identity]


def _select(kept: Vectors, wanted: Sequence[Stimulus]) -> dict[str, NDArray[np.float32]]:
    return {word.identity: kept[word.identity] for word in wanted if word.identity in kept}


def _key(job: EmbeddingJob, fingerprint: str, opened: Callable[[], Encoder]) -> str:
    """Return the cache key of word vectors, which covers everything but the prompts."""
    is_whole = job.identity.is_whole
    texts = job.identity.texts if is_whole else _text_encoder(opened(), job).texts_identity()
    facts = {
        "network": fingerprint,
        "texts": texts,
        "words": ENSEMBLE,
        "precision": job.context.precision,
    }
    return digest_of_mapping(facts)


def _text_encoder(encoder: Encoder, job: EmbeddingJob) -> ReadsTexts:
    if isinstance(encoder, ReadsTexts):
        return encoder
    raise EncoderError(
        f"a model of source '{job.entry.source}' reads no texts",
        "use one of 'open_clip' or 'transformers', or 'embeddings' with vectors of the words",
    )


def _embed_words(
    encoder: ReadsTexts, words: Sequence[Stimulus]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Return the vectors of words, and why others have none, by identity."""
    with contextlib.suppress(VisualBiasError):
        return _read(encoder, words), {}
    # One that cannot be read does not keep the others from it.
    vectors: dict[str, NDArray[np.float32]] = {}
    failures: dict[str, str] = {}
    for word in words:
        try:
            vectors |= _read(encoder, [word])
        except VisualBiasError as error:
            failures[word.identity] = str(error)
    if len(words) > 1 and len(failures) == len(words) and len({*failures.values()}) == 1:
        raise EncoderError(failures[words[0].identity])
    return vectors, failures


def _read(encoder: ReadsTexts, words: Sequence[Stimulus]) -> dict[str, NDArray[np.float32]]:
    prompts = list(dict.fromkeys(prompt for word in words for prompt in word.prompts))
    with foreign_errors("the network fails on texts", "check its tokenizer and its weights"):
        rows = np.asarray(encoder.encode_texts(prompts), dtype=np.float64)
    by_prompt = dict(zip(prompts, rows, strict=True))
    return {
        word.identity: _ensemble(np.stack([by_prompt[prompt] for prompt in word.prompts]))
        for word in words
    }


def _ensemble(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    # Vectors without a length or a direction are told by the test itself.
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)
