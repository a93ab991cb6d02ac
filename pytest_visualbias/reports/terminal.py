"""The summary in the terminal: verdicts first, then a table for every spec and model."""

from __future__ import annotations

import io
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from pytest_visualbias.errors import without_commands
from pytest_visualbias.reports.bias_counts import count_tables, label_summaries, rank_correlations
from pytest_visualbias.reports.escaping import visible, visible_lines
from pytest_visualbias.reports.formatting import group_by_model, label, opening, rate_lines, unit_of
from pytest_visualbias.reports.image_examples import carrier_lines
from pytest_visualbias.reports.sentences import (
    Shared,
    read_out_lines,
    remedies,
    shared,
    sign_changes,
    weak_passes,
)
from pytest_visualbias.reports.series_notes import (
    course_lines,
    earlier_notes,
    growth_notes,
    lone_trials,
    trials_text,
)
from pytest_visualbias.reports.tables import (
    STYLES,
    Glyphs,
    Screen,
    empty_table,
    label_table,
    legend,
    result_table,
    title_of,
)
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from pytest_visualbias.reports.bias_counts import RankCorrelation
    from pytest_visualbias.results import ResultRecord

# Outcomes that have a line of their own, worst first, and those that a count is enough for.
TOLD = ("fail", "invalid", "error", "inconclusive", "accepted")
UNTOLD = ("pass", "reported")

# Of these one cause, such as a checkpoint or a positive control, keeps many tests from speaking.
SHARED = ("error", "invalid")
OPENING = {"passed": "bold green", "FAILED": "bold red", "INCONCLUSIVE": "bold yellow"}

# A table with more tests than this shows what has to be known, and counts the rest.
LONG = 15


def render(
    records: Sequence[ResultRecord],
    notes: Sequence[str],
    screen: Screen,
    *,
    verbosity: int = 0,
    is_strict: bool = False,
    is_broken: bool = False,
) -> str:
    """Return the summary of a run."""
    stream = io.StringIO()
    console = screen.console(stream)
    if records:
        verdict, count = opening(records, is_strict=is_strict, is_broken=is_broken)
        first = Text(f"{verdict}: ", style=OPENING[verdict])
        console.print(first.append(count, style="not bold default"), soft_wrap=True)
    for line in _verdicts(records):
        console.print(line, soft_wrap=True)
    if verbosity >= 0:
        for remedy in remedies(records, has_carriers=verbosity > 1):
            console.print(Text(visible(remedy), style="cyan"), soft_wrap=True)
        _tables(console, records, screen, has_all=verbosity > 0)
        _below(console, records, screen, more="" if verbosity > 0 else ": see -v")
    if verbosity > 1:
        for record in (record for record in records if record.outcome in TOLD):
            console.print("\n".join(["", *carrier_lines(record)]), soft_wrap=True)
    for note in notes:
        console.print(Text(visible_lines(note), style="yellow"), soft_wrap=True)
    # Tables fill their width with spaces, and may fold a name before what makes it a command.
    lines = stream.getvalue().splitlines()
    text = "".join(f"{without_commands(line.rstrip())}\n" for line in lines)
    return screen.encodable(text)


def _below(console: Console, records: Sequence[ResultRecord], screen: Screen, more: str) -> None:
    """Say below the tables what no column has."""
    for note in earlier_notes(records):
        console.print(Text(f"note: {note}{more}"), soft_wrap=True)
    for change in sign_changes(records):
        console.print(Text(change))
    for rates in rate_lines(records):
        console.print(Text(visible(rates)))
    for line in _remarks(records, screen):
        console.print(line, soft_wrap=True)


def _verdicts(records: Sequence[ResultRecord]) -> Iterator[Text]:
    for name in TOLD:
        matches = [record for record in records if record.outcome == name]
        for message in shared(matches) if name in SHARED else _alone_or_unlike(matches):
            line = Text(f"{name.upper()} ", style=STYLES[name])
            text = f"{visible(message.where)}: {visible_lines(message.text)}"
            line.append(text, style="not bold default")
            yield line


def _alone_or_unlike(records: Iterable[ResultRecord]) -> Iterator[Shared]:
    """Yield each result by itself, but once what keeps several from being compared."""
    for is_unlike, group in groupby(records, key=_is_unlike):
        members = list(group)
        yield from shared(members) if is_unlike else map(Shared.alone, members)


def _is_unlike(record: ResultRecord) -> bool:
    """Whether a test fails only because it could not be compared."""
    return bool(record.violations) and all(
        violation.value is None for violation in record.violations
    )


def _tables(
    console: Console, records: Sequence[ResultRecord], screen: Screen, *, has_all: bool
) -> None:
    for group in group_by_model(records):
        selected = (
            group
            if has_all or len(group) <= LONG
            else [record for record in group if _is_told(record)]
        )
        console.print()
        console.print(Text(title_of(group), style="bold"), soft_wrap=True)
        for line in read_out_lines(group):
            console.print(Text(visible(line), style="dim"))
        console.print(result_table(group, screen, selected))
        if len(selected) < len(group):
            console.print(Text(_rest(group, selected), style="dim"), soft_wrap=True)
        if has_all:
            _courses(console, group, screen)
            _trials(console, group)
    if any(record.effect_judged is not None for record in records):
        glyphs = Glyphs.of(has_unicode=screen.has_unicode)
        line = legend(glyphs, map(unit_of, records))
        console.print(Text(line, style="dim"), soft_wrap=True)
    for key, rows in groupby(label_summaries(records), key=lambda summary: summary.key):
        console.print()
        console.print(label_table(key, rows, screen))
    empty = partial(empty_table, screen=screen)
    for part in count_tables(records, empty, screen.table_width):
        console.print(part)


def _courses(console: Console, group: Sequence[ResultRecord], screen: Screen) -> None:
    lines = course_lines(group, width=screen.table_width, has_unicode=screen.has_unicode)
    for index, line in enumerate(lines):
        if not index:
            console.print()
        console.print(Text(line), soft_wrap=True)


def _trials(console: Console, group: Sequence[ResultRecord]) -> None:
    for record in group:
        if (text := trials_text(record)) is not None:
            console.print(Text(visible(f"{record.test} [{record.layer}]: {text}")), soft_wrap=True)


def _is_told(record: ResultRecord) -> bool:
    return record.outcome in TOLD or bool(record.control)


def _rest(group: Sequence[ResultRecord], selected: Sequence[ResultRecord]) -> str:
    rest = [label(record) for record in group if record not in selected]
    counts = ", ".join(f"{rest.count(name)} {name}" for name in UNTOLD if name in rest)
    return f"and {counts}, which -v shows"


def _remarks(records: Sequence[ResultRecord], screen: Screen) -> Iterator[Text]:
    weak = weak_passes(records)
    if weak is not None:
        yield Text(f"note: {weak}")
    if (alone := lone_trials(records)) is not None:
        yield Text(f"note: {alone}")
    yield from (Text(f"note: {note}") for note in growth_notes(records))
    for index, transfer in enumerate(rank_correlations(records)):
        yield Text(("" if index else "\n") + _transfer(transfer, screen))
    for warning in dict.fromkeys(text for record in records for text in record.warnings):
        yield Text(f"warning: {visible_lines(warning)}", style="yellow")


def _transfer(transfer: RankCorrelation, screen: Screen) -> str:
    spec, base, model, layer = map(
        visible, (transfer.spec, transfer.base, transfer.model, transfer.layer)
    )
    return (
        f"{spec} :: {base} {screen.arrow} {model} [{layer}]: "
        f"transfer {format_effect(transfer.spearman)} "
        f"(rank correlation of {transfer.k} {transfer.of})"
    )
