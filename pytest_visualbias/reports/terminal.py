"""The summary in the terminal: verdicts first, then a table for every spec and model."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_visualbias.reports.counts_table import count_tables
from pytest_visualbias.reports.labels import labelled
from pytest_visualbias.reports.text import drift_text, headline
from pytest_visualbias.reports.transfer import transfers
from pytest_visualbias.verdict import number, p_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.labels import Labelled
    from pytest_visualbias.reports.transfer import Transfer

__all__ = ["Screen", "render"]

STYLES = {
    "pass": "green",
    "reported": "dim",
    "fail": "bold red",
    "invalid": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "accepted": "yellow",
}
# Outcomes that have a line of their own, worst first, and those that a count is enough for.
TOLD = ("fail", "invalid", "error", "inconclusive", "accepted")
UNTOLD = ("pass", "reported")
# What all columns need at their widest, with some room for names.
NARROW = 136
# Below this there is no room for the numbers of a table; they are not shortened, lines wrap.
LEAST = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """What can be shown: width in columns, colours, and characters beyond ASCII."""

    width: int
    has_colour: bool
    has_unicode: bool


def render(
    records: Sequence[ResultRecord], notes: Sequence[str], screen: Screen, *, is_quiet: bool
) -> str:
    """Return the summary of a run.

    Parameters
    ----------
    records : sequence of ResultRecord
        In the order to show.
    notes : sequence of str
        Sentences about the run as a whole, shown last.
    screen : Screen
        Where it is shown.
    is_quiet : bool
        Whether the verdicts are enough.
    """
    stream = io.StringIO()
    console = Console(
        file=stream,
        force_terminal=screen.has_colour,
        no_color=not screen.has_colour,
        width=max(screen.width, LEAST),
        legacy_windows=False,
        emoji=False,
        highlight=False,
        markup=False,
    )
    for line in _verdicts(records):
        console.print(line, soft_wrap=True)
    if not is_quiet:
        for group in _groups(records):
            console.print()
            console.print(_table(group, screen))
        for key, rows in groupby(labelled(records), key=lambda one: one.key):
            console.print()
            console.print(_label_table(key, rows, screen))
        counted = count_tables(records, partial(_empty, screen=screen), max(screen.width, LEAST))
        for part in counted:
            console.print(part)
        for index, transfer in enumerate(transfers(records)):
            start = "" if index else "\n"
            console.print(Text(start + _transfer(transfer, screen)), soft_wrap=True)
        for record in (one for one in records if one.drift_corrected_shift is not None):
            console.print(Text(f"{record.nodeid}: {drift_text(record)}"), soft_wrap=True)
        for warning in dict.fromkeys(text for one in records for text in one.warnings):
            console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    for note in notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    text = stream.getvalue()
    return text if screen.has_unicode else text.encode("ascii", "backslashreplace").decode("ascii")


def _verdicts(records: Sequence[ResultRecord]) -> Iterator[Text]:
    counts: dict[str, int] = {}
    for record in records:
        counts[_label(record)] = counts.get(_label(record), 0) + 1
    order = [name for name in (*TOLD, *UNTOLD) if name in counts]
    if order:
        yield Text(", ".join(f"{counts[name]} {name}" for name in order))
    for name in (name for name in order if name in TOLD):
        for record in (one for one in records if one.outcome == name):
            line = Text(f"{name.upper()} ", style=STYLES[name])
            line.append(f"{record.nodeid}: ", style="not bold default")
            line.append(headline(record), style="not bold default")
            yield line


def _groups(records: Iterable[ResultRecord]) -> list[list[ResultRecord]]:
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        groups.setdefault((record.spec, record.model), []).append(record)
    return list(groups.values())


def _table(records: Sequence[ResultRecord], screen: Screen) -> Table:
    first = records[0]
    layers = {record.layer for record in records}
    # A model that growth is measured from in some tests only is gated in the others.
    roles = {record.role for record in records}
    role = f" ({first.role})" if len(roles) == 1 and first.role != "gated" else ""
    table = _empty(f"{first.spec} :: {first.model}{role}", screen)
    table.add_column("test" if len(layers) == 1 else "test [layer]", overflow="fold", ratio=1)
    for name in ("effect", "interval", "p adj"):
        table.add_column(name, justify="right", no_wrap=True)
    is_wide = screen.width >= NARROW
    if is_wide:
        for name in ("targets", "attrib.", "gap", "p", "visible"):
            table.add_column(name, justify="right", no_wrap=True)
    has_growth = any(record.growth is not None for record in records)
    if has_growth:
        arrow = "→" if screen.has_unicode else "->"
        table.add_column(
            f"before {arrow} after" if is_wide else "growth", justify="right", no_wrap=True
        )
    table.add_column("verdict", no_wrap=True)
    for record in records:
        table.add_row(
            *_row(record, has_layer=len(layers) > 1, has_growth=has_growth, screen=screen)
        )
    return table


def _empty(title: str, screen: Screen) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if screen.has_unicode else box.ASCII2,
        show_edge=False,
        pad_edge=False,
        expand=False,
    )


def _label_table(key: str, rows: Iterable[Labelled], screen: Screen) -> Table:
    table = _empty(f"models by {key}", screen)
    table.add_column(key, overflow="fold", ratio=1)
    for name in ("models", "tests", "mean |effect|", "mean growth", "failing"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        effect = "-" if row.effect is None else f"{row.effect:.2f}"
        counts = [str(row.models), str(row.tests)]
        cells = [row.value, *counts, effect, _number(row.growth), str(row.failing)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _row(record: ResultRecord, *, has_layer: bool, has_growth: bool, screen: Screen) -> list[Text]:
    name = f"{record.test} [{record.layer}]" if has_layer else record.test
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    cells = [name, _number(record.effect_judged), _interval(record), p_text(p)]
    if screen.width >= NARROW:
        two_sided = record.sides is not None
        cells += [
            _number(record.effect_size if two_sided else None),
            _number(record.effect_size_attributes),
            "-" if record.gap is None else f"{record.gap:+.3f}",
            p_text(record.p_verdict),
            _visible(record),
        ]
    if has_growth:
        cells.append(_growth(record, screen))
    return [*(Text(cell) for cell in cells), Text(_label(record), style=STYLES[_label(record)])]


def _label(record: ResultRecord) -> str:
    """Return the outcome; a test that no limit judged is not shown as one that held."""
    is_unjudged = record.outcome == "pass" and any("reported only" in one for one in record.reasons)
    return "reported" if is_unjudged else record.outcome


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _interval(record: ResultRecord) -> str:
    if record.ci_low is None or record.ci_high is None:
        return "-"
    return f"{record.ci_low:+.2f} {record.ci_high:+.2f}"


def _visible(record: ResultRecord) -> str:
    """Return the smallest |d| that can be significant, of each side that a kind has."""
    sides = [record.smallest_detectable_effect, record.smallest_detectable_effect_attributes]
    if record.sides is None:
        sides = sides[:1]
    return " ".join("-" if d is None else f"{d:.2f}" for d in sides)


def _growth(record: ResultRecord, screen: Screen) -> str:
    growth = record.growth
    if growth is None:
        return "-"
    if screen.width < NARROW:
        return number(growth.value)
    arrow = "→" if screen.has_unicode else "->"
    return f"{number(growth.before)} {arrow} {number(growth.after)} ({number(growth.value)})"


def _transfer(transfer: Transfer, screen: Screen) -> str:
    arrow = "→" if screen.has_unicode else "->"
    return (
        f"{transfer.spec} :: {transfer.base} {arrow} {transfer.model} [{transfer.layer}]: transfer "
        f"{number(transfer.spearman)} (rank correlation of {transfer.k} {transfer.of})"
    )
