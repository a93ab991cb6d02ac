"""The tables of a model: from the cache where they are there, else from its encoder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.decoding import DECODING
from pytest_visualbias.embeddings.extraction import Extraction, extract
from pytest_visualbias.embeddings.plan import distinct
from pytest_visualbias.embeddings.table import EmbeddingTable
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.pipeline.preflight import stored_sets
from pytest_visualbias.spec.digests import digest_of_file, digest_of_mapping
from pytest_visualbias.spec.layers import points_for
from pytest_visualbias.spec.schema import EmbeddingsModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np

    from pytest_visualbias.embeddings.cache import Cached, EmbeddingCache
    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from pytest_visualbias.pipeline.preflight import ModelSets
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import LayerPoint, ModelEntry
    from pytest_visualbias.spec.stimuli import Stimulus

__all__ = ["Measured", "Resources", "Trial", "identify", "measure"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What embedding needs besides a model and images.

    Attributes
    ----------
    cache : EmbeddingCache
        Where vectors are kept.
    batch_size : int
        Images in one forward pass.
    progress : callable
        Told a model's name, how many images are done, and of how many.
    """

    cache: EmbeddingCache
    batch_size: int
    progress: Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One of the networks that an entry means, with its table for every layer."""

    label: str
    facts: Mapping[str, str]
    fingerprint: str
    tables: Mapping[str, EmbeddingTable]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A model, embedded.

    Attributes
    ----------
    trials : tuple of Trial
        One or more.
    points : tuple of LayerPoint
        The layers, in the order of the spec.
    description : mapping
        Facts for the report.
    """

    trials: tuple[Trial, ...]
    points: tuple[LayerPoint, ...]
    description: Mapping[str, Any]


def identify(entry: ModelEntry, context: Context) -> Sequence[Identity]:
    """Return which weights an entry means, loading none.

    Raises
    ------
    EncoderError
        For a checkpoint or a module that is not there.
    """
    return find_source(entry.source).identify(entry, context)


def measure(
    file: SpecFile, model: str, sets: ModelSets, context: Context, resources: Resources
) -> Measured:
    """Embed all stimuli of a spec with one model, at all layers.

    Raises
    ------
    EncoderError
        Where the model cannot be loaded or run.
    """
    entry = file.spec.models[model]
    points = points_for(file.spec.layers, entry.layers)
    if isinstance(entry, EmbeddingsModel):
        trial = _stored(file, model, entry, points, sets)
        return Measured(trials=(trial,), points=points, description={})
    stimuli = distinct(sets.sets.values())
    trials = []
    description: Mapping[str, Any] = {}
    for identity in identify(entry, context):
        job = _Job(entry=entry, identity=identity, context=context, points=points, stimuli=stimuli)
        trial, description = _embed(job, model, resources)
        trials.append(trial)
    return Measured(trials=tuple(trials), points=points, description=description)


def _stored(
    file: SpecFile,
    model: str,
    entry: EmbeddingsModel,
    points: Sequence[LayerPoint],
    sets: ModelSets,
) -> Trial:
    tables = {}
    for point in points:
        found, vectors = stored_sets(file, model, entry, layer=point.name)
        by_identity = {
            stimulus.identity: row
            for concept, rows in vectors.items()
            for stimulus, row in zip(found.sets[concept].stimuli, rows, strict=True)
        }
        tables[point.name] = EmbeddingTable(
            vectors=by_identity,
            failures=_not_stored(sets, found, by_identity, point),
            preprocessing={},
        )
    path = file.folder / entry.path
    digest = digest_of_file(path) if path.is_file() else ""
    facts = {"source": "embeddings", "digest": digest, "prefix": entry.prefix}
    fingerprint = digest_of_mapping(facts)
    return Trial(label=path.name, facts=facts, fingerprint=fingerprint, tables=tables)


def _not_stored(
    sets: ModelSets, found: ModelSets, vectors: Mapping[str, np.ndarray], point: LayerPoint
) -> dict[str, str]:
    """Return why stimuli of the sets have no vector at a layer, by identity."""
    hint = f"is not stored at the layer '{point.name}'; store the same rows at every layer"
    return {
        one.identity: found.problems.get(concept, f"'{one.name}' {hint}")
        for concept, stimuli in sets.sets.items()
        for one in stimuli.stimuli
        if one.identity not in vectors
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One network to embed with."""

    entry: ModelEntry
    identity: Identity
    context: Context
    points: tuple[LayerPoint, ...]
    stimuli: tuple[Stimulus, ...]

    def open(self) -> Encoder:
        return find_source(self.entry.source).open(self.entry, self.identity, self.context)

    def key(self, fingerprint: str, point: LayerPoint) -> str:
        return digest_of_mapping(
            {
                "network": fingerprint,
                "decoding": DECODING,
                "module": point.module,
                "pooling": point.pooling,
                "precision": self.context.precision,
            }
        )


def _embed(job: _Job, model: str, resources: Resources) -> tuple[Trial, Mapping[str, Any]]:
    # Where an identity does not say which weights are meant, they are loaded to be digested.
    encoder = None if job.identity.is_whole else job.open()
    fingerprint = job.identity.fingerprint(encoder.weights if encoder is not None else "")
    with _alone(resources.cache, fingerprint):
        keys = {point.name: job.key(fingerprint, point) for point in job.points}
        known = {name: resources.cache.load(key) for name, key in keys.items()}
        missing = [
            stimulus
            for stimulus in job.stimuli
            if any(stimulus.identity not in cached.vectors for cached in known.values())
        ]
        extraction = Extraction(vectors={name: {} for name in keys}, failures={})
        notes = next(iter(known.values())).notes
        if missing:
            encoder = encoder if encoder is not None else job.open()
            extraction = extract(
                encoder,
                missing,
                job.points,
                batch_size=resources.batch_size,
                progress=lambda done, total: resources.progress(model, done, total),
            )
            notes = {
                "preprocessing": dict(encoder.preprocessing),
                "description": dict(encoder.description),
            }
            _keep(resources.cache, keys, extraction, notes)
    tables = {name: _table(known[name], extraction, name, notes) for name in keys}
    label, facts = job.identity.label, job.identity.facts
    trial = Trial(label=label, facts=facts, fingerprint=fingerprint, tables=tables)
    return trial, notes.get("description", {})


@contextlib.contextmanager
def _alone(cache: EmbeddingCache, key: str) -> Iterator[None]:
    """Hold the lock of a key where it can be had; without it work is done twice, never wrongly."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(cache.lock(key))
        yield


def _keep(
    cache: EmbeddingCache,
    keys: Mapping[str, str],
    extraction: Extraction,
    notes: dict[str, dict[str, Any]],
) -> None:
    """Store what was computed; a full disk costs the next run time, never this one its result."""
    for name, key in keys.items():
        try:
            cache.store(key, extraction.vectors[name], notes)
        except OSError as error:
            notes["description"]["cache"] = f"not written: {error.strerror}"


def _table(
    cached: Cached, extraction: Extraction, name: str, notes: Mapping[str, Any]
) -> EmbeddingTable:
    vectors: dict[str, np.ndarray] = {**cached.vectors, **extraction.vectors[name]}
    return EmbeddingTable(
        vectors=vectors,
        failures=extraction.failures,
        preprocessing=notes.get("preprocessing", {}),
    )
