"""Explain a test or its result (`visualbias explain`)."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.cli.explaining.blindness import blindness
from pytest_visualbias.cli.explaining.judgement import judgement
from pytest_visualbias.cli.explaining.meaning import numbers, question
from pytest_visualbias.cli.explaining.result import result_paragraphs, results_of
from pytest_visualbias.cli.explaining.subject import node_of, subjects
from pytest_visualbias.embeddings.cache_location import place_of as cache_place
from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.evaluation.baseline.file import default_path
from pytest_visualbias.reports.document import read_report
from pytest_visualbias.reports.tables import terminal_width
from pytest_visualbias.spec.parser import read_spec
from pytest_visualbias.spec.urls import to_path
from pytest_visualbias.stimuli.remote.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.cli.explaining.subject import Node, Subject
    from pytest_visualbias.results import Report
    from pytest_visualbias.spec.parser import SpecFile

OK, USAGE = 0, 2
WIDEST = 100
NARROWEST = 20
EXAMPLES = """examples:
  visualbias explain 'bias_specs/gender.bias.yaml::after::gender-career[pooled]'
  visualbias explain bias_specs/gender.bias.yaml gender-career
  visualbias explain bias_specs/gender.bias.yaml gender-career --report report.json

The exit code is 1 where the spec is faulty, 2 for a wrong call and a report that cannot be used.
"""


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "node", metavar="NODE", help="an id as pytest shows it, or a spec: all of its tests"
    )
    parser.add_argument("test", nargs="?", metavar="TEST", help="a test of the spec")
    parser.add_argument(
        "--report", type=to_path, metavar="RUN.json", help="say what came out in this run, too"
    )
    parser.add_argument("--stimuli", type=to_path, help="root of relative stimulus paths")
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    try:
        node = node_of(options.node, options.test)
        mirror = Mirror(folder=cache_place(None))
        explained = subjects(_file(node), node, stimuli=options.stimuli, mirror=mirror)
        report = read_report(options.report) if options.report is not None else None
        texts = ["\n".join(_lines(node, subject, report)) for subject in explained]
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return USAGE
    print("\n\n".join(texts))
    return OK


def _file(node: Node) -> SpecFile:
    path = Path(node.spec)
    if not path.is_file():
        raise UsageError(f"there is no spec {node.spec}", "correct the path")
    return read_spec(path, file=node.spec, has_baseline=default_path(path).is_file())


def _lines(node: Node, subject: Subject, report: Report | None) -> Iterator[str]:
    test = subject.test
    line = subject.file.test_line(test.name)
    yield printable(f"{test.name} ({test.kind}), {subject.file.file}:{line}")
    yield from _part("What it asks", question(subject))
    yield from _part("What its numbers mean", numbers(subject))
    yield from _part("What it is judged by", judgement(subject))
    yield from _part("What it cannot see", blindness(subject))
    if report is not None:
        for row in results_of(report, node, subject):
            yield from _part("What came out", result_paragraphs(row))


def _part(title: str, paragraphs: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    for paragraph in paragraphs:
        yield from textwrap.wrap(
            paragraph,
            max(NARROWEST, min(WIDEST, terminal_width())),
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
