"""All tests of one spec, model and layer: numbers, corrected p, verdicts, controls."""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.deciding import decide
from pytest_visualbias.pipeline.measures import measure_of
from pytest_visualbias.pipeline.numbers import numbers_of
from pytest_visualbias.pipeline.power import declared_family, plan_of
from pytest_visualbias.pipeline.recorded import BASELINE, origin_models, origin_name
from pytest_visualbias.pipeline.remembered import Remembered
from pytest_visualbias.spec.roles import is_gated, is_random
from pytest_visualbias.verdict import Rule, Verdict, judge, judge_control

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.pipeline.recorded import Earlier
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasTest

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
        The model that growth is measured from, or ``baseline``.
    p_adjusted, growth_p_adjusted : float or None
        The verdict's p, corrected over the family, where a limit uses it.
    is_open : bool
        Whether one of them could only be bracketed with alpha inside; its lower end decides then.
    """

    test: BiasTest
    numbers: Numbers
    verdict: Verdict
    base: str | None
    p_adjusted: float | None
    growth_p_adjusted: float | None
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
    earlier: Earlier,
    *,
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
    earlier : Earlier
        What growth may be measured from.
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
    numbers = _numbers(file, subject, layer, earlier, memo, threads)
    members = declared_family(spec, subject.name)
    decided = decide(spec, numbers, members, memo)
    results = []
    for test in spec.tests:
        found = decided.numbers[test.name]
        effect = decided.corrected.get((test.name, "effect"))
        growth = decided.corrected.get((test.name, "growth"))
        p, growth_p = (one.p if one is not None else None for one in (effect, growth))
        judged = Judged(
            test=test,
            numbers=found,
            verdict=_marked(_verdict(file, subject, test, found, p, growth_p), found),
            base=origin_name(spec, subject.name, test, earlier.baseline),
            p_adjusted=p,
            growth_p_adjusted=growth_p,
            is_open=any(one is not None and one.is_open for one in (effect, growth)),
        )
        results.append(judged)
    failed = [one.test for one in results if one.test.control and one.verdict.outcome != "pass"]
    before = [
        *_failed_before(file, subject, layer, earlier, memo),
        *_failed_when_recorded(file, results),
    ]
    memo.save()
    judged_all = tuple(_under(one, failed, before) for one in results)
    return Family(results=judged_all, size=len(members))


def _numbers(
    file: SpecFile,
    subject: Subject,
    layer: str,
    earlier: Earlier,
    memo: Remembered,
    threads: int,
) -> dict[str, Numbers]:
    """Compute all tests; what takes long there, sorting and adding, lets other threads run."""
    spec = file.spec
    for name in sorted(origin_models(spec, subject.name, spec.tests, earlier.baseline)):
        with contextlib.suppress(VisualBiasError):  # said by the tests that need it
            earlier.models(name)  # measured here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        found = pool.map(
            lambda test: numbers_of(file, subject, test, layer, earlier, memo), spec.tests
        )
        return {test.name: one for test, one in zip(spec.tests, found, strict=True)}


def _rule(file: SpecFile, test: BiasTest) -> Rule:
    plan = plan_of(file.spec, test)
    return Rule(
        limits=test.limits,
        evidence=plan.evidence,
        alternative=plan.alternative,
        alpha=plan.alpha,
    )


def _verdict(
    file: SpecFile,
    subject: Subject,
    test: BiasTest,
    found: Numbers,
    p_adjusted: float | None,
    growth_p_adjusted: float | None,
) -> Verdict:
    if found.problem is not None or found.effect is None:
        return Verdict(outcome="error", reasons=(found.problem or "not measured",))
    rule = _rule(file, test)
    if is_random(file.spec.models[subject.name]):
        return Verdict(outcome="pass", reasons=("random control, reported only",))
    if test.control:
        return judge_control(found.effect, rule, held_before=_held_before(found, rule))
    if not is_gated(file.spec, subject.name, test):
        return Verdict(outcome="pass", reasons=("reference, reported only",))
    if test.limits.on_growth and (reason := _not_comparable(found)) is not None:
        return Verdict(outcome="fail", reasons=(reason,))
    return judge(
        found.effect,
        found.growth,
        rule,
        p_adjusted=p_adjusted,
        growth_p_adjusted=growth_p_adjusted,
    )


def _not_comparable(found: Numbers) -> str | None:
    """Return why there is no growth, where what it is measured from is missing or unlike."""
    if found.unlike is None:
        return found.unrecorded
    return f"not_comparable: before and after differ in {found.unlike}; make them alike"


def _marked(verdict: Verdict, found: Numbers) -> Verdict:
    """Return a verdict that says where its numbers are about to be recorded."""
    if not found.is_recorded or verdict.outcome == "error":
        return verdict
    return dataclasses.replace(verdict, reasons=(*verdict.reasons, "recorded"))


def _held_before(found: Numbers, rule: Rule) -> bool:
    """Whether the model before was over the least effect of a control."""
    if found.growth is None:
        return False
    before = found.growth.before
    return (-before if rule.alternative == "less" else before) >= (rule.limits.min_effect or 0)


def _failed_before(
    file: SpecFile,
    subject: Subject,
    layer: str,
    earlier: Earlier,
    memo: Remembered,
) -> list[tuple[str, BiasTest]]:
    """Return the controls that fail in the models that growth is measured from."""
    growing = [test for test in file.spec.tests if test.limits.on_growth]
    names = origin_models(file.spec, subject.name, growing, earlier.baseline)
    failed = []
    for name in sorted(names):
        for control in (test for test in file.spec.tests if test.control):
            try:
                found = numbers_of(file, earlier.models(name), control, layer, earlier, memo)
            except VisualBiasError:
                continue  # said by the tests that need it
            if is_random(file.spec.models[name]):
                continue
            rule = _rule(file, control)
            effect = found.effect
            holds = (
                effect is not None
                and judge_control(effect, rule, held_before=False).outcome == "pass"
            )
            if not holds:
                failed.append((name, control))
    return failed


def _failed_when_recorded(file: SpecFile, results: Sequence[Judged]) -> list[tuple[str, BiasTest]]:
    """Return the controls that had failed in the recorded results, as far as there are any."""
    failed = []
    for one in results:
        if one.test.control is None or one.base != BASELINE or one.numbers.before is None:
            continue
        measure = measure_of(one.test)
        effect = measure.test(one.numbers.before, plan_of(file.spec, one.test), None)
        rule = _rule(file, one.test)
        if judge_control(effect, rule, held_before=False).outcome != "pass":
            failed.append((BASELINE, one.test))
    return failed


def _under(judged: Judged, failed: list[BiasTest], before: list[tuple[str, BiasTest]]) -> Judged:
    """Return a result, invalid where a failed positive control speaks for it."""
    if judged.test.control or judged.verdict.outcome == "error":
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
