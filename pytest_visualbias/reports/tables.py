"""The tables of a summary: one for every spec and model, and one for every label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from pytest_visualbias.reports.bars import Glyphs, bar, head
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.outcomes import label
from pytest_visualbias.reports.series import numbers_of
from pytest_visualbias.reports.units import is_standardised
from pytest_visualbias.verdict import number, p_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.labels import Labelled

__all__ = ["STYLES", "Screen", "empty_table", "label_table", "result_table", "title_of"]

STYLES = {
    "pass": "green",
    "reported": "dim",
    "fail": "bold red",
    "invalid": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "accepted": "yellow",
}
# What all columns need at their widest, with some room for names; and with the interval in numbers.
NARROW, WIDEST = 137, 153
BAR = "bar"


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """What can be shown: width in columns, colours, and characters beyond ASCII."""

    width: int
    has_colour: bool
    has_unicode: bool

    @property
    def arrow(self) -> str:
        """Between before and after."""
        return "→" if self.has_unicode else "->"


def title_of(records: Sequence[ResultRecord]) -> str:
    """Return what stands above the table of one spec and model."""
    first = records[0]
    # A model that growth is measured from in some tests only is gated in the others.
    roles = {record.role for record in records}
    role = f" ({first.role})" if len(roles) == 1 and first.role != "gated" else ""
    step = numbers_of(records)
    return visible(f"{first.spec} :: {first.model}{role}" + (f", {step}" if step else ""))


def result_table(
    records: Sequence[ResultRecord], screen: Screen, shown: Sequence[ResultRecord]
) -> Table:
    """Return the table of one spec and model, without its title: that is not cut to its width.

    Parameters
    ----------
    records : sequence of ResultRecord
        All of it, by which the columns are chosen.
    screen : Screen
        Where it is shown.
    shown : sequence of ResultRecord
        Those of it that have a row.
    """
    has_layer = len({record.layer for record in records}) > 1
    has_growth = any(record.growth is not None for record in records)
    table = empty_table(None, screen)
    table.add_column("test [layer]" if has_layer else "test", overflow="fold", ratio=1)
    names = _columns(records, screen)
    for name in names:
        align = "left" if name == BAR else "right"
        shown_as = head(records) if name == BAR else name
        table.add_column(shown_as, justify=align, no_wrap=True)  # type: ignore[arg-type]
    if has_growth:
        name = f"before {screen.arrow} after" if screen.width >= NARROW else "growth"
        table.add_column(name, justify="right", no_wrap=True)
    has_excess = any("max_excess" in record.limits for record in records)
    if has_excess:
        table.add_column("excess", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for record in shown:
        name = f"{record.test} [{record.layer}]" if has_layer else record.test
        numbers = _numbers(record, screen)
        cells = [visible(name), *(numbers[one] for one in names)]
        if has_growth:
            cells.append(_growth(record, screen))
        if has_excess:
            cells.append(_number(record.excess.value if record.excess is not None else None))
        verdict = Text(label(record), style=STYLES[label(record)])
        table.add_row(*(Text(cell) for cell in cells), verdict)
    return table


def _columns(records: Sequence[ResultRecord], screen: Screen) -> list[str]:
    """Return the names of the columns of numbers, but for those in which none would stand."""
    names = ["effect", BAR, *(["interval"] if screen.width >= WIDEST else []), "p adj"]
    scaled = [one for one in records if is_standardised(one)]
    if screen.width >= NARROW:
        names += ["targets", "attrib."] if any(one.sides is not None for one in records) else []
        names += ["gap"] if scaled else []
        return [*names, "p", "detectable"]
    # A gap that is limited is what decides, so it stands on any screen.
    return [*names, "gap"] if any("max_gap" in one.limits for one in scaled) else names


def _numbers(record: ResultRecord, screen: Screen) -> dict[str, str]:
    """Return the cells of a record by the names of their columns."""
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    # Of a classifier the gap is the effect, which is not said twice.
    gap = record.gap if is_standardised(record) else None
    return {
        "effect": _number(record.effect_judged),
        BAR: bar(record, Glyphs.of(has_unicode=screen.has_unicode)),
        "interval": _interval(record),
        "p adj": p_text(p),
        "targets": _number(record.effect_size if record.sides is not None else None),
        "attrib.": _number(record.effect_size_attributes),
        "gap": "-" if gap is None else f"{gap:+.3f}",
        "p": p_text(record.p_verdict),
        "detectable": "-" if record.detectable is None else f"{record.detectable:.2f}",
    }


def empty_table(title: str | None, screen: Screen) -> Table:
    """Return a table without columns, in the style of all."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if screen.has_unicode else box.ASCII2,
        show_edge=False,
        pad_edge=False,
        expand=False,
    )


def label_table(key: str, rows: Iterable[Labelled], screen: Screen) -> Table:
    """Return the table of the values of a label."""
    table = empty_table(f"models by {visible(key)}", screen)
    table.add_column(Text(visible(key)), overflow="fold", ratio=1)
    for name in ("models", "tests", "mean |effect|", "mean growth", "failing"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        effect = "-" if row.effect is None else f"{row.effect:.2f}"
        counts = [str(row.models), str(row.tests)]
        cells = [visible(row.value), *counts, effect, _number(row.growth), str(row.failing)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _interval(record: ResultRecord) -> str:
    if record.ci_low is None or record.ci_high is None:
        return "-"
    return f"{record.ci_low:+.2f} {record.ci_high:+.2f}"


def _growth(record: ResultRecord, screen: Screen) -> str:
    growth = record.growth
    if growth is None:
        return "-"
    if screen.width < NARROW:
        return number(growth.value)
    return f"{number(growth.before)} {screen.arrow} {number(growth.after)} ({number(growth.value)})"
