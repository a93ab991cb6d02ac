"""Draw forest and dumbbell plots of effects."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import AXES, failing_ranges, label, limits_of, unit_of
from pytest_visualbias.reports.html.scales import Scale, scale_around
from pytest_visualbias.reports.html.wording import optional_effect, span
from pytest_visualbias.reports.series_notes import judged_checkpoints
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_visualbias.reports.html.scales import Tick
    from pytest_visualbias.results import ResultRecord

# One axis for all effects, so that panels can be compared.
EFFECTS = Scale(low=-2.0, high=2.0, start=2.0, end=98.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """Marks on one line, in percent of its width."""

    zero: float
    dot: float
    bands: tuple[tuple[float, float], ...] = ()
    range: tuple[float, float] | None = None
    ghost: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StripRow:
    """A row of a plot: result, marks and cells."""

    index: int
    test: str
    outcome: str
    strip: Strip
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A plot of the tests of one spec, model and layer."""

    spec: str
    model: str
    layer: str
    base: str | None
    role: str
    step: str
    of: str
    bad: int
    is_open: bool
    ticks: tuple[Tick, ...]
    rows: tuple[StripRow, ...]


Indexed = tuple[int, "ResultRecord"]
BAD = ("fail", "invalid", "error", "inconclusive")


def forest_panels(records: Sequence[ResultRecord]) -> list[Panel]:
    """Return panels of effects with intervals and limits, largest effect first."""
    measured = [(i, record) for i, record in enumerate(records) if record.effect_judged is not None]
    return _open_worst(
        [
            _panel(
                group,
                lambda record: abs(record.effect_judged or 0.0),
                strip,
                lambda record: (
                    optional_effect(record.effect_judged),
                    span(record.ci_low, record.ci_high),
                ),
            )
            for group in _grouped(measured)
        ]
    )


def growth_panels(records: Sequence[ResultRecord]) -> list[Panel]:
    """Return panels of effects before and after, largest growth first."""
    grown = [(i, record) for i, record in enumerate(records) if record.growth is not None]
    return _open_worst(
        [
            _panel(
                group,
                lambda record: record.growth.value if record.growth is not None else 0.0,
                _dumbbell,
                _change_cells,
                base=True,
            )
            for group in _grouped(grown)
        ]
    )


def _grouped(records: Iterable[Indexed]) -> list[list[Indexed]]:
    groups: dict[tuple[str, ...], list[Indexed]] = {}
    for index, record in records:
        base = record.growth.base if record.growth is not None else ""
        key = (record.spec, record.model, record.layer, base, unit_of(record))
        groups.setdefault(key, []).append((index, record))
    return list(groups.values())


def _panel(
    group: Sequence[Indexed],
    order: Callable[[ResultRecord], float],
    drawn: Callable[[Scale, ResultRecord], Strip],
    cells: Callable[[ResultRecord], tuple[str, ...]],
    *,
    base: bool = False,
) -> Panel:
    first = group[0][1]
    scale = scale_of([record for _, record in group])
    rows = sorted(group, key=lambda pair: -order(pair[1]))
    return Panel(
        spec=first.spec,
        model=first.model,
        layer=first.layer,
        base=first.growth.base if base and first.growth is not None else None,
        role=first.role if len({record.role for _, record in group}) == 1 else "gated",
        step=judged_checkpoints([record for _, record in group]),
        of=AXES[unit_of(first)],
        bad=sum(record.outcome in BAD for _, record in group),
        is_open=False,
        ticks=tuple(scale.ticks()),
        rows=tuple(
            StripRow(
                index=index,
                test=record.test,
                outcome=label(record),
                strip=drawn(scale, record),
                cells=cells(record),
            )
            for index, record in rows
        ),
    )


def scale_of(records: Sequence[ResultRecord]) -> Scale:
    """Return the axis for effects of one unit."""
    if unit_of(records[0]) == "effects":
        return EFFECTS
    values = [record.effect_judged or 0.0 for record in records]
    values += [record.growth.before for record in records if record.growth is not None]
    values += [
        end for record in records for end in (record.ci_low, record.ci_high) if end is not None
    ]
    values += [limit for record in records for limit in limits_of(record)]
    return scale_around(values).drawn(EFFECTS.start, EFFECTS.end)


def _open_worst(panels: Sequence[Panel]) -> list[Panel]:
    """Open the panel with most failures, else the first gated one, else the first."""
    if not panels:
        return []
    order = sorted(panels, key=lambda panel: (-panel.bad, panel.role != "gated"))
    return [dataclasses.replace(panel, is_open=panel is order[0]) for panel in panels]


def strip(scale: Scale, record: ResultRecord) -> Strip:
    """Return an effect with its interval and its limit."""
    low, high = record.ci_low, record.ci_high
    ends = None if low is None or high is None else line_extent(scale.at(low), scale.at(high))
    return Strip(
        zero=scale.at(0.0),
        dot=scale.at(record.effect_judged or 0.0),
        bands=_bands(scale, record),
        range=ends,
    )


def line_extent(first: float, second: float) -> tuple[float, float]:
    """Return the start and length of a line between two positions."""
    return min(first, second), round(abs(second - first), 1)


def _bands(scale: Scale, record: ResultRecord) -> tuple[tuple[float, float], ...]:
    """Return where the effect violates its limit or misses its minimum."""
    ranges = failing_ranges(record, scale.low, scale.high)
    return _widths((scale.at(low), scale.at(high)) for low, high in ranges)


def _widths(bands: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((start, round(end - start, 1)) for start, end in bands if end > start)


def _dumbbell(scale: Scale, record: ResultRecord) -> Strip:
    growth = record.growth
    assert growth is not None  # noqa: S101 - for the type checker
    maximum = record.limits.get("max_growth")
    bands = _bands(scale, record)
    if maximum is not None:
        edge = abs(growth.before) + maximum
        bands = _widths([(scale.start, scale.at(-edge)), (scale.at(edge), scale.end)])
    before, after = scale.at(growth.before), scale.at(growth.after)
    return Strip(
        zero=scale.at(0.0), dot=after, bands=bands, range=line_extent(before, after), ghost=before
    )


def _change_cells(record: ResultRecord) -> tuple[str, ...]:
    growth = record.growth
    assert growth is not None  # noqa: S101 - for the type checker
    return format_effect(growth.before), format_effect(growth.after), format_effect(growth.value)
