"""Build the rows, columns and filters of the result table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import label
from pytest_visualbias.reports.html.details import details
from pytest_visualbias.reports.html.number_tables import series_table
from pytest_visualbias.reports.html.wording import OUTCOMES, advice, optional_effect, span
from pytest_visualbias.reports.image_examples import influential_images, is_exact
from pytest_visualbias.reports.sentences import sign_text
from pytest_visualbias.reports.series_notes import shown_checkpoint
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.reports.html.details import Group
    from pytest_visualbias.reports.html.number_tables import Table
    from pytest_visualbias.reports.image_examples import ImageInfluence
    from pytest_visualbias.results import GrowthRecord, ResultRecord, SetRecord

COLUMNS = ("verdict", "test", "model", "layer", "effect", "interval", "p adj", "growth")

# Number of images named for each result.
NAMED = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Text of a cell, and the number that it sorts by."""

    text: str
    value: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A filter of the table and its values."""

    key: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the table."""

    index: int
    record: ResultRecord
    outcome: str
    order: int
    chosen: dict[str, str]
    cells: tuple[Cell, ...]
    excess: Cell
    advice: str
    groups: tuple[Group, ...]
    sets: tuple[tuple[str, SetRecord], ...]
    influences: tuple[ImageInfluence, ...]
    is_exact: bool
    checkpoints: Table | None = None
    step: str = ""


def columns_of(records: Sequence[ResultRecord]) -> tuple[str, ...]:
    """Return the column names; spec and excess only if needed."""
    several = ("spec",) if len({record.spec for record in records}) > 1 else ()
    limited = ("excess",) if any("max_excess" in record.limits for record in records) else ()
    return (*COLUMNS, *several, *limited)


def choices_of(records: Sequence[ResultRecord]) -> list[Choice]:
    """Return the filters whose values differ between rows."""
    outcomes = [name for name in OUTCOMES if any(label(record) == name for record in records)]
    filters = {
        "o": ("Verdict", outcomes),
        "m": ("Model", [record.model for record in records]),
        "l": ("Layer", [record.layer for record in records]),
        "t": ("Tag", [tag for record in records for tag in record.tags]),
        "s": ("Spec", [record.spec for record in records]),
    }
    return [
        Choice(key=key, name=name, values=tuple(dict.fromkeys(values)))
        for key, (name, values) in filters.items()
    ]


def rows_of(records: Sequence[ResultRecord], choices: Iterable[Choice]) -> list[Row]:
    """Return the rows of the table, worst outcomes first."""
    places = {
        choice.key: {value: place for place, value in enumerate(choice.values)}
        for choice in choices
    }
    rows = [_row(index, record, places) for index, record in enumerate(records)]
    return sorted(rows, key=lambda row: row.order)


def _row(index: int, record: ResultRecord, places: dict[str, dict[str, int]]) -> Row:
    outcome = label(record)
    chosen = {
        "o": [places["o"][outcome]],
        "m": [places["m"][record.model]],
        "l": [places["l"][record.layer]],
        "t": [places["t"][tag] for tag in record.tags],
        "s": [places["s"][record.spec]],
    }
    return Row(
        index=index,
        record=record,
        outcome=outcome,
        order=list(OUTCOMES).index(outcome),
        chosen={key: " ".join(map(str, indices)) for key, indices in chosen.items()},
        cells=tuple(_cells(record)),
        excess=_changed(record.excess),
        advice=advice(record),
        groups=tuple(details(record)),
        sets=tuple(record.sets.items()),
        influences=tuple(influential_images(record, NAMED)),
        is_exact=is_exact(record),
        checkpoints=series_table(record.series),
        step=shown_checkpoint(record),
    )


def _cells(record: ResultRecord) -> list[Cell]:
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    return [
        Cell(text=optional_effect(record.effect_judged), value=_sorted(record.effect_judged)),
        Cell(text=span(record.ci_low, record.ci_high), value=_sorted(record.ci_low)),
        Cell(text="–" if p is None else format_p(p), value=_sorted(p)),
        _changed(record.growth),
    ]


def _changed(change: GrowthRecord | None) -> Cell:
    if change is None:
        return Cell(text="–")
    turned = f", {sign_text(change)}" if change.flipped else ""
    return Cell(text=f"{format_effect(change.value)}{turned}", value=_sorted(change.value))


def _sorted(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
