"""What embedding needs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.table import EmbeddingTable
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["Measured", "Resources", "Trial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What embedding needs besides a model and images.

    Attributes
    ----------
    cache : EmbeddingCache
        Where vectors are kept.
    batch_size : int
        Images in one forward pass.
    progress : callable
        Told a model's name, how many images are done, and of how many.
    """

    cache: EmbeddingCache
    batch_size: int
    progress: Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One of the networks that an entry means, with its table for every layer.

    Vectors that are stored have no precision of their own. The origin is the URL that a file was
    fetched from, as shown to people. Classes are the names that the network has for them.
    """

    label: str
    facts: Mapping[str, str]
    fingerprint: str
    tables: Mapping[str, EmbeddingTable]
    precision: str = ""
    origin: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A model, embedded.

    Attributes
    ----------
    trials : tuple of Trial
        One or more.
    points : tuple of LayerPoint
        The layers, in the order of the spec.
    description : mapping
        Facts for the report.
    """

    trials: tuple[Trial, ...]
    points: tuple[LayerPoint, ...]
    description: Mapping[str, Any]
