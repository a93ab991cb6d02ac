"""A comparison as a person reads it in a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_visualbias.errors import without_commands
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from pytest_visualbias.reports.comparison import Change, Comparison
    from pytest_visualbias.reports.terminal import Screen

__all__ = ["table"]

LEAST = 72


def table(comparison: Comparison, screen: Screen, *, shows_all: bool) -> str:
    """Return the changes between two reports, what is worse first.

    Parameters
    ----------
    comparison : Comparison
        Of two reports.
    screen : Screen
        Where it is shown.
    shows_all : bool
        Whether what is the same is shown, too.
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
    shown = [
        one
        for one in comparison.changes
        if shows_all or one.how != "same" or one.is_worse or one.gates
    ]
    if shown:
        console.print(_rows(sorted(shown, key=lambda one: not one.is_worse), screen))
    for change in (one for one in shown if one.unlike is not None):
        text = f"{change.name}: not comparable: {change.unlike}"
        console.print(Text(visible(text), style="yellow"), soft_wrap=True)
    for change in (one for one in shown if one.gates is not None):
        then, now = change.gates or ("", "")
        text = f"{change.name}: judged is {now}, and was {then}; the effects are of the last"
        console.print(Text(visible(text), style="yellow"), soft_wrap=True)
    console.print(Text(_last(comparison)), soft_wrap=True)
    text = without_commands(stream.getvalue())
    return text if screen.has_unicode else text.encode("ascii", "backslashreplace").decode("ascii")


def _rows(changes: list[Change], screen: Screen) -> Table:
    arrow = "→" if screen.has_unicode else "->"
    found = Table(
        box=box.SIMPLE_HEAD if screen.has_unicode else box.ASCII2, show_edge=False, pad_edge=False
    )
    found.add_column("test", overflow="fold", ratio=1)
    for name in ("effect", "|effect| by"):
        found.add_column(name, justify="right", no_wrap=True)
    for name in ("verdict", "what"):
        found.add_column(name, no_wrap=True)
    for one in changes:
        style = "bold red" if one.is_worse else ""
        cells = [
            visible(one.name),
            f" {arrow} ".join("-" if d is None else number(d) for d in one.effects),
            _rise(one),
            _verdicts(one, arrow),
        ]
        what = f"{one.how}, worse" if one.is_worse else one.how
        found.add_row(*(Text(cell) for cell in cells), Text(what, style=style))
    return found


def _rise(change: Change) -> str:
    old, new = change.effects
    if old is None or new is None or change.unlike is not None:
        return "-"
    rise = abs(new) - abs(old)
    # So small a rise would be shown as none.
    return number(rise) if rise == 0 or abs(rise) >= 0.005 else f"{rise:+.1e}"  # noqa: PLR2004


def _verdicts(change: Change, arrow: str) -> str:
    old, new = (one if one is not None else "-" for one in change.verdicts)
    return new if old == new else f"{old} {arrow} {new}"


def _last(comparison: Comparison) -> str:
    counts = ", ".join(f"{count} {how}" for how, count in comparison.counts().items())
    if not counts:
        return "no results in either report"
    worse = sum(one.is_worse for one in comparison.changes)
    return f"{counts}; {f'{worse} worse' if worse else 'nothing is worse'}"
