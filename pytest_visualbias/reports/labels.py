"""What models of one label show, beside those of another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.units import is_standardised

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.record import ResultRecord

__all__ = ["Labelled", "labelled"]

FAILING = ("fail", "invalid", "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """The results of the models that one label is said of.

    Attributes
    ----------
    key, value : str
        The label.
    models, tests : int
        How many models, and how many results of theirs.
    effect : float or None
        Mean of the absolute judged effects.
    growth : float or None
        Mean of the growths.
    failing : int
        Results that fail or could not be had.
    """

    key: str
    value: str
    models: int
    tests: int
    effect: float | None
    growth: float | None
    failing: int

    def plain(self) -> dict[str, str | int | float | None]:
        """Return the entry of the JSON report."""
        return dataclasses.asdict(self)


def labelled(records: Iterable[ResultRecord]) -> list[Labelled]:
    """Return a row for every label, those of one key together.

    Only gated models count, as what was there before finetuning would dilute what came of it, and
    neither controls nor what is no standardised effect, whose scale is another.
    """
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        if record.role == "gated" and not record.control and is_standardised(record):
            for label in record.labels.items():
                groups.setdefault(label, []).append(record)
    keys = list(dict.fromkeys(key for key, _ in groups))
    order = sorted(groups, key=lambda label: keys.index(label[0]))
    return [_row(label, groups[label]) for label in order]


def _row(label: tuple[str, str], records: Sequence[ResultRecord]) -> Labelled:
    valid = [one for one in records if one.outcome != "invalid"]
    return Labelled(
        key=label[0],
        value=label[1],
        models=len({(one.spec, one.model) for one in records}),
        tests=len(records),
        effect=_mean([abs(d) for one in valid if (d := one.effect_judged) is not None]),
        growth=_mean([one.growth.value for one in valid if one.growth is not None]),
        failing=sum(one.outcome in FAILING for one in records),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
