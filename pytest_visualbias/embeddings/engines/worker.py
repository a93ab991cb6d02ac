"""What runs in a worker of a cluster: a network is loaded once, and embeds task after task."""

from __future__ import annotations

import dataclasses
import os
import socket
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.embed_model import digest_of_loaded, encoder_notes, with_location
from pytest_visualbias.embeddings.extraction import (
    CacheWriter,
    ExtractionRequest,
    check_network,
    extract,
)
from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.models.encoder import find_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.request import EmbeddingJob
    from pytest_visualbias.models.encoder import Encoder
    from pytest_visualbias.spec.model_entries import ModelEntry

# The keys of an entry that may mean several files.
CHECKPOINTS = ("checkpoint", "checkpoints")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A network, as it is sent to workers."""

    key: str
    job: EmbeddingJob
    batch_size: int
    loaded: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """The vectors of one layer."""

    identities: tuple[str, ...]
    vectors: np.ndarray
    together: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """What came of a task."""

    rows: Mapping[str, Rows]
    failures: Mapping[str, str]
    notes: Mapping[str, Any]
    loaded: str
    checksum: int = 0

    def check(self) -> int:
        """Return the checksum of what is there now."""
        found = 0
        for name, rows in sorted(self.rows.items()):
            shape = (name, rows.identities, rows.vectors.shape, rows.together)
            found = zlib.crc32(repr(shape).encode(), found)
            found = zlib.crc32(np.ascontiguousarray(rows.vectors).data, found)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a network cannot be loaded or run: a sentence for the user."""

    reason: str


class Worker:
    """Holds one network at a time."""

    def __init__(self) -> None:
        self._key = ""
        self._encoder: Encoder | None = None
        self._loaded = ""
        self._checked: set[str] = set()

    def where(self) -> str:
        """Return the name of the machine; the worker is at work then."""
        return socket.gethostname()

    def embed(self, order: Order, task: Task) -> Part | Fault:
        """Embed the images of a task, with the network that is loaded if it is that one."""
        try:
            if self._key != order.key:
                self._encoder, self._key = None, ""  # the old one goes before the new one comes
                self._checked = set()
                self._encoder, self._key = _opened(order.job), order.key
                self._loaded = digest_of_loaded(self._encoder)
            if order.loaded not in ("", self._loaded):
                raise EncoderError(
                    f"the network '{order.job.identity.label}' has other weights, or prepares "
                    f"images otherwise, on {self.where()} than elsewhere",
                    "give it a checkpoint",
                )
            return self._part(order, task)
        except VisualBiasError as error:
            return Fault(reason=_told(error, order.job))

    def _part(self, order: Order, task: Task) -> Part:
        assert self._encoder is not None  # noqa: S101 - for mypy
        encoder, job = self._encoder, order.job
        points = [point for point in job.want.points if point.name in task.points]
        if unchecked := [point for point in points if point.name not in self._checked]:
            check_network(encoder, unchecked)
            self._checked |= {point.name for point in unchecked}
        notes = encoder_notes(encoder)
        keys = {point.name: (point.name, f"{point.name} together") for point in points}
        memory = EmbeddingCache(folder=None)
        keeper = CacheWriter(memory, keys, {point.name: set() for point in points}, notes)
        failures = extract(
            encoder,
            ExtractionRequest(
                stimuli=task.stimuli,
                layers=points,
                batch_size=order.batch_size,
                decoders=job.context.threads or 1,
                add=keeper.add,
            ),
        )
        keeper.finish()
        rows = {
            name: _rows(vectors, together=bool(memory.load(keys[name][1]).vectors))
            for name, vectors in keeper.vectors.items()
            if vectors
        }
        part = Part(rows=rows, failures=failures, notes=notes, loaded=self._loaded)
        return dataclasses.replace(part, checksum=part.check())


def _told(error: VisualBiasError, job: EmbeddingJob) -> str:
    if isinstance(error, EncoderError):
        error = with_location(error, job.entry, [job.identity])
    return str(error)


def _rows(vectors: Mapping[str, np.ndarray], *, together: bool) -> Rows:
    stacked = np.stack([*vectors.values()]).astype(np.float32)
    return Rows(identities=tuple(vectors), vectors=stacked, together=together)


def _opened(job: EmbeddingJob) -> Encoder:
    """Load a network that is the one that the caller means, down to code and versions."""
    machine = socket.gethostname()
    try:
        # The user's code may read files of the project by names that are relative to it.
        os.chdir(job.context.project)
    except OSError as error:
        raise EncoderError(
            f"{machine} does not see {job.context.project} ({error.strerror})",
            "show every machine of the cluster the same files at the same paths",
        ) from None
    entry = _narrowed(job.entry, job.identity.checkpoint)
    found = find_source(entry.source).identify(entry, job.context)
    unlike = [_unlike(one.facts, job.identity.facts) for one in found]
    if [] not in unlike:
        nearest = min(unlike, key=len) if unlike else ["missing"]
        raise EncoderError(
            f"on {machine} the network '{job.identity.label}' is another one "
            f"({', '.join(nearest)})",
            "install the same versions and show every machine the same files",
        )
    # Its own idea of where the files are.
    return dataclasses.replace(job, identity=found[unlike.index([])]).open()


def _narrowed(entry: ModelEntry, checkpoint: Path | None) -> ModelEntry:
    """Return an entry that means one checkpoint only: a worker need not digest a thousand."""
    if checkpoint is None or not checkpoint.exists():
        return entry
    keys = [key for key in CHECKPOINTS if isinstance(getattr(entry, key, None), str | tuple)]
    return entry.model_copy(update=dict.fromkeys(keys, str(checkpoint)))


def _unlike(facts: Mapping[str, str], meant: Mapping[str, str]) -> list[str]:
    return sorted(key for key in {**facts, **meant} if facts.get(key) != meant.get(key))
