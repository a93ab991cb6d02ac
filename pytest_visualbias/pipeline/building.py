"""Networks built before the first image: whether weights fit, and which layers can be read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.extraction import vector_lengths
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.headers import flaws_of
from pytest_visualbias.pipeline.embedding import placed
from pytest_visualbias.pipeline.network import Job, Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.plan import Want
    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import ModelEntry

__all__ = ["build", "lacking"]


def build(
    entry: ModelEntry, identities: Sequence[Identity], context: Context, want: Want
) -> tuple[dict[str, int], dict[str, str]]:
    """Build the first network of an entry and read its layers from one blank image.

    Of the others, the files alone are looked at.

    Returns
    -------
    tuple
        The length of the vectors of each layer, and why other layers cannot be read.

    Raises
    ------
    EncoderError
        For weights that do not fit, and files that cannot be read.
    """
    job = _job(entry, identities[0], context, want)
    flaw = next(flaws_of(entry, identities[1:]), "")
    try:
        found = vector_lengths(job.open(), want.points)
    except EncoderError as error:
        raise placed(error, entry, identities) from error
    if flaw:
        raise placed(EncoderError(flaw), entry, identities)
    return found


def lacking(
    entry: ModelEntry,
    identities: Sequence[Identity],
    context: Context,
    want: Want,
    cache: EmbeddingCache,
) -> list[Identity]:
    """Return the networks whose vectors the cache lacks; weights that only loading tells do not."""
    jobs = [_job(entry, one, context, want) for one in identities if one.is_whole and one.is_kept]
    return [
        job.identity
        for job in jobs
        if Known.of(cache, job.keys(job.identity.fingerprint()), want).missing
    ]


def _job(entry: ModelEntry, identity: Identity, context: Context, want: Want) -> Job:
    if precision := getattr(entry, "precision", None):
        context = dataclasses.replace(context, precision=precision)
    return Job(entry=entry, identity=identity, context=context, own=want, want=want)
