"""What embedding needs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.models.encoder import ReadOut
from pytest_visualbias.spec.layers import POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.embeddings.table import EmbeddingTable
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["Measured", "ReadAt", "Resources", "Trial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAt:
    """Where the vectors of a layer were read.

    Attributes
    ----------
    module : str
        A module, or an output.
    side : {"input", "output", ""}
        Of that module; empty if the network's library defines it.
    length : int
        Of each vector; 0 for flattened maps, which others may stand for.
    """

    module: str
    side: str
    length: int


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
    read_out: ReadOut = field(default_factory=ReadOut)

    def read_at(self, point: LayerPoint) -> ReadAt:
        """Return where the vectors of a layer were read."""
        module, side = point.module, "output"
        if module == POOLED:
            module, side = self.read_out.module or module, self.read_out.side
        vectors = self.tables[point.name].vectors.values()
        length = 0 if point.pooling == "flatten" else next((one.size for one in vectors), 0)
        return ReadAt(module=module, side=side, length=length)


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
