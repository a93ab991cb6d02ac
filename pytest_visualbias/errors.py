"""Everything that can go wrong, as one tree.

::

    VisualBiasError
    ├── UsageError            an option that cannot be honoured (exit 4)
    ├── SpecError             the text, sizes or overlaps of a spec are wrong (exit 2)
    ├── StimulusError         an image or a set is missing or unreadable (exit 1)
    ├── FetchError            a published stimulus, or the folder for it, cannot be had (exit 1)
    ├── EncoderError          a model, checkpoint, layer or device cannot be used (exit 1)
    ├── BaselineError         a file of recorded results cannot be used (exit 1)
    ├── ReportError           the report of an earlier run cannot be used (exit 2, no pytest run)
    └── DegenerateTestError   numbers from which no effect follows (exit 1)

A bias that was found is not an error of ours: it is a verdict, and fails its item.
Messages say where, what, and what to do, in one sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BaselineError",
    "DegenerateTestError",
    "EncoderError",
    "FetchError",
    "ReportError",
    "SpecError",
    "StimulusError",
    "UsageError",
    "VisualBiasError",
]


class VisualBiasError(Exception):
    """Root of the errors that a user can mend; shown without a traceback."""


class UsageError(VisualBiasError):
    """An option that cannot be honoured."""


class SpecError(VisualBiasError):
    """All faults of one spec, each a line ``file:line:column: where: what; what to do``."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class StimulusError(VisualBiasError):
    """A stimulus or a set of stimuli is missing, unreadable or not an image."""


class FetchError(VisualBiasError):
    """A published stimulus cannot be had, or the folder that is to hold it cannot be used."""


class EncoderError(VisualBiasError):
    """A model, its checkpoint, a layer or a device cannot be used."""


class BaselineError(VisualBiasError):
    """A file of recorded results cannot be used."""


class ReportError(VisualBiasError):
    """The report of an earlier run cannot be used."""


class DegenerateTestError(VisualBiasError):
    """Numbers from which no association can be computed.

    Parameters
    ----------
    message : str
        The sentence, in terms of the sets ``X``, ``Y``, ``A``, ``B``.
    role : str or None
        The set at fault, where one is.
    row : int or None
        The zero-based row of that set at fault, where one is.
    """

    def __init__(self, message: str, *, role: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.role = role
        self.row = row
