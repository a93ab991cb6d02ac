"""Hold the vectors of stimuli, and facts about the networks that computed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import EncoderError, StimulusError
from pytest_visualbias.models.encoder import ReadOut
from pytest_visualbias.spec.effective_settings import POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.stimuli.resolve import StimulusSet


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSets:
    """The sets that a model is measured on."""

    sets: Mapping[str, StimulusSet]
    problems: Mapping[str, LocatedFault]


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
