"""Convert a report to other formats, and compare two (`visualbias report`, `compare`)."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import json_without_commands
from pytest_visualbias.evaluation.baseline_file import TOLERANCE
from pytest_visualbias.reports.comparison import check_outcomes, compare
from pytest_visualbias.reports.document import read_report
from pytest_visualbias.reports.files import (
    FORMATS,
    STANDARD_OUTPUT,
    RenderOptions,
    find_path_problem,
    resolve_links,
    write,
)
from pytest_visualbias.reports.formatting import collection_errors, was_broken, was_strict
from pytest_visualbias.reports.tables import has_colour, has_unicode, terminal_width
from pytest_visualbias.spec.urls import is_url, to_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.reports.comparison import Comparison
    from pytest_visualbias.reports.tables import Screen
    from pytest_visualbias.results import Report
    from pytest_visualbias.spec.urls import Url

OK, WORSE, USAGE = 0, 1, 2


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `visualbias report` to its parser."""
    parser.add_argument(
        "report",
        nargs="+",
        type=to_path,
        metavar="RUN.json",
        help="what --visualbias-json wrote; several for --plots",
    )
    for name, kind in FORMATS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            type=to_path,
            metavar="FILE",
            help=f"write {kind.title}" + ("; - is standard output" if kind.is_stream else ""),
        )
    parser.add_argument("--title", help="what to call it")
    parser.add_argument(
        "--no-thumbnails", action="store_true", help="show no stimuli in a page of HTML"
    )
    parser.add_argument(
        "--plots",
        type=_folder,
        metavar="DIR",
        help="write figures, as SVG, PDF and PNG",
    )
    parser.add_argument(
        "--accuracy", type=Path, metavar="FILE", help="what `visualbias probe --json` wrote"
    )
    parser.set_defaults(run=_report)


def _folder(text: str) -> Path:
    if is_url(text):
        raise argparse.ArgumentTypeError("figures go to a folder of this machine; name one")
    return Path(text)


def add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add the options of `visualbias compare` to its parser."""
    parser.add_argument("old", type=to_path, metavar="A.json", help="the report of the earlier run")
    parser.add_argument("new", type=to_path, metavar="B.json", help="that of the later one")
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=TOLERANCE,
        metavar="D",
        help=f"how far |effect| may rise and count as the same (default: {TOLERANCE:g})",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.add_argument("--all", action="store_true", help="show what is the same, too")
    parser.set_defaults(run=_compare, judges=True)


def _tolerance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 0 or more; give one")
    return number


def _compare(options: argparse.Namespace) -> int:
    old, new = read_report(options.old), read_report(options.new)
    check_outcomes(old)
    check_outcomes(new)
    comparison = compare(old, new, options.tolerance)
    # A closed pipe does not change the exit code.
    with contextlib.suppress(BrokenPipeError):
        print(_format_comparison(comparison, options), end="")
    if not comparison.changes:
        return USAGE  # nothing was compared, so nothing is known to be no worse
    return WORSE if comparison.is_worse else OK


def _format_comparison(comparison: Comparison, options: argparse.Namespace) -> str:
    if options.json:
        text = json.dumps(comparison.plain(), indent=1, ensure_ascii=False, allow_nan=False)
        return f"{json_without_commands(text)}\n"
    from pytest_visualbias.reports.comparison import render_comparison

    return render_comparison(comparison, _screen(), shows_all=options.all)


def _report(options: argparse.Namespace) -> int:
    reports = [_with_title(read_report(path), options.title) for path in options.report]
    targets = {name: path for name in FORMATS if (path := getattr(options, name)) is not None}
    streams = [name for name, path in targets.items() if str(path) == STANDARD_OUTPUT]
    if len(streams) > 1 or any(not FORMATS[name].is_stream for name in streams):
        print("only one report can go to standard output, as text; name files", file=sys.stderr)
        return USAGE
    if len(reports) > 1 and (targets or options.plots is None):
        print("several reports become figures only; add --plots DIR", file=sys.stderr)
        return USAGE
    if options.accuracy is not None and options.plots is None:
        print("--accuracy is for a figure; add --plots DIR", file=sys.stderr)
        return USAGE
    if (problem := _path_problem(targets, options.report)) is not None:
        print(problem, file=sys.stderr)
        return USAGE
    for name, path in targets.items():
        write(name, reports[0], path, RenderOptions(thumbnails=not options.no_thumbnails))
    if options.plots is not None:
        paths = _plots(reports, options.plots, options.accuracy)
        for path in paths:
            print(path)
        if not paths:
            problem = "no figure can be drawn: nothing was measured; `visualbias report` says why"
            print(problem, file=sys.stderr)
    elif not targets:
        print(_render_terminal(reports[0]), end="")
    return OK


def _path_problem(targets: Mapping[str, Path | Url], inputs: Sequence[Path | Url]) -> str | None:
    """Return why a report must not be written to one of the paths; None if all may be."""
    places = {resolve_links(path) for path in inputs}
    for name, path in targets.items():
        problem = find_path_problem(name, path)
        if resolve_links(path) in places:
            problem = f"{path} is the report that is read; name another file"
        if problem is not None:
            return f"--{name.replace('_', '-')}: {problem}"
    return None


def _plots(reports: Sequence[Report], folder: Path, accuracy: Path | None) -> list[Path]:
    from pytest_visualbias.reports.document import read_accuracies
    from pytest_visualbias.reports.figures.writing import write as draw

    accuracies = [] if accuracy is None else read_accuracies(accuracy)
    return draw(reports, folder, accuracies=accuracies)


def _with_title(report: Report, title: str | None) -> Report:
    if title is None:
        return report
    return report.model_copy(update={"summary": {**report.summary, "title": title}})


def _render_terminal(report: Report) -> str:
    from pytest_visualbias.reports.terminal import render

    return render(
        report.results,
        collection_errors(report),
        _screen(),
        verbosity=1,
        is_strict=was_strict(report),
        is_broken=was_broken(report),
    )


def _screen() -> Screen:
    from pytest_visualbias.reports.tables import Screen

    return Screen(
        width=terminal_width(),
        has_colour=has_colour(sys.stdout),
        has_unicode=has_unicode(sys.stdout),
    )
