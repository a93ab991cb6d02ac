"""Which part a model plays in a test: gated, or a reference that is only measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.schema import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, ModelEntry

__all__ = [
    "BEFORE",
    "excess_base",
    "growth_base",
    "is_gated",
    "is_origin",
    "is_random",
    "measured_from",
    "role_findings",
]

BEFORE = "before"


def is_random(entry: ModelEntry) -> bool:
    """Whether a model is a random control: an architecture with untrained weights."""
    if not isinstance(entry, Network) or entry.files is not None:
        return False
    pretrained = getattr(entry, "pretrained", None)
    return not pretrained if isinstance(pretrained, bool) else entry.random_init is not None


def growth_base(spec: BiasSpec, test: BiasTest, model: str) -> str | None:
    """Return the model that the growth of a model is measured from, if the spec has one.

    The test names it, else the model does, else it is the model called ``before``.
    """
    name = spec.models[model].growth_from
    if test.growth_from != model:
        name = test.growth_from or name or BEFORE
    return name if name != model and name in spec.models else None


def measured_from(spec: BiasSpec, test: BiasTest) -> set[str]:
    """Return the models that a test measures growth from."""
    return {base for name in spec.models if (base := growth_base(spec, test, name)) is not None}


def is_origin(spec: BiasSpec, model: str, test: BiasTest) -> bool:
    """Whether growth is measured from a model, and the model's own growth from none."""
    if spec.models[model].growth_from is not None:
        return False
    is_named_before = model == BEFORE and test.growth_from is None
    return is_named_before or model in (test.growth_from, *measured_from(spec, test))


def role_findings(spec: BiasSpec) -> Iterator[tuple[Path, str]]:
    """Yield the path of and the sentence about every `growth_from` of a model that is wrong."""
    for name, entry in spec.models.items():
        base, path = entry.growth_from, ("models", name, "growth_from")
        if base is None:
            continue
        if base not in spec.models:
            yield path, f"unknown model '{base}'; {did_you_mean(base, spec.models)}"
        elif is_random(entry):
            yield path, f"'{name}' is untrained, so nothing can have grown; remove it"
        elif _returns(spec, name):
            yield path, f"leads back to '{name}'; remove one 'growth_from' of this cycle"


def _returns(spec: BiasSpec, start: str) -> bool:
    """Whether following `growth_from` from a model leads back to it."""
    passed: set[str] = set()
    model: str | None = start
    while model in spec.models and model not in passed:
        passed.add(model)
        model = spec.models[model].growth_from
    return model == start


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
