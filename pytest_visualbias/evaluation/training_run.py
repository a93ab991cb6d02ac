"""Measure and judge the checkpoints of one training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, SpecError, VisualBiasError, printable
from pytest_visualbias.evaluation.build_result import growth_record
from pytest_visualbias.evaluation.controls import apply_controls
from pytest_visualbias.evaluation.detectable import hidden_limits
from pytest_visualbias.evaluation.family import correct_p_values, declared_family, interval_count
from pytest_visualbias.evaluation.judging import (
    JudgedFamily,
    JudgingContext,
    decision_rule,
    judge_tests,
)
from pytest_visualbias.evaluation.measure_tests import measure_layers
from pytest_visualbias.evaluation.measurement import Measurement
from pytest_visualbias.evaluation.series_verdict import Joint, joined
from pytest_visualbias.evaluation.verdict import Numbers, Verdict, exceeded
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.models.identity import paths_of
from pytest_visualbias.results import PointRecord, SeriesRecord
from pytest_visualbias.spec.effective_settings import axis_of, gates_all, judged_tests, model_points
from pytest_visualbias.spec.model_entries import NetworkEntry
from pytest_visualbias.stimuli.remote.mirror import Mirror

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, GrowthReferences
    from pytest_visualbias.evaluation.verdict import CorrectedP
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.stimuli.resolve import StimulusSet


def judged_together(file: SpecFile, mirror: Mirror | None = None) -> dict[str, int]:
    """Return how many checkpoints of each model are judged together, as far as they are there."""
    context = Context(folder=file.folder, project=file.folder, mirror=mirror or Mirror())
    found = {}
    for name, entry in file.spec.models.items():
        found[name] = 1
        checkpoints = entry.checkpoints if isinstance(entry, NetworkEntry) else None
        if checkpoints is not None and gates_all(entry):
            try:
                found[name] = len(paths_of(checkpoints, context))
            except EncoderError:
                del found[name]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training run."""

    file: SpecFile
    model: str
    steps: tuple[str, ...]
    strict: bool = False

    @property
    def axis(self) -> str:
        """What it counts."""
        return axis_of(self.file.spec.models[self.model]) or ""

    @property
    def gates_all(self) -> bool:
        """Whether each of its checkpoints is judged, and not only the last one."""
        return gates_all(self.file.spec.models[self.model])

    def warnings(self, sets: Mapping[str, StimulusSet]) -> dict[str, tuple[str, ...]]:
        """Return, by test, that its limits cannot fail alone among the p of all checkpoints."""
        spec, count = self.file.spec, len(self.steps)
        if not self.gates_all or count == 1:
            return {}  # said before any model was loaded
        hidden = hidden_limits(spec, {self.model: sets}, checkpoints=count)
        if hidden is None:
            return {}
        fault = self.file.fault(hidden.path, hidden.message)
        if self.strict:
            raise SpecError([fault])
        return {test: (str(fault),) for _, test in hidden.tests}

    def named(self, step: str, trial: Trial | None = None) -> str:
        """Return a checkpoint as people know it."""
        return f"{self.axis} {step}" + ("" if trial is None else f" ({printable(trial.label)})")


FIELDS = (
    *("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "ci_high"),
    *("p_value", "p_attributes", "p_welch", "p_crossed", "p_verdict"),
)


def point_of(
    spec: BiasSpec, label: str, trial: Trial, judged: JudgedTest, *, is_gated: bool
) -> PointRecord:
    """Return one test of one checkpoint."""
    growth = growth_record(judged)
    if growth is not None and not is_gated:
        growth = growth.model_copy(update={"p_adjusted": None})
    effect = judged.numbers.effect
    return PointRecord.model_validate(
        {
            "label": label,
            "checkpoint": trial.label,
            "digest": trial.facts.get("checkpoint", ""),
            "fingerprint": trial.fingerprint,
            **{name: getattr(effect, name, None) for name in FIELDS},
            "p_adjusted": judged.p.effect if is_gated else None,
            "growth": growth,
            "over": _over(spec, judged),
            "outcome": judged.verdict.outcome,
        }
    )


def _over(spec: BiasSpec, judged: JudgedTest) -> dict[str, bool]:
    """Return the limits that a checkpoint is over; what is invalid says nothing."""
    effect, test = judged.numbers.effect, judged.test
    if effect is None or test.is_positive or judged.verdict.outcome in ("invalid", "error"):
        return {}
    numbers = judged.numbers
    violations = exceeded(
        Numbers(effect=effect, growth=numbers.growth, excess=numbers.excess),
        decision_rule(spec, test),
        judged.p,
    )
    return {
        f"max_{violation.kind}": violation.evidence for violation in violations if violation.exceeds
    }


def series_of(
    spec: BiasSpec, axis: str, points: Sequence[PointRecord], *, is_gated: bool
) -> SeriesRecord:
    """Return a test over its checkpoints, with the first that is over each limit."""
    over = [(limit, point.label) for point in points for limit in point.over]
    evident = [(limit, one.label) for one in points for limit, shown in one.over.items() if shown]
    return SeriesRecord(
        axis=axis,
        gate="all" if is_gated else "last",
        correction=spec.settings.correction if is_gated else "none",
        points=list(points),
        first_over=dict(reversed(over)),
        first_evident=dict(reversed(evident)),
    )


# Of more checkpoints that could not be measured, the rest is counted.
NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """The judged tests of a model by layer; of a training run, every test over its checkpoints."""

    families: Mapping[str, JudgedFamily]
    series: Mapping[tuple[str, str], SeriesRecord] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def judged(self, layer: str, test: str) -> JudgedTest:
        """Return one judged test."""
        results = self.families[layer].results
        return next(result for result in results if result.test.name == test)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Step:
    """One checkpoint at one layer: its numbers, and whose they are."""

    label: str
    trial: Trial
    context: JudgingContext
    measured: Mapping[str, Measurement]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Corrected:
    """The corrected p-values of a series."""

    p: Mapping[tuple[int, str], Mapping[str, CorrectedP]]
    size: int


def trajectory(
    run: Run,
    subject_of: Callable[[str], EmbeddedModel],
    earlier: GrowthReferences,
    *,
    today: dt.date,
    threads: int = 1,
) -> Evaluation:
    """Measure and judge every checkpoint of a series."""
    layers = [point.name for point in model_points(run.file.spec, {})]
    warnings = run.warnings(subject_of(run.steps[-1]).sets.sets)
    measured = [
        _measure(run, label, subject_of, earlier, today=today, threads=threads)
        for label in run.steps
    ]
    families: dict[str, JudgedFamily] = {}
    series: dict[tuple[str, str], SeriesRecord] = {}
    family = _family(run, measured)
    judge = _all if run.gates_all else _last
    for index, layer in enumerate(layers):
        steps = [at_layers[index] for at_layers in measured]
        families[layer], over_steps = judge(run, steps, family)
        tests = judged_tests(run.file.spec, layer)
        for test, results in zip(tests, zip(*over_steps, strict=True), strict=True):
            series[layer, test.name] = _over_steps(run, steps, results)
    return Evaluation(families=families, series=series, warnings=warnings)


def _family(run: Run, measured: Sequence[Sequence[_Step]]) -> _Corrected:
    """Return the p-values of all gated checkpoints, corrected at all gated layers together."""
    spec = run.file.spec
    steps = [*enumerate(measured)] if run.gates_all else [(len(measured) - 1, measured[-1])]
    declared = declared_family(spec, run.model)
    members = [((at, layer), name, kind) for at, _ in steps for layer, name, kind in declared]
    numbers = {(at, step.context.layer): step.measured for at, layers in steps for step in layers}
    intervals = len(steps) * interval_count(spec, run.model)
    p_values = correct_p_values(spec, members, numbers, intervals)
    return _Corrected(p=p_values, size=len(members))


def _over_steps(run: Run, steps: Sequence[_Step], results: Sequence[JudgedTest]) -> SeriesRecord:
    spec, is_gated = run.file.spec, run.gates_all
    points = [
        point_of(spec, step.label, step.trial, judged, is_gated=is_gated)
        for step, judged in zip(steps, results, strict=True)
    ]
    return series_of(spec, run.axis, points, is_gated=is_gated)


def _measure(
    run: Run,
    label: str,
    subject_of: Callable[[str], EmbeddedModel],
    earlier: GrowthReferences,
    *,
    today: dt.date,
    threads: int,
) -> list[_Step]:
    """Measure one checkpoint at every layer; its embeddings are dropped on return."""
    try:
        subject = subject_of(label)
    except VisualBiasError as error:
        is_named = isinstance(error, EncoderError) and error.key  # the message names the step
        if label == run.steps[-1] or is_named:
            raise
        raise type(error)(f"{run.named(label)}: {error}") from None
    trial = dataclasses.replace(subject.measured.trials[0], tables={})
    steps = []
    for layer, measured in measure_layers(run.file, subject, earlier, threads=threads).items():
        context = JudgingContext(
            file=run.file, model=run.model, layer=layer, references=earlier, today=today
        )
        steps.append(_Step(label=label, trial=trial, context=context, measured=measured))
    return steps


def _last(
    run: Run, steps: Sequence[_Step], family: _Corrected
) -> tuple[JudgedFamily, list[tuple[JudgedTest, ...]]]:
    """Judge the last checkpoint as a model without a series, and each alone, uncorrected."""
    *_, last = steps
    layer = last.context.layer
    results = _judge(last.context, last, family.p[len(steps) - 1, layer])
    alone = _without_waivers(run.file, correction="none")
    members = [member for member in declared_family(run.file.spec, run.model) if member[0] == layer]
    over_steps = []
    for step in steps:
        p_values = correct_p_values(alone.spec, members, {layer: step.measured})[layer]
        over_steps.append(_judge(dataclasses.replace(step.context, file=alone), step, p_values))
    with_errors = _unmeasured(run, steps, over_steps, results)
    return JudgedFamily(results=with_errors, size=family.size), over_steps


def _all(
    run: Run, steps: Sequence[_Step], family: _Corrected
) -> tuple[JudgedFamily, list[tuple[JudgedTest, ...]]]:
    """Judge all checkpoints, by p corrected over all of them together."""
    bare = _without_waivers(run.file, correction=run.file.spec.settings.correction)
    judged = []
    for at, step in enumerate(steps):
        p_values = family.p[at, step.context.layer]
        without_waivers = dataclasses.replace(step.context, file=bare)
        judged.append(
            (_judge(step.context, step, p_values), _judge(without_waivers, step, p_values))
        )
    joint = Joint(axis=run.axis, labels=tuple(step.label for step in steps))
    over_steps, results = joined(joint, judged)
    with_errors = _unmeasured(run, steps, over_steps, results)
    return JudgedFamily(results=with_errors, size=family.size), over_steps


def _judge(
    context: JudgingContext, step: _Step, p_values: Mapping[str, CorrectedP]
) -> tuple[JudgedTest, ...]:
    """Judge a checkpoint at a layer and apply positive controls."""
    return apply_controls(context, judge_tests(context, step.measured, p_values))


def _without_waivers(file: SpecFile, *, correction: str) -> SpecFile:
    """Return a spec whose tests have no waivers, with a correction in the place of its own."""
    spec = file.spec
    settings = spec.settings.model_copy(update={"correction": correction})
    tests = tuple(test.model_copy(update={"accept": None}) for test in spec.tests)
    return dataclasses.replace(
        file, spec=spec.model_copy(update={"settings": settings, "tests": tests})
    )


def _unmeasured(
    run: Run,
    steps: Sequence[_Step],
    over_steps: Sequence[tuple[JudgedTest, ...]],
    results: tuple[JudgedTest, ...],
) -> tuple[JudgedTest, ...]:
    """Return the results, an error where an earlier checkpoint could not be tested."""
    return tuple(
        map(partial(_or_error, run, steps), results, zip(*over_steps, strict=True)),
    )


def _or_error(
    run: Run, steps: Sequence[_Step], judged: JudgedTest, judged_tests: tuple[JudgedTest, ...]
) -> JudgedTest:
    problems = [
        f"{run.named(step.label, step.trial)}: {one.numbers.problem or 'not measured'}"
        for step, one in zip(steps[:-1], judged_tests, strict=False)
        if one.verdict.outcome == "error"
    ]
    if not problems:
        return judged
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    problem = "; ".join(problems[:NAMED]) + more
    return dataclasses.replace(
        judged,
        numbers=Measurement(sets={}, problem=problem),
        verdict=Verdict(outcome="error", notes=(problem,)),
    )
