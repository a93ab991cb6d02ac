"""Embed the stimuli of a spec with one model, from the cache or with its encoder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.extraction import (
    CacheWriter,
    ExtractionRequest,
    check_network,
    extract,
    vector_lengths,
)
from pytest_visualbias.embeddings.request import (
    CacheLookup,
    EmbeddingJob,
    EmbeddingRequest,
    ModelRequest,
    ModelSets,
    merge_requests,
    request_for,
)
from pytest_visualbias.embeddings.table import (
    EmbeddingTable,
    ModelVectors,
    Resources,
    Trial,
    embed_texts,
)
from pytest_visualbias.errors import EncoderError, StimulusError, StorageError
from pytest_visualbias.models.encoder import NamesClasses, ReadOut, StatesReadOut, find_source
from pytest_visualbias.models.stored_vectors import open_vectors
from pytest_visualbias.models.weight_files import describe_weights, find_flaws
from pytest_visualbias.spec.effective_settings import LOGITS, PROBABILITIES, axis_of
from pytest_visualbias.spec.hashing import digest_of_mapping
from pytest_visualbias.spec.model_entries import (
    OWN_PRECISION,
    EmbeddingsModel,
    NetworkEntry,
    ProgramModel,
)
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.spec.urls import Url, is_url, to_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from pytest_visualbias.embeddings.table import TextVectors
    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.stimuli.mirror import Mirror
    from pytest_visualbias.stimuli.resolve import StimulusSet

# Layers whose rows are scores of classes.
CLASSES = (LOGITS, PROBABILITIES)


def _used(file: SpecFile) -> list[str]:
    """Return the concepts that tests use, in the order of the spec."""
    used = {concept for test in file.spec.tests for concept in concepts_of(test).values()}
    return [concept for concept in file.spec.concepts if concept in used]


def stored_sets(
    file: SpecFile, model: str, entry: EmbeddingsModel, *, layer: str, mirror: Mirror
) -> tuple[ModelSets, dict[str, np.ndarray]]:
    """Return the sets of a stored-vectors model and their vectors ``(n, dim)``, by concept."""
    sets: dict[str, StimulusSet] = {}
    vectors: dict[str, np.ndarray] = {}
    problems: dict[str, LocatedFault] = {}
    try:
        is_remote = is_url(entry.path)
        path = mirror.file(Url(entry.path)) if is_remote else file.folder / entry.path
        stored = open_vectors(path)
    except (StimulusError, StorageError) as error:
        fault = file.fault(("models", model, "path"), str(error))
        return ModelSets(sets={}, problems=dict.fromkeys(_used(file), fault)), {}
    prefix = entry.prefix.replace("{layer}", entry.layers.get(layer, layer))
    for concept in _used(file):
        try:
            selection = stored.select(
                concept, file.spec.concepts[concept], prefix, are_classes=layer in CLASSES
            )
        except StimulusError as error:
            problems[concept] = file.fault(("concepts", concept), str(error))
        else:
            sets[concept], vectors[concept] = selection
    return ModelSets(sets=sets, problems=problems), vectors


def embed_network(
    job: EmbeddingJob, model: str, resources: Resources
) -> tuple[Trial, Mapping[str, Any]]:
    """Embed with one network for all specs at once, or for one spec if that fails."""
    try:
        return _embed(job, model, resources)
    except EncoderError:
        if job.merged_request == job.request:
            raise
    return _embed(dataclasses.replace(job, merged_request=job.request), model, resources)


def _embed(job: EmbeddingJob, model: str, resources: Resources) -> tuple[Trial, Mapping[str, Any]]:
    opened = functools.cache(job.open)
    # Where an identity does not say which weights are meant, they are loaded to be digested.
    fingerprint = job.identity.fingerprint(
        "" if job.identity.is_whole else digest_of_loaded(opened())
    )
    if not job.identity.is_kept:
        resources = dataclasses.replace(resources, cache=EmbeddingCache(folder=None))
    with _locked(resources.cache, fingerprint):
        seen = image_vectors(job, fingerprint, opened, model, resources)
        words = embed_texts(job, fingerprint, resources.cache, opened)
    trial = Trial(
        label=job.identity.label,
        facts=job.identity.facts,
        fingerprint=fingerprint,
        tables={point.name: seen.table(point, words) for point in job.request.points},
        precision=_precision(job),
        origin=job.identity.origin,
        classes=tuple(seen.notes.get("classes", ())),
        read_out=ReadOut(**seen.notes.get("read_out", {})),
    )
    return trial, seen.notes.get("description", words.description)


def _precision(job: EmbeddingJob) -> str:
    """Return the precision of the vectors."""
    return OWN_PRECISION if isinstance(job.entry, ProgramModel) else job.context.precision


def digest_of_loaded(encoder: Encoder) -> str:
    """Return the digest of the weights and the preprocessing of a loaded network."""
    return digest_of_mapping(
        {"weights": encoder.weights, "preprocessing": dict(encoder.preprocessing)}
    )


def encoder_notes(encoder: Encoder) -> dict[str, Any]:
    """Return the notes that are cached with the vectors of a network."""
    return {
        "preprocessing": dict(encoder.preprocessing),
        "description": dict(encoder.description),
        "classes": [*encoder.classes] if isinstance(encoder, NamesClasses) else [],
        "read_out": dataclasses.asdict(encoder.read_out)
        if isinstance(encoder, StatesReadOut)
        else {},
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _NetworkVectors:
    """The vectors of images from one network."""

    vectors: Mapping[str, Mapping[str, np.ndarray]]
    notes: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    def table(self, point: LayerPoint, words: TextVectors) -> EmbeddingTable:
        """Return the vectors of a layer as a table."""
        table = words.table(point, self.vectors[point.name], self.failures, self.notes)
        if point.name not in self.lost:
            return table
        return dataclasses.replace(table, problem=self.lost[point.name])


def image_vectors(
    job: EmbeddingJob,
    fingerprint: str,
    opened: Callable[[], Encoder],
    model: str,
    resources: Resources,
) -> _NetworkVectors:
    """Return the vectors of images, from the cache or from the network."""
    keys = job.keys(fingerprint)
    known = CacheLookup.of(resources.cache, keys, job.merged_request)
    if not known.missing:
        return _NetworkVectors(vectors=known.vectors, notes=known.notes)
    computed = _compute(job, opened(), model, keys, known, resources)
    names = [point.name for point in job.request.points]
    if computed.lost.keys() >= {*names}:
        raise EncoderError(computed.lost[names[0]])
    both = {name: {**computed.vectors[name], **known.vectors[name]} for name in keys}
    return dataclasses.replace(computed, vectors=both)


def _compute(
    job: EmbeddingJob,
    encoder: Encoder,
    model: str,
    keys: Mapping[str, tuple[str, str]],
    known: CacheLookup,
    resources: Resources,
) -> _NetworkVectors:
    """Embed what the cache lacks, and store it."""
    check_network(encoder, known.points)
    notes = encoder_notes(encoder)
    identities = {name: set(vectors) for name, vectors in known.vectors.items()}
    lost: dict[str, str] = {}
    with contextlib.closing(CacheWriter(resources.cache, keys, identities, notes)) as keeper:
        failures = extract(
            encoder,
            ExtractionRequest(
                stimuli=known.missing,
                layers=known.points,
                batch_size=resources.batch_size,
                decoders=job.context.threads or 1,
                add=keeper.add,
                progress=lambda done, total: resources.progress(model, done, total),
                report_unreadable=lambda point, reason: lost.update({point.name: reason}),
            ),
        )
        keeper.finish()
    if keeper.unwritten:
        notes["description"]["cache"] = f"not written: {keeper.unwritten}"
    return _NetworkVectors(vectors=keeper.vectors, notes=notes, failures=failures, lost=lost)


@contextlib.contextmanager
def _locked(cache: EmbeddingCache, key: str) -> Iterator[None]:
    """Hold the lock of a key if possible; without it, work may be done twice."""
    with contextlib.ExitStack() as held:
        # Some file systems know no locks: NotImplementedError.
        with contextlib.suppress(OSError, NotImplementedError):
            held.enter_context(cache.lock(key))
        yield


def identify(entry: ModelEntry, context: Context) -> Sequence[Identity]:
    """Return the identities of an entry without loading weights."""
    return find_source(entry.source).identify(entry, context)


def _last_identities(entry: ModelEntry, context: Context) -> Sequence[Identity]:
    all_identities = identify(entry, context)
    return all_identities if axis_of(entry) is None else all_identities[-1:]


def network_key(identity: Identity) -> str:
    """Return a key that entries of all specs share if they name the same network."""
    return digest_of_mapping(identity.facts)


def embed_stimuli(request: ModelRequest, resources: Resources) -> ModelVectors:
    """Embed all stimuli of a spec, and of other specs by network, with one model at all layers."""
    entry, points, context = request.entry, request.points, request.context
    if isinstance(entry, EmbeddingsModel):
        return ModelVectors(trials=(_stored(request, entry),), points=points, description={})
    if precision := getattr(entry, "precision", None):
        context = dataclasses.replace(context, precision=precision)
    needed = request_for(request.file, request.model, request.sets)
    trials = []
    description: Mapping[str, Any] = {}
    identities = request.identities
    if identities is None:
        identities = _last_identities(entry, context)
    for identity in identities:
        merged = merge_requests(needed, request.other_requests.get(network_key(identity), ()))
        job = EmbeddingJob(
            entry=entry, identity=identity, context=context, request=needed, merged_request=merged
        )
        name = _network_name(request, identity, request.all_identities or identities)
        try:
            trial, description = embed_network(job, name, resources)
        except EncoderError as error:
            raise with_location(error, entry, [identity]) from error
        trials.append(trial)
    return ModelVectors(trials=tuple(trials), points=points, description=description)


def with_location(
    error: EncoderError, entry: ModelEntry, identities: Iterable[Identity]
) -> EncoderError:
    """Return an error that names the URL of a checkpoint, and its step in a series."""
    text, axis = str(error), axis_of(entry)
    about = [
        identity
        for identity in identities
        if identity.checkpoint is not None and str(identity.checkpoint) in text
    ]
    if not about:
        return error
    # A folder may be called like the beginning of another one.
    identity = max(about, key=lambda identity: len(str(identity.checkpoint)))
    text = text.replace(str(identity.checkpoint), identity.origin or str(identity.checkpoint))
    if axis is None:
        return EncoderError(text, key=error.key)
    return EncoderError(f"{axis} {identity.step}: {text}", key="checkpoints")


def _network_name(
    request: ModelRequest, identity: Identity, all_identities: Sequence[Identity]
) -> str:
    """Return the name of a network for progress output, with its number if there are several."""
    if len(all_identities) < 2:  # noqa: PLR2004 - the only network
        return request.model
    step = f"{axis_of(request.entry)} {identity.step}" if identity.step else identity.label
    number = [*all_identities].index(identity) + 1
    return f"{request.model}, {step} (network {number} of {len(all_identities)})"


def _stored(request: ModelRequest, entry: EmbeddingsModel) -> Trial:
    file, context = request.file, request.context
    tables = {}
    for point in request.points:
        stored, vectors = stored_sets(
            file, request.model, entry, layer=point.name, mirror=context.mirror
        )
        by_identity = {
            stimulus.identity: row
            for concept, rows in vectors.items()
            for stimulus, row in zip(stored.sets[concept].stimuli, rows, strict=True)
        }
        tables[point.name] = EmbeddingTable(
            vectors=by_identity,
            failures=_not_stored(request.sets, stored, by_identity, point),
            preprocessing={},
        )
    path = _file_of(entry, context)
    digest = context.digest(path) if path is not None and path.is_file() else ""
    facts = {"source": "embeddings", "digest": digest, "prefix": entry.prefix}
    return Trial(
        label=to_path(entry.path).name,
        facts=facts,
        fingerprint=digest_of_mapping(facts),
        tables=tables,
        origin="" if path is None else context.mirror.origin(path),
    )


def _file_of(entry: EmbeddingsModel, context: Context) -> Path | None:
    """Return the file of an entry; None if it is unavailable."""
    with contextlib.suppress(StorageError):
        return context.located(entry.path)
    return None


def _not_stored(
    sets: ModelSets, model_sets: ModelSets, vectors: Mapping[str, np.ndarray], point: LayerPoint
) -> dict[str, str]:
    """Return why stimuli have no stored vector at a layer, by identity."""
    hint = f"is not stored at the layer '{point.name}'; store the same rows at every layer"
    return {
        stimulus.identity: str(model_sets.problems.get(concept, f"'{stimulus.name}' {hint}"))
        for concept, stimuli in sets.sets.items()
        for stimulus in stimuli.stimuli
        if stimulus.identity not in vectors
    }


def probe_networks(
    entry: ModelEntry, identities: Iterable[Identity], context: Context, wanted: EmbeddingRequest
) -> tuple[dict[str, int], dict[str, str]]:
    """Load the networks of an entry one at a time, and embed a blank image at all layers."""
    lengths: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for number, identity in enumerate(identities):
        try:
            layer_lengths, faults = vector_lengths(
                _job(entry, identity, context, wanted).open(), wanted.points
            )
        except EncoderError as error:
            raise with_location(error, entry, [identity]) from error
        lengths = lengths or layer_lengths
        name = f"{axis_of(entry)} {identity.step}" if identity.step else identity.label
        for layer, reason in faults.items():
            reasons.setdefault(layer, f"{name}: {reason}" if number else reason)
    return lengths, reasons


def distinct_networks(entry: ModelEntry, identities: Sequence[Identity]) -> list[Identity]:
    """Return the first network of an entry, and those with other weight names or shapes."""
    flaw = next(find_flaws(entry, identities[1:]), "")
    if flaw:
        raise with_location(EncoderError(flaw), entry, identities)
    if not isinstance(entry, NetworkEntry) or not identities[1:]:
        return [*identities[:1]]
    by_contents: dict[frozenset[str], Identity] = {}
    for identity in identities:
        by_contents.setdefault(_contents(identity), identity)
    return [*by_contents.values()]


def _contents(identity: Identity) -> frozenset[str]:
    return frozenset() if identity.checkpoint is None else describe_weights(identity.checkpoint)


def uncached_networks(
    entry: ModelEntry,
    identities: Sequence[Identity],
    context: Context,
    wanted: EmbeddingRequest,
    cache: EmbeddingCache,
) -> list[Identity]:
    """Return the networks whose vectors are not all cached."""
    return [
        identity for identity in identities if _lacks(_job(entry, identity, context, wanted), cache)
    ]


def _lacks(job: EmbeddingJob, cache: EmbeddingCache) -> bool:
    identity = job.identity
    if not identity.is_kept:
        return True
    if not identity.is_whole:
        return False
    return bool(CacheLookup.of(cache, job.keys(identity.fingerprint()), job.merged_request).missing)


def _job(
    entry: ModelEntry, identity: Identity, context: Context, wanted: EmbeddingRequest
) -> EmbeddingJob:
    if precision := getattr(entry, "precision", None):
        context = dataclasses.replace(context, precision=precision)
    return EmbeddingJob(
        entry=entry, identity=identity, context=context, request=wanted, merged_request=wanted
    )
