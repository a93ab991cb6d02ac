"""Vectors with the identity of what produced them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import StimulusError

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
        Why there is no vector, by identity.
    preprocessing : mapping
        What was done to the images, as plain values.
    """

    vectors: Mapping[str, np.ndarray]
    failures: Mapping[str, str]
    preprocessing: Mapping[str, Any]

    def rows(self, stimuli: StimulusSet) -> np.ndarray:
        """Return the vectors of a set, ``(n, dim)``, in its order and their own precision.

        Raises
        ------
        StimulusError
            Where one of its stimuli could not be embedded.
        """
        failed = [one for one in stimuli.stimuli if one.identity in self.failures]
        if failed:
            more = f" (and {len(failed) - 1} more of '{stimuli.concept}')" if failed[1:] else ""
            raise StimulusError(self.failures[failed[0].identity] + more)
        rows = [self.vectors[one.identity] for one in stimuli.stimuli]
        return np.stack(rows)
