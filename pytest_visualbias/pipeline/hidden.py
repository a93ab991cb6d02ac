"""Limits that cannot fail, because their family is too large for their sets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.power import alternative_of, declared_family, measurable, plan_of
from pytest_visualbias.spec.roles import is_gated
from pytest_visualbias.statistics import adjust, smallest_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.pipeline.power import Side
    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import Alternative, BiasSpec
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["Hidden", "hidden_limits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """The limits of a spec that cannot fail alone.

    Attributes
    ----------
    path : tuple
        Of the test that is farthest from being able to fail.
    message : str
        How many limits, why, and what would change it.
    tests : frozenset of (str, str)
        Every model and test concerned.
    """

    path: Path
    message: str
    tests: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limit:
    """A p-value that a limit uses: of which test, what it is of, and the smallest possible one.

    Attributes
    ----------
    side : Side
        The side with the fewest relabellings.
    """

    model: str
    test: str
    what: str
    side: Side
    alternative: Alternative
    least: float


def hidden_limits(
    spec: BiasSpec, models: Mapping[str, Mapping[str, StimulusSet]], *, checkpoints: int = 1
) -> Hidden | None:
    """Return the limits whose smallest possible p is too large for their family.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    models : mapping of str to mapping of str to StimulusSet
        The sets of each model by concept; tests that lack a set are skipped.
    checkpoints : int
        How many are gated together.
    """
    by_model = {
        model: list(_hidden(spec, list(_limits(spec, model, sets)), checkpoints))
        for model, sets in models.items()
    }
    largest = max(by_model.values(), key=len, default=[])
    if not largest:
        return None
    worst = max(largest, key=lambda one: one.least)
    index = [test.name for test in spec.tests].index(worst.test)
    return Hidden(
        path=("tests", index, worst.side.part),
        message=_message(spec, worst, len(largest) * checkpoints, checkpoints),
        tests=frozenset((one.model, one.test) for one in itertools.chain(*by_model.values())),
    )


def _limits(spec: BiasSpec, model: str, sets: Mapping[str, StimulusSet]) -> Iterator[_Limit]:
    """Yield the members of a model's family, as far as their sets are known."""
    tests = {test.name: test for test in spec.tests}
    for _, name, what in declared_family(spec, model):
        plan = plan_of(spec, tests[name])
        alternative = alternative_of(tests[name], plan, what)
        _, sides = measurable(spec, tests[name], sets)
        if sides and is_gated(spec, model, tests[name]):
            least, side = max(
                ((smallest_p(*side.sizes, alternative), side) for side in sides),
                key=lambda pair: pair[0],
            )
            yield _Limit(
                model=model,
                test=name,
                what=what,
                side=side,
                alternative=alternative,
                least=least,
            )


def _hidden(spec: BiasSpec, limits: list[_Limit], checkpoints: int) -> Iterator[_Limit]:
    """Yield the limits that correction hides; some fail even without it, which is a fault."""
    if not limits or spec.settings.correction == "none":
        return
    alpha = spec.settings.alpha
    size = checkpoints * len(declared_family(spec, limits[0].model))
    least = [one.least for one in limits for _ in range(checkpoints)]
    # With BH many small p-values together are significant where one alone is not.
    together = adjust([*least, *[1.0] * (size - len(least))], "bh")[::checkpoints]
    for limit, best in zip(limits, together, strict=False):
        adjusted = best if spec.settings.correction == "bh" else limit.least * size
        if limit.least <= alpha < adjusted:
            yield limit


def _message(spec: BiasSpec, limit: _Limit, count: int, checkpoints: int) -> str:
    members = declared_family(spec, limit.model)
    size, alpha = checkpoints * len(members), spec.settings.alpha
    fewer = ["tests"]
    if len({layer for layer, *_ in members}) > 1:
        fewer.insert(0, "layers (`gated_layers`)")
    if checkpoints > 1:
        fewer.insert(0, "checkpoints (`gate: last`)")
    first, second = limit.side.sizes
    needed = next(
        n for n in itertools.count(2) if smallest_p(n, n, limit.alternative) <= alpha / size
    )
    most = int(alpha / limit.least)
    bh = ", or `correction: bh`" if spec.settings.correction == "holm" else ""
    return (
        f"{count} of {size} corrected p-values of model '{limit.model}' cannot fail alone: the "
        f"{limit.what} of '{limit.test}' ({first} against {second} {limit.side.noun}) has p >= "
        f"{limit.least:.2g}, but needs p <= {alpha:g}/{size} = {alpha / size:.2g}; "
        f"needs n >= {needed}, or fewer {' or '.join(fewer)}: at most {most} p-values{bh}"
    )
