"""Build the record of a result."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.errors import printable
from pytest_visualbias.evaluation.classifier_scoring import prediction_of
from pytest_visualbias.evaluation.detectable import detectable, smallest_visible
from pytest_visualbias.evaluation.growth_references import basis_by_identity, scores_by_identity
from pytest_visualbias.evaluation.verdict import images_needed
from pytest_visualbias.evaluation.warnings import collect_warnings
from pytest_visualbias.results import (
    AcceptRecord,
    ExcessRecord,
    GrowthRecord,
    ModelRecord,
    PredictionRecord,
    ResultRecord,
    SetRecord,
    ViolationRecord,
)
from pytest_visualbias.spec.effective_settings import (
    effective_settings,
    excess_base,
    is_gated,
    is_origin,
    is_random,
)
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.statistics.classifier_gap import OutcomeResult
from pytest_visualbias.statistics.growth import smallest_growth

if TYPE_CHECKING:
    from pytest_visualbias.errors import Fault
    from pytest_visualbias.evaluation.judging import JudgedFamily, JudgedTest
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, Measurement
    from pytest_visualbias.evaluation.verdict import Violation
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.statistics import ChangeResult
    from pytest_visualbias.stimuli.resolve import StimulusSet

EFFECT_FIELDS = (
    *("n_x", "n_y", "n_a", "n_b", "effect_size", "effect_size_attributes", "effect_judged", "gap"),
    *("ci_low", "ci_high", "p_value", "p_low", "p_high", "p_method", "p_attributes", "p_welch"),
    *("p_verdict", "p_verdict_low", "p_verdict_high", "p_verdict_method", "p_saddlepoint"),
    *("p_crossed", "gap_ci_low", "gap_ci_high", "wide_low", "wide_high", "x_ab", "y_ab"),
)
GROWTH_FIELDS = (
    *("shift", "before", "after", "p_value", "p_attributes", "p_welch", "p_crossed", "p_trials"),
    *("p_verdict", "ci_low", "ci_high", "shift_ci_low", "shift_ci_high", "flipped"),
)


def role_of(file: SpecFile, model: str, test: BiasTest) -> Literal["gated", "reference", "random"]:
    """Return the part that a model plays in a test."""
    if is_random(file.spec.models[model]):
        return "random"
    return "gated" if is_gated(file.spec, model, test) else "reference"


def error_record(
    file: SpecFile,
    model: str,
    test: BiasTest,
    layer: str,
    *,
    nodeid: str,
    reason: str,
    fault: Fault | None = None,
) -> ResultRecord:
    """Return the record of a test that could not be done: no numbers, and why."""
    plan = effective_settings(file.spec, test)
    return ResultRecord(
        nodeid=nodeid,
        spec=file.file,
        spec_digest=file.digest,
        line=file.test_line(test.name),
        test=test.name,
        kind=test.kind,
        model=model,
        layer=layer,
        pooling="",
        role=role_of(file, model, test),
        control=test.control,
        tags=list(test.tags),
        concepts=concepts_of(test),
        labels=dict(file.spec.models[model].labels),
        alpha=plan.alpha,
        alternative=plan.alternative,
        sides=plan.sides if len(test.compared) > 1 else None,
        evidence=plan.evidence,
        correction=file.spec.settings.correction,
        limits=test.limits.model_dump(exclude_none=True),
        outcome="error",
        # What names of files hold must not reach a terminal as its codes.
        reasons=["\n".join(map(printable, reason.split("\n")))],
        fault=fault,
    )


def result_record(
    file: SpecFile,
    subject: EmbeddedModel,
    layer: str,
    tests: JudgedFamily,
    judged: JudgedTest,
    *,
    nodeid: str,
    warnings: tuple[str, ...],
    project: Path,
) -> ResultRecord:
    """Return the record of a judged test."""
    numbers = judged.numbers
    empty = error_record(file, subject.name, judged.test, layer, nodeid=nodeid, reason="")
    point = next(point for point in subject.measured.points if point.name == layer)
    trial = subject.measured.trials[0]
    changes: dict[str, object] = {
        "module": point.module,
        "pooling": point.pooling,
        "read_out": dataclasses.asdict(trial.read_at(point)),
        "accept": _accept(judged),
        "outcome": judged.verdict.outcome,
        "violations": [_violation(violation) for violation in judged.verdict.violations],
        "reasons": list(judged.verdict.reasons),
        "fault": numbers.fault,
        "warnings": [*warnings, *collect_warnings(file, subject, layer, judged)],
        "family_size": tests.size,
        "sets": _sets(numbers, project),
    }
    if numbers.effect is not None and numbers.scores is not None:
        changes |= {name: getattr(numbers.effect, name, None) for name in EFFECT_FIELDS}
        plan = effective_settings(file.spec, judged.test)
        sizes = {role: len(stimuli) for role, stimuli in numbers.sets.items()}
        visible = smallest_visible(file.spec, judged.test, sizes, tests.size)
        changes |= {
            "smallest_detectable_effect": visible[0],
            "smallest_detectable_effect_attributes": visible[1],
            "detectable": detectable(file.spec, judged.test, sizes, tests.size, numbers.effect),
            "images_needed": images_needed(numbers.effect, judged.test.limits, plan.alpha),
            "prediction": _prediction(judged),
            "p_adjusted": judged.p.effect,
            "growth": growth_record(judged),
            "excess": _excess(judged, excess_base(file.spec, judged.test)),
            "trials": _trials(subject, numbers),
            "scores": scores_by_identity(judged.test, numbers),
            "basis": basis_by_identity(judged.test, numbers),
        }
    return ResultRecord.model_validate({**empty.model_dump(), **changes})


def _sets(numbers: Measurement, project: Path) -> dict[str, SetRecord]:
    return {
        role: SetRecord(
            concept=stimuli.concept,
            n=len(stimuli),
            digest=stimuli.digest,
            images=[stimulus.identity for stimulus in stimuli.stimuli],
            names=[stimulus.name for stimulus in stimuli.stimuli],
            folder=_folder(stimuli, project),
            templates=list(stimuli.templates),
            groups={one.name: one.members for one in stimuli.stimuli if one.members} or None,
        )
        for role, stimuli in numbers.sets.items()
    }


def _folder(stimuli: StimulusSet, project: Path) -> str:
    """Return what the names of images are relative to; nothing of stored vectors."""
    for stimulus in stimuli.stimuli:
        path = stimulus.path
        if path is not None and path.as_posix().endswith(f"/{stimulus.name}"):
            # Not resolved: a link is what the spec means by it.
            root = Path(os.path.normpath(path.as_posix().removesuffix(stimulus.name)))
            shown = root.relative_to(project) if root.is_relative_to(project) else root
            return os.fsencode(shown.as_posix()).decode("utf-8", "backslashreplace")
    return ""


def _violation(violation: Violation) -> ViolationRecord:
    return ViolationRecord(
        kind=violation.kind,
        # What is not a number is none in JSON.
        value=violation.value
        if violation.value is not None and math.isfinite(violation.value)
        else None,
        limit=violation.limit,
        evidence=violation.evidence,
    )


def _accept(judged: JudgedTest) -> AcceptRecord | None:
    accept = judged.accept
    if accept is None:
        return None
    fields = ("max_effect", "max_gap", "max_growth", "reason", "until")
    return AcceptRecord.model_validate({name: getattr(accept, name) for name in fields})


def _prediction(judged: JudgedTest) -> PredictionRecord | None:
    numbers = judged.numbers
    asked = prediction_of(judged.test, numbers.target_class, numbers.scores)
    if (
        asked is None
        or numbers.target_class is None
        or not isinstance(numbers.effect, OutcomeResult)
    ):
        return None
    return PredictionRecord.model_validate(
        {
            **asked,
            "name": numbers.target_class.name,
            "rate_x": numbers.effect.rate_x,
            "rate_y": numbers.effect.rate_y,
            "is_blind": numbers.effect.is_blind,
        }
    )


def growth_record(judged: JudgedTest) -> GrowthRecord | None:
    """Return the change of a test since the model that growth is measured from."""
    change = judged.numbers.growth
    if change is None or judged.base is None:
        return None
    shift = judged.numbers.shift
    trials = getattr(change, "trials", None)
    return GrowthRecord.model_validate(
        {
            **_change(change, judged.base, judged.p.growth),
            "shift_p_verdict": None if shift is None else shift.p_verdict,
            "shift_p_adjusted": judged.p.shift,
            "smallest_growth": (
                None if trials is None else smallest_growth(trials, 1 - change.confidence)
            ),
        }
    )


def _excess(judged: JudgedTest, base: str | None) -> ExcessRecord | None:
    change = judged.numbers.excess
    if change is None or base is None:
        return None
    fields = _change(change, base, judged.p.excess)
    untrained = list(judged.numbers.untrained_effects)
    return ExcessRecord.model_validate({**fields, "untrained": untrained})


def _change(change: ChangeResult, base: str, p_adjusted: float | None) -> dict[str, object]:
    return {
        "base": base,
        "value": change.growth,
        "p_adjusted": p_adjusted,
        "p_method": getattr(change, "p_verdict_method", None),
        **{name: getattr(change, name, None) for name in GROWTH_FIELDS},
    }


def _trials(
    subject: EmbeddedModel, numbers: Measurement
) -> dict[str, list[float] | list[str]] | None:
    if not numbers.trials:
        return None
    gaps = [trial.gap for trial in numbers.trials if trial.gap is not None]
    return {
        "labels": [trial.label for trial in subject.measured.trials],
        "effect_size": [trial.effect_size for trial in numbers.trials],
        "effect_judged": [trial.effect_judged for trial in numbers.trials],
        **({"gap": gaps} if gaps else {}),
    }


def model_record(file: SpecFile, subject: EmbeddedModel) -> ModelRecord:
    """Return the record of a model: exactly which weights, and what was done to images."""
    entry = file.spec.models[subject.name]
    trials = subject.measured.trials
    is_reference = any(is_origin(file.spec, subject.name, test) for test in file.spec.tests)
    role = "random" if is_random(entry) else "reference" if is_reference else "gated"
    table = next(iter(trials[0].tables.values()))
    return ModelRecord(
        spec=file.file,
        model=subject.name,
        source=entry.source,
        role=role,
        labels=dict(entry.labels),
        trials=[
            {
                "label": trial.label,
                "fingerprint": trial.fingerprint,
                **({"url": trial.origin} if trial.origin else {}),
                **trial.facts,
            }
            for trial in trials
        ],
        preprocessing=dict(table.preprocessing),
        precision=trials[0].precision,
        description=dict(subject.measured.description),
    )
