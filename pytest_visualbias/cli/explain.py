"""Explain a test or its result (`visualbias explain`)."""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_visualbias.embeddings.cache_maintenance import find_cache as cache_place
from pytest_visualbias.errors import SpecError, UsageError, printable
from pytest_visualbias.evaluation.baseline_file import default_path
from pytest_visualbias.evaluation.detectable import detectable_before_data, images_before_data
from pytest_visualbias.evaluation.family import declared_family
from pytest_visualbias.evaluation.preflight import judged_together, preflight
from pytest_visualbias.reports.document import read_report
from pytest_visualbias.reports.sentences import failure_text
from pytest_visualbias.reports.tables import terminal_width
from pytest_visualbias.spec.effective_settings import (
    effective_settings,
    excess_base,
    gated_layers_of,
    gates_all,
    growth_base,
    is_gated,
    is_random,
    layers_of,
    test_at,
)
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.parser import read_spec
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.spec.urls import to_path
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.stimuli.concept_checks import group_stimuli, groups_path
from pytest_visualbias.stimuli.mirror import Mirror
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_visualbias.results import Report, ResultRecord
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

OK, USAGE = 0, 2
NARROWEST, WIDEST = 20, 100
MOST_NAMED = 12
EXAMPLES = """examples:
  visualbias explain 'bias_specs/gender.bias.yaml::after::gender-career[pooled]'
  visualbias explain bias_specs/gender.bias.yaml gender-career --report report.json

The exit code is 1 if the spec is faulty, and 2 for a wrong call or an unusable report.
"""
QUESTIONS = {
    "ieat": "Are {X} nearer to {A} than to {B}, compared with {Y}?",
    "sc-eat": "Are {X} nearer to {A} than to {B}?",
    "similarity-gap": "Are {X} nearer to {A} than {Y} are?",
    "intra-similarity": "How similar are {X} to each other?",
    "outcome-gap": "How much do {X} and {Y} differ in the {outcome}?",
}
MEASURES = {
    "ieat": (
        "The effect size d is the difference between {X} and {Y} in (cosine to {A} minus cosine to "
        "{B}), in standard deviations (Steed & Caliskan, 2021). Positive: {X} are nearer to {A} "
        "and {Y} to {B}."
    ),
    "sc-eat": (
        "The effect size d is the difference between the cosines of {X} to {A} and to {B}, in "
        "standard deviations. Positive: {X} are nearer to {A}."
    ),
    "similarity-gap": (
        "The gap is the mean cosine of {X} with {A} minus that of {Y} with {A} (Ranjit et al., "
        "2023); the effect size d is the gap in standard deviations. Positive: {X} are nearer."
    ),
    "intra-similarity": (
        "The effect is the mean cosine of two different images: 1 if the model sees no difference "
        "between them. Nothing is compared, so there is no p-value (Ranjit et al., 2023)."
    ),
    "outcome-gap": (
        "The effect is the gap: the {outcome} for {X} minus that for {Y}, between -1 and 1, from "
        "the outputs of the classifier. The test is invalid if the classifier does not know the "
        "class."
    ),
}
BOTH_SIDES = (
    "d is computed from the targets and from the attributes; the one nearer to 0 and the larger p "
    "are judged."
)
DIRECTIONS = {"two-sided": "in either direction", "greater": "in this direction", "less": "below 0"}
EVIDENCE = {
    "significant": "and the corrected p is at most {alpha:g}. Without such a p it is inconclusive.",
    "interval": "with the whole simultaneous {level:.0%} interval. Without, it is inconclusive.",
    "equivalence": (
        "and the corrected p is at most {alpha:g}. It passes if the {narrow:.0%} interval lies "
        "within every limit. Between, it is inconclusive."
    ),
    "point": "whatever its p is.",
}


class Node(NamedTuple):
    """Parts of a node id; "" for parts that it leaves open."""

    spec: str
    model: str = ""
    test: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A test with its models, layers, set sizes and the faults of its sets."""

    file: SpecFile
    test: BiasTest
    models: tuple[str, ...]
    layers: tuple[str, ...]
    sizes: Mapping[str, int]
    faults: tuple[str, ...]
    checkpoints: Mapping[str, int]

    @property
    def spec(self) -> BiasSpec:
        """The spec of the test."""
        return self.file.spec

    @property
    def gated(self) -> tuple[str, ...]:
        """The models that limits can fail."""
        return tuple(name for name in self.models if is_gated(self.spec, name, self.test))

    def noun(self, role: str) -> str:
        """Return what the set of a role holds."""
        concept = concepts_of(self.test)[role]
        if groups_path(self.spec, concept) is not None:
            return "groups"
        return "words" if isinstance(self.spec.concepts[concept], ConceptWords) else "images"

    def counted(self, role: str) -> str:
        """Return the concept of a role with its size, if known."""
        name = _quoted([concepts_of(self.test)[role]])
        return f"{name} ({self.sizes[role]} {self.noun(role)})" if role in self.sizes else name


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "node", metavar="NODE", help="an id as pytest shows it, or a spec: all of its tests"
    )
    parser.add_argument("test", nargs="?", metavar="TEST", help="a test of the spec")
    parser.add_argument(
        "--report", type=to_path, metavar="RUN.json", help="show the result in this report, too"
    )
    parser.add_argument("--stimuli", type=to_path, help="root of relative stimulus paths")
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    try:
        node = _node(options.node, options.test)
        mirror = Mirror(folder=cache_place(None))
        subjects = _subjects(_file(node), node, options, mirror)
        report = read_report(options.report) if options.report is not None else None
        texts = ["\n".join(_lines(node, subject, report)) for subject in subjects]
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return USAGE
    print("\n\n".join(texts))
    return OK


def _node(first: str, test: str | None) -> Node:
    """Return the node of a node id, or of a spec and a test."""
    spec, *rest = first.split("::")
    if test is not None and rest:
        raise UsageError(f"'{first}' names a test already", f"leave out '{test}'")
    model, name = (*rest, "", "")[:2]
    return Node(spec=spec, model=model, test=test or name)


def _file(node: Node) -> SpecFile:
    path = Path(node.spec)
    if not path.is_file():
        raise UsageError(f"there is no spec {node.spec}", "correct the path")
    return read_spec(path, file=node.spec, has_baseline=default_path(path).is_file())


def _subjects(
    file: SpecFile, node: Node, options: argparse.Namespace, mirror: Mirror
) -> Iterator[Subject]:
    """Yield the named test, or all tests of the spec."""
    spec = file.spec
    if node.model and node.model not in spec.models:
        hint = did_you_mean(node.model, spec.models)
        raise UsageError(f"{node.spec} has no model '{node.model}'", hint)
    models = (node.model,) if node.model else tuple(spec.models)
    trained_first = sorted(models, key=lambda name: is_random(spec.models[name]))
    try:
        checked = preflight(file, stimuli=options.stimuli, strict=False, digest=str, mirror=mirror)
        resolved = checked.models[trained_first[0]]
        sets, faults = resolved.sets, tuple(sorted({*map(str, resolved.problems.values())}))
    except SpecError as error:
        sets, faults = {}, tuple(map(str, error.faults))
    for test, layers in _chosen_tests(spec, node):
        roles = {role: name for role, name in concepts_of(test).items() if name in sets}
        stimuli = counted_stimuli(test, {role: sets[name] for role, name in roles.items()})
        yield Subject(
            file=file,
            test=test,
            models=models,
            layers=layers,
            sizes={role: len(group_stimuli(spec, members)) for role, members in stimuli.items()},
            faults=faults,
            checkpoints=judged_together(file, mirror),
        )


def _chosen_tests(spec: BiasSpec, node: Node) -> list[tuple[BiasTest, tuple[str, ...]]]:
    at_one_layer: list[tuple[BiasTest, tuple[str, ...]]] = [
        (test_at(spec, test, layer), (layer,))
        for test in spec.tests
        for layer in layers_of(spec, test)
        if node.test == f"{test.name}[{layer}]"
    ]
    named = [test for test in spec.tests if node.test in ("", test.name)]
    chosen = at_one_layer or [(test, layers_of(spec, test)) for test in named]
    if not chosen:
        hint = did_you_mean(node.test.partition("[")[0], [test.name for test in spec.tests])
        raise UsageError(f"{node.spec} has no test '{node.test}'", hint)
    return chosen


def _lines(node: Node, subject: Subject, report: Report | None) -> Iterator[str]:
    test = subject.test
    place = f"{subject.file.file}:{subject.file.test_line(test.name)}"
    yield printable(f"{test.name} ({test.kind}), {place}")
    yield from _section("Question", _question(subject))
    yield from _section("Measure", _measure(subject))
    yield from _section("Verdict", _verdict(subject))
    yield from _section("Scope", _scope(subject))
    for record in _results(report, node, subject) if report is not None else ():
        yield from _section("Result", [*failure_text(record).split("\n"), *record.warnings])


def _section(title: str, paragraphs: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    for paragraph in paragraphs:
        yield from textwrap.wrap(
            printable(paragraph),
            max(NARROWEST, min(WIDEST, terminal_width())),
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )


def _question(subject: Subject) -> Iterator[str]:
    """Yield the question that the test answers, and its author's words."""
    test = subject.test
    outcome = "" if test.prediction is None else test.prediction.what
    counted = {role: subject.counted(role) for role in concepts_of(test)}
    yield QUESTIONS[test.kind].format(outcome=outcome, **counted)
    if test.about:
        yield f"about: {test.about}"
    yield from (f"unknown: {fault}" for fault in subject.faults)


def _measure(subject: Subject) -> Iterator[str]:
    """Yield what the effect is, its range and the meaning of its p-value."""
    test, settings = subject.test, effective_settings(subject.spec, subject.test)
    outcome = "" if test.prediction is None else test.prediction.what
    names = {role: _quoted([concept]) for role, concept in concepts_of(test).items()}
    yield MEASURES[test.kind].format(outcome=outcome, **names)
    if test.kind == "ieat" and settings.sides == "both":
        yield BOTH_SIDES
    if not test.compared:
        return
    if test.prediction is None and subject.sizes.keys() == concepts_of(test).keys():
        pairs = [(subject.sizes[first], subject.sizes[second]) for first, second in test.compared]
        largest = min(largest_effect(*pair) for pair in pairs)
        yield f"The largest possible d with these sets is {largest:.2f}."
    compared = test.compared[: 1 if settings.sides == "targets" else None]
    labels = " and of ".join(f"{names[first]} and {names[second]}" for first, second in compared)
    yield (
        f"p is the chance of an effect at least this large {DIRECTIONS[settings.alternative]} if "
        f"the labels of {labels} were assigned at random."
    )


def _verdict(subject: Subject) -> Iterator[str]:
    """Yield when the test fails, for which models, and how p is corrected."""
    test = subject.test
    yield _positive_control(subject) if test.control is not None else _limits(subject)
    gated_layers = gated_layers_of(subject.spec, test)
    if not {*subject.layers} <= {*gated_layers}:
        yield f"gated layers: {_quoted(gated_layers)}; results at others are reported"
    yield from _roles(subject)
    yield from _correction(subject)
    if test.accept is not None:
        sizes = test.accept.sizes(test.limits).items()
        accepted = ", ".join(f"{kind} up to {size:g}" for kind, size in sizes)
        yield f"waiver until {test.accept.until}: {accepted}; {test.accept.reason}"
    if test.control is None:
        yield from _needed_controls(subject)


def _positive_control(subject: Subject) -> str:
    settings = effective_settings(subject.spec, subject.test)
    least = subject.test.limits.min_effect
    if not subject.test.is_positive or least is None:
        return "It is a control without 'min_effect': it is measured and not judged."
    sign = "-" if settings.alternative == "less" else ""
    return (
        f"It is a positive control. It holds if the effect is at least {sign}{least:g} and its "
        f"largest p, uncorrected, is at most {settings.alpha:g}; else the tests that depend on it "
        "are invalid."
    )


def _limits(subject: Subject) -> str:
    limits = subject.test.limits.model_dump(exclude_none=True)
    if not limits:
        return "It has no limits: it is measured and reported, and cannot fail."
    settings = effective_settings(subject.spec, subject.test)
    bases = {growth_base(subject.spec, subject.test, name) for name in subject.gated}
    since = _quoted(name for name in bases if name) or "the baseline"
    untrained = excess_base(subject.spec, subject.test)
    effect = {"two-sided": "|effect|", "greater": "effect", "less": "-effect"}[settings.alternative]
    quantities = {
        "max_effect": effect,
        "max_gap": effect.replace("effect", "gap"),
        "max_growth": f"growth of {effect} since {since}",
        "max_shift": f"|change of the effect| since {since}",
        "max_excess": f"|effect| beyond that of the untrained '{untrained}'",
    }
    exceeded = " or ".join(f"{quantities[key]} > {value:g}" for key, value in limits.items())
    evidence = EVIDENCE[settings.evidence].format(
        alpha=settings.alpha, level=1 - settings.alpha, narrow=1 - 2 * settings.alpha
    )
    return f"It fails if {exceeded}, {evidence}"


def _roles(subject: Subject) -> Iterator[str]:
    random = [name for name in subject.models if is_random(subject.spec.models[name])]
    references = [name for name in subject.models if name not in {*subject.gated, *random}]
    for role, names in (
        ("gated", subject.gated),
        ("reference, reported only", references),
        ("untrained, reported only", random),
    ):
        if names:
            yield f"{role}: {_quoted(names)}"


def _correction(subject: Subject) -> Iterator[str]:
    """Yield the family over which the p-values of the test are corrected."""
    if not subject.gated:
        return
    family = declared_family(subject.spec, subject.gated[0])
    quantities = dict.fromkeys(kind for _, name, kind in family if name == subject.test.name)
    if not quantities:
        yield "correction: this test has no p-value that a limit depends on"
        return
    others = dict.fromkeys(name for _, name, _ in family if name != subject.test.name)
    beside = f", with those of {_quoted(others)}" if others else ""
    yield (
        f"correction: {subject.spec.settings.correction}, over {len(family)} "
        f"p-values a model ({' and '.join(quantities)} of this test{beside})"
    )
    for name in subject.gated:
        count = subject.checkpoints.get(name)
        if gates_all(subject.spec.models[name]) and count is not None and count > 1:
            total = count * len(family)
            yield f"'{name}': {count} checkpoints are corrected together, {total} p-values"


def _needed_controls(subject: Subject) -> Iterator[str]:
    test = subject.test
    names = [
        other.name
        for other in subject.spec.tests
        if other.is_positive
        and (
            other.scope == "model"
            or (other.attributes is not None and other.attributes == test.attributes)
        )
    ]
    if names:
        yield f"positive controls, without which it is invalid: {_quoted(names)}"
    elif test.compared and not test.prediction:
        yield "positive controls: none, so a model that sees nothing in these images passes"


def _scope(subject: Subject) -> Iterator[str]:
    """Yield what the test can detect, and what it does not measure."""
    if subject.test.compared:
        yield _detectable(subject)
    yield f"layers: {_quoted(subject.layers)}; the rest of the model is not measured"
    yield "The result is about these sets. A pass does not prove that the model is fair."


def _detectable(subject: Subject) -> str:
    model = (subject.gated or subject.models)[0]
    checkpoints = subject.checkpoints.get(model)
    if subject.sizes.keys() != concepts_of(subject.test).keys() or checkpoints is None:
        return "smallest detectable effect: unknown until all sets and checkpoints are there"
    size = checkpoints * len(declared_family(subject.spec, model))
    least = detectable_before_data(subject.spec, subject.test, subject.sizes, size)
    if least is None:
        return (
            "smallest detectable effect: none; with so few images and so many p-values it cannot "
            "fail. Add images, or test less."
        )
    text = f"smallest detectable effect: at most about {least:.2f}, found in 80 % of samples"
    needed = images_before_data(subject.spec, subject.test)
    if needed is not None:
        limit = subject.test.limits.max_effect
        text += f"; to show that an absent effect is within {limit:g} takes about {needed} a set"
    return text


def _results(report: Report, node: Node, subject: Subject) -> list[ResultRecord]:
    """Return the results of a test in a report."""
    records = [
        record
        for record in report.results
        if record.test == subject.test.name
        and record.layer in subject.layers
        and record.model in subject.models
        and (Path(record.spec).match(node.spec) or Path(node.spec).match(record.spec))
    ]
    if not records:
        raise UsageError(
            f"the report has no result of '{subject.test.name}' in {node.spec}",
            "run it, or name another report",
        )
    return records


def _quoted(names: Iterable[str]) -> str:
    listed = [f"'{name}'" for name in names]
    more = [f"and {len(listed) - MOST_NAMED} more"] if len(listed) > MOST_NAMED else []
    return ", ".join([*listed[:MOST_NAMED], *more])
