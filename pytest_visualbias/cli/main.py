"""Parse the command line and run a subcommand."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias import __version__
from pytest_visualbias.cli.cache import add_actions
from pytest_visualbias.cli.check import add_check
from pytest_visualbias.cli.embed import add_embed
from pytest_visualbias.cli.explain import add_explain
from pytest_visualbias.cli.fetch import add_fetch
from pytest_visualbias.cli.init import add_init
from pytest_visualbias.cli.probe import add_probe
from pytest_visualbias.cli.report import add_comparison, add_report
from pytest_visualbias.cli.suggest import add_suggest
from pytest_visualbias.cli.suites import add_suites
from pytest_visualbias.embeddings.cache_maintenance import find_cache
from pytest_visualbias.errors import ReportError, UsageError, VisualBiasError
from pytest_visualbias.evaluation.baseline_file import default_path
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.reports.document import report_schema
from pytest_visualbias.spec.model_entries import EmbeddingsModel
from pytest_visualbias.spec.parser import read_spec
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EPILOGS: Mapping[str, str] = {
    "check": """examples:
  visualbias check bias_specs/*.bias.yaml
  visualbias check --strict --stimuli /data/stimuli bias_specs/gender.bias.yaml

The exit code is 1 where anything is wrong with any of them.
""",
    "layers": """example:
  visualbias layers bias_specs/gender.bias.yaml after

The exit code is 1 where the model cannot be loaded, 2 where the spec has no such model.
""",
    "suites": """examples:
  visualbias suites
  visualbias suites ieat

The exit code is 1 where a suite of yours is faulty, 2 for an unknown one.
""",
    "fetch": """examples:
  visualbias fetch ieat --dry-run
  visualbias fetch ieat --accept-licence --only gender
  VISUALBIAS_DATA=/data/bias visualbias fetch ieat

The exit code is 1 where something is missing or is not what was published, 2 for a wrong call and
a licence that is not accepted, 130 where it was interrupted: the same command goes on from there.
""",
    "schema": """examples:
  visualbias schema > bias_specs/bias.schema.json
  visualbias schema --report > report.schema.json

With '# yaml-language-server: $schema=bias.schema.json' as its first line, editors complete a spec.
""",
    "report": """examples:
  visualbias report report.json
  visualbias report report.json --md report.md --csv report.csv
  visualbias report report.json --md - | less

The exit code is 2 for a wrong call, a report that cannot be used and a file that cannot be written.
""",
    "compare": """examples:
  visualbias compare main.json branch.json
  visualbias compare main.json branch.json --tolerance 0.05 --json

The exit code is 1 where the second report is worse, 2 for one that cannot be used.
""",
    "embed": """examples:
  visualbias embed bias_specs/*.bias.yaml --cache /shared/embeddings
  visualbias embed bias_specs/gender.bias.yaml --model after --device cuda
  visualbias embed bias_specs/*.bias.yaml --engine ray --address 10.0.0.7:6379 --gpus-per-task 0.5

Embeddings that are there already are not made again, so a call that was cut off goes on where it
was, and several may run at once. The gate is then a run of pytest with the same cache. The exit
code is 1 where a spec is faulty, or a model or an image cannot be embedded.
""",
    "probe": """examples:
  visualbias probe bias_specs/gender.bias.yaml --data data/val
  visualbias probe bias_specs/gender.bias.yaml --data data/val --model after --json accuracy.json

The exit code is 1 where something cannot be measured.
""",
    "cache": """examples:
  visualbias cache info
  visualbias cache prune --max-size 2GB
  visualbias cache prune --older-than 30d --cache /data/cache

The exit code is 1 where there is no cache, or some of it cannot be removed, 2 for a wrong call.
""",
}


def add_examples(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Add examples to the help of each command that has none."""
    for name, parser in commands.items():
        if parser.epilog is None and name in EPILOGS:
            parser.epilog = EPILOGS[name]
            parser.formatter_class = argparse.RawDescriptionHelpFormatter


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
    """Run the console script; return its exit code."""
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
    # A judging command whose output was lost must not succeed.
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
        # Buffered output would fail again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # of a path that no check of ours foresaw, or of a full disk
        print(UsageError.of_path(error), file=sys.stderr)
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
    mirror = Mirror(folder=find_cache(None))
    context = Context(folder=file.folder, project=Path.cwd(), device="cpu", mirror=mirror)
    source = find_source(entry.source)
    identity = source.identify(entry, context)[0]
    print("\n".join(source.open(entry, identity, context).layers()))
    return OK


def _schema(options: argparse.Namespace) -> int:
    schema = report_schema() if options.report else BiasSpec.model_json_schema()
    print(json.dumps(schema, indent=2))
    return OK
