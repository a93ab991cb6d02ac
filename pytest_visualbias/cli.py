"""The console script: what can be asked about specs and models without running pytest."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias import __version__
from pytest_visualbias.baseline.files import default_path
from pytest_visualbias.cli_cache import add_actions, place_of
from pytest_visualbias.cli_check import add_check
from pytest_visualbias.cli_embed import add_embed
from pytest_visualbias.cli_examples import add_examples
from pytest_visualbias.cli_explain import add_explain
from pytest_visualbias.cli_fetch import add_fetch
from pytest_visualbias.cli_init import add_init
from pytest_visualbias.cli_probe import add_probe
from pytest_visualbias.cli_reports import add_comparison, add_report
from pytest_visualbias.cli_suggest import add_suggest
from pytest_visualbias.cli_suites import add_suites
from pytest_visualbias.errors import ReportError, UsageError, VisualBiasError, path_sentence
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.reports.schema import report_schema
from pytest_visualbias.spec.parsing import read_spec
from pytest_visualbias.spec.schema import BiasSpec, EmbeddingsModel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

OK, FAULTY, USAGE, STOPPED = 0, 1, 2, 130
EXAMPLES = """examples:
  visualbias init
  visualbias check bias_specs/gender.bias.yaml
  visualbias explain bias_specs/gender.bias.yaml gender-career
  visualbias suggest bias_specs/gender.bias.yaml
  visualbias layers bias_specs/gender.bias.yaml after
  visualbias suites ieat
  visualbias fetch ieat --dry-run
  visualbias schema > bias.schema.json
  visualbias report report.json --md report.md
  visualbias compare last.json report.json
  visualbias cache prune --max-size 2GB
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script.

    Returns
    -------
    int
        0 where all is well, 1 where a spec or a model is not, 2 for a wrong call or a report
        that cannot be used; 130 where it was stopped.
    """
    parser = _parser()
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        options = parser.parse_args(given)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    # Of what judges, an answer that could not be told is no good one.
    status = FAULTY if getattr(options, "judges", False) else OK
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except VisualBiasError as error:
        print(error, file=sys.stderr)
        return USAGE if isinstance(error, ReportError) else FAULTY
    except KeyboardInterrupt:
        print(
            "stopped; what is finished is kept, and the same call goes on from there",
            file=sys.stderr,
        )
        return STOPPED
    except BrokenPipeError:  # the reader of the pipe has seen enough
        # What is still buffered would fail again when the interpreter flushes it on leaving.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # of a path that no check of ours foresaw, or of a full disk
        print(path_sentence(error), file=sys.stderr)
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULTY
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="visualbias",
        description="About specs and models; the gate itself is pytest --visualbias.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pytest-visualbias {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_init(
        commands.add_parser("init", help="write a first spec and a workflow, by what is there")
    )
    add_check(
        commands.add_parser(
            "check",
            help="validate specs, decode their stimuli, look into checkpoints; load no model",
        )
    )
    add_explain(commands.add_parser("explain", help="say a test, or its result, in words"))
    layers = commands.add_parser("layers", help="list where embeddings of a model can be read")
    layers.add_argument("spec", type=Path, metavar="SPEC")
    layers.add_argument("model", metavar="MODEL", help="a model of the spec")
    layers.set_defaults(run=_layers)
    add_suggest(
        commands.add_parser("suggest", help="propose limits that the model before supports")
    )
    add_suites(commands.add_parser("suites", help="list the suites that ship, or what one holds"))
    add_fetch(commands.add_parser("fetch", help="bring the images of a suite, verified"))
    schema = commands.add_parser("schema", help="print the JSON Schema of specs, or of reports")
    schema.add_argument("--report", action="store_true", help="of the JSON report")
    schema.set_defaults(run=_schema)
    add_report(commands.add_parser("report", help="show a JSON report, or write it as other files"))
    add_comparison(commands.add_parser("compare", help="say what changed between two JSON reports"))
    add_probe(
        commands.add_parser("probe", help="how accurately embeddings tell labelled images apart")
    )
    add_embed(commands.add_parser("embed", help="fill the cache, so that the gate loads no model"))
    add_actions(commands.add_parser("cache", help="what the cache holds, and pruning it"))
    add_examples(commands.choices)
    return parser


def _layers(options: argparse.Namespace) -> int:
    recorded = default_path(options.spec).is_file()
    file = read_spec(options.spec, file=str(options.spec), has_baseline=recorded)
    if options.model not in file.spec.models:
        names = ", ".join(file.spec.models)
        print(f"{options.spec} has no model '{options.model}'; known: {names}", file=sys.stderr)
        return USAGE
    entry = file.spec.models[options.model]
    if isinstance(entry, EmbeddingsModel):
        print("stored vectors have no layers; '{layer}' in their prefix names what is stored")
        return OK
    mirror = Mirror(folder=place_of(None))
    context = Context(folder=file.folder, project=Path.cwd(), device="cpu", mirror=mirror)
    source = find_source(entry.source)
    identity = source.identify(entry, context)[0]
    print("\n".join(source.open(entry, identity, context).layers()))
    return OK


def _schema(options: argparse.Namespace) -> int:
    found = report_schema() if options.report else BiasSpec.model_json_schema()
    print(json.dumps(found, indent=2))
    return OK
