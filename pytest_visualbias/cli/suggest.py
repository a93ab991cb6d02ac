"""Suggest limits that a measured model supports (`visualbias suggest`)."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pytest_visualbias.cli.cache import add_cache_option, open_cache, open_digest_cache
from pytest_visualbias.cli.limit_measurements import chosen_model, measure
from pytest_visualbias.cli.limit_proposals import suggestions
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings
from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.urls import to_path
from pytest_visualbias.statistics.power import images_for_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_visualbias.cli.limit_measurements import Basis, SuggestionBasis
    from pytest_visualbias.cli.limit_proposals import Suggestion
    from pytest_visualbias.evaluation.model_embedder import LoadedSpec

OK, FAULTY, USAGE, REMOVED = 0, 1, 2, 4
HEAD = ("test", "effect", "interval", "untrained", "detectable", "proposed")
NOTHING = "-"
PLAIN = re.compile(r"[A-Za-z_][\w.-]*")
SEEDS = 3
MOST_SEEDS = 100
BATCH_SIZE = 32
EVERY = 5.0
EXAMPLES = """examples:
  visualbias suggest bias_specs/gender.bias.yaml
  visualbias suggest bias_specs/gender.bias.yaml --model after --seeds 10

docs/limits.md says how limits are derived. The exit code is 1 if the spec is faulty or no model can
be measured, and 2 for a wrong call.
"""


def add_suggest(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("spec", type=Path, metavar="SPEC")
    parser.add_argument(
        "--model", metavar="NAME", help="derive limits from this model (default: before)"
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=SEEDS,
        metavar="N",
        help=f"untrained networks of its architecture to compare with; 0 for none ({SEEDS})",
    )
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)  # removed
    parser.add_argument("--stimuli", type=to_path, help="root of relative stimulus paths")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    add_cache_option(parser)
    parser.set_defaults(run=_suggest)


def _seeds(text: str) -> int:
    if not (text.isdecimal() and int(text) <= MOST_SEEDS):
        raise argparse.ArgumentTypeError(f"'{text}' is not from 0 to {MOST_SEEDS}; give that")
    return int(text)


def _suggest(options: argparse.Namespace) -> int:
    if options.write:
        print("--write is removed: 'suggest' prints the lines to paste", file=sys.stderr)
        return REMOVED
    try:
        return _suggest_limits(options)
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return USAGE


def _suggest_limits(options: argparse.Namespace) -> int:
    if not options.spec.is_file():
        raise UsageError(f"there is no spec {options.spec}", "correct the path")
    digests = open_digest_cache(options.cache, rehash=False)
    session = EvaluationRun(
        settings=RunSettings(project=Path.cwd(), stimuli=options.stimuli, device=options.device),
        resources=Resources(
            cache=open_cache(options.cache), batch_size=BATCH_SIZE, progress=_progress()
        ),
        digest=digests.of,
    )
    loaded = session.load(options.spec.absolute(), str(options.spec))
    model = chosen_model(loaded.file.spec, options.model)
    measured = measure(session, loaded, model, seeds=options.seeds)
    digests.save()
    proposed = suggestions(loaded.file.spec, measured)
    _show(loaded, measured, proposed)
    is_unmeasured = all(basis.problem for suggestion in proposed for basis in suggestion.bases)
    return FAULTY if is_unmeasured else OK


def _show(loaded: LoadedSpec, measured: SuggestionBasis, proposed: tuple[Suggestion, ...]) -> None:
    print(printable(f"{loaded.file.file}: what '{measured.model}' supports"))
    for note in measured.notes:
        print(printable(note))
    print("\n".join(["", *table_lines(proposed), "", *yaml_lines(proposed), ""]))
    if any(suggestion.limits for suggestion in proposed):
        print(printable(f"paste these keys into the tests of {loaded.file.file}"))
    else:
        print("no limits are proposed")


def _progress() -> Callable[[str, int, int], None]:
    """Return a callback that prints the progress of embedding now and then."""
    start = time.monotonic()
    last = [start]

    def tell(model: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= EVERY:
            last[0] = now
            print(f"{printable(model)}: {done} of {total} images embedded", file=sys.stderr)

    return tell


def table_lines(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    """Yield the lines of a table with a row for each test and layer."""
    rows = [HEAD, *(row for suggestion in suggestions for row in _rows(suggestion))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _rows(suggestion: Suggestion) -> Iterator[tuple[str, ...]]:
    limits = ", ".join(f"{key} {limit.value:.2f}" for key, limit in suggestion.limits.items())
    detectable = suggestion.detectable or (None,) * len(suggestion.bases)
    for basis, least in zip(suggestion.bases, detectable, strict=True):
        name = f"{suggestion.test}[{basis.layer}]" if len(suggestion.bases) > 1 else suggestion.test
        smallest = NOTHING if least is None else f"{least:.2f}"
        yield (printable(name), *_numbers(basis), smallest, limits or "none")


def _numbers(basis: Basis) -> tuple[str, str, str]:
    if basis.problem:
        return NOTHING, NOTHING, NOTHING
    interval = f"{format_effect(basis.low)} to {format_effect(basis.high)}"
    if not basis.untrained:
        return format_effect(basis.effect), interval, NOTHING
    low, high = format_effect(min(basis.untrained)), format_effect(max(basis.untrained))
    untrained = low if low == high else f"{low} to {high}"
    return format_effect(basis.effect), interval, untrained


def yaml_lines(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    """Yield the suggestions as YAML, each key with its reason as a comment."""
    yield "tests:"
    for suggestion in suggestions:
        yield f"  - name: {_quoted(suggestion.test)}"
        for text in (*suggestion.refusals, *suggestion.notes):
            yield f"    # {printable(text)}"
        if suggestion.limits:
            yield "    limits:"
        for key, limit in suggestion.limits.items():
            yield f"      {key}: {limit.value:.2f}    # {printable(limit.reason)}"
            if key == "max_effect" and len(suggestion.bases[0].sides) > 1:
                # The level without correction.
                needed = images_for_limit(
                    limit.value, suggestion.bases[0].level * suggestion.bases[0].count
                )
                yield f"      # about {needed} images a set show an absent effect to be within it"
        if suggestion.evidence is not None:
            yield f"    evidence: {suggestion.evidence}    # this kind has no p"


def _quoted(name: str) -> str:
    """Return a name as YAML."""
    is_plain = PLAIN.fullmatch(name) and yaml.safe_load(name) == name
    return name if is_plain else json.dumps(name, ensure_ascii=not name.isprintable())
