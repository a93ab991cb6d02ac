"""The corrected p of a family, with brackets refined until every verdict is decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_visualbias.pipeline.measures import measure_of, remembering
from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.statistics import Evidence, adjust_brackets, undecided

if TYPE_CHECKING:
    from pytest_visualbias.pipeline.numbers import Numbers
    from pytest_visualbias.pipeline.remembered import Remembered
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = ["Corrected", "Decided", "decide", "decide_jointly", "refined"]

# Refining one p can leave another one open, but each round closes what it was asked to.
ROUNDS = 8

# By what the numbers of a test are known: its name, and where several models are judged at once,
# which of them.
K = TypeVar("K", bound=Hashable)
Refine = Callable[[K, "Numbers", str, float], "Numbers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Corrected:
    """One p of a family after correction.

    Attributes
    ----------
    p : float
        What decides: the upper end of its bracket, or the lower one where the bracket still holds
        alpha, so that what cannot be decided fails.
    is_open : bool
        Whether that is so.
    """

    p: float
    is_open: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decided(Generic[K]):
    """The numbers of a family, refined where verdicts hung on them, and its corrected p."""

    numbers: Mapping[K, Numbers]
    corrected: Mapping[tuple[K, str], Corrected]


def decide(
    spec: BiasSpec,
    numbers: Mapping[str, Numbers],
    members: Sequence[tuple[str, str]],
    memo: Remembered,
) -> Decided[str]:
    """Correct a family, and refine the brackets that its verdicts hang on.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    numbers : mapping of str to Numbers
        Of every test, by name.
    members : sequence of (str, str)
        Test and ``effect``, ``growth`` or ``excess``: every declared p; one without numbers counts
        as 1.
    memo : Remembered
        Results of former runs.

    Returns
    -------
    Decided
    """
    tests = {test.name: test for test in spec.tests}
    return decide_jointly(
        spec,
        numbers,
        members,
        lambda name, found, what, level: refined(spec, tests[name], found, what, level, memo),
    )


def decide_jointly(
    spec: BiasSpec,
    numbers: Mapping[K, Numbers],
    members: Sequence[tuple[K, str]],
    refine: Refine[K],
) -> Decided[K]:
    """Correct a family that may be of several models, as `decide` does for one.

    Parameters
    ----------
    spec : BiasSpec
        Its level and correction.
    numbers : mapping to Numbers
        Of every test of every model.
    members : sequence of pairs
        A key of `numbers`, and ``effect``, ``growth`` or ``excess``.
    refine : callable
        Given a key, its numbers, which p of them and a level, returns them with that p refined.
    """
    found = dict(numbers)
    alpha, correction = spec.settings.alpha, spec.settings.correction
    for _ in range(ROUNDS):
        lows, highs = _brackets(found, members)
        levels = undecided(lows, highs, correction, alpha)
        asked = [(one, level) for one, level in zip(members, levels, strict=True) if level]
        for (key, what), level in asked:
            found[key] = refine(key, found[key], what, level)
        if not asked or _brackets(found, members) == (lows, highs):
            break
    brackets = adjust_brackets(*_brackets(found, members), correction)
    corrected = [
        Corrected(p=low if low <= alpha < high else high, is_open=low <= alpha < high)
        for low, high in brackets
    ]
    return Decided(numbers=found, corrected=dict(zip(members, corrected, strict=True)))


def _brackets(
    numbers: Mapping[K, Numbers], members: Sequence[tuple[K, str]]
) -> tuple[list[float], list[float]]:
    """Return the bounds of every p; a sampled one is taken as it is, since nothing proves more."""
    lows, highs = [], []
    for key, what in members:
        found = getattr(numbers[key], what)
        if not isinstance(found, Evidence):
            low = high = 1.0
        else:
            high = found.p_verdict
            low = high if found.p_verdict_method == "sampled" else min(found.p_verdict_low, high)
        lows.append(low)
        highs.append(high)
    return lows, highs


def refined(
    spec: BiasSpec, test: BiasTest, numbers: Numbers, what: str, level: float, memo: Remembered
) -> Numbers:
    """Return the numbers of a test with one p refined for a level of it."""
    plan, measure = plan_of(spec, test), remembering(measure_of(test), memo)
    if numbers.scores is None:
        return numbers
    if what == "effect":
        effect = measure.test(numbers.scores, plan, level)
        return dataclasses.replace(numbers, effect=effect)
    base = numbers.before if what == "growth" else numbers.untrained
    if base is None:
        return numbers
    change = measure.grow(base, numbers.scores, plan, level)
    if what == "growth":
        return dataclasses.replace(numbers, growth=change)
    return dataclasses.replace(numbers, excess=change)
