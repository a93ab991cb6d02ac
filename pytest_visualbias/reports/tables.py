"""Tables of results in a terminal."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import (
    format_optional,
    is_standardised,
    label,
    limits_of,
    unit_of,
)
from pytest_visualbias.reports.series_notes import judged_checkpoints
from pytest_visualbias.results import format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from pytest_visualbias.reports.bias_counts import LabelSummary
    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord


def has_unicode(stream: TextIO) -> bool:
    """Return whether a stream can show lines and arrows."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "→─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def has_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colours on."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    """Return the terminal's columns; a file or pipe counts as wide."""
    return shutil.get_terminal_size(fallback=(160, 24)).columns


WIDTH = 13

# Effects lie within about 2 and mean similarities within 1. Gaps of rates do too, but limited gaps
# are small: larger ones are drawn at the end.
BAR_LIMITS: dict[Unit, float] = {"effects": 2.0, "similarities": 1.0, "gaps": 0.5}
NAMES: dict[Unit, str] = {"similarities": "mean similarities", "gaps": "gaps of rates"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Glyphs:
    """Characters that a bar is drawn with."""

    zero: str
    span: str
    effect: str
    limit: str

    @classmethod
    def for_screen(cls, *, has_unicode: bool) -> Glyphs:
        """Return characters that the screen can show."""
        if has_unicode:
            return cls(zero="│", span="─", effect="●", limit="╎")
        return cls(zero="|", span="-", effect="o", limit=":")


def bar_limit(record: ResultRecord) -> float:
    """Return the value at both ends of a bar."""
    return BAR_LIMITS[unit_of(record)]


def bar_axis(records: Iterable[ResultRecord], width: int = WIDTH) -> str:
    """Return the ends and the zero of the bars; only signs if units differ."""
    ends = {bar_limit(record) for record in records}
    end = f"{ends.pop():g}" if len(ends) == 1 else ""
    return f"{f'-{end}':<{width // 2}}0{f'+{end}':>{width // 2}}"


def format_bar(record: ResultRecord, glyphs: Glyphs, width: int = WIDTH) -> str:
    """Return a bar of `width` characters: zero, limits, interval and effect."""
    if record.effect_judged is None:
        return "-".center(width)
    ends = bar_limit(record)

    def cell(value: float) -> int:
        share = (min(max(value, -ends), ends) / ends + 1) / 2
        return round(share * (width - 1))

    cells = [" "] * width
    cells[width // 2] = glyphs.zero
    if record.ci_low is not None and record.ci_high is not None:
        for index in range(cell(record.ci_low), cell(record.ci_high) + 1):
            cells[index] = glyphs.span
    for limit in limits_of(record):
        if abs(limit) <= ends:
            cells[cell(limit)] = glyphs.limit
    cells[cell(record.effect_judged)] = glyphs.effect
    return "".join(cells)


def bar_legend(glyphs: Glyphs, units: Iterable[Unit]) -> str:
    """Return the legend of the bars."""
    present = {*units}
    ordered = [unit for unit in BAR_LIMITS if unit in present]
    first, *others = [(NAMES.get(unit, ""), BAR_LIMITS[unit]) for unit in ordered or ["effects"]]
    spans = "; ".join(f"{name}: -{ends:g} to +{ends:g}" for name, ends in others)
    parts = (
        f"bars: -{first[1]:g} to +{first[1]:g}{f' ({spans})' if spans else ''}:",
        *(f"{glyphs.zero} zero", f"{glyphs.span} interval", f"{glyphs.effect} effect"),
        f"{glyphs.limit} limit",
    )
    return " ".join(parts)


STYLES = {
    "pass": "green",
    "reported": "dim",
    "fail": "bold red",
    "invalid": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "accepted": "yellow",
}

# Widths that fit all columns with space for names, without and with the interval in numbers.
NARROW, WIDEST = 137, 153
BAR = "bar"

# Narrowest table that fits its numbers; they wrap instead of being cut.
MIN_WIDTH = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """Capabilities of the terminal: columns, colours, and characters beyond ASCII."""

    width: int
    has_colour: bool
    has_unicode: bool

    @property
    def arrow(self) -> str:
        """Arrow between before and after."""
        return "→" if self.has_unicode else "->"

    @property
    def table_width(self) -> int:
        """Width of tables in columns."""
        return max(self.width, MIN_WIDTH)

    def console(self, stream: TextIO) -> Console:
        """Return a console that writes to a stream as the screen shows it."""
        return Console(
            file=stream,
            force_terminal=self.has_colour,
            no_color=not self.has_colour,
            width=self.table_width,
            legacy_windows=False,
            emoji=False,
            highlight=False,
            markup=False,
        )

    def encodable(self, text: str) -> str:
        """Return a text in characters that the screen has."""
        if self.has_unicode:
            return text
        return text.encode("ascii", "backslashreplace").decode("ascii")


def table_title(records: Sequence[ResultRecord]) -> str:
    """Return the title of the table of one spec and model."""
    first = records[0]
    # A model can be the reference of some tests and gated in others.
    roles = {record.role for record in records}
    role = f" ({first.role})" if len(roles) == 1 and first.role != "gated" else ""
    step = judged_checkpoints(records)
    return visible(f"{first.spec} :: {first.model}{role}" + (f", {step}" if step else ""))


def result_table(
    records: Sequence[ResultRecord], screen: Screen, selected: Sequence[ResultRecord]
) -> Table:
    """Return the table of one spec and model, without its title."""
    has_layer = len({record.layer for record in records}) > 1
    has_growth = any(record.growth is not None for record in records)
    table = empty_table(None, screen)
    table.add_column("test [layer]" if has_layer else "test", overflow="fold", ratio=1)
    names = _columns(records, screen)
    for name in names:
        align = "left" if name == BAR else "right"
        shown_as = bar_axis(records) if name == BAR else name
        table.add_column(shown_as, justify=align, no_wrap=True)  # type: ignore[arg-type]
    if has_growth:
        name = f"before {screen.arrow} after" if screen.width >= NARROW else "growth"
        table.add_column(name, justify="right", no_wrap=True)
    has_excess = any("max_excess" in record.limits for record in records)
    if has_excess:
        table.add_column("excess", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for record in selected:
        name = f"{record.test} [{record.layer}]" if has_layer else record.test
        numbers = _numbers(record, screen)
        cells = [visible(name), *(numbers[column] for column in names)]
        if has_growth:
            cells.append(_growth(record, screen))
        if has_excess:
            cells.append(
                format_optional(record.excess.value if record.excess is not None else None)
            )
        verdict = Text(label(record), style=STYLES[label(record)])
        table.add_row(*(Text(cell) for cell in cells), verdict)
    return table


def _columns(records: Sequence[ResultRecord], screen: Screen) -> list[str]:
    """Return the names of the numeric columns that have values."""
    names = ["effect", BAR, *(["interval"] if screen.width >= WIDEST else []), "p adj"]
    scaled = [record for record in records if is_standardised(record)]
    if screen.width >= NARROW:
        names += (
            ["targets", "attrib."] if any(record.sides is not None for record in records) else []
        )
        names += ["gap"] if scaled else []
        return [*names, "p", "detectable"]
    # A limited gap decides the verdict, so every screen shows it.
    return [*names, "gap"] if any("max_gap" in record.limits for record in scaled) else names


def _numbers(record: ResultRecord, screen: Screen) -> dict[str, str]:
    """Return the cells of a record by column name."""
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    # A classifier's gap is its effect, so it is not repeated.
    gap = record.gap if is_standardised(record) else None
    return {
        "effect": format_optional(record.effect_judged),
        BAR: format_bar(record, Glyphs.for_screen(has_unicode=screen.has_unicode)),
        "interval": _interval(record),
        "p adj": format_p(p),
        "targets": format_optional(record.effect_size if record.sides is not None else None),
        "attrib.": format_optional(record.effect_size_attributes),
        "gap": "-" if gap is None else f"{gap:+.3f}",
        "p": format_p(record.p_verdict),
        "detectable": "-" if record.detectable is None else f"{record.detectable:.2f}",
    }


def empty_table(title: str | None, screen: Screen) -> Table:
    """Return a table without columns in the common style."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if screen.has_unicode else box.ASCII2,
        show_edge=False,
        pad_edge=False,
        expand=False,
    )


def label_table(key: str, rows: Iterable[LabelSummary], screen: Screen) -> Table:
    """Return the table of one label's values."""
    table = empty_table(f"models by {visible(key)}", screen)
    table.add_column(Text(visible(key)), overflow="fold", ratio=1)
    for name in ("models", "tests", "mean |effect|", "mean growth", "failing"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        effect = "-" if row.effect is None else f"{row.effect:.2f}"
        counts = [str(row.models), str(row.tests)]
        cells = [visible(row.value), *counts, effect, format_optional(row.growth), str(row.failing)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _interval(record: ResultRecord) -> str:
    if record.ci_low is None or record.ci_high is None:
        return "-"
    return f"{record.ci_low:+.2f} {record.ci_high:+.2f}"


def _growth(record: ResultRecord, screen: Screen) -> str:
    growth = record.growth
    if growth is None:
        return "-"
    if screen.width < NARROW:
        return format_effect(growth.value)
    before, after, value = map(format_effect, (growth.before, growth.after, growth.value))
    return f"{before} {screen.arrow} {after} ({value})"
