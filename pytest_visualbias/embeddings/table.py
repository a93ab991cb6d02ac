"""Vectors with the identity of what produced them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import EncoderError, StimulusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["EmbeddingTable"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EmbeddingTable:
    """The vectors of stimuli at one layer of one network.

    Attributes
    ----------
    vectors : mapping of str to array
        ``(dim,)`` by the identity of the stimulus.
    failures : mapping of str to str
        Why there is no vector, by identity, where the stimulus is at fault.
    preprocessing : mapping
        What was done to the images, as plain values.
    faults : mapping of str to str
        The same where the model is.
    problem : str
        Why the layer has no vectors at all, where it has none.
    """

    vectors: Mapping[str, np.ndarray]
    failures: Mapping[str, str]
    preprocessing: Mapping[str, Any]
    faults: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def told(self) -> tuple[str, ...]:
        """Why vectors are missing, in sentences."""
        own = (self.problem,) if self.problem else ()
        return (*own, *self.failures.values(), *self.faults.values())

    def rows(self, stimuli: StimulusSet) -> np.ndarray:
        """Return the vectors of a set, ``(n, dim)``, in its order and their own precision.

        Raises
        ------
        StimulusError
            Where one of its stimuli could not be embedded.
        EncoderError
            Where the model embeds none at this layer, or no stimuli of this kind.
        """
        faults = (
            self.faults[one.identity] for one in stimuli.stimuli if one.identity in self.faults
        )
        if problem := self.problem or next(faults, ""):
            raise EncoderError(problem)
        failed = [one for one in stimuli.stimuli if one.identity in self.failures]
        if failed:
            more = f" (and {len(failed) - 1} more of '{stimuli.concept}')" if failed[1:] else ""
            raise StimulusError(self.failures[failed[0].identity] + more)
        rows = [self.vectors[one.identity] for one in stimuli.stimuli]
        return np.stack(rows)
