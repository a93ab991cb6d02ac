"""Numbers of biases in the terminal: a row for each model, a column for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pytest_visualbias.reports.counts import bias_counts
from pytest_visualbias.reports.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.table import Table

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.counts import BiasCounts

__all__ = ["count_tables"]

# Of fewer tests the verdicts themselves are read faster.
FEWEST = 10
THRESHOLD = 0.05
# A column of a layer with the room beside it, and what the names of models may take.
COLUMN, NAMES = 13, 30
FAILED = "!"


def count_tables(
    records: Iterable[ResultRecord], empty: Callable[[str], Table], width: int
) -> Iterator[Table | Text]:
    """Yield the numbers of biases of each spec that has ten tests or more.

    Parameters
    ----------
    records : iterable of ResultRecord
        Those of a run.
    empty : callable
        Makes a table of a title.
    width : int
        Of the screen; layers that do not fit beside each other follow in another table.
    """
    cells: dict[str, list[BiasCounts]] = {}
    for one in bias_counts(records, [THRESHOLD], p="p_verdict"):
        cells.setdefault(one.spec, []).append(one)
    room = max(1, (width - NAMES) // COLUMN)
    for spec, own in cells.items():
        most = max(one.tests for one in own)
        if most < FEWEST:
            continue
        layers = list(dict.fromkeys(one.layer for one in own))
        for start in range(0, len(layers), room):
            # Not the table's own title: that would be broken to the width of a narrow table.
            yield Text(f"\n{visible(spec)} :: number of biases", style="bold")
            yield _filled(empty(""), own, layers[start : start + room], most)
        yield from (Text(line) for line in _legend(own, most))


def _filled(table: Table, cells: Sequence[BiasCounts], layers: Sequence[str], most: int) -> Table:
    table.add_column("model", overflow="fold", ratio=1)
    for layer in layers:
        table.add_column(
            Text(visible(layer)), justify="right", overflow="fold", min_width=COLUMN - 3
        )
    by_place = {(one.model, one.layer): one for one in cells}
    for model, role in {one.model: one.role for one in cells}.items():
        name = model if role == "gated" else f"{model} ({role})"
        row = (by_place.get((model, layer)) for layer in layers)
        table.add_row(Text(visible(name)), *(Text(_cell(one, most)) for one in row))
    return table


def _cell(cell: BiasCounts | None, most: int) -> str:
    if cell is None:
        return "-"
    count = cell.counts[0]
    beyond = [] if count.beyond_random is None else [count.beyond_random]
    numbers = "/".join(map(str, (count.raw, *beyond, count.holm)))
    tests = "" if cell.tests == most else f" of {cell.tests}"
    return f"{numbers}{tests}{FAILED if cell.control == 'failed' else ''}"


def _legend(cells: Sequence[BiasCounts], most: int) -> Iterator[str]:
    has_random = any(one.counts[0].beyond_random is not None for one in cells)
    beyond = " / what the untrained network does not show" if has_random else ""
    below = f"p < {THRESHOLD:g}"
    yield f"of {most} tests without controls: {below}{beyond} / {below} after Holm"
    if any(one.control == "failed" for one in cells):
        yield f"{FAILED} a positive control failed there: the number says nothing"
