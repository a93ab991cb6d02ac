"""Validate specs without loading a model (`visualbias check`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.cli.cache import add_cache_option, open_digest_cache
from pytest_visualbias.embeddings.cache_maintenance import find_cache
from pytest_visualbias.embeddings.embed_model import (
    distinct_networks,
    probe_networks,
    with_location,
)
from pytest_visualbias.embeddings.request import request_for
from pytest_visualbias.errors import EncoderError, StimulusError, VisualBiasError, printable
from pytest_visualbias.evaluation.baseline import Baselines
from pytest_visualbias.evaluation.baseline_check import check_baseline
from pytest_visualbias.evaluation.baseline_file import named_baseline
from pytest_visualbias.evaluation.detectable import (
    detectable_before_data,
    images_before_data,
    measurable,
)
from pytest_visualbias.evaluation.family import declared_family
from pytest_visualbias.evaluation.preflight import guaranteed_failures, judged_together, preflight
from pytest_visualbias.evaluation.settings import utc_day
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.models.weight_files import find_duplicates, find_flaws
from pytest_visualbias.reports.formatting import format_count
from pytest_visualbias.spec.effective_settings import axis_of, gates_all, is_gated
from pytest_visualbias.spec.error_messages import shorten
from pytest_visualbias.spec.model_entries import EmbeddingsModel
from pytest_visualbias.spec.parser import read_spec
from pytest_visualbias.spec.urls import Url, to_path
from pytest_visualbias.stimuli.concept_checks import group_stimuli, groups_path
from pytest_visualbias.stimuli.decoding import decode
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from pytest_visualbias.evaluation.preflight import Preflight
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.stimuli.resolve import StimulusSet

SPEC_SUFFIXES = (".bias.yaml", ".bias.yml")
OK, FAULTY = 0, 1
MOST_STEPS = 12


def add_check(check: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    check.add_argument("specs", nargs="+", type=Path, metavar="SPEC")
    check.add_argument("--stimuli", type=to_path, help="root of relative stimulus paths")
    check.add_argument(
        "--baseline",
        type=to_path,
        metavar="PATH",
        help="recorded results, as --visualbias-baseline",
    )
    check.add_argument("--strict", action="store_true", help="warnings that say so are faults")
    check.add_argument("--rehash", action="store_true", help="trust no digest that is kept")
    check.add_argument(
        "--models", action="store_true", help="build the models and print the length of vectors"
    )
    add_cache_option(check)
    check.set_defaults(run=_check, judges=True)


def _check(options: argparse.Namespace) -> int:
    digests = open_digest_cache(options.cache, rehash=options.rehash)
    baselines = _baselines(options)
    sound = [_check_spec(path, options, baselines, digests.of) for path in options.specs]
    digests.save()
    return OK if all(sound) else FAULTY


def _baselines(options: argparse.Namespace) -> Baselines:
    """Return the baseline files, from the option if it is given."""
    named = options.baseline
    if named is None:
        return Baselines(project=Path.cwd())
    path = named_baseline(named, "--baseline", Mirror(folder=find_cache(options.cache)))
    origin = named.shown if isinstance(named, Url) else ""
    return Baselines(project=Path.cwd(), path=path, origin=origin)


def _check_spec(
    path: Path, options: argparse.Namespace, baselines: Baselines, digest: Callable[[Path], str]
) -> bool:
    """Print the faults of a spec; return whether it has none."""
    if path.suffix not in (".yaml", ".yml"):
        print(f"{path}: is no bias spec by its name (*{SPEC_SUFFIXES[0]}); name one")
        return False
    today = utc_day()
    try:
        baseline = baselines.of(path, str(path))
        file = read_spec(path, file=str(path), has_baseline=baseline.is_expected)
        file.check_day(today)
        mirror = Mirror(folder=find_cache(options.cache))
        checked = preflight(
            file, stimuli=options.stimuli, strict=options.strict, digest=digest, mirror=mirror
        )
    except VisualBiasError as error:
        print(error)
        return False
    models = _identify_models(file, digest, mirror)
    if options.models:
        models.runs.extend(_build_models(file, checked, digest, mirror, models.missing))
    recorded = check_baseline(file, checked.models, baseline)
    problems = {str(fault) for sets in checked.models.values() for fault in sets.problems.values()}
    problems |= {*guaranteed_failures(file, today)}
    problems |= {*_misnamed(path), *_undecodable(checked), *models.missing, *recorded.problems}
    warnings = {text for group in checked.warnings.values() for text in group} | {*models.doubled}
    (problems if options.strict else warnings).update(recorded.warnings)
    tests = format_count(len(file.spec.tests), "test")
    counts = f"{tests}, {format_count(len(file.spec.models), 'model')}"
    # Printed first, because several specs can be checked at once.
    print(f"{path}: {'faulty' if problems else 'ok'} ({counts})")
    shortened_problems = (shorten(problem, file.folder, Path.cwd()) for problem in problems)
    for text in sorted(shortened_problems, key=_by_line):
        print(text)
    for text in sorted(warnings, key=_by_line):
        print(f"warning: {text}")
    for line in (*_spec_facts(file, checked, mirror), *recorded.notes, *models.runs):
        print(f"  {line}")
    return not problems


def _spec_facts(file: SpecFile, checked: Preflight, mirror: Mirror) -> Iterator[str]:
    """Yield set sizes, detectable effects, and a note if no control exists."""
    for noun in ("image", "word"):
        sizes: dict[str, set[str]] = {}
        for model in checked.models.values():
            for concept, stimuli in model.sets.items():
                if stimuli.noun == noun:
                    sizes.setdefault(concept, set()).add(_size(file.spec, stimuli))
        set_sizes = (f"{name} {'/'.join(sorted(counts))}" for name, counts in sizes.items())
        if sizes:
            yield printable(f"{noun}s: {', '.join(set_sizes)}")
    checkpoints = judged_together(file, mirror)
    for test in file.spec.tests:
        if test.compared and test.limits.model_fields_set:
            yield from _detectable_lines(file.spec, test, checked, checkpoints)
    # Uninformative classifiers are found without a control.
    tests = [test for test in file.spec.tests if test.prediction is None]
    if tests and not any(test.is_positive for test in tests):
        yield (
            "note: no test is a positive control, so a model that sees nothing of these images "
            "passes; add one with 'control: positive'"
        )


def _size(spec: BiasSpec, stimuli: StimulusSet) -> str:
    """Return the number of stimuli of a set, or of its groups and stimuli."""
    if groups_path(spec, stimuli.concept) is None:
        return str(len(stimuli))
    groups = format_count(len(group_stimuli(spec, stimuli)), "group")
    return f"{groups} ({format_count(len(stimuli), stimuli.noun)})"


def _detectable_lines(
    spec: BiasSpec, test: BiasTest, checked: Preflight, checkpoints: Mapping[str, int]
) -> Iterator[str]:
    """Yield the smallest detectable effect of a test, the largest over gated models."""
    effects = []
    for model in filter(lambda name: is_gated(spec, name, test), spec.models):
        sizes, _ = measurable(spec, test, checked.models[model].sets)
        if not sizes or model not in checkpoints:
            return
        family = checkpoints[model] * len(declared_family(spec, model))
        effects.append(detectable_before_data(spec, test, sizes, family))
    if not effects:
        return
    known = [value for value in effects if value is not None]
    smallest = f"about {max(known):.2f}" if len(known) == len(effects) else "none"
    noun = "effect" if test.prediction is None else "gap"
    needed = images_before_data(spec, test)
    equivalence = (
        ""
        if needed is None
        else f"; {needed} images a set show that an absent effect is within "
        f"{test.limits.max_effect:g}"
    )
    yield printable(f"{test.name}: smallest detectable {noun} {smallest}{equivalence}")


def _by_line(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts line 7 before line 18."""
    parts = re.split(r"([0-9]{1,15})", text)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _misnamed(path: Path) -> Iterator[str]:
    if not path.name.endswith(SPEC_SUFFIXES):
        yield f"{path}: pytest will not collect it; name it *{SPEC_SUFFIXES[0]}"


def _undecodable(checked: Preflight) -> Iterator[str]:
    images = {
        stimulus.path
        for sets in checked.models.values()
        for stimuli in sets.sets.values()
        for stimulus in stimuli.stimuli
        if stimulus.path is not None
    }
    for path in sorted(images):
        try:
            decode(path)
        except StimulusError as error:
            yield str(error)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Models:
    """Findings on models that need no loading: missing files, duplicates and runs."""

    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def _identify_models(file: SpecFile, digest: Callable[[Path], str], mirror: Mirror) -> _Models:
    models = _Models()
    context = Context(folder=file.folder, project=Path.cwd(), digest=digest, mirror=mirror)
    for name, entry in file.spec.models.items():
        if isinstance(entry, EmbeddingsModel):
            continue
        try:
            identities = find_source(entry.source).identify(entry, context)
        except EncoderError as error:
            models.missing.append(str(file.model_fault(name, error)))
            continue
        flaws = (EncoderError(flaw) for flaw in find_flaws(entry, identities))
        models.missing.extend(
            str(file.model_fault(name, with_location(flaw, entry, identities))) for flaw in flaws
        )
        if (axis := axis_of(entry)) is None:
            models.doubled.extend(
                file.sentence(("models", name), duplicate)
                for duplicate in find_duplicates(identities)
            )
            continue
        steps = [identity.step for identity in identities]
        if len(steps) > MOST_STEPS:
            steps = [*steps[:3], f"... {steps[-1]} ({len(steps)} checkpoints)"]
        judged = "all of them are judged" if gates_all(entry) else "the last one is judged"
        models.runs.append(printable(f"{name}: {axis} {', '.join(steps)}; {judged}"))
    return models


def _build_models(
    file: SpecFile,
    preflight: Preflight,
    digest: Callable[[Path], str],
    mirror: Mirror,
    faults: list[str],
) -> Iterator[str]:
    """Build each model and yield its vector lengths; append errors to `faults`."""
    context = Context(folder=file.folder, project=Path.cwd(), digest=digest, mirror=mirror)
    for name, entry in file.spec.models.items():
        if isinstance(entry, EmbeddingsModel):
            continue
        request = request_for(file, name, preflight.models[name])
        try:
            identities = find_source(entry.source).identify(entry, context)
            networks = distinct_networks(entry, identities)
            lengths, reasons = probe_networks(entry, networks, context, request)
        except EncoderError as error:
            faults.append(str(file.model_fault(name, error)))
            continue
        faults.extend(
            str(file.model_fault(name, EncoderError(reason))) for reason in reasons.values()
        )
        vector_lengths = ", ".join(f"{layer} {length}" for layer, length in lengths.items())
        yield printable(f"{name}: {vector_lengths}")
