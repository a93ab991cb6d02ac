"""What to embed with which network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.models.weight_files import digest_of_weights
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping
from pytest_visualbias.stimuli.decoding import DECODING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingJob:
    """One network to embed with."""

    entry: ModelEntry
    identity: Identity
    context: Context
    own: EmbeddingRequest
    want: EmbeddingRequest

    def open(self) -> Encoder:
        """Load it."""
        try:
            encoder = find_source(self.entry.source).open(self.entry, self.identity, self.context)
        except VisualBiasError:
            raise
        except Exception as error:  # of torch, of the device, of the user's network
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise EncoderError(
                f"the network '{self.identity.label}' cannot be loaded ({reason})",
                "check the checkpoint, the device and its memory",
            ) from error
        path, digest = self.identity.checkpoint, self.identity.facts.get("checkpoint")
        if (
            path is not None
            and digest is not None
            and digest_of_weights(path, digest_of_file) != digest
        ):
            raise EncoderError(f"{path} was changed during the run", "run again")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRequest:
    """What a spec wants of one network."""

    stimuli: tuple[Stimulus, ...]
    points: tuple[LayerPoint, ...]
    words: tuple[Stimulus, ...] = ()


def distinct_requests(sets: Iterable[StimulusSet], *, words: bool = False) -> tuple[Stimulus, ...]:
    """Return the distinct images (or texts) of all sets, by identity, ordered by name."""
    return _by_name(
        stimulus
        for stimuli in sets
        for stimulus in stimuli.stimuli
        if bool(stimulus.prompts) == words
    )


def merge_requests(
    embedding_request: EmbeddingRequest, others: Iterable[EmbeddingRequest]
) -> EmbeddingRequest:
    """Return one want for all specs of a run that mean the same network."""
    others = tuple(others)
    points = {(point.module, point.pooling): point for point in embedding_request.points}
    for point in (point for want in others for point in want.points):
        place = (point.module, point.pooling)
        name = f"{point.module}:{point.pooling} of another spec"
        points.setdefault(place, point.model_copy(update={"name": name}))
    stimuli = _by_name(
        stimulus for want in (embedding_request, *others) for stimulus in want.stimuli
    )
    words = _by_name(word for want in (embedding_request, *others) for word in want.words)
    return EmbeddingRequest(stimuli=stimuli, points=tuple(points.values()), words=words)


def _by_name(stimuli: Iterable[Stimulus]) -> tuple[Stimulus, ...]:
    by_identity: dict[str, Stimulus] = {}
    for stimulus in stimuli:
        known = by_identity.get(stimulus.identity)
        if known is None or stimulus.name < known.name:
            by_identity[stimulus.identity] = stimulus
    return tuple(sorted(by_identity.values(), key=lambda stimulus: stimulus.name))


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
