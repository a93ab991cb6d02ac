"""List the shipped suites, or describe one (`visualbias suites`)."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.spec.effective_settings import layer_points
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.suites import find_suite, read_suite, suite_names
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.stimuli.manifest import read_manifest
from pytest_visualbias.stimuli.resolve import concept_files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.spec.suites import StimulusRoot, SuiteFile
    from pytest_visualbias.spec.test_kinds import BiasTest

OK, USAGE = 0, 2
WIDTH = 100


def add_suites(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a suite, or a *.suite.yaml: say all of it"
    )
    parser.set_defaults(run=_suites)


def _suites(options: argparse.Namespace) -> int:
    names = (options.name,) if options.name else suite_names()
    for name in names:
        source = find_suite(name, folder=Path(), shown_in="")
        if source is None:
            print(
                f"there is no suite '{name}'; {did_you_mean(name, suite_names())}", file=sys.stderr
            )
            return USAGE
        suite = read_suite(source[0], file=source[1])
        lines = _detail_lines(suite) if options.name else _summary_lines(suite)
        print("\n".join([*lines, ""] if name != names[-1] else lines))
    return OK


def _summary_lines(file: SuiteFile) -> Iterator[str]:
    suite = file.suite
    files = sum(len(read_manifest(root.suite)) for root in {*file.homes.values()})
    images = f", {files} images" if files else ""
    yield f"{file.name}: {suite.title}"
    yield f"  {len(suite.tests)} tests, {len(suite.concepts)} sets{images}"
    counts = Counter(tag for test in suite.tests for tag in test.tags)
    yield from _wrapped("tags", ", ".join(f"{tag} ({count})" for tag, count in counts.items()))
    yield from _wrapped("stimuli", _locations(file))
    yield from _wrapped("licence", suite.licence)
    yield from _wrapped("citation", suite.citation)


def _detail_lines(file: SuiteFile) -> Iterator[str]:
    suite, sizes = file.suite, _sizes(file)
    yield f"{file.name}: {suite.title}"
    for key in ("citation", "source", "licence"):
        yield from _wrapped(key, getattr(suite, key))
    yield from _wrapped("stimuli", _locations(file))
    layers = [point.name for point in layer_points(suite.layers or (), {})]
    yield from _wrapped("layers", ", ".join(layers) or "pooled, unless the spec has others")
    yield from _wrapped("duplicates", ", ".join(suite.known_duplicates))
    yield "tags"
    yield from (f"  {tag}: {meaning}" for tag, meaning in suite.tags.items())
    yield "tests"
    for test in suite.tests:
        yield from _test(test, sizes)


def _locations(file: SuiteFile) -> str:
    return "; ".join(map(_location, dict.fromkeys(file.homes.values())))


def _location(root: StimulusRoot) -> str:
    entries = read_manifest(root.suite) if root.can_be_fetched else ()
    present = sum((root.folder / entry.path).is_file() for entry in entries)
    if present:
        state = f"{present} of {len(entries)} are there"
    elif entries:
        state = f"not there; visualbias fetch {root.suite}"
    else:
        state = "there" if root.folder.is_dir() else "not there"
    return f"{root.folder} ({state})"


def _test(test: BiasTest, sizes: dict[str, int]) -> Iterator[str]:
    control = ", a positive control" if test.control is not None else ""
    yield f"  {test.name} ({test.kind}{control}; {', '.join(test.tags)})"
    if test.about:
        yield from textwrap.wrap(test.about, WIDTH, initial_indent="    ", subsequent_indent="    ")
    roles = concepts_of(test).items()
    yield "    " + ", ".join(f"{role} {name}{_size_text(sizes.get(name))}" for role, name in roles)


def _size_text(size: int | None) -> str:
    return "" if size is None else f" ({size})"


def _sizes(file: SuiteFile) -> dict[str, int]:
    """Return the known number of images of each concept."""
    homes = {root.suite for root in file.homes.values() if root.can_be_fetched}
    counts = {suite: Counter(entry.folder for entry in read_manifest(suite)) for suite in homes}
    sizes: dict[str, int] = {}
    for name, concept in file.suite.concepts.items():
        if isinstance(concept, ConceptWords):
            sizes[name] = len(concept.text)
            continue
        chosen, listed = concept_files(concept), counts.get(file.homes[name].suite, Counter())
        if chosen.files is not None:
            sizes[name] = len(chosen.files)
        elif chosen.pattern is None and (count := listed[os.path.normpath(chosen.path)]):
            sizes[name] = count
    return sizes


def _wrapped(key: str, text: str) -> Iterable[str]:
    """Return a key and its text as wrapped lines; empty without text."""
    if not text:
        return []
    return textwrap.wrap(
        f"{key}: {text}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
