"""The number of biases: how many tests have a p below a threshold, and what to set it against."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.reports.units import is_standardised
from pytest_visualbias.statistics import adjust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_visualbias.record import ResultRecord

__all__ = [
    "POSITIVE",
    "THRESHOLDS",
    "BiasCount",
    "BiasCounts",
    "PName",
    "bias_counts",
    "has_failed",
]

# What a network should show; an idle one is of a suite, and nothing was asked of it.
POSITIVE = ("positive", "idle")
THRESHOLDS = (0.1, 0.05, 0.01, 0.001)
PName = Literal["p_value", "p_verdict"]
ControlState = Literal["none", "held", "failed", "not applied"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasCount:
    """The number of biases of one model and layer at one threshold.

    Attributes
    ----------
    threshold : float
        A test counts where its p is below it (not where it equals it).
    raw : int
        Tests with such a p, whatever the sign of their effect.
    positive, negative : int
        Those of them with an effect above and below zero.
    opposite : int or None
        Tests asked in one direction that lie as far out in the other one (``1 - p`` below the
        threshold). They are not in `raw`. None where no test was asked in one direction.
    holm, bh : int
        Tests that are still below the threshold after correction over all tests of the cell.
    random : float or None
        Mean of `raw` over the untrained networks of the same spec and layer, if there are any.
    beyond_random : int or None
        Tests of `raw` less those that every untrained network shows, too, in the same direction.
    strength : float
        Sum of the absolute effects of the tests of `raw`.
    """

    threshold: float
    raw: int
    positive: int
    negative: int
    opposite: int | None
    holm: int
    bh: int
    random: float | None
    beyond_random: int | None
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasCounts:
    """The numbers of biases of one model and layer, over thresholds.

    Attributes
    ----------
    spec, model, layer, role : str
        Which cell: its tests share a spec, a model and a layer.
    p : {"p_value", "p_verdict"}
        Which p is compared with the thresholds.
    tests : int
        Tests that have such a p.
    unmeasured : int
        Tests that could not be done; in corrections they keep their place with p = 1.
    control : {"none", "held", "failed", "not applied"}
        State of the positive controls, also of those that are measured only; they are not applied
        to untrained networks.
    counts : tuple of BiasCount
        One for each threshold, in the order given.
    """

    spec: str
    model: str
    layer: str
    role: str
    p: PName
    tests: int
    unmeasured: int
    control: ControlState
    counts: tuple[BiasCount, ...]

    def plain(self) -> dict[str, object]:
        """Return the entry of the JSON report: a list over thresholds for each number."""
        names = tuple(name for name in BiasCount.__slots__ if name != "threshold")
        return {
            **{name: getattr(self, name) for name in self.__slots__ if name != "counts"},
            "thresholds": [one.threshold for one in self.counts],
            **{name: [getattr(one, name) for one in self.counts] for name in names},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A test that counts, if its p is small enough."""

    effect: float
    p: float
    holm: float
    bh: float
    is_one_sided: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """The tests of one spec, model and layer: those that have a p, and how many were declared."""

    first: ResultRecord
    members: Mapping[str, _Member]
    declared: int
    control: ControlState


def bias_counts(
    records: Iterable[ResultRecord],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    p: PName = "p_value",
    with_controls: bool = False,
) -> list[BiasCounts]:
    """Count biases as a curve over thresholds of p [1]_, for every spec, model and layer.

    Parameters
    ----------
    records : iterable of ResultRecord
        Those of a run. Mean similarities within a set have no p and are left out.
    thresholds : sequence of float
        Each between 0 and 1.
    p : {"p_value", "p_verdict"}
        ``p_value`` permutes one side only, the targets of a test of four sets: what iEAT and
        Sirotkin et al. count, with the effect of that side. ``p_verdict`` is the largest p of all
        that apply, which a gate goes by, with the effect that is judged.
    with_controls : bool
        Whether positive controls count as biases, as they do in [1]_.

    Returns
    -------
    list of BiasCounts
        In the order of the records; none for a cell without any test that has a p.

    References
    ----------
    .. [1] K. Sirotkin, P. Carballeira, M. Escudero-Vinolo, "A study on the distribution of social
       biases in self-supervised learning visual models", CVPR 2022.
    """
    cells: dict[tuple[str, str, str], list[ResultRecord]] = defaultdict(list)
    for record in records:
        if is_standardised(record):
            cells[record.spec, record.model, record.layer].append(record)
    found = [_cell(rows, p, with_controls=with_controls) for rows in cells.values()]
    untrained: dict[tuple[str, str], list[Mapping[str, _Member]]] = defaultdict(list)
    for cell in found:
        if cell.first.role == "random" and cell.members:
            untrained[cell.first.spec, cell.first.layer].append(cell.members)
    return [
        _counted(cell, untrained[cell.first.spec, cell.first.layer], thresholds, p)
        for cell in found
        if cell.members
    ]


def _cell(records: Sequence[ResultRecord], p: PName, *, with_controls: bool) -> _Cell:
    """Return the tests of a cell, their p corrected over all that it declares."""
    kinds = (None, *POSITIVE) if with_controls else (None,)
    declared = [one for one in records if one.control in kinds]
    # A test that could not be done keeps its place in the correction.
    raw = [1.0 if (own := getattr(one, p)) is None else own for one in declared]
    holm, bh = adjust(raw, "holm"), adjust(raw, "bh")
    members = {}
    for index, record in enumerate(declared):
        effect = record.effect_size if p == "p_value" else record.effect_judged
        if getattr(record, p) is not None and effect is not None:
            members[record.test] = _Member(
                effect=effect,
                p=raw[index],
                holm=holm[index],
                bh=bh[index],
                is_one_sided=record.alternative != "two-sided" and p == "p_value",
            )
    return _Cell(
        first=records[0], members=members, declared=len(declared), control=_control(records)
    )


def _control(records: Sequence[ResultRecord]) -> ControlState:
    controls = [one for one in records if one.control in POSITIVE]
    if not controls:
        return "none"
    if records[0].role == "random":
        return "not applied"
    return "failed" if any(map(has_failed, controls)) else "held"


def has_failed(record: ResultRecord) -> bool:
    """Whether a result is of a positive control that was not shown.

    Of one that is measured only, because no `min_effect` is asked of it, this is an effect that is
    not above zero, or one with a p over alpha.
    """
    if record.control != "idle":
        return record.control == "positive" and record.outcome != "pass"
    effect, p = record.effect_size, record.p_value
    return effect is None or p is None or effect <= 0 or p > record.alpha


def _counted(
    cell: _Cell,
    untrained: Sequence[Mapping[str, _Member]],
    thresholds: Sequence[float],
    p: PName,
) -> BiasCounts:
    others = untrained if cell.first.role != "random" else []
    return BiasCounts(
        spec=cell.first.spec,
        model=cell.first.model,
        layer=cell.first.layer,
        role=cell.first.role,
        p=p,
        tests=len(cell.members),
        unmeasured=cell.declared - len(cell.members),
        control=cell.control,
        counts=tuple(_count(cell.members, others, threshold) for threshold in thresholds),
    )


def _count(
    members: Mapping[str, _Member],
    untrained: Sequence[Mapping[str, _Member]],
    threshold: float,
) -> BiasCount:
    found = _below(members, threshold)
    shown = [_below(one, threshold) for one in untrained]
    one_sided = [one for one in members.values() if one.is_one_sided]
    return BiasCount(
        threshold=threshold,
        raw=len(found),
        positive=sum(one.effect > 0 for one in found.values()),
        negative=sum(one.effect < 0 for one in found.values()),
        opposite=sum(one.p > 1 - threshold for one in one_sided) if one_sided else None,
        holm=sum(one.holm < threshold for one in members.values()),
        bh=sum(one.bh < threshold for one in members.values()),
        random=sum(map(len, shown)) / len(shown) if shown else None,
        beyond_random=_beyond(found, shown) if shown else None,
        strength=sum(abs(one.effect) for one in found.values()),
    )


def _below(members: Mapping[str, _Member], threshold: float) -> dict[str, _Member]:
    return {test: one for test, one in members.items() if one.p < threshold}


def _beyond(found: Mapping[str, _Member], shown: Sequence[Mapping[str, _Member]]) -> int:
    """Count the tests that not every untrained network shows in the same direction."""
    return sum(
        not all(test in other and other[test].effect * one.effect > 0 for other in shown)
        for test, one in found.items()
    )
