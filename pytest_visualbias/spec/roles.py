"""Which part a model plays in a test: gated, or a reference that is only measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.schema import Network

if TYPE_CHECKING:
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, ModelEntry

__all__ = [
    "BEFORE",
    "excess_base",
    "growth_base",
    "is_gated",
    "is_origin",
    "is_random",
    "labels_of",
]

BEFORE = "before"


def is_random(entry: ModelEntry) -> bool:
    """Whether a model is a random control: an architecture with untrained weights."""
    if not isinstance(entry, Network) or entry.files is not None:
        return False
    pretrained = getattr(entry, "pretrained", None)
    return not pretrained if isinstance(pretrained, bool) else entry.random_init is not None


def growth_base(spec: BiasSpec, test: BiasTest, model: str | None = None) -> str | None:
    """Return the model that a test's growth is measured from, where the spec has one.

    It is the one that the test names, else the first of the pair that ends in `model`, else the
    one called ``before``.
    """
    paired = {pair.after: pair.before for pair in spec.pairs}
    name = test.growth_from or paired.get(model or "", BEFORE)
    return name if name in spec.models else None


def is_origin(spec: BiasSpec, model: str, test: BiasTest) -> bool:
    """Whether growth is measured from a model, and the model's own growth from none."""
    if test.growth_from is not None:
        return model == test.growth_from
    starts = {BEFORE, *(pair.before for pair in spec.pairs)}
    return model in starts and all(model != pair.after for pair in spec.pairs)


def labels_of(spec: BiasSpec, model: str) -> dict[str, str]:
    """Return the labels of a model: its own, and those of the pair that ends in it."""
    paired = [pair.labels for pair in spec.pairs if pair.after == model]
    own = dict(spec.models[model].labels)
    return own if not paired else {**own, **paired[0]}


def excess_base(spec: BiasSpec, test: BiasTest) -> str | None:
    """Return the untrained model that a test's excess is over: the one it names, or the only one.

    A control has none: it is judged by its own effect.
    """
    if test.is_positive:
        return None
    if test.excess_over is not None:
        return test.excess_over if test.excess_over in spec.models else None
    untrained = [name for name, entry in spec.models.items() if is_random(entry)]
    return untrained[0] if len(untrained) == 1 else None


def is_gated(spec: BiasSpec, model: str, test: BiasTest) -> bool:
    """Whether the limits of a test can fail a model."""
    return not is_origin(spec, model, test) and not is_random(spec.models[model])
