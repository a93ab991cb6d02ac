"""Measure and judge the checkpoints of one training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, SpecError, VisualBiasError, printable
from pytest_visualbias.evaluation.build_result import growth_record, shared_fields
from pytest_visualbias.evaluation.controls import apply_controls
from pytest_visualbias.evaluation.detectable import hidden_limits
from pytest_visualbias.evaluation.family import correct_p_values, declared_family, interval_count
from pytest_visualbias.evaluation.judging import (
    RECORDED,
    JudgedFamily,
    JudgingContext,
    decision_rule,
    judge_tests,
)
from pytest_visualbias.evaluation.measure_tests import measure_layers
from pytest_visualbias.evaluation.measurement import Measurement
from pytest_visualbias.evaluation.verdict import Numbers, Verdict, exceeded
from pytest_visualbias.results import PointRecord, SeriesRecord, format_exceeding
from pytest_visualbias.spec.effective_settings import (
    axis_of,
    format_steps,
    gates_all,
    judged_tests,
    model_points,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, GrowthReferences
    from pytest_visualbias.evaluation.verdict import CorrectedP, Kind, Outcome, Violation
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.stimuli.resolve import StimulusSet

    # Corrected p-values by the index of the checkpoint and the layer, and then by test.
    PValues = Mapping[tuple[int, str], Mapping[str, CorrectedP]]
    # Results of a layer, and those of every checkpoint.
    JudgedSeries = tuple[tuple[JudgedTest, ...], list[tuple[JudgedTest, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training run."""

    file: SpecFile
    model: str
    steps: tuple[str, ...]
    strict: bool = False

    @property
    def axis(self) -> str:
        """The unit of its steps, such as epoch."""
        return axis_of(self.file.spec.models[self.model]) or ""

    @property
    def gates_all(self) -> bool:
        """Whether each checkpoint is judged, not only the last."""
        return gates_all(self.file.spec.models[self.model])

    def warnings(self, sets: Mapping[str, StimulusSet]) -> dict[str, tuple[str, ...]]:
        """Return warnings by test about limits that cannot fail among the p of all checkpoints."""
        spec, count = self.file.spec, len(self.steps)
        if not self.gates_all or count == 1:
            return {}  # the preflight warns
        hidden = hidden_limits(spec, {self.model: sets}, checkpoints=count)
        if hidden is None:
            return {}
        fault = self.file.fault(hidden.path, hidden.message)
        if self.strict:
            raise SpecError([fault])
        return {test: (str(fault),) for _, test in hidden.tests}

    def named(self, step: str, trial: Trial | None = None) -> str:
        """Return a checkpoint as text."""
        return f"{self.axis} {step}" + ("" if trial is None else f" ({printable(trial.label)})")


def _point(spec: BiasSpec, step: _Step, judged: JudgedTest, *, is_gated: bool) -> PointRecord:
    """Return one test of one checkpoint."""
    growth = growth_record(judged)
    if growth is not None and not is_gated:
        growth = growth.model_copy(update={"p_adjusted": None})
    effect = judged.numbers.effect
    return PointRecord.model_validate(
        {
            **dict.fromkeys(PointRecord.model_fields),  # null if it could not be measured
            **({} if effect is None else shared_fields(effect, PointRecord)),
            "label": step.label,
            "checkpoint": step.trial.label,
            "digest": step.trial.facts.get("checkpoint", ""),
            "fingerprint": step.trial.fingerprint,
            "p_adjusted": judged.p.effect if is_gated else None,
            "growth": growth,
            "over": _over(spec, judged),
            "outcome": judged.verdict.outcome,
        }
    )


def _over(spec: BiasSpec, judged: JudgedTest) -> dict[str, bool]:
    """Return the limits that a checkpoint exceeds; none for an invalid result."""
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


def _series(run: Run, steps: Sequence[_Step], results: Sequence[JudgedTest]) -> SeriesRecord:
    """Return a test over its checkpoints, with the first that exceeds each limit."""
    spec, is_gated = run.file.spec, run.gates_all
    points = [
        _point(spec, step, judged, is_gated=is_gated)
        for step, judged in zip(steps, results, strict=True)
    ]
    exceeded_limits = [
        (limit, point.label, has_evidence)
        for point in points
        for limit, has_evidence in point.over.items()
    ]
    exceeded_limits.reverse()  # so that the first checkpoint stays in the mappings
    return SeriesRecord(
        axis=run.axis,
        gate="all" if is_gated else "last",
        correction=spec.settings.correction if is_gated else "none",
        points=points,
        first_over={limit: label for limit, label, _ in exceeded_limits},
        first_evident={
            limit: label for limit, label, has_evidence in exceeded_limits if has_evidence
        },
    )


# Further checkpoints that could not be measured are only counted.
NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """The judged tests of a model by layer, and the series of a training run."""

    families: Mapping[str, JudgedFamily]
    series: Mapping[tuple[str, str], SeriesRecord] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Step:
    """One checkpoint at one layer with its measurements."""

    label: str
    trial: Trial
    context: JudgingContext
    measured: Mapping[str, Measurement]


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
    p_values, size = _correct(run, measured)
    judge = _judge_all if run.gates_all else _judge_last
    for index, layer in enumerate(layers):
        steps = [at_layers[index] for at_layers in measured]
        results, over_steps = judge(run, steps, p_values)
        judged_by_test = zip(*over_steps, strict=True)
        results = tuple(map(partial(_or_error, run, steps), results, judged_by_test))
        families[layer] = JudgedFamily(results=results, size=size)
        tests = judged_tests(run.file.spec, layer)
        for test, judged in zip(tests, zip(*over_steps, strict=True), strict=True):
            series[layer, test.name] = _series(run, steps, judged)
    return Evaluation(families=families, series=series, warnings=warnings)


def _correct(run: Run, measured: Sequence[Sequence[_Step]]) -> tuple[PValues, int]:
    """Return the p-values of all gated checkpoints, corrected at all gated layers together."""
    spec = run.file.spec
    steps = [*enumerate(measured)] if run.gates_all else [(len(measured) - 1, measured[-1])]
    declared = declared_family(spec, run.model)
    members = [((at, layer), name, kind) for at, _ in steps for layer, name, kind in declared]
    numbers = {(at, step.context.layer): step.measured for at, layers in steps for step in layers}
    intervals = len(steps) * interval_count(spec, run.model)
    return correct_p_values(spec, members, numbers, intervals), len(members)


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
        is_located = isinstance(error, SpecError) or (isinstance(error, EncoderError) and error.key)
        if label == run.steps[-1] or is_located:
            raise
        statement = f"{run.named(label)}: {error.statement}"
        raise type(error)(statement, error.remedy) from None
    trial = dataclasses.replace(subject.measured.trials[0], tables={})
    steps = []
    for layer, measured in measure_layers(run.file, subject, earlier, threads=threads).items():
        context = JudgingContext(
            file=run.file, model=run.model, layer=layer, references=earlier, today=today
        )
        steps.append(_Step(label=label, trial=trial, context=context, measured=measured))
    return steps


def _judge_last(run: Run, steps: Sequence[_Step], p_values: PValues) -> JudgedSeries:
    """Judge the last checkpoint as a model without a series, and each alone, uncorrected."""
    *_, last = steps
    layer = last.context.layer
    results = _judge(last.context, last, p_values[len(steps) - 1, layer])
    alone = _without_waivers(run.file, correction="none")
    members = [member for member in declared_family(run.file.spec, run.model) if member[0] == layer]
    over_steps = []
    for step in steps:
        uncorrected = correct_p_values(alone.spec, members, {layer: step.measured})[layer]
        over_steps.append(_judge(dataclasses.replace(step.context, file=alone), step, uncorrected))
    return results, over_steps


def _judge_all(run: Run, steps: Sequence[_Step], p_values: PValues) -> JudgedSeries:
    """Judge all checkpoints, by p corrected over all of them together."""
    bare = _without_waivers(run.file, correction=run.file.spec.settings.correction)
    judged = []
    for at, step in enumerate(steps):
        corrected = p_values[at, step.context.layer]
        without_waivers = dataclasses.replace(step.context, file=bare)
        judged.append(
            (_judge(step.context, step, corrected), _judge(without_waivers, step, corrected))
        )
    joint = Joint(axis=run.axis, labels=tuple(step.label for step in steps))
    over_steps, results = joined(joint, judged)
    return results, over_steps


def _judge(
    context: JudgingContext, step: _Step, p_values: Mapping[str, CorrectedP]
) -> tuple[JudgedTest, ...]:
    """Judge a checkpoint at a layer and apply positive controls."""
    return apply_controls(context, judge_tests(context, step.measured, p_values))


def _without_waivers(file: SpecFile, *, correction: str) -> SpecFile:
    """Return a spec without waivers and with another correction."""
    spec = file.spec
    settings = spec.settings.model_copy(update={"correction": correction})
    tests = tuple(test.model_copy(update={"accept": None}) for test in spec.tests)
    return dataclasses.replace(
        file, spec=spec.model_copy(update={"settings": settings, "tests": tests})
    )


def _or_error(
    run: Run, steps: Sequence[_Step], judged: JudgedTest, judged_tests: tuple[JudgedTest, ...]
) -> JudgedTest:
    """Return a result, or an error if an earlier checkpoint could not be tested."""
    problems = [
        f"{run.named(step.label, step.trial)}: {earlier.numbers.problem or 'not measured'}"
        for step, earlier in zip(steps[:-1], judged_tests, strict=False)
        if earlier.verdict.outcome == "error"
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


# With more different reasons, only the first two and the last are shown.
SHOWN_REASONS = 5

# Worst first.
ORDER: tuple[Outcome, ...] = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")

# The order of limits in a verdict.
KINDS: tuple[Kind, ...] = ("effect", "gap", "growth", "shift", "excess")
Both = tuple["tuple[JudgedTest, ...]", "tuple[JudgedTest, ...]"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """The checkpoints of a series."""

    axis: str
    labels: tuple[str, ...]

    def named(self, some: Sequence[str]) -> str:
        """Return some checkpoints as text."""
        return format_steps(self.axis, self.labels, some)


def joined(
    joint: Joint, judged: Sequence[Both]
) -> tuple[list[tuple[JudgedTest, ...]], tuple[JudgedTest, ...]]:
    """Return the verdict of every test at every checkpoint, and of every test over all."""
    by_test = [zip(*pair, strict=True) for pair in judged]
    over_steps = [*zip(*(_with_waiver(steps) for steps in zip(*by_test, strict=True)), strict=True)]
    last = judged[-1][0]
    results = tuple(
        _worst(joint, [step[index] for step in over_steps], last[index])
        for index in range(len(last))
    )
    return over_steps, results


def _with_waiver(steps: Sequence[tuple[JudgedTest, JudgedTest]]) -> list[JudgedTest]:
    """Return a test at every checkpoint, with its waiver if it is needed there."""
    is_needed = any(_needs_waiver(waived, bare) for waived, bare in steps)
    return [
        bare
        if bare.verdict.outcome == "pass" or (is_needed and not _needs_waiver(waived, bare))
        else waived
        for waived, bare in steps
    ]


def _needs_waiver(waived: JudgedTest, bare: JudgedTest) -> bool:
    sizes = waived.accept.sizes(waived.test.limits) if waived.accept is not None else {}
    return any(violation.kind in sizes for violation in bare.verdict.violations)


def _worst(joint: Joint, judged_tests: Sequence[JudgedTest], last: JudgedTest) -> JudgedTest:
    """Return the last checkpoint's result with the worst verdict and its checkpoints."""
    worst = min((judged.verdict.outcome for judged in judged_tests), key=ORDER.index)
    if worst == "pass":
        return last
    verdicts = {
        label: judged.verdict
        for label, judged in zip(joint.labels, judged_tests, strict=True)
        if judged.verdict.outcome == worst
    }
    return dataclasses.replace(last, verdict=_joint(joint, worst, verdicts))


def _joint(joint: Joint, outcome: Outcome, verdicts: dict[str, Verdict]) -> Verdict:
    """Join verdicts: each limit with its worst value, each sentence with its checkpoints."""
    limits: dict[tuple[Kind, bool], dict[str, Violation]] = {}
    sentences: dict[str, list[str]] = {}
    with_sentence: dict[str, Violation] = {}
    for label, verdict in verdicts.items():
        for violation in verdict.violations:
            if violation.sentence:
                with_sentence[violation.sentence] = violation
                sentences.setdefault(violation.sentence, []).append(label)
            else:
                limits.setdefault((violation.kind, violation.evidence), {})[label] = violation
        for note in verdict.notes:
            sentences.setdefault(note, []).append(label)
    is_recorded = sentences.pop(RECORDED, None) is not None
    violations = [
        _limit(joint, limits[key]) for key in sorted(limits, key=lambda key: KINDS.index(key[0]))
    ]
    notes = []
    for sentence, labels in _some(sentences).items():
        text = f"{sentence} at {joint.named(labels)}"
        if sentence in with_sentence:
            violations.append(dataclasses.replace(with_sentence[sentence], sentence=text))
        else:
            notes.append(text)
    if between := _between(sentences):
        notes.append(f"and so at {between} checkpoints between")
    if is_recorded:
        notes.append(RECORDED)
    return Verdict(outcome=outcome, violations=tuple(violations), notes=tuple(notes))


def _limit(joint: Joint, by_label: dict[str, Violation]) -> Violation:
    """Return the worst violation of a limit, with the checkpoints that exceed it."""
    label, worst = max(by_label.items(), key=lambda pair: abs(pair[1].value or 0.0))
    if len(by_label) == 1:
        return dataclasses.replace(worst, sentence=f"{worst.reason} at {joint.named([label])}")
    without = "" if worst.evidence else ", but without evidence"
    shown = format_exceeding(worst.value or 0.0, worst.limit)
    text = (
        f"{worst.kind} over {worst.limit:g} at {joint.named([*by_label])}, worst {shown} at "
        f"{label}{without} ({worst.detail})"
    )
    return dataclasses.replace(worst, sentence=text)


def _some(sentences: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the sentences to show: of many, the first two and the last."""
    if len(sentences) <= SHOWN_REASONS:
        return sentences
    items = [*sentences.items()]
    return dict([*items[:2], items[-1]])


def _between(sentences: dict[str, list[str]]) -> int:
    """Return how many checkpoints have sentences that are not shown."""
    hidden = sentences.keys() - _some(sentences).keys()
    return len({label for sentence in hidden for label in sentences[sentence]})
