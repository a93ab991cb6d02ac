"""The tables of a model: from the cache where they are there, else from its encoder."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.plan import Want, distinct, merged
from pytest_visualbias.embeddings.table import EmbeddingTable
from pytest_visualbias.errors import EncoderError, StorageError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.pipeline.measured import Measured, Resources, Trial
from pytest_visualbias.pipeline.network import Job, embed
from pytest_visualbias.pipeline.preflight import stored_sets
from pytest_visualbias.remote.urls import place
from pytest_visualbias.spec.digests import digest_of_mapping
from pytest_visualbias.spec.layers import points_of
from pytest_visualbias.spec.schema import EmbeddingsModel
from pytest_visualbias.spec.series import axis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.pipeline.preflight import ModelSets
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import LayerPoint, ModelEntry

__all__ = [
    "Measured",
    "Resources",
    "Trial",
    "identify",
    "measure",
    "network_of",
    "placed",
    "want_of",
]


def identify(entry: ModelEntry, context: Context) -> Sequence[Identity]:
    """Return which weights an entry means, loading none.

    Raises
    ------
    EncoderError
        For a checkpoint or a module that is not there.
    """
    return find_source(entry.source).identify(entry, context)


def _meant(entry: ModelEntry, context: Context) -> Sequence[Identity]:
    found = identify(entry, context)
    return found if axis_of(entry) is None else found[-1:]


def network_of(identity: Identity) -> str:
    """Return what two entries, of whatever specs, have in common where they mean one network."""
    return digest_of_mapping(identity.facts)


def want_of(file: SpecFile, model: str, sets: ModelSets) -> Want:
    """Return what a spec wants of a model."""
    points = points_of(file.spec, file.spec.models[model].layers)
    found = sets.sets.values()
    return Want(stimuli=distinct(found), points=points, words=distinct(found, words=True))


def measure(
    file: SpecFile,
    model: str,
    sets: ModelSets,
    context: Context,
    resources: Resources,
    *,
    others: Callable[[str], Iterable[Want]] = lambda _network: (),
    identities: Sequence[Identity] | None = None,
    among: Sequence[Identity] = (),
) -> Measured:
    """Embed all stimuli of a spec with one model, at all layers.

    Parameters
    ----------
    file : SpecFile
        The spec.
    model : str
        One of its models.
    sets : ModelSets
        Its stimuli.
    context : Context
        Where models are looked for, and how they are run.
    resources : Resources
        What embedding needs.
    others : callable
        Gives what other specs of the run want of a network (`network_of`), to be embedded at once.
    identities : sequence of Identity or None
        Which of its networks; None for all, and for the last one of a series.
    among : sequence of Identity
        All of its networks, where not all are embedded with; for signs of life.

    Raises
    ------
    EncoderError
        Where the model cannot be loaded or run.
    """
    entry = file.spec.models[model]
    points = points_of(file.spec, entry.layers)
    if isinstance(entry, EmbeddingsModel):
        trial = _stored(file, model, entry, points, sets, context)
        return Measured(trials=(trial,), points=points, description={})
    if precision := getattr(entry, "precision", None):
        context = dataclasses.replace(context, precision=precision)
    own = want_of(file, model, sets)
    trials = []
    description: Mapping[str, Any] = {}
    chosen = _meant(entry, context) if identities is None else identities
    for identity in chosen:
        want = merged(own, others(network_of(identity)))
        job = Job(entry=entry, identity=identity, context=context, own=own, want=want)
        name = _named(model, entry, identity, among or chosen)
        try:
            trial, description = embed(job, name, resources)
        except EncoderError as error:
            raise placed(error, entry, [identity]) from error
        trials.append(trial)
    return Measured(trials=tuple(trials), points=points, description=description)


def placed(error: EncoderError, entry: ModelEntry, identities: Iterable[Identity]) -> EncoderError:
    """Return an error that names a checkpoint with its URL, and of a series with its step.

    Parameters
    ----------
    error : EncoderError
        Which may be about one of the checkpoints, and names its file then.
    entry : ModelEntry
        The model.
    identities : iterable of Identity
        Its networks.
    """
    text, axis = str(error), axis_of(entry)
    about = [
        one for one in identities if one.checkpoint is not None and str(one.checkpoint) in text
    ]
    if not about:
        return error
    # A folder may be called like the beginning of another one.
    found = max(about, key=lambda one: len(str(one.checkpoint)))
    text = text.replace(str(found.checkpoint), found.origin or str(found.checkpoint))
    if axis is None:
        return EncoderError(text, key=error.key)
    return EncoderError(f"{axis} {found.step}: {text}", key="checkpoints")


def _named(model: str, entry: ModelEntry, identity: Identity, among: Sequence[Identity]) -> str:
    """Return which network of a model this is, where there are several."""
    if len(among) < 2:  # noqa: PLR2004 - the only one
        return model
    what = f"{axis_of(entry)} {identity.step}" if identity.step else identity.label
    return f"{model}, {what} (network {[*among].index(identity) + 1} of {len(among)})"


def _stored(
    file: SpecFile,
    model: str,
    entry: EmbeddingsModel,
    points: Sequence[LayerPoint],
    sets: ModelSets,
    context: Context,
) -> Trial:
    tables = {}
    for point in points:
        found, vectors = stored_sets(file, model, entry, layer=point.name, mirror=context.mirror)
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
    path = _file_of(entry, context)
    digest = context.digest(path) if path is not None and path.is_file() else ""
    facts = {"source": "embeddings", "digest": digest, "prefix": entry.prefix}
    return Trial(
        label=place(entry.path).name,
        facts=facts,
        fingerprint=digest_of_mapping(facts),
        tables=tables,
        origin="" if path is None else context.mirror.origin(path),
    )


def _file_of(entry: EmbeddingsModel, context: Context) -> Path | None:
    """Return the file of an entry; nothing where it cannot be had, which its sets tell."""
    with contextlib.suppress(StorageError):
        return context.located(entry.path)
    return None


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
