"""Correct the p-values of all limits that can fail a model together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.evaluation.verdict import CorrectedP
from pytest_visualbias.spec.effective_settings import (
    effective_settings,
    gated_layers_of,
    is_origin,
    is_random,
    judged_tests,
    model_points,
)
from pytest_visualbias.statistics.evidence import Evidence
from pytest_visualbias.statistics.multiple_testing import adjust

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from pytest_visualbias.evaluation.measurement import Measurement
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

# A layer, or a checkpoint and a layer.
Place = TypeVar("Place", bound="Hashable")

# With these kinds of evidence a test fails by a p-value.
P_VALUE_EVIDENCE = ("significant", "equivalence")


def declared_family(spec: BiasSpec, model: str) -> list[tuple[str, str, str]]:
    """Return the layer, test and kind of every p-value that a limit of a model uses."""
    return [
        (point.name, test.name, kind)
        for point in model_points(spec, {})
        for test in judged_tests(spec, point.name)
        for kind in p_values_used(spec, model, test)
    ]


def p_values_used(spec: BiasSpec, model: str, test: BiasTest) -> Iterator[str]:
    """Yield the kinds of p-values that the limits of a test use."""
    if test.is_positive or not test.compared:
        return
    if effective_settings(spec, test).evidence not in P_VALUE_EVIDENCE:
        return
    limits = test.limits
    if limits.on_effect:
        yield "effect"
    if limits.on_growth and not is_origin(spec, model, test):
        if limits.max_growth is not None:
            yield "growth"
        if limits.max_shift is not None:
            yield "shift"
    if limits.on_excess and not is_random(spec.models[model]):
        yield "excess"


def interval_count(spec: BiasSpec, model: str) -> int:
    """Return how many limits of a model are judged by an interval, at all gated layers."""
    count = 0
    for test in spec.tests:
        if test.is_positive or effective_settings(spec, test).evidence != "interval":
            continue
        skipped = {"min_effect"}
        if is_origin(spec, model, test):
            skipped |= {"max_growth", "max_shift"}
        limits = test.limits.model_dump(exclude_none=True).keys() - skipped
        count += len(limits) * len(gated_layers_of(spec, test))
    return count


def correct_p_values(
    spec: BiasSpec,
    members: Sequence[tuple[Place, str, str]],
    measured: Mapping[Place, Mapping[str, Measurement]],
    intervals: int = 0,
) -> dict[Place, dict[str, CorrectedP]]:
    """Correct the p-values of a family together; a missing p-value counts as 1."""
    correction = spec.settings.correction
    results = [getattr(measured[place][test], kind) for place, test, kind in members]
    raw = [result.p_verdict if isinstance(result, Evidence) else 1.0 for result in results]
    corrected: dict[tuple[Place, str], dict[str, float]] = defaultdict(dict)
    for (place, test, kind), p in zip(members, adjust(raw, correction), strict=True):
        corrected[place, test][kind] = p
    count = 1 if correction == "none" else intervals
    return {
        place: {
            test: CorrectedP(**corrected[place, test], interval_count=count)
            for test in measurements
        }
        for place, measurements in measured.items()
    }
