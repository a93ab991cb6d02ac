"""The console script's word on reports: one as other files, and two beside each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.reports.files import FORMATS, STANDARD_OUTPUT, Look, write
from pytest_visualbias.reports.reading import read_report
from pytest_visualbias.reports.screen import has_colour, has_unicode, width

if TYPE_CHECKING:
    import argparse

    from pytest_visualbias.record import Report

__all__ = ["add_report"]

OK, USAGE = 0, 2


def add_report(parser: argparse.ArgumentParser) -> None:
    """Declare what a report can become."""
    parser.add_argument(
        "report", type=Path, metavar="RUN.json", help="what --visualbias-json wrote"
    )
    for name, kind in FORMATS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            type=Path,
            metavar="FILE",
            help=f"write {kind.what}" + ("; - is standard output" if kind.is_stream else ""),
        )
    parser.add_argument("--title", help="what to call it")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    report = _titled(read_report(options.report), options.title)
    targets = {name: path for name in FORMATS if (path := getattr(options, name)) is not None}
    streams = [name for name, path in targets.items() if str(path) == STANDARD_OUTPUT]
    if len(streams) > 1 or any(not FORMATS[name].is_stream for name in streams):
        print("only one report can go to standard output, as text; name files", file=sys.stderr)
        return USAGE
    for name, path in targets.items():
        write(name, report, path, Look())
    if not targets:
        print(_on_screen(report), end="")
    return OK


def _titled(report: Report, title: str | None) -> Report:
    if title is None:
        return report
    return report.model_copy(update={"summary": {**report.summary, "title": title}})


def _on_screen(report: Report) -> str:
    from pytest_visualbias.reports.terminal import Screen, render

    screen = Screen(
        width=width(), has_colour=has_colour(sys.stdout), has_unicode=has_unicode(sys.stdout)
    )
    notes = [str(one) for one in report.summary.get("collection_errors", [])]
    return render(report.results, notes, screen, verbosity=1)
