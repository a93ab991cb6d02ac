"""Summaries over tests: numbers of biases, labels, rank correlations."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import is_standardised, unit_of
from pytest_visualbias.statistics.multiple_testing import adjust, spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.table import Table

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

FAILING = ("fail", "invalid", "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSummary:
    """Results of the models that carry one label."""

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


def label_summaries(records: Iterable[ResultRecord]) -> list[LabelSummary]:
    """Return a summary for each label, grouped by key."""
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        if record.role == "gated" and not record.control and is_standardised(record):
            for label in record.labels.items():
                groups.setdefault(label, []).append(record)
    keys = list(dict.fromkeys(key for key, _ in groups))
    order = sorted(groups, key=lambda label: keys.index(label[0]))
    return [_summarize_label(label, groups[label]) for label in order]


def _summarize_label(label: tuple[str, str], records: Sequence[ResultRecord]) -> LabelSummary:
    valid = [record for record in records if record.outcome != "invalid"]
    return LabelSummary(
        key=label[0],
        value=label[1],
        models=len({(record.spec, record.model) for record in records}),
        tests=len(records),
        effect=_mean([abs(d) for record in valid if (d := record.effect_judged) is not None]),
        growth=_mean([record.growth.value for record in valid if record.growth is not None]),
        failing=sum(record.outcome in FAILING for record in records),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# With fewer pairs a rank correlation means little.
MIN_PAIRS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RankCorrelation:
    """Rank correlation between the effects of a spec's tests in two models."""

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


def rank_correlations(records: Iterable[ResultRecord]) -> list[RankCorrelation]:
    """Return a rank correlation for each spec, layer and pair of models."""
    groups: dict[tuple[str, str, str, str, Unit], list[tuple[float, float]]] = {}
    for record in records:
        growth = record.growth
        if growth is None or record.outcome == "invalid":
            continue
        key = (record.spec, record.layer, growth.base, record.model, unit_of(record))
        groups.setdefault(key, []).append((growth.before, growth.after))
    correlations = []
    for (spec, layer, base, model, unit), pairs in groups.items():
        rho = spearman(*zip(*pairs, strict=True)) if len(pairs) >= MIN_PAIRS else None
        if rho is not None:
            correlation = RankCorrelation(
                spec=spec,
                layer=layer,
                base=base,
                model=model,
                of=unit,
                k=len(pairs),
                spearman=rho,
            )
            correlations.append(correlation)
    return correlations


# Controls that a network should show; an idle one comes from a suite and is not judged.
POSITIVE = ("positive", "idle")
THRESHOLDS = (0.1, 0.05, 0.01, 0.001)
PName = Literal["p_value", "p_verdict"]
ControlState = Literal["none", "held", "failed", "not applied"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasCount:
    """The number of biases of one model and layer at one threshold."""

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
    """The numbers of biases of one model and layer, over thresholds."""

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
            "thresholds": [count.threshold for count in self.counts],
            **{name: [getattr(count, name) for count in self.counts] for name in names},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A measured test of a cell, with its raw and corrected p-values."""

    effect: float
    p: float
    holm: float
    bh: float
    is_one_sided: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """Tests of one spec, model and layer: those with a p-value, and how many are declared."""

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
    """Count biases as a curve over thresholds of p [1]_, for every spec, model and layer."""
    groups: dict[tuple[str, str, str], list[ResultRecord]] = defaultdict(list)
    for record in records:
        if is_standardised(record):
            groups[record.spec, record.model, record.layer].append(record)
    cells = [_collect_cell(rows, p, with_controls=with_controls) for rows in groups.values()]
    untrained: dict[tuple[str, str], list[Mapping[str, _Member]]] = defaultdict(list)
    for cell in cells:
        if cell.first.role == "random" and cell.members:
            untrained[cell.first.spec, cell.first.layer].append(cell.members)
    return [
        _count_cell(cell, untrained[cell.first.spec, cell.first.layer], thresholds, p)
        for cell in cells
        if cell.members
    ]


def _collect_cell(records: Sequence[ResultRecord], p: PName, *, with_controls: bool) -> _Cell:
    """Return the tests of a cell with p-values corrected over all declared tests."""
    kinds = (None, *POSITIVE) if with_controls else (None,)
    declared = [record for record in records if record.control in kinds]
    # A test that could not be measured still counts in the correction.
    raw = [1.0 if (value := getattr(record, p)) is None else value for record in declared]
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
        first=records[0], members=members, declared=len(declared), control=_control_state(records)
    )


def _control_state(records: Sequence[ResultRecord]) -> ControlState:
    controls = [record for record in records if record.control in POSITIVE]
    if not controls:
        return "none"
    if records[0].role == "random":
        return "not applied"
    return "failed" if any(map(has_failed_control, controls)) else "held"


def has_failed_control(record: ResultRecord) -> bool:
    """Return whether a result is a positive control that did not show its effect."""
    if record.control != "idle":
        return record.control == "positive" and record.outcome != "pass"
    effect, p = record.effect_size, record.p_value
    return effect is None or p is None or effect <= 0 or p > record.alpha


def _count_cell(
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
        counts=tuple(_count_at(cell.members, others, threshold) for threshold in thresholds),
    )


def _count_at(
    members: Mapping[str, _Member],
    untrained: Sequence[Mapping[str, _Member]],
    threshold: float,
) -> BiasCount:
    significant = _significant_members(members, threshold)
    in_untrained = [_significant_members(network, threshold) for network in untrained]
    one_sided = [member for member in members.values() if member.is_one_sided]
    return BiasCount(
        threshold=threshold,
        raw=len(significant),
        positive=sum(member.effect > 0 for member in significant.values()),
        negative=sum(member.effect < 0 for member in significant.values()),
        opposite=sum(member.p > 1 - threshold for member in one_sided) if one_sided else None,
        holm=sum(member.holm < threshold for member in members.values()),
        bh=sum(member.bh < threshold for member in members.values()),
        random=sum(map(len, in_untrained)) / len(in_untrained) if in_untrained else None,
        beyond_random=_count_beyond_random(significant, in_untrained) if in_untrained else None,
        strength=sum(abs(member.effect) for member in significant.values()),
    )


def _significant_members(members: Mapping[str, _Member], threshold: float) -> dict[str, _Member]:
    return {test: member for test, member in members.items() if member.p < threshold}


def _count_beyond_random(
    significant: Mapping[str, _Member], untrained: Sequence[Mapping[str, _Member]]
) -> int:
    """Count tests that some untrained network does not show in the same direction."""
    return sum(
        not all(test in other and other[test].effect * member.effect > 0 for other in untrained)
        for test, member in significant.items()
    )


# With fewer tests the verdicts themselves are quicker to read.
MIN_TESTS = 10
THRESHOLD = 0.05

# Width of a layer's column with its padding, and of the column of model names.
COLUMN, NAMES = 13, 30
FAILED = "!"


def count_tables(
    records: Iterable[ResultRecord], empty: Callable[[str], Table], width: int
) -> Iterator[Table | Text]:
    """Yield tables of the number of biases for each spec with ten tests or more."""
    specs: dict[str, list[BiasCounts]] = {}
    for count in bias_counts(records, [THRESHOLD], p="p_verdict"):
        specs.setdefault(count.spec, []).append(count)
    per_table = max(1, (width - NAMES) // COLUMN)
    for spec, counts in specs.items():
        total = max(count.tests for count in counts)
        if total < MIN_TESTS:
            continue
        layers = list(dict.fromkeys(count.layer for count in counts))
        for start in range(0, len(layers), per_table):
            # The table's own title would wrap at the width of a narrow table.
            yield Text(f"\n{visible(spec)} :: number of biases", style="bold")
            yield _fill_table(empty(""), counts, layers[start : start + per_table], total)
        yield from (Text(line) for line in _legend_lines(counts, total))


def _fill_table(
    table: Table, cells: Sequence[BiasCounts], layers: Sequence[str], total: int
) -> Table:
    table.add_column("model", overflow="fold", ratio=1)
    for layer in layers:
        table.add_column(
            Text(visible(layer)), justify="right", overflow="fold", min_width=COLUMN - 3
        )
    by_place = {(cell.model, cell.layer): cell for cell in cells}
    for model, role in {cell.model: cell.role for cell in cells}.items():
        name = model if role == "gated" else f"{model} ({role})"
        row = (by_place.get((model, layer)) for layer in layers)
        table.add_row(Text(visible(name)), *(Text(_table_cell(cell, total)) for cell in row))
    return table


def _table_cell(cell: BiasCounts | None, total: int) -> str:
    if cell is None:
        return "-"
    count = cell.counts[0]
    beyond = [] if count.beyond_random is None else [count.beyond_random]
    numbers = "/".join(map(str, (count.raw, *beyond, count.holm)))
    tests = "" if cell.tests == total else f" of {cell.tests}"
    return f"{numbers}{tests}{FAILED if cell.control == 'failed' else ''}"


def _legend_lines(cells: Sequence[BiasCounts], total: int) -> Iterator[str]:
    has_random = any(cell.counts[0].beyond_random is not None for cell in cells)
    beyond = " / what the untrained network does not show" if has_random else ""
    below = f"p < {THRESHOLD:g}"
    yield f"of {total} tests without controls: {below}{beyond} / {below} after Holm"
    if any(cell.control == "failed" for cell in cells):
        yield f"{FAILED} a positive control failed there: the number says nothing"
