"""Check the rules that involve several keys of a spec."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections import Counter
from typing import TYPE_CHECKING

from pytest_visualbias.spec.consistency_rules import (
    class_findings,
    has_predictions,
    logit_findings,
    model_findings,
    prediction_findings,
    word_findings,
    word_test_findings,
)
from pytest_visualbias.spec.effective_settings import (
    BEFORE,
    LOGITS,
    excess_base,
    expand_layers,
    gated_layers_of,
    growth_base,
    is_gated,
    is_random,
    layer_points,
    layers_of,
    role_findings,
    series_findings,
)
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import SHIPPED_SOURCES, EmbeddingsModel, ForeignModel
from pytest_visualbias.spec.overrides import option_for
from pytest_visualbias.spec.test_kinds import Limits, concepts_of, part_of
from pytest_visualbias.spec.urls import miswritten_url
from pytest_visualbias.spec.yaml_document import Mistake

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.schema import BiasSpec, Suite
    from pytest_visualbias.spec.test_kinds import Accept, BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath

# The keys of an entry that may hold one.
URL_KEYS = ("checkpoint", "checkpoints", "path", "adapter")


def url_findings(spec: BiasSpec) -> Iterator[tuple[KeyPath, Mistake]]:
    """Yield the path of and the message about every URL that lacks a slash."""
    if error := miswritten_url(spec.stimuli or ""):
        yield ("stimuli",), Mistake(error.problem, error.remedy)
    for name, entry in spec.models.items():
        for key in URL_KEYS:
            value = getattr(entry, key, None)
            for text in (value,) if isinstance(value, str) else value or ():
                if error := miswritten_url(text):
                    yield ("models", name, key), Mistake(error.problem, error.remedy)


SOURCES_GROUP = "pytest_visualbias.sources"

# A mark of pytest that hides or repeats an item would let a test pass unseen.
RESERVED_TAGS = frozenset(
    {"filterwarnings", "flaky", "parametrize", "skip", "skipif", "timeout", "tryfirst", "trylast"}
    | {"usefixtures", "visualbias", "xdist_group", "xfail"}
)
Finding = tuple["KeyPath", Mistake]
MAX_WAIVER_DAYS = 400  # days: a year, and time to decide anew

# The kinds whose effects pass at most 7 % of the time if they equal their limit.
SHOWN_BY_EQUIVALENCE = ("ieat", "sc-eat", "similarity-gap")


def find_inconsistencies(spec: BiasSpec, *, has_baseline: bool = False) -> Iterator[Finding]:
    """Yield the path of and the message about every contradiction in a spec."""
    yield from _models(spec)
    yield from series_findings(spec)
    yield from url_findings(spec)
    yield from role_findings(spec)
    yield from _layers(spec)
    yield from word_findings(spec)
    yield from find_test_inconsistencies(spec)
    for index, test in enumerate(spec.tests):
        for path, mistake in _gating(spec, test, has_baseline=has_baseline):
            yield ("tests", index, *path), mistake


def waiver_findings(spec: BiasSpec, today: dt.date) -> Iterator[Finding]:
    """Yield waivers that expire too far in the future."""
    for index, test in enumerate(spec.tests):
        days = 0 if test.accept is None else (test.accept.until - today).days
        if days > MAX_WAIVER_DAYS:
            mistake = Mistake(
                f"is {days} days ahead, and a waiver lasts at most {MAX_WAIVER_DAYS} days",
                "give an earlier day",
            )
            yield ("tests", index, "accept", "until"), mistake


def _gating(spec: BiasSpec, test: BiasTest, *, has_baseline: bool) -> Iterator[Finding]:
    """Yield mistakes in the limits, controls and waiver of a test."""
    yield from _limits(spec, test, has_baseline=has_baseline)
    yield from _excess(spec, test)
    yield from _control(test)
    yield from _waiver(spec, test)


def find_test_inconsistencies(spec: BiasSpec | Suite) -> Iterator[Finding]:
    """Yield contradictions in the tests of a spec or suite, except in their limits."""
    yield from _names(spec)
    yield from word_test_findings(spec)
    for index, test in enumerate(spec.tests):
        for path, mistake in (*_concepts(spec, test), *_tags(test), *prediction_findings(test)):
            yield ("tests", index, *path), mistake


def _models(spec: BiasSpec) -> Iterator[Finding]:
    for name, entry in spec.models.items():
        for path, mistake in _model(entry):
            yield ("models", name, *path), mistake


def _model(entry: ModelEntry) -> Iterator[Finding]:
    if isinstance(entry, ForeignModel):
        yield from _foreign(entry.source)
    else:
        yield from model_findings(entry)


def _foreign(source: str) -> Iterator[Finding]:
    known = [point.name for point in importlib.metadata.entry_points(group=SOURCES_GROUP)]
    if source not in known:
        yield (
            ("source",),
            Mistake(f"unknown source '{source}'", did_you_mean(source, [*SHIPPED_SOURCES, *known])),
        )


def _layers(spec: BiasSpec) -> Iterator[Finding]:
    names: list[str] = []
    for index, layer in enumerate(spec.layers):
        try:
            names += [point.name for point in layer_points([layer], {})]
        except ValueError as error:
            yield ("layers", index), Mistake(*error.args)
    for name, count in Counter(names).items():
        if count > 1:
            yield (
                ("layers",),
                Mistake(f"the layer '{name}' stands {count} times", "remove all but one"),
            )
    yield from _gated_layers(spec, names)
    yield from logit_findings(spec)
    yield from class_findings(spec)
    names += [] if LOGITS in names or not has_predictions(spec) else [LOGITS]
    for model, entry in spec.models.items():
        for name, text in entry.layers.items():
            if name not in names:
                mistake = Mistake("no layer of this name", did_you_mean(name, names))
                yield ("models", model, "layers", name), mistake
                continue
            try:
                layer_points([name], {name: text})
            except ValueError as error:
                yield ("models", model, "layers", name), Mistake(*error.args)
        read = names if not has_predictions(spec, every=True) else [LOGITS]
        if isinstance(entry, EmbeddingsModel) and len(read) > 1 and "{layer}" not in entry.prefix:
            mistake = Mistake(
                "the layers would all be the same vectors", "write '{layer}' where they differ"
            )
            yield ("models", model, "prefix"), mistake


def _gated_layers(spec: BiasSpec, names: list[str]) -> Iterator[Finding]:
    for index, text in enumerate(spec.settings.gated_layers or ()):
        path: KeyPath = ("settings", "gated_layers", index)
        try:
            unknown = next((name for name in expand_layers(text) if name not in names), None)
        except ValueError as error:
            yield path, Mistake(*error.args)
        else:
            if unknown is not None:
                yield (
                    path,
                    Mistake(f"no layer '{unknown}' in 'layers'", did_you_mean(unknown, names)),
                )


def _names(spec: BiasSpec | Suite) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, test in enumerate(spec.tests):
        if test.name in seen:
            mistake = Mistake(
                f"'{test.name}' is also the name of tests[{seen[test.name]}]", "rename one"
            )
            yield ("tests", index, "name"), mistake
        seen.setdefault(test.name, index)


def _tags(test: BiasTest) -> Iterator[Finding]:
    for index, tag in enumerate(test.tags):
        if tag in RESERVED_TAGS:
            yield (
                ("tags", index),
                Mistake(f"'{tag}' has a meaning of its own in pytest", "choose another tag"),
            )


def _concepts(spec: BiasSpec | Suite, test: BiasTest) -> Iterator[Finding]:
    concepts = concepts_of(test)
    for role, concept in concepts.items():
        if concept not in spec.concepts:
            mistake = Mistake(f"unknown concept '{concept}'", did_you_mean(concept, spec.concepts))
            yield (part_of(role), role), mistake
    for first, second in test.apart:
        if concepts[first] == concepts[second]:
            mistake = Mistake(
                f"{first} and {second} are the same concept", "name two different ones"
            )
            yield (part_of(second),), mistake


def _limits(spec: BiasSpec, test: BiasTest, *, has_baseline: bool) -> Iterator[Finding]:
    has_limits = test.limits != type(test.limits)()
    gated = [model for model in spec.models if is_gated(spec, model, test)]
    if has_limits and not gated:
        yield (
            ("limits",),
            Mistake("there is no model that they gate", "add one besides the references"),
        )
    growth = "max_growth" if test.limits.max_growth is not None else "max_shift"
    if test.growth_from is not None and test.growth_from not in spec.models:
        yield (
            ("growth_from",),
            Mistake(
                f"unknown model '{test.growth_from}'",
                did_you_mean(test.growth_from, spec.models),
            ),
        )
    elif test.limits.on_growth and not has_baseline and (name := _without_base(spec, test, gated)):
        mistake = Mistake(
            f"there is nothing to measure the growth of '{name}' from",
            f"add 'growth_from' to it, "
            f"add a model '{BEFORE}', or record a baseline from the model to measure from, `pytest "
            f"--visualbias {option_for(name)} --visualbias-update-new`, and commit it",
        )
        yield ("limits", growth), mistake
    evidence = test.evidence or spec.settings.evidence
    if has_limits and not test.compared and evidence == "significant":
        yield (
            ("limits",),
            Mistake(
                "within one set there is no p", "add 'evidence: interval' or 'evidence: point'"
            ),
        )
    if evidence == "equivalence" and not test.is_positive:
        yield from _equivalence(test)


def _equivalence(test: BiasTest) -> Iterator[Finding]:
    """Yield limits that `evidence: equivalence` cannot judge (`benchmarks/equivalence.py`)."""
    limits = test.limits.model_dump(exclude_none=True)
    if limits and test.kind not in SHOWN_BY_EQUIVALENCE:
        other = "significant" if test.compared else "interval"
        mistake = Mistake(
            f"'evidence: equivalence' cannot judge a test of kind '{test.kind}'",
            f"add 'evidence: {other}' to the test",
        )
        yield ("limits",), mistake
        return
    for key in limits.keys() - {"max_effect", "max_gap"}:
        yield (
            ("limits", key),
            Mistake(
                f"'evidence: equivalence' cannot judge '{key}'",
                "move it to a test of its own with 'evidence: significant'",
            ),
        )


def _without_base(spec: BiasSpec, test: BiasTest, gated: list[str]) -> str | None:
    """Return a gated model whose growth cannot be measured from any model."""
    alone = [
        model
        for model in gated
        if growth_base(spec, test, model) is None and spec.models[model].growth_from is None
    ]
    return "after" if "after" in alone else next(iter(alone), None)


def _excess(spec: BiasSpec, test: BiasTest) -> Iterator[Finding]:
    name = test.excess_over
    untrained = [model for model, entry in spec.models.items() if is_random(entry)]
    if name is not None and name not in untrained:
        problem = "is no untrained model" if name in spec.models else "is no model"
        hint = did_you_mean(name, untrained) if untrained else "add one with 'random_init: 3'"
        yield ("excess_over",), Mistake(f"'{name}' {problem}", hint)
    elif test.limits.on_excess and excess_base(spec, test) is None and not test.control:
        mistake = (
            Mistake(
                "there are several untrained models", f"add 'excess_over' ({', '.join(untrained)})"
            )
            if untrained
            else Mistake(
                "there is no untrained model to go beyond", "add one with 'random_init: 3'"
            )
        )
        yield ("limits", "max_excess"), mistake


def _control(test: BiasTest) -> Iterator[Finding]:
    if not test.is_positive:
        if test.limits.min_effect is not None:
            yield (
                ("limits", "min_effect"),
                Mistake("is for a control", "add 'control: positive' or remove it"),
            )
        elif test.control == "idle" and test.limits != Limits():
            yield ("limits",), Mistake("an idle control is never judged", "remove them")
        if test.scope is not None:
            yield ("scope",), Mistake("is for a control", "add 'control: positive' or remove it")
        return
    if test.limits.min_effect is None:
        yield ("limits",), Mistake("a positive control needs 'min_effect'", "add it")
    if test.limits.on_effect or test.limits.on_growth or test.limits.on_excess:
        yield (
            ("limits",),
            Mistake("a positive control has 'min_effect' only", "remove the other limits"),
        )


def _accepted_sizes(accept: Accept, limits: Limits) -> Iterator[Finding]:
    sizes = accept.sizes(limits)
    if not sizes:
        yield ("accept",), Mistake("names no limit", "add 'max_effect', 'max_gap' or 'max_growth'")
    elif not limits.on_effect and limits.max_growth is None:
        mistake = Mistake(
            "no waiver covers the limits of this test", "add 'max_effect' to them or remove it"
        )
        yield ("accept",), mistake
    for kind, size in sizes.items():
        limit = getattr(limits, f"max_{kind}")
        if limit is not None and size <= limit:
            key = f"max_{kind}" if getattr(accept, f"max_{kind}") is not None else "max_effect"
            yield ("accept", key), Mistake(f"is within the limit of {limit:g} anyway", "remove it")


def _waiver(spec: BiasSpec, test: BiasTest) -> Iterator[Finding]:
    accept = test.accept
    if accept is None:
        return
    if test.control:
        yield ("accept",), Mistake("a control has no waiver", "remove it")
        return
    yield from _accepted_sizes(accept, test.limits)
    gated = [model for model in spec.models if is_gated(spec, model, test)]
    for index, model in enumerate(accept.models or ()):
        if model not in gated:
            mistake = Mistake(f"'{model}' is no gated model", did_you_mean(model, gated))
            yield ("accept", "models", index), mistake
    with contextlib.suppress(ValueError):  # said of the layers themselves
        names = layers_of(spec, test)
        for index, layer in enumerate(accept.layers or ()):
            if layer in names and layer not in gated_layers_of(spec, test):
                mistake = Mistake(
                    f"no limit applies at '{layer}'", "remove it, or add it to 'gated_layers'"
                )
                yield ("accept", "layers", index), mistake
            elif layer not in names:
                mistake = Mistake(f"'{layer}' is no layer of the spec", did_you_mean(layer, names))
                yield ("accept", "layers", index), mistake
