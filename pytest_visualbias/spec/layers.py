"""From the text of a layer to the points of a network."""

from __future__ import annotations

import functools
import itertools
import math
import re
import typing
from typing import TYPE_CHECKING

from pytest_visualbias.spec.schema import LayerPoint, Pooling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = [
    "LOGITS",
    "OUTPUT",
    "POOLED",
    "POOLINGS",
    "PROBABILITIES",
    "READ_OUTS",
    "expand",
    "gated_layers_of",
    "layer_point",
    "layers_of",
    "made_at",
    "points_for",
    "points_of",
    "test_at",
]

POOLINGS: tuple[Pooling, ...] = typing.get_args(Pooling)
# What a network itself makes of an image: before its classifier, after it, and as shares of one.
POOLED, LOGITS, PROBABILITIES = "pooled", "logits", "probabilities"
READ_OUTS = (POOLED, LOGITS, PROBABILITIES)
# What a network returns, whatever that is.
OUTPUT = "output"
MOST = 1000
RANGE = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")


def expand(text: str) -> tuple[str, ...]:
    """Return the layers that a text with ranges names: ``blocks.{0..2}`` is three.

    Raises
    ------
    ValueError
        For a range that runs backwards, and for ranges without measure.

    Examples
    --------
    >>> expand("blocks.{0..2}:cls")
    ('blocks.0:cls', 'blocks.1:cls', 'blocks.2:cls')
    """
    parts = RANGE.split(text)
    ranges = [
        range(int(first), int(last) + 1)
        for first, last in zip(parts[1::3], parts[2::3], strict=True)
    ]
    if not 0 < math.prod(len(numbers) for numbers in ranges) <= MOST:
        raise ValueError(f"names no layer, or more than {MOST}; write a range as {{first..last}}")
    choices = [[str(number) for number in numbers] for numbers in ranges]
    fixed = parts[0::3]
    return tuple(
        fixed[0] + "".join(a + b for a, b in zip(chosen, fixed[1:], strict=True))
        for chosen in itertools.product(*choices)
    )


def layer_point(name: str, text: str) -> LayerPoint:
    """Return the point that ``module`` or ``module:pooling`` names.

    Raises
    ------
    ValueError
        For an unknown pooling, or no module, or a pooling of what is pooled.
    """
    module, _, pooling = text.rpartition(":") if ":" in text else (text, "", "")
    if pooling.isdecimal():  # part of a name, as in graphs of TensorFlow
        module, pooling = text, ""
    if not module:
        raise ValueError(f"'{text}' names no module; write module:pooling")
    if module in READ_OUTS and pooling:
        raise ValueError(f"'{module}' is one vector of the network itself; write '{module}' alone")
    for known in POOLINGS:
        if pooling in (known, ""):
            return LayerPoint(name=name, module=module, pooling=known)
    raise ValueError(f"'{pooling}' is not a pooling; choose one of {', '.join(POOLINGS)}")


def points_for(
    layers: Iterable[str | LayerPoint], renamed: Mapping[str, str]
) -> tuple[LayerPoint, ...]:
    """Return a model's points: the layers of the spec, moved where the model says so.

    Parameters
    ----------
    layers : iterable of str or LayerPoint
        As the spec has them.
    renamed : mapping
        The model's own module for a layer's name.

    Raises
    ------
    ValueError
        For an unknown pooling, and braces that are no range.
    """
    points = []
    for layer in layers:
        if isinstance(layer, LayerPoint):
            points.append(layer)
        else:
            points.extend(layer_point(text, text) for text in expand(layer))
    moved = tuple(_moved(point, renamed.get(point.name)) for point in points)
    for point in moved:
        if {*point.module} & {*"{}"}:
            raise ValueError(
                f"'{point.module}' has braces that are no range; write {{first..last}}, such as "
                "'blocks.{2..10}', or one layer for each name"
            )
    return moved


def points_of(spec: BiasSpec, renamed: Mapping[str, str]) -> tuple[LayerPoint, ...]:
    """Return the points at which a model is read for a spec: those that its tests are made at.

    Parameters
    ----------
    spec : BiasSpec
        The spec. Its layers are those of tests of embeddings; predictions are read at the logits.
    renamed : mapping
        The model's own module for a layer's name.
    """
    predicting = [test.prediction is not None for test in spec.tests]
    points = points_for(spec.layers, renamed)
    if not any(predicting):
        return points
    if all(predicting):
        points = tuple(point for point in points if point.name == LOGITS)
    if any(point.name == LOGITS for point in points):
        return points
    return (*points, *points_for((LOGITS,), renamed))


def layers_of(spec: BiasSpec, test: BiasTest) -> tuple[str, ...]:
    """Return the names of the layers at which a test is made, in the order of the spec."""
    return (LOGITS,) if test.prediction is not None else _names(spec.layers)


@functools.lru_cache(maxsize=8)
def _names(layers: tuple[str | LayerPoint, ...]) -> tuple[str, ...]:
    """Return the names of layers; asked for by every test at every layer."""
    return tuple(point.name for point in points_for(layers, {}))


def gated_layers_of(spec: BiasSpec, test: BiasTest) -> tuple[str, ...]:
    """Return the layers at which the limits of a test apply; those of predictions always do."""
    named = spec.settings.gated_layers
    if named is None or test.prediction is not None:
        return layers_of(spec, test)
    return _among(spec.layers, named)


@functools.lru_cache(maxsize=8)
def _among(layers: tuple[str | LayerPoint, ...], named: tuple[str, ...]) -> tuple[str, ...]:
    gated = {layer for text in named for layer in expand(text)}
    return tuple(layer for layer in _names(layers) if layer in gated)


def test_at(spec: BiasSpec, test: BiasTest, layer: str) -> BiasTest:
    """Return a test as it is judged at a layer: without limits at a layer that is not gated."""
    if layer in gated_layers_of(spec, test):
        return test
    control = "idle" if test.is_positive else test.control
    measured = {"limits": type(test.limits)(), "accept": None, "control": control}
    return test.model_copy(update=measured)


def made_at(spec: BiasSpec, layer: str) -> tuple[BiasTest, ...]:
    """Return the tests that are made at a layer as they are judged there, in their order."""
    return tuple(
        test_at(spec, test, layer) for test in spec.tests if layer in layers_of(spec, test)
    )


def _moved(point: LayerPoint, text: str | None) -> LayerPoint:
    if text is None:
        return point
    moved = layer_point(point.name, text)
    return moved if ":" in text else moved.model_copy(update={"pooling": point.pooling})
