"""How far effects keep their order from one model to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.units import unit_of
from pytest_visualbias.statistics import spearman

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.units import Unit

__all__ = ["Transfer", "transfers"]

# Of fewer pairs a rank correlation says next to nothing.
FEWEST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """Rank correlation of what the tests of a spec found in two models.

    Attributes
    ----------
    spec, layer : str
        Where the tests stand, and where they were measured.
    base, model : str
        The model that growth is measured from, and the one after it.
    of : str
        Standardised effects, similarities within sets, or gaps of rates: their scales differ, so
        they are not ranked among each other.
    k : int
        Number of tests.
    spearman : float
        Spearman's rho.
    """

    spec: str
    layer: str
    base: str
    model: str
    of: Unit
    k: int
    spearman: float

    def plain(self) -> dict[str, str | int | float]:
        """Return the entry of the JSON report."""
        return {
            "spec": self.spec,
            "layer": self.layer,
            "from": self.base,
            "to": self.model,
            "of": self.of,
            "k": self.k,
            "spearman": self.spearman,
        }


def transfers(records: Iterable[ResultRecord]) -> list[Transfer]:
    """Return a rank correlation for each spec, layer and pair of models.

    It is descriptive and has no p, as tests share images.

    Parameters
    ----------
    records : iterable of ResultRecord
        Those that have a growth count, unless they are invalid; controls count like other tests.

    Returns
    -------
    list of Transfer
        In the order of the records; none of fewer than five tests, or where all effects are equal.
    """
    groups: dict[tuple[str, str, str, str, Unit], list[tuple[float, float]]] = {}
    for record in records:
        growth = record.growth
        if growth is None or record.outcome == "invalid":
            continue
        key = (record.spec, record.layer, growth.base, record.model, unit_of(record))
        groups.setdefault(key, []).append((growth.before, growth.after))
    found = []
    for (spec, layer, base, model, unit), pairs in groups.items():
        rho = spearman(*zip(*pairs, strict=True)) if len(pairs) >= FEWEST else None
        if rho is not None:
            transfer = Transfer(
                spec=spec,
                layer=layer,
                base=base,
                model=model,
                of=unit,
                k=len(pairs),
                spearman=rho,
            )
            found.append(transfer)
    return found
