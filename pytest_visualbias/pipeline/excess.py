"""How far an effect goes beyond what an untrained network of the same architecture shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.comparing import classes, differences, lengths, undeclared
from pytest_visualbias.pipeline.measures import measure_of, remembering
from pytest_visualbias.pipeline.numbers import scored
from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.spec.roles import excess_base, is_random

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.pipeline.remembered import Remembered
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasTest

__all__ = ["untrained_models", "with_excess"]


def untrained_models(file: SpecFile, subject: Subject) -> set[str]:
    """Return the untrained models that the excess of a model is over; of such a one, none."""
    if is_random(file.spec.models[subject.name]):
        return set()
    return {name for test in file.spec.tests if (name := excess_base(file.spec, test))}


def with_excess(
    file: SpecFile,
    subject: Subject,
    test: BiasTest,
    layer: str,
    model: Callable[[str], Subject],
    found: Numbers,
    memo: Remembered,
) -> Numbers:
    """Add how far the effect of a test goes beyond that of the untrained network.

    It is computed as growth is: the scores of the untrained networks, averaged over their seeds,
    stand for those before. Null hypothesis: the labels of what is compared are exchangeable
    with respect to the change of the scores.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    test : BiasTest
        The test.
    layer : str
        The name of the layer.
    model : callable
        Gives the model of a name.
    found : Numbers
        Of the test; with a problem, they are returned as they are.
    memo : Remembered
        Results of former runs.
    """
    name = excess_base(file.spec, test)
    if name is None or is_random(file.spec.models[subject.name]) or found.scores is None:
        return found
    try:
        other = model(name)
        untrained = scored(file, other, test, layer)
        differing = (
            *differences(other, subject, layer, untrained.sets, found.sets),
            *lengths(other, subject, test, layer),
            *classes(untrained.mean, found.scores, (untrained.asked, found.asked)),
        )
        found = dataclasses.replace(found, differing=(*(found.differing or ()), *differing))
        unlike = undeclared(differing, file.spec.settings.differs)
        if unlike is not None:
            return dataclasses.replace(found, unlike_untrained=unlike)
        measure, plan = remembering(measure_of(test), memo), plan_of(file.spec, test)
        seeded = dataclasses.replace(plan, has_retrainings=False)
        excess = measure.grow(untrained.mean, found.scores, seeded)
        seeds = tuple(measure.test(one, plan).effect_judged for one in untrained.trials)
    except VisualBiasError as error:
        if not test.limits.on_excess:
            return found
        return dataclasses.replace(found, problem=f"no excess over '{name}': {error}")
    return dataclasses.replace(
        found, untrained=untrained.mean, untrained_effects=seeds, excess=excess
    )
