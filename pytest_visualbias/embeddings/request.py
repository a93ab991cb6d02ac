"""Describe what to embed with which network, and find what the cache lacks of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source, foreign_errors
from pytest_visualbias.models.weight_files import digest_of_weights
from pytest_visualbias.spec.effective_settings import model_points
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping
from pytest_visualbias.stimuli.decoding import DECODING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingJob:
    """A network, and what to embed with it."""

    entry: ModelEntry
    identity: Identity
    context: Context
    request: EmbeddingRequest
    merged_request: EmbeddingRequest  # of all specs that use the network

    def open(self) -> Encoder:
        """Load the network."""
        problem = f"the network '{self.identity.label}' cannot be loaded"
        with foreign_errors(problem, "check the checkpoint, the device and its memory"):
            encoder = find_source(self.entry.source).open(self.entry, self.identity, self.context)
        path, digest = self.identity.checkpoint, self.identity.facts.get("checkpoint")
        if (
            path is not None
            and digest is not None
            and digest_of_weights(path, digest_of_file) != digest
        ):
            raise EncoderError(f"{path} was changed during the run", "run again")
        return encoder

    def keys(self, fingerprint: str) -> dict[str, tuple[str, str]]:
        """Return the cache keys of every layer: of vectors, and of projected feature maps."""
        return {point.name: self._keys(fingerprint, point) for point in self.merged_request.points}

    def _keys(self, fingerprint: str, point: LayerPoint) -> tuple[str, str]:
        facts = {
            "network": fingerprint,
            "decoding": DECODING,
            "module": point.module,
            "pooling": point.pooling,
            "precision": self.context.precision,
        }
        return digest_of_mapping(facts), digest_of_mapping({**facts, "comparable": "together"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRequest:
    """The stimuli and layers that a spec needs from one network."""

    stimuli: tuple[Stimulus, ...]
    points: tuple[LayerPoint, ...]
    words: tuple[Stimulus, ...] = ()


def distinct_requests(sets: Iterable[StimulusSet], *, words: bool = False) -> tuple[Stimulus, ...]:
    """Return the distinct images or texts of all sets, ordered by name."""
    return _by_name(
        stimulus
        for stimuli in sets
        for stimulus in stimuli.stimuli
        if bool(stimulus.prompts) == words
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """A model of a spec to embed with; of a training run, with some of its checkpoints."""

    file: SpecFile
    model: str
    sets: ModelSets
    context: Context
    identities: Sequence[Identity] | None = None
    all_identities: Sequence[Identity] = ()
    # Of other specs, by the key of their network.
    other_requests: Mapping[str, Sequence[EmbeddingRequest]] = field(default_factory=dict)

    @property
    def entry(self) -> ModelEntry:
        """The model's entry in the spec."""
        return self.file.spec.models[self.model]

    @property
    def points(self) -> tuple[LayerPoint, ...]:
        """The layers to read."""
        return model_points(self.file.spec, self.entry.layers)


def request_for(file: SpecFile, model: str, sets: ModelSets) -> EmbeddingRequest:
    """Return the stimuli and layers that a spec needs from a model."""
    points = model_points(file.spec, file.spec.models[model].layers)
    stimulus_sets = sets.sets.values()
    return EmbeddingRequest(
        stimuli=distinct_requests(stimulus_sets),
        points=points,
        words=distinct_requests(stimulus_sets, words=True),
    )


def merge_requests(
    embedding_request: EmbeddingRequest, others: Iterable[EmbeddingRequest]
) -> EmbeddingRequest:
    """Return one request for all specs that use the same network."""
    others = tuple(others)
    points = {(point.module, point.pooling): point for point in embedding_request.points}
    for point in (point for other in others for point in other.points):
        place = (point.module, point.pooling)
        name = f"{point.module}:{point.pooling} of another spec"
        points.setdefault(place, point.model_copy(update={"name": name}))
    stimuli = _by_name(
        stimulus for request in (embedding_request, *others) for stimulus in request.stimuli
    )
    words = _by_name(word for request in (embedding_request, *others) for word in request.words)
    return EmbeddingRequest(stimuli=stimuli, points=tuple(points.values()), words=words)


def _by_name(stimuli: Iterable[Stimulus]) -> tuple[Stimulus, ...]:
    by_identity: dict[str, Stimulus] = {}
    for stimulus in stimuli:
        known = by_identity.get(stimulus.identity)
        if known is None or stimulus.name < known.name:
            by_identity[stimulus.identity] = stimulus
    return tuple(sorted(by_identity.values(), key=lambda stimulus: stimulus.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheLookup:
    """The cached vectors of a request, and what is missing."""

    vectors: Mapping[str, Mapping[str, np.ndarray]]
    notes: Mapping[str, Any]
    missing: tuple[Stimulus, ...]
    points: tuple[LayerPoint, ...]

    @classmethod
    def of(
        cls, cache: EmbeddingCache, keys: Mapping[str, tuple[str, str]], request: EmbeddingRequest
    ) -> CacheLookup:
        """Look up a request in the cache."""
        vectors: dict[str, Mapping[str, np.ndarray]] = {}
        notes: Mapping[str, Any] = {}
        missing: dict[str, set[str]] = {}
        identities = {stimulus.identity for stimulus in request.stimuli}
        for name, (key, together) in keys.items():
            cached = cache.load(key, identities)
            if not identities <= cached.vectors.keys():
                cached = cache.load_together(together, identities) or cached
            vectors[name] = cached.vectors
            notes = cached.notes or notes
            missing[name] = identities - cached.vectors.keys()
        absent = set().union(*missing.values())
        return cls(
            vectors=vectors,
            notes=notes,
            missing=tuple(stimulus for stimulus in request.stimuli if stimulus.identity in absent),
            points=tuple(point for point in request.points if missing[point.name]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingOutcome:
    """What came of embedding with a model: counts, and what went wrong."""

    images: int = 0
    networks: int = 0
    layers: int = 0
    embedded: int = 0
    faults: tuple[str, ...] = ()
    failed: bool = False
    is_kept: bool = True

    def joined(self, other: EmbeddingOutcome) -> EmbeddingOutcome:
        """Return the outcome of a model with the networks of both; an error hides the rest."""
        if self.failed or other.failed:
            return self if self.failed else other
        return EmbeddingOutcome(
            images=max(self.images, other.images),
            networks=self.networks + other.networks,
            layers=max(self.layers, other.layers),
            embedded=self.embedded + other.embedded,
            faults=tuple(dict.fromkeys((*self.faults, *other.faults))),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSets:
    """The sets that a model is measured on."""

    sets: Mapping[str, StimulusSet]
    problems: Mapping[str, LocatedFault]
