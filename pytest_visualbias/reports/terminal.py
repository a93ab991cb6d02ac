"""Summarize a run in the terminal: verdicts first, then a table for each spec and model."""

from __future__ import annotations

import io
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from pytest_visualbias.errors import without_commands
from pytest_visualbias.reports.bias_counts import count_tables, label_summaries, rank_correlations
from pytest_visualbias.reports.escaping import visible, visible_lines
from pytest_visualbias.reports.formatting import (
    group_by_model,
    label,
    rate_lines,
    summarize_verdict,
    unit_of,
)
from pytest_visualbias.reports.image_examples import influential_image_lines
from pytest_visualbias.reports.sentences import (
    SharedMessage,
    group_by_message,
    read_out_lines,
    remedies,
    sign_changes,
    weak_pass_note,
)
from pytest_visualbias.reports.series_notes import (
    earlier_violation_notes,
    growth_notes,
    single_trial_note,
    training_run_lines,
    trials_text,
)
from pytest_visualbias.reports.tables import (
    STYLES,
    Glyphs,
    Screen,
    bar_legend,
    empty_table,
    label_table,
    result_table,
    table_title,
)
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from pytest_visualbias.reports.bias_counts import RankCorrelation
    from pytest_visualbias.results import ResultRecord

# Outcomes with a line for each result, worst first, and outcomes that are only counted.
DETAILED_OUTCOMES = ("fail", "invalid", "error", "inconclusive", "accepted")
COUNTED_OUTCOMES = ("pass", "reported")

# One cause, such as a checkpoint or a positive control, often gives many of these.
GROUPED_OUTCOMES = ("error", "invalid")
VERDICT_STYLES = {"passed": "bold green", "FAILED": "bold red", "INCONCLUSIVE": "bold yellow"}

# Longer tables show only detailed outcomes and controls, and count the rest.
MAX_TABLE_ROWS = 15


def render(
    records: Sequence[ResultRecord],
    notes: Sequence[str],
    screen: Screen,
    *,
    verbosity: int = 0,
    is_strict: bool = False,
    is_broken: bool = False,
) -> str:
    """Return the terminal summary of a run."""
    stream = io.StringIO()
    console = screen.console(stream)
    if records:
        verdict, count = summarize_verdict(records, is_strict=is_strict, is_broken=is_broken)
        first = Text(f"{verdict}: ", style=VERDICT_STYLES[verdict])
        console.print(first.append(count, style="not bold default"), soft_wrap=True)
    for line in _verdict_lines(records):
        console.print(line, soft_wrap=True)
    if verbosity >= 0:
        for remedy in remedies(records, shows_images=verbosity > 1):
            console.print(Text(visible(remedy), style="cyan"), soft_wrap=True)
        _print_tables(console, records, screen, has_all=verbosity > 0)
        _print_notes(console, records, screen, more="" if verbosity > 0 else ": see -v")
    if verbosity > 1:
        for record in (record for record in records if record.outcome in DETAILED_OUTCOMES):
            console.print("\n".join(["", *influential_image_lines(record)]), soft_wrap=True)
    for note in notes:
        console.print(Text(visible_lines(note), style="yellow"), soft_wrap=True)
    # Tables pad with spaces, and can wrap a name so that a line begins like a CI command.
    lines = stream.getvalue().splitlines()
    text = "".join(f"{without_commands(line.rstrip())}\n" for line in lines)
    return screen.encodable(text)


def _print_notes(
    console: Console, records: Sequence[ResultRecord], screen: Screen, more: str
) -> None:
    """Print notes that no table column holds."""
    for note in earlier_violation_notes(records):
        console.print(Text(f"note: {note}{more}"), soft_wrap=True)
    for change in sign_changes(records):
        console.print(Text(change))
    for rates in rate_lines(records):
        console.print(Text(visible(rates)))
    for line in _note_lines(records, screen):
        console.print(line, soft_wrap=True)


def _verdict_lines(records: Sequence[ResultRecord]) -> Iterator[Text]:
    for name in DETAILED_OUTCOMES:
        matches = [record for record in records if record.outcome == name]
        for message in (
            group_by_message(matches) if name in GROUPED_OUTCOMES else _group_incomparable(matches)
        ):
            line = Text(f"{name.upper()} ", style=STYLES[name])
            text = f"{visible(message.where)}: {visible_lines(message.text)}"
            line.append(text, style="not bold default")
            yield line


def _group_incomparable(records: Iterable[ResultRecord]) -> Iterator[SharedMessage]:
    """Yield each result alone, but group those that cannot be compared."""
    for is_unlike, group in groupby(records, key=_is_not_comparable):
        members = list(group)
        yield from group_by_message(members) if is_unlike else map(SharedMessage.single, members)


def _is_not_comparable(record: ResultRecord) -> bool:
    """Return whether a test fails only because it could not be compared."""
    return bool(record.violations) and all(
        violation.value is None for violation in record.violations
    )


def _print_tables(
    console: Console, records: Sequence[ResultRecord], screen: Screen, *, has_all: bool
) -> None:
    for group in group_by_model(records):
        selected = (
            group
            if has_all or len(group) <= MAX_TABLE_ROWS
            else [record for record in group if _is_detailed(record)]
        )
        console.print()
        console.print(Text(table_title(group), style="bold"), soft_wrap=True)
        for line in read_out_lines(group):
            console.print(Text(visible(line), style="dim"))
        console.print(result_table(group, screen, selected))
        if len(selected) < len(group):
            console.print(Text(_count_hidden(group, selected), style="dim"), soft_wrap=True)
        if has_all:
            _print_training_runs(console, group, screen)
            _print_trials(console, group)
    if any(record.effect_judged is not None for record in records):
        glyphs = Glyphs.for_screen(has_unicode=screen.has_unicode)
        line = bar_legend(glyphs, map(unit_of, records))
        console.print(Text(line, style="dim"), soft_wrap=True)
    for key, rows in groupby(label_summaries(records), key=lambda summary: summary.key):
        console.print()
        console.print(label_table(key, rows, screen))
    empty = partial(empty_table, screen=screen)
    for part in count_tables(records, empty, screen.table_width):
        console.print(part)


def _print_training_runs(console: Console, group: Sequence[ResultRecord], screen: Screen) -> None:
    lines = training_run_lines(group, width=screen.table_width, has_unicode=screen.has_unicode)
    for index, line in enumerate(lines):
        if not index:
            console.print()
        console.print(Text(line), soft_wrap=True)


def _print_trials(console: Console, group: Sequence[ResultRecord]) -> None:
    for record in group:
        if (text := trials_text(record)) is not None:
            console.print(Text(visible(f"{record.test} [{record.layer}]: {text}")), soft_wrap=True)


def _is_detailed(record: ResultRecord) -> bool:
    return record.outcome in DETAILED_OUTCOMES or bool(record.control)


def _count_hidden(group: Sequence[ResultRecord], selected: Sequence[ResultRecord]) -> str:
    labels = [label(record) for record in group if record not in selected]
    counts = ", ".join(
        f"{labels.count(name)} {name}" for name in COUNTED_OUTCOMES if name in labels
    )
    return f"and {counts}, which -v shows"


def _note_lines(records: Sequence[ResultRecord], screen: Screen) -> Iterator[Text]:
    weak = weak_pass_note(records)
    if weak is not None:
        yield Text(f"note: {weak}")
    if (alone := single_trial_note(records)) is not None:
        yield Text(f"note: {alone}")
    yield from (Text(f"note: {note}") for note in growth_notes(records))
    for index, transfer in enumerate(rank_correlations(records)):
        yield Text(("" if index else "\n") + _correlation_line(transfer, screen))
    for warning in dict.fromkeys(text for record in records for text in record.warnings):
        yield Text(f"warning: {visible_lines(warning)}", style="yellow")


def _correlation_line(transfer: RankCorrelation, screen: Screen) -> str:
    spec, base, model, layer = map(
        visible, (transfer.spec, transfer.base, transfer.model, transfer.layer)
    )
    return (
        f"{spec} :: {base} {screen.arrow} {model} [{layer}]: "
        f"transfer {format_effect(transfer.spearman)} "
        f"(rank correlation of {transfer.k} {transfer.of})"
    )
