"""One network: its vectors from the cache where they are there, else from its encoder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.decoding import DECODING
from pytest_visualbias.embeddings.extraction import check_network, extract
from pytest_visualbias.embeddings.keeping import Keeper
from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.models.encoder import NamesClasses, ReadOut, StatesReadOut, find_source
from pytest_visualbias.models.shards import digest_of_weights
from pytest_visualbias.pipeline.measured import Trial
from pytest_visualbias.pipeline.words import read_words
from pytest_visualbias.spec.digests import digest_of_file, digest_of_mapping
from pytest_visualbias.spec.programs import OWN_PRECISION, ProgramModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

    from pytest_visualbias.embeddings.plan import Want
    from pytest_visualbias.embeddings.table import EmbeddingTable
    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from pytest_visualbias.pipeline.measured import Resources
    from pytest_visualbias.pipeline.words import Words
    from pytest_visualbias.spec.schema import LayerPoint, ModelEntry
    from pytest_visualbias.spec.stimuli import Stimulus

__all__ = ["Job", "Known", "embed", "loaded_facts", "notes_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One network to embed with.

    Attributes
    ----------
    entry : ModelEntry
        As the spec has it.
    identity : Identity
        Which weights are meant.
    context : Context
        Where they are looked for, and how the network is run.
    own : Want
        What the spec wants of it.
    want : Want
        That, and what other specs of the run want.
    """

    entry: ModelEntry
    identity: Identity
    context: Context
    own: Want
    want: Want

    def open(self) -> Encoder:
        """Load it.

        Raises
        ------
        EncoderError
            Where that fails, or the checkpoint is no longer the one that was digested: its vectors
            would be kept as those of the other one.
        """
        try:
            encoder = find_source(self.entry.source).open(self.entry, self.identity, self.context)
        except VisualBiasError:
            raise
        except Exception as error:  # of torch, of the device, of the user's network
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise EncoderError(
                f"the network '{self.identity.label}' cannot be loaded ({reason}); check the "
                "checkpoint, the device and its memory"
            ) from error
        path, digest = self.identity.checkpoint, self.identity.facts.get("checkpoint")
        if (
            path is not None
            and digest is not None
            and digest_of_weights(path, digest_of_file) != digest
        ):
            raise EncoderError(f"{path} was changed during the run; run again")
        return encoder

    def keys(self, fingerprint: str) -> dict[str, tuple[str, str]]:
        """Return the keys of every layer: of vectors, and of those that stand for large maps."""
        return {point.name: self._keys(fingerprint, point) for point in self.want.points}

    def _keys(self, fingerprint: str, point: LayerPoint) -> tuple[str, str]:
        facts = {
            "network": fingerprint,
            "decoding": DECODING,
            "module": point.module,
            "pooling": point.pooling,
            "precision": self.context.precision,
        }
        return digest_of_mapping(facts), digest_of_mapping({**facts, "comparable": "together"})


def embed(job: Job, model: str, resources: Resources) -> tuple[Trial, Mapping[str, Any]]:
    """Embed with one network for all specs at once.

    Parameters
    ----------
    job : Job
        The network, and what is wanted of it.
    model : str
        What it is called in signs of life.
    resources : Resources
        What embedding needs.

    Returns
    -------
    tuple
        The tables of the spec's own layers, and facts for the report.

    Raises
    ------
    EncoderError
        Where the model cannot be loaded or run for this spec alone: what only another one gets
        wrong is not this one's error.
    """
    try:
        return _embed(job, model, resources)
    except EncoderError:
        if job.want == job.own:
            raise
    return _embed(dataclasses.replace(job, want=job.own), model, resources)


def _embed(job: Job, model: str, resources: Resources) -> tuple[Trial, Mapping[str, Any]]:
    opened = functools.cache(job.open)
    # Where an identity does not say which weights are meant, they are loaded to be digested.
    fingerprint = job.identity.fingerprint("" if job.identity.is_whole else loaded_facts(opened()))
    if not job.identity.is_kept:
        resources = dataclasses.replace(resources, cache=EmbeddingCache(folder=None))
    with _alone(resources.cache, fingerprint):
        seen = _seen(job, fingerprint, opened, model, resources)
        words = read_words(job, fingerprint, resources.cache, opened)
    trial = Trial(
        label=job.identity.label,
        facts=job.identity.facts,
        fingerprint=fingerprint,
        tables={point.name: seen.table(point, words) for point in job.own.points},
        precision=_precision(job),
        origin=job.identity.origin,
        classes=tuple(seen.notes.get("classes", ())),
        read_out=ReadOut(**seen.notes.get("read_out", {})),
    )
    return trial, seen.notes.get("description", words.description)


def _precision(job: Job) -> str:
    """Return in what vectors were computed; a program does as it was compiled."""
    return OWN_PRECISION if isinstance(job.entry, ProgramModel) else job.context.precision


def loaded_facts(encoder: Encoder) -> str:
    """Return what a loaded network says of itself: its weights, and what it does to images."""
    return digest_of_mapping(
        {"weights": encoder.weights, "preprocessing": dict(encoder.preprocessing)}
    )


def notes_of(encoder: Encoder) -> dict[str, Any]:
    """Return what is recorded with the vectors of a network."""
    return {
        "preprocessing": dict(encoder.preprocessing),
        "description": dict(encoder.description),
        "classes": [*encoder.classes] if isinstance(encoder, NamesClasses) else [],
        "read_out": dataclasses.asdict(encoder.read_out)
        if isinstance(encoder, StatesReadOut)
        else {},
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the cache has of what is wanted, and what it lacks.

    Attributes
    ----------
    vectors : mapping
        What is there: by the name of the layer, ``(dim,)`` by identity.
    notes : mapping
        What was recorded with them.
    missing : tuple of Stimulus
        Images that lack a vector at any layer, in the order in which they are wanted.
    points : tuple of LayerPoint
        Layers at which any image lacks one.
    """

    vectors: Mapping[str, Mapping[str, np.ndarray]]
    notes: Mapping[str, Any]
    missing: tuple[Stimulus, ...]
    points: tuple[LayerPoint, ...]

    @classmethod
    def of(cls, cache: EmbeddingCache, keys: Mapping[str, tuple[str, str]], want: Want) -> Known:
        """Ask the cache."""
        vectors: dict[str, Mapping[str, np.ndarray]] = {}
        notes: Mapping[str, Any] = {}
        lacking: dict[str, set[str]] = {}
        identities = {stimulus.identity for stimulus in want.stimuli}
        for name, (key, together) in keys.items():
            cached = cache.load(key, identities)
            if not identities <= cached.vectors.keys():
                cached = cache.load_together(together, identities) or cached
            vectors[name] = cached.vectors
            notes = cached.notes or notes
            lacking[name] = identities - cached.vectors.keys()
        anywhere = set().union(*lacking.values())
        return cls(
            vectors=vectors,
            notes=notes,
            missing=tuple(one for one in want.stimuli if one.identity in anywhere),
            points=tuple(point for point in want.points if lacking[point.name]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What a network makes of images.

    Attributes
    ----------
    vectors : mapping
        By the name of the layer, ``(dim,)`` by identity.
    notes : mapping
        What is recorded with them.
    failures : mapping of str to str
        Why an image has no vector, by identity.
    lost : mapping of str to str
        Why a layer has none, by its name.
    """

    vectors: Mapping[str, Mapping[str, np.ndarray]]
    notes: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    def table(self, point: LayerPoint, words: Words) -> EmbeddingTable:
        """Return the table of a layer."""
        table = words.beside(point, self.vectors[point.name], self.failures, self.notes)
        if point.name not in self.lost:
            return table
        return dataclasses.replace(table, problem=self.lost[point.name])


def _seen(
    job: Job, fingerprint: str, opened: Callable[[], Encoder], model: str, resources: Resources
) -> _Seen:
    """Return the vectors of images: those that are kept, and the others from the network.

    Raises
    ------
    EncoderError
        Where the network gives none at any layer of the spec.
    """
    keys = job.keys(fingerprint)
    known = Known.of(resources.cache, keys, job.want)
    if not known.missing:
        return _Seen(vectors=known.vectors, notes=known.notes)
    found = _compute(job, opened(), model, keys, known, resources)
    own = [point.name for point in job.own.points]
    if found.lost.keys() >= {*own}:
        raise EncoderError(found.lost[own[0]])
    both = {name: {**found.vectors[name], **known.vectors[name]} for name in keys}
    return dataclasses.replace(found, vectors=both)


def _compute(
    job: Job,
    encoder: Encoder,
    model: str,
    keys: Mapping[str, tuple[str, str]],
    known: Known,
    resources: Resources,
) -> _Seen:
    """Embed what is missing where it is missing, and keep it."""
    check_network(encoder, known.points)
    notes = notes_of(encoder)
    identities = {name: set(vectors) for name, vectors in known.vectors.items()}
    lost: dict[str, str] = {}
    with contextlib.closing(Keeper(resources.cache, keys, identities, notes)) as keeper:
        failures = extract(
            encoder,
            known.missing,
            known.points,
            batch_size=resources.batch_size,
            decoders=job.context.threads or 1,
            keep=keeper.add,
            progress=lambda done, total: resources.progress(model, done, total),
            lose=lambda point, reason: lost.update({point.name: reason}),
        )
        keeper.finish()
    if keeper.unwritten:
        notes["description"]["cache"] = f"not written: {keeper.unwritten}"
    return _Seen(vectors=keeper.vectors, notes=notes, failures=failures, lost=lost)


@contextlib.contextmanager
def _alone(cache: EmbeddingCache, key: str) -> Iterator[None]:
    """Hold the lock of a key where it can be had; without it work is done twice, never wrongly."""
    with contextlib.ExitStack() as held:
        # Some file systems know no locks: NotImplementedError.
        with contextlib.suppress(OSError, NotImplementedError):
            held.enter_context(cache.lock(key))
        yield
