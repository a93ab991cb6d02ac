"""All tests of one spec, model and layer: numbers, corrected p, verdicts, controls."""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.deciding import decide
from pytest_visualbias.pipeline.excess import untrained_models, with_excess
from pytest_visualbias.pipeline.judging import rule_of, verdict_of, waiver_of
from pytest_visualbias.pipeline.numbers import numbers_of
from pytest_visualbias.pipeline.power import declared_family
from pytest_visualbias.pipeline.remembered import Remembered
from pytest_visualbias.spec.roles import growth_base, is_random
from pytest_visualbias.verdict import Verdict, judge_control

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import Accept, BiasTest

__all__ = ["Family", "Judged", "family"]

# Each may hold some 100 MB for a while.
_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """One test of a family with its verdict.

    Attributes
    ----------
    test : BiasTest
        The test.
    numbers : Numbers
        What was computed.
    verdict : Verdict
        Its outcome.
    base : str or None
        The model that growth is measured from.
    accept : Accept or None
        The waiver in force, or past its day.
    p_adjusted, growth_p_adjusted, excess_p_adjusted : float or None
        The verdict's p, corrected over the family, where a limit uses it.
    is_open : bool
        Whether one of them could only be bracketed with alpha inside; its lower end decides then.
    """

    test: BiasTest
    numbers: Numbers
    verdict: Verdict
    base: str | None
    accept: Accept | None
    p_adjusted: float | None
    growth_p_adjusted: float | None
    excess_p_adjusted: float | None
    is_open: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Family:
    """All tests of one spec, model and layer, in the order of the spec."""

    results: tuple[Judged, ...]
    size: int


def family(
    file: SpecFile,
    subject: Subject,
    layer: str,
    base: Callable[[str], Subject],
    *,
    today: dt.date,
    threads: int = 1,
    cache: Path | None = None,
) -> Family:
    """Test and judge everything that a spec declares for a model and a layer.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    layer : str
        The name of the layer.
    base : callable
        Gives the model of a name, to measure growth from; called only where it is needed.
    today : date
        Of the run, in UTC: waivers end.
    threads : int
        Tests computed at a time; numbers do not depend on it.
    cache : Path or None
        Folder in which results are kept, to be found again from the very same numbers.

    Returns
    -------
    Family
        The correction runs over everything declared; a member that errs counts with p = 1.
    """
    spec = file.spec
    memo = Remembered(cache, spec=file.file, model=subject.name, layer=layer)
    numbers = _numbers(file, subject, layer, base, memo, threads)
    members = declared_family(spec, subject.name)
    decided = decide(spec, numbers, members, memo)
    results = []
    for test in spec.tests:
        found = decided.numbers[test.name]
        effect = decided.corrected.get((test.name, "effect"))
        growth = decided.corrected.get((test.name, "growth"))
        excess = decided.corrected.get((test.name, "excess"))
        p, growth_p, excess_p = (
            one.p if one is not None else None for one in (effect, growth, excess)
        )
        waiver = waiver_of(spec, subject.name, test, layer, today)
        judged = Judged(
            test=test,
            numbers=found,
            verdict=verdict_of(
                *(spec, subject.name, test, found, waiver),
                p_adjusted=p,
                growth_p_adjusted=growth_p,
                excess_p_adjusted=excess_p,
            ),
            base=growth_base(spec, test, subject.name),
            accept=waiver.accept if waiver is not None else None,
            p_adjusted=p,
            growth_p_adjusted=growth_p,
            excess_p_adjusted=excess_p,
            is_open=any(one is not None and one.is_open for one in (effect, growth, excess)),
        )
        results.append(judged)
    failed = [one.test for one in results if one.test.is_positive and one.verdict.outcome != "pass"]
    before = _failed_before(file, subject, layer, base, memo)
    memo.save()
    judged_all = tuple(_under(one, failed, before) for one in results)
    return Family(results=judged_all, size=len(members))


def _numbers(
    file: SpecFile,
    subject: Subject,
    layer: str,
    base: Callable[[str], Subject],
    memo: Remembered,
    threads: int,
) -> dict[str, Numbers]:
    """Compute all tests; what takes long there, sorting and adding, lets other threads run."""
    own = (growth_base(file.spec, test, subject.name) for test in file.spec.tests)
    bases = {name for name in own if name is not None}
    grows = not is_random(file.spec.models[subject.name])
    needed = (bases - {subject.name} if grows else set()) | untrained_models(file, subject)
    for name in sorted(needed):
        with contextlib.suppress(VisualBiasError):  # said by the tests that need it
            base(name)  # measured here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        found = pool.map(
            lambda test: with_excess(
                *(file, subject, test, layer, base),
                numbers_of(file, subject, test, layer, base, memo),
                memo,
            ),
            file.spec.tests,
        )
        return {test.name: one for test, one in zip(file.spec.tests, found, strict=True)}


def _failed_before(
    file: SpecFile,
    subject: Subject,
    layer: str,
    base: Callable[[str], Subject],
    memo: Remembered,
) -> list[tuple[str, BiasTest]]:
    """Return the controls that fail in the models that growth is measured from."""
    growing = (test for test in file.spec.tests if test.limits.on_growth)
    names = {growth_base(file.spec, test, subject.name) for test in growing} - {None, subject.name}
    failed = []
    for name in sorted(filter(None, names)):
        for control in (test for test in file.spec.tests if test.is_positive):
            try:
                found = numbers_of(file, base(name), control, layer, base, memo)
            except VisualBiasError:
                continue  # said by the tests that need it
            if is_random(file.spec.models[name]):
                continue
            rule = rule_of(file.spec, control)
            effect = found.effect
            holds = (
                effect is not None
                and judge_control(effect, rule, held_before=False).outcome == "pass"
            )
            if not holds:
                failed.append((name, control))
    return failed


def _under(judged: Judged, failed: list[BiasTest], before: list[tuple[str, BiasTest]]) -> Judged:
    """Return a result, invalid where a failed positive control speaks for it."""
    if judged.test.is_positive or judged.verdict.outcome == "error":
        return judged
    for control in failed:
        if _speaks_for(control, judged.test):
            reason = f"the positive control '{control.name}' did not show its effect"
            return _invalid(judged, reason)
    for name, control in before:
        if (
            judged.base == name
            and judged.test.limits.on_growth
            and _speaks_for(control, judged.test)
        ):
            reason = f"the positive control '{control.name}' failed in '{name}': no growth from it"
            return _invalid(judged, reason)
    return judged


def _invalid(judged: Judged, reason: str) -> Judged:
    verdict = Verdict(outcome="invalid", reasons=(reason,))
    return dataclasses.replace(judged, verdict=verdict)


def _speaks_for(control: BiasTest, test: BiasTest) -> bool:
    shares_attributes = test.attributes is not None and control.attributes == test.attributes
    return control.scope == "model" or shares_attributes
