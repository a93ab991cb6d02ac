"""Compute the role of each model, and the layers and limits that apply to a test."""

from __future__ import annotations

import functools
import itertools
import math
import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import NetworkEntry
from pytest_visualbias.spec.schema import LayerPoint, Pooling
from pytest_visualbias.spec.yaml_document import Mistake

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_visualbias.spec.fields import Alternative, EvidenceRule, Sides
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath

BEFORE = "before"


def is_random(entry: ModelEntry) -> bool:
    """Return whether a model is an untrained control."""
    if not isinstance(entry, NetworkEntry) or entry.files is not None:
        return False
    pretrained = getattr(entry, "pretrained", None)
    return not pretrained if isinstance(pretrained, bool) else entry.random_init is not None


def growth_base(spec: BiasSpec, test: BiasTest, model: str) -> str | None:
    """Return the model from which a model's growth is measured, or None."""
    name = spec.models[model].growth_from
    if test.growth_from != model:
        name = test.growth_from or name or BEFORE
    return name if name != model and name in spec.models else None


def growth_bases(spec: BiasSpec, test: BiasTest) -> set[str]:
    """Return the models that a test measures growth from."""
    return {base for name in spec.models if (base := growth_base(spec, test, name)) is not None}


def is_origin(spec: BiasSpec, model: str, test: BiasTest) -> bool:
    """Return whether growth is measured from a model that has no growth itself."""
    if spec.models[model].growth_from is not None:
        return False
    is_named_before = model == BEFORE and test.growth_from is None
    return is_named_before or model in (test.growth_from, *growth_bases(spec, test))


def role_findings(spec: BiasSpec) -> Iterator[tuple[KeyPath, Mistake]]:
    """Yield the path of and the message about every wrong `growth_from` of a model."""
    for name, entry in spec.models.items():
        base, path = entry.growth_from, ("models", name, "growth_from")
        if base is None:
            continue
        if base not in spec.models:
            yield path, Mistake(f"unknown model '{base}'", did_you_mean(base, spec.models))
        elif is_random(entry):
            yield path, Mistake(f"'{name}' is untrained, so nothing can have grown", "remove it")
        elif _is_cyclic(spec, name):
            yield path, Mistake(f"leads back to '{name}'", "remove one 'growth_from' of this cycle")


def _is_cyclic(spec: BiasSpec, start: str) -> bool:
    """Return whether following `growth_from` from a model leads back to the model."""
    passed: set[str] = set()
    model: str | None = start
    while model in spec.models and model not in passed:
        passed.add(model)
        model = spec.models[model].growth_from
    return model == start


def excess_base(spec: BiasSpec, test: BiasTest) -> str | None:
    """Return the untrained model from which a test's excess is measured, or None."""
    if test.is_positive:
        return None
    if test.excess_over is not None:
        return test.excess_over if test.excess_over in spec.models else None
    untrained = [name for name, entry in spec.models.items() if is_random(entry)]
    return untrained[0] if len(untrained) == 1 else None


def is_gated(spec: BiasSpec, model: str, test: BiasTest) -> bool:
    """Return whether the limits of a test can fail a model."""
    return not is_origin(spec, model, test) and not is_random(spec.models[model])


def axis_of(entry: ModelEntry) -> str | None:
    """Return what a series counts, such as epochs; None if an entry is no series."""
    return entry.series if isinstance(entry, NetworkEntry) else None


def gates_all(entry: ModelEntry) -> bool:
    """Return whether limits apply to every checkpoint of a series, not only to the last."""
    return isinstance(entry, NetworkEntry) and entry.gate == "all"


def series_findings(spec: BiasSpec) -> Iterator[tuple[KeyPath, Mistake]]:
    """Yield the path of and the message about contradictions in a series."""
    for name, entry in spec.models.items():
        if not isinstance(entry, NetworkEntry):
            continue
        for key, mistake in _series_key_findings(entry):
            yield ("models", name, key), mistake
        if entry.series is not None and _starts_growth(spec, name):
            mistake = Mistake(
                f"growth is measured from '{name}', so it must be one network",
                "name one file with 'checkpoint', or give the series another name",
            )
            yield ("models", name, "series"), mistake


def _starts_growth(spec: BiasSpec, model: str) -> bool:
    """Return whether growth is measured from a model."""
    return any(
        is_origin(spec, model, test) or model in growth_bases(spec, test) for test in spec.tests
    )


def _series_key_findings(entry: NetworkEntry) -> Iterator[tuple[str, Mistake]]:
    if entry.checkpoints is not None and entry.checkpoint is not None:
        yield "checkpoints", Mistake("'checkpoint' is given too", "keep one of them")
    elif entry.checkpoints is not None and entry.series is None:
        mistake = Mistake(
            "did you mean 'checkpoint', for trials of one recipe? For a training run say what it "
            "counts, as in 'series: epoch'"
        )
        yield "checkpoints", mistake
    elif entry.series is not None and entry.checkpoints is None:
        remedy = "add it" if entry.checkpoint is None else "did you mean that by 'checkpoint'?"
        yield "series", Mistake("a series is of 'checkpoints'", remedy)
    if entry.gate is not None and entry.series is None:
        yield "gate", Mistake("is for a series of checkpoints", "add 'series: epoch', or remove it")


# More ranges than this are counted and not named.
MAX_RANGES = 5


def format_steps(axis: str, all_steps: Sequence[str], steps: Collection[str]) -> str:
    """Return steps of a series as text: ``epoch 2, 5 to 10``."""
    ranges: list[list[str]] = []
    is_open = False
    for step in all_steps:
        if step not in steps:
            is_open = False
        elif is_open:
            ranges[-1].append(step)
        else:
            ranges.append([step])
            is_open = True
    if len(ranges) > MAX_RANGES:
        first, last = ranges[0][0], ranges[-1][-1]
        return f"{len(steps)} checkpoints from {axis} {first} to {last}"
    return f"{axis} {', '.join(map(format_range, ranges))}"


def format_range(labels: Sequence[str]) -> str:
    """Return consecutive steps as text: ``1 to 4``, or ``1, 2`` for two steps."""
    return f"{labels[0]} to {labels[-1]}" if len(labels) > 2 else ", ".join(labels)  # noqa: PLR2004


POOLINGS: tuple[Pooling, ...] = typing.get_args(Pooling)

# What a network itself makes of an image: before its classifier, after it, and as shares of one.
POOLED, LOGITS, PROBABILITIES = "pooled", "logits", "probabilities"
READ_OUTS = (POOLED, LOGITS, PROBABILITIES)

# What a network returns, whatever that is.
OUTPUT = "output"
MAX_LAYERS = 1000
RANGE = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")


def expand_layers(text: str) -> tuple[str, ...]:
    """Return the layers that a text with ranges names: ``blocks.{0..2}`` names three."""
    parts = RANGE.split(text)
    ranges = [
        range(int(first), int(last) + 1)
        for first, last in zip(parts[1::3], parts[2::3], strict=True)
    ]
    if not 0 < math.prod(len(numbers) for numbers in ranges) <= MAX_LAYERS:
        raise ValueError(
            f"names no layer, or more than {MAX_LAYERS}", "write a range as {first..last}"
        )
    choices = [[str(number) for number in numbers] for numbers in ranges]
    fixed = parts[0::3]
    return tuple(
        fixed[0] + "".join(a + b for a, b in zip(chosen, fixed[1:], strict=True))
        for chosen in itertools.product(*choices)
    )


def parse_layer_point(name: str, text: str) -> LayerPoint:
    """Return the layer point that ``module`` or ``module:pooling`` names."""
    module, _, pooling = text.rpartition(":") if ":" in text else (text, "", "")
    if pooling.isdecimal():  # part of a name, as in graphs of TensorFlow
        module, pooling = text, ""
    if not module:
        raise ValueError(f"'{text}' names no module", "write module:pooling")
    if module in READ_OUTS and pooling:
        raise ValueError(
            f"'{module}' is one vector of the network itself", f"write '{module}' alone"
        )
    for known in POOLINGS:
        if pooling in (known, ""):
            return LayerPoint(name=name, module=module, pooling=known)
    raise ValueError(f"'{pooling}' is not a pooling", f"choose one of {', '.join(POOLINGS)}")


def layer_points(
    layers: Iterable[str | LayerPoint], renamed: Mapping[str, str]
) -> tuple[LayerPoint, ...]:
    """Return the layer points of a model, with the model's own module names."""
    points = []
    for layer in layers:
        if isinstance(layer, LayerPoint):
            points.append(layer)
        else:
            points.extend(parse_layer_point(text, text) for text in expand_layers(layer))
    moved = tuple(_move_point(point, renamed.get(point.name)) for point in points)
    for point in moved:
        if {*point.module} & {*"{}"}:
            raise ValueError(
                f"'{point.module}' has braces that are no range",
                "write {first..last}, such as 'blocks.{2..10}', or one layer for each name",
            )
    return moved


def model_points(spec: BiasSpec, renamed: Mapping[str, str]) -> tuple[LayerPoint, ...]:
    """Return the layer points of a model that the tests of a spec use."""
    predicting = [test.prediction is not None for test in spec.tests]
    points = layer_points(spec.layers, renamed)
    if not any(predicting):
        return points
    if all(predicting):
        points = tuple(point for point in points if point.name == LOGITS)
    if any(point.name == LOGITS for point in points):
        return points
    return (*points, *layer_points((LOGITS,), renamed))


def layers_of(spec: BiasSpec, test: BiasTest) -> tuple[str, ...]:
    """Return the names of the layers at which a test is run, in the order of the spec."""
    return (LOGITS,) if test.prediction is not None else _layer_names(spec.layers)


@functools.lru_cache(maxsize=8)
def _layer_names(layers: tuple[str | LayerPoint, ...]) -> tuple[str, ...]:
    """Return the names of layers, cached because every test at every layer needs them."""
    return tuple(point.name for point in layer_points(layers, {}))


def gated_layers_of(spec: BiasSpec, test: BiasTest) -> tuple[str, ...]:
    """Return the layers at which the limits of a test apply."""
    named = spec.settings.gated_layers
    if named is None or test.prediction is not None:
        return layers_of(spec, test)
    return _gated_names(spec.layers, named)


@functools.lru_cache(maxsize=8)
def _gated_names(layers: tuple[str | LayerPoint, ...], named: tuple[str, ...]) -> tuple[str, ...]:
    gated = {layer for text in named for layer in expand_layers(text)}
    return tuple(layer for layer in _layer_names(layers) if layer in gated)


def test_at(spec: BiasSpec, test: BiasTest, layer: str) -> BiasTest:
    """Return a test as judged at a layer: without limits if the layer is not gated."""
    if layer in gated_layers_of(spec, test):
        return test
    control = "idle" if test.is_positive else test.control
    measured = {"limits": type(test.limits)(), "accept": None, "control": control}
    return test.model_copy(update=measured)


def judged_tests(spec: BiasSpec, layer: str) -> tuple[BiasTest, ...]:
    """Return the tests that are run at a layer, as judged there, in their order."""
    return tuple(
        test_at(spec, test, layer) for test in spec.tests if layer in layers_of(spec, test)
    )


def _move_point(point: LayerPoint, text: str | None) -> LayerPoint:
    if text is None:
        return point
    moved = parse_layer_point(point.name, text)
    return moved if ":" in text else moved.model_copy(update={"pooling": point.pooling})


@dataclass(frozen=True, kw_only=True, slots=True)
class EffectiveSettings:
    """Settings of one test: its own, or else those of the spec."""

    alternative: Alternative
    sides: Sides
    evidence: EvidenceRule
    alpha: float
    has_retrainings: bool = True


def effective_settings(spec: BiasSpec, test: BiasTest) -> EffectiveSettings:
    """Return the settings in force for a test."""
    settings = spec.settings
    is_upward = test.is_positive or not test.compared
    evidence = test.evidence or settings.evidence
    if not test.compared and evidence == "significant":
        evidence = "interval"  # with limits, a fault of the spec
    return EffectiveSettings(
        alternative=test.alternative or ("greater" if is_upward else settings.alternative),
        sides=test.sides or settings.sides,
        evidence=evidence,
        alpha=settings.alpha,
    )
