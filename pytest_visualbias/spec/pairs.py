"""What the pairs of a spec must be to its models and to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.roles import growth_base, is_gated, is_random

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = ["pair_findings", "unpaired"]


def pair_findings(spec: BiasSpec) -> Iterator[tuple[Path, str]]:
    """Yield the path of and the sentence about every pair that cannot be."""
    starts: dict[str, str] = {}
    for index, pair in enumerate(spec.pairs):
        path: Path = ("pairs", index)
        for key in ("before", "after"):
            name = getattr(pair, key)
            if name not in spec.models:
                yield (*path, key), f"unknown model '{name}'; {did_you_mean(name, spec.models)}"
            elif key == "after" and is_random(spec.models[name]):
                yield (*path, key), f"'{name}' is untrained, so nothing can have grown; remove it"
        if pair.after in starts:
            message = f"another pair ends in '{pair.after}', too; keep one of them"
            yield (*path, "after"), message
        elif _leads_to(starts, pair.before, pair.after):
            message = f"'{pair.after}' would come before itself; break the circle of pairs"
            yield (*path, "after"), message
        else:
            starts[pair.after] = pair.before


def _leads_to(starts: dict[str, str], model: str, target: str) -> bool:
    """Whether following pairs backwards from a model comes to another one; circles are kept out."""
    while model != target:
        if model not in starts:
            return False
        model = starts[model]
    return True


def unpaired(spec: BiasSpec, test: BiasTest) -> list[str]:
    """Return the gated models of a test that have nothing to measure growth from."""
    return [
        model
        for model in spec.models
        if is_gated(spec, model, test) and growth_base(spec, test, model) is None
    ]
