"""Networks built before the first image: whether weights fit, and which layers can be read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.extraction import vector_lengths
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.headers import contents_of, flaws_of
from pytest_visualbias.pipeline.embedding import placed
from pytest_visualbias.pipeline.network import Job, Known
from pytest_visualbias.spec.schema import Network
from pytest_visualbias.spec.series import axis_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.plan import Want
    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import ModelEntry

__all__ = ["build", "different", "lacking"]


def build(
    entry: ModelEntry, identities: Iterable[Identity], context: Context, want: Want
) -> tuple[dict[str, int], dict[str, str]]:
    """Build networks of an entry, one at a time, and read their layers from one blank image.

    Returns
    -------
    tuple
        The length of the vectors of each layer in the first network, and why layers cannot be
        read.

    Raises
    ------
    EncoderError
        For weights that do not fit, and files that cannot be read.
    """
    lengths: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for number, identity in enumerate(identities):
        try:
            found, faults = vector_lengths(_job(entry, identity, context, want).open(), want.points)
        except EncoderError as error:
            raise placed(error, entry, [identity]) from error
        lengths = lengths or found
        name = f"{axis_of(entry)} {identity.step}" if identity.step else identity.label
        for layer, reason in faults.items():
            reasons.setdefault(layer, f"{name}: {reason}" if number else reason)
    return lengths, reasons


def different(entry: ModelEntry, identities: Sequence[Identity]) -> list[Identity]:
    """Return the first network of an entry, and those whose files hold other weights by name.

    Checkpoints with the same names, shapes and kinds of numbers fit a network alike, so only these
    are built to see whether they do.

    Raises
    ------
    EncoderError
        For files that cannot be read.
    """
    flaw = next(flaws_of(entry, identities[1:]), "")
    if flaw:
        raise placed(EncoderError(flaw), entry, identities)
    if not isinstance(entry, Network) or not identities[1:]:
        return [*identities[:1]]
    found: dict[frozenset[str], Identity] = {}
    for identity in identities:
        found.setdefault(_contents(identity), identity)
    return [*found.values()]


def _contents(identity: Identity) -> frozenset[str]:
    return frozenset() if identity.checkpoint is None else contents_of(identity.checkpoint)


def lacking(
    entry: ModelEntry,
    identities: Sequence[Identity],
    context: Context,
    want: Want,
    cache: EmbeddingCache,
) -> list[Identity]:
    """Return the networks whose vectors the cache lacks.

    Weights of a library that only loading identifies are not among them: they fit.
    """
    return [one for one in identities if _lacks(_job(entry, one, context, want), cache)]


def _lacks(job: Job, cache: EmbeddingCache) -> bool:
    identity = job.identity
    if not identity.is_kept:
        return True
    if not identity.is_whole:
        return False
    return bool(Known.of(cache, job.keys(identity.fingerprint()), job.want).missing)


def _job(entry: ModelEntry, identity: Identity, context: Context, want: Want) -> Job:
    if precision := getattr(entry, "precision", None):
        context = dataclasses.replace(context, precision=precision)
    return Job(entry=entry, identity=identity, context=context, own=want, want=want)
