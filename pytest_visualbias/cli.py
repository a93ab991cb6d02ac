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
from pytest_visualbias.cli_cache import add_actions, add_place, place_of, remembered
from pytest_visualbias.cli_embed import add_embed
from pytest_visualbias.cli_examples import add_examples
from pytest_visualbias.cli_explain import add_explain
from pytest_visualbias.cli_fetch import add_fetch
from pytest_visualbias.cli_init import add_init
from pytest_visualbias.cli_probe import add_probe
from pytest_visualbias.cli_reports import add_comparison, add_report
from pytest_visualbias.cli_suggest import add_suggest
from pytest_visualbias.cli_suites import add_suites
from pytest_visualbias.embeddings.decoding import decode
from pytest_visualbias.errors import (
    EncoderError,
    ReportError,
    StimulusError,
    UsageError,
    VisualBiasError,
)
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.models.headers import flaws_of
from pytest_visualbias.pipeline.embedding import placed
from pytest_visualbias.pipeline.preflight import preflight
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.remote.urls import place
from pytest_visualbias.reports.schema import report_schema
from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.parsing import read_spec
from pytest_visualbias.spec.schema import BiasSpec, EmbeddingsModel
from pytest_visualbias.spec.series import axis_of, gates_all
from pytest_visualbias.spec.shortening import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_visualbias.pipeline.preflight import Preflight
    from pytest_visualbias.spec.parsing import SpecFile

__all__ = ["main"]

SPEC_SUFFIXES = (".bias.yaml", ".bias.yml")
OK, FAULTY, USAGE, STOPPED = 0, 1, 2, 130
MOST_STEPS = 12
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
    check = commands.add_parser(
        "check", help="validate specs, decode their stimuli, look into checkpoints; load no model"
    )
    check.add_argument("specs", nargs="+", type=Path, metavar="SPEC")
    check.add_argument("--stimuli", type=place, help="root of relative stimulus paths")
    check.add_argument("--strict", action="store_true", help="warnings that say so are faults")
    check.add_argument("--rehash", action="store_true", help="trust no digest that is kept")
    add_place(check)
    check.set_defaults(run=_check, judges=True)
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


def _check(options: argparse.Namespace) -> int:
    digests = remembered(options.cache, rehash=options.rehash)
    sound = [_is_sound(path, options, digests.of) for path in options.specs]
    digests.save()
    return OK if all(sound) else FAULTY


def _is_sound(path: Path, options: argparse.Namespace, digest: Callable[[Path], str]) -> bool:
    """Print what is wrong with a spec; return whether nothing is."""
    if path.suffix not in (".yaml", ".yml"):
        print(f"{path}: is no bias spec by its name (*{SPEC_SUFFIXES[0]}); name one")
        return False
    try:
        file = read_spec(path, file=str(path), has_baseline=default_path(path).is_file())
        mirror = Mirror(folder=place_of(options.cache))
        found = preflight(
            file, stimuli=options.stimuli, strict=options.strict, digest=digest, mirror=mirror
        )
    except VisualBiasError as error:
        print(error)
        return False
    problems = {text for sets in found.models.values() for text in sets.problems.values()}
    unknown, runs = _identified(file, digest, mirror)
    problems |= {*_misnamed(path), *_undecodable(found), *unknown}
    for text in sorted(shortened(one, file.folder, Path.cwd()) for one in problems):
        print(text)
    for text in sorted({text for group in found.warnings.values() for text in group}):
        print(f"warning: {text}")
    for line in (*_facts(file, found), *runs):
        print(line)
    models, tests = len(file.spec.models), len(file.spec.tests)
    counts = f"{counted(tests, 'test')}, {counted(models, 'model')}"
    print(f"{path}: {'faulty' if problems else 'ok'} ({counts})")
    return not problems


def _facts(file: SpecFile, found: Preflight) -> Iterator[str]:
    """Yield what a person should see before trusting a gate: how large sets are, and a control."""
    for noun in ("image", "word"):
        sizes: dict[str, set[int]] = {}
        for one in found.models.values():
            for concept, stimuli in one.sets.items():
                if stimuli.noun == noun:
                    sizes.setdefault(concept, set()).add(len(stimuli))
        told = (f"{name} {'/'.join(map(str, sorted(counts)))}" for name, counts in sizes.items())
        if sizes:
            yield printable(f"{noun}s: {', '.join(told)}")
    # A classifier that says the same of every image is caught without one.
    tests = [test for test in file.spec.tests if test.prediction is None]
    if tests and not any(test.is_positive for test in tests):
        yield (
            "note: no test is a positive control, so a model that sees nothing of these images "
            "passes; add one with 'control: positive'"
        )


def counted(count: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _misnamed(path: Path) -> Iterator[str]:
    if not path.name.endswith(SPEC_SUFFIXES):
        yield f"{path}: pytest will not collect it; name it *{SPEC_SUFFIXES[0]}"


def _undecodable(found: Preflight) -> Iterator[str]:
    images = {
        stimulus.path
        for sets in found.models.values()
        for stimuli in sets.sets.values()
        for stimulus in stimuli.stimuli
        if stimulus.path is not None
    }
    for path in sorted(images):
        try:
            decode(path)
        except StimulusError as error:
            yield str(error)


def _identified(
    file: SpecFile, digest: Callable[[Path], str], mirror: Mirror
) -> tuple[list[str], list[str]]:
    """Return what is missing of models, as far as it shows without loading one, and their runs."""
    missing: list[str] = []
    runs: list[str] = []
    context = Context(folder=file.folder, project=Path.cwd(), digest=digest, mirror=mirror)
    for name, entry in file.spec.models.items():
        if isinstance(entry, EmbeddingsModel):
            continue
        try:
            found = find_source(entry.source).identify(entry, context)
        except EncoderError as error:
            missing.append(_of_model(file, name, error))
            continue
        flaws = (EncoderError(flaw) for flaw in flaws_of(entry, found))
        missing += [_of_model(file, name, placed(flaw, entry, found)) for flaw in flaws]
        if (axis := axis_of(entry)) is not None:
            shown = [one.step for one in found]
            if len(shown) > MOST_STEPS:
                shown = [*shown[:3], f"... {shown[-1]} ({len(shown)} checkpoints)"]
            steps = ", ".join(shown)
            judged = "all of them are judged" if gates_all(entry) else "the last one is judged"
            runs.append(printable(f"{name}: {axis} {steps}; {judged}"))
    return missing, runs


def _of_model(file: SpecFile, model: str, error: EncoderError) -> str:
    """Return what is wrong with a model, at its line, or at that of the key that it is about."""
    path = ("models", model, error.key) if error.key else ("models", model)
    return file.sentence(path, str(error))


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
