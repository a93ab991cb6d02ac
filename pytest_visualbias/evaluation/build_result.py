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
from pytest_visualbias.spec.error_messages import shorten, shorten_fault
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.statistics.classifier_gap import OutcomeResult
from pytest_visualbias.statistics.growth import GrowthResult, smallest_growth

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import (
        EmbeddedModel,
        Measurement,
        MeasurementContext,
    )
    from pytest_visualbias.evaluation.verdict import Violation
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import Accept, BiasTest
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.stimuli.resolve import StimulusSet


def shared_fields(
    result: EffectResult | ChangeResult, record: type[BaseModel]
) -> dict[str, object]:
    """Return the fields of a statistical result that its record has, too."""
    names = [field.name for field in dataclasses.fields(result)]
    return {name: getattr(result, name) for name in names if name in record.model_fields}


def role_of(file: SpecFile, model: str, test: BiasTest) -> Literal["gated", "reference", "random"]:
    """Return the role of a model in a test."""
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
    reason: str | LocatedFault,
) -> ResultRecord:
    """Return the record of a test that could not be measured, with the reason."""
    return ResultRecord.model_validate(
        {
            **_declared(file, model, test, layer),
            "nodeid": nodeid,
            "pooling": "",
            "outcome": "error",
            # Control characters in file names must not reach a terminal.
            "reasons": ["\n".join(map(printable, str(reason).split("\n")))],
            "fault": None if isinstance(reason, str) else reason,
        }
    )


def _declared(file: SpecFile, model: str, test: BiasTest, layer: str) -> dict[str, object]:
    """Return the fields of a record that the spec alone decides."""
    settings = effective_settings(file.spec, test)
    return {
        "spec": file.file,
        "spec_digest": file.digest,
        "line": file.test_line(test.name),
        "test": test.name,
        "kind": test.kind,
        "model": model,
        "layer": layer,
        "role": role_of(file, model, test),
        "control": test.control,
        "tags": list(test.tags),
        "concepts": concepts_of(test),
        "labels": dict(file.spec.models[model].labels),
        "alpha": settings.alpha,
        "alternative": settings.alternative,
        "sides": settings.sides if len(test.compared) > 1 else None,
        "evidence": settings.evidence,
        "correction": file.spec.settings.correction,
        "limits": test.limits.model_dump(exclude_none=True),
    }


def result_record(
    context: MeasurementContext,
    judged: JudgedTest,
    family_size: int,
    *,
    nodeid: str,
    warnings: tuple[str, ...],
    project: Path,
) -> ResultRecord:
    """Return the record of a judged test."""
    file, model, point = context.file, context.model, context.point
    reasons = list(judged.verdict.reasons)
    if judged.verdict.outcome == "error":
        reasons = [shorten(reason, file.folder, project) for reason in reasons]
    fields: dict[str, object] = {
        **_declared(file, model.name, judged.test, context.layer),
        "nodeid": nodeid,
        "module": point.module,
        "pooling": point.pooling,
        "read_out": dataclasses.asdict(model.measured.trials[0].read_at(point)),
        "accept": _waiver(judged.accept) if judged.accept is not None else None,
        "outcome": judged.verdict.outcome,
        "violations": [_violation(violation) for violation in judged.verdict.violations],
        "reasons": reasons,
        "fault": shorten_fault(judged.numbers.fault, file.folder, project),
        "warnings": [*warnings, *collect_warnings(context, judged)],
        "family_size": family_size,
        "sets": _sets(judged.numbers, project),
    }
    if judged.numbers.effect is not None and judged.numbers.scores is not None:
        fields |= _numbers(context, judged, family_size, judged.numbers.effect)
    return ResultRecord.model_validate(fields)


def _numbers(
    context: MeasurementContext, judged: JudgedTest, family_size: int, effect: EffectResult
) -> dict[str, object]:
    """Return the fields of a record that need an effect."""
    spec, test, numbers = context.spec, judged.test, judged.numbers
    sizes = {role: len(stimuli) for role, stimuli in numbers.sets.items()}
    smallest, smallest_attributes = smallest_visible(spec, test, sizes, family_size)
    alpha = effective_settings(spec, test).alpha
    return {
        **shared_fields(effect, ResultRecord),
        "smallest_detectable_effect": smallest,
        "smallest_detectable_effect_attributes": smallest_attributes,
        "detectable": detectable(spec, test, sizes, family_size, effect),
        "images_needed": images_needed(effect, test.limits, alpha),
        "prediction": _prediction(judged) if test.prediction is not None else None,
        "p_adjusted": judged.p.effect,
        "growth": growth_record(judged) if numbers.growth is not None else None,
        "excess": _excess(judged, spec) if numbers.excess is not None else None,
        "trials": _trials(context.model, numbers) if numbers.trials else None,
        "scores": scores_by_identity(test, numbers),
        "basis": basis_by_identity(test, numbers),
    }


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
            groups={
                stimulus.name: stimulus.members for stimulus in stimuli.stimuli if stimulus.members
            }
            or None,
        )
        for role, stimuli in numbers.sets.items()
    }


def _folder(stimuli: StimulusSet, project: Path) -> str:
    """Return the folder that image names are relative to; empty for stored vectors."""
    for stimulus in stimuli.stimuli:
        path = stimulus.path
        if path is not None and path.as_posix().endswith(f"/{stimulus.name}"):
            # Not resolved: the spec names the link.
            root = Path(os.path.normpath(path.as_posix().removesuffix(stimulus.name)))
            shown = root.relative_to(project) if root.is_relative_to(project) else root
            return os.fsencode(shown.as_posix()).decode("utf-8", "backslashreplace")
    return ""


def _violation(violation: Violation) -> ViolationRecord:
    return ViolationRecord(
        kind=violation.kind,
        # JSON has no value for NaN or infinity.
        value=violation.value
        if violation.value is not None and math.isfinite(violation.value)
        else None,
        limit=violation.limit,
        evidence=violation.evidence,
    )


def _waiver(accept: Accept) -> AcceptRecord:
    return AcceptRecord(
        max_effect=accept.max_effect,
        max_gap=accept.max_gap,
        max_growth=accept.max_growth,
        reason=accept.reason,
        until=accept.until,
    )


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
    """Return the growth of a test since the model that growth is measured from."""
    change = judged.numbers.growth
    if change is None or judged.base is None:
        return None
    shift = judged.numbers.shift
    trials = change.trials if isinstance(change, GrowthResult) else None
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


def _excess(judged: JudgedTest, spec: BiasSpec) -> ExcessRecord | None:
    change, base = judged.numbers.excess, excess_base(spec, judged.test)
    if change is None or base is None:
        return None
    fields = _change(change, base, judged.p.excess)
    untrained = list(judged.numbers.untrained_effects)
    return ExcessRecord.model_validate({**fields, "untrained": untrained})


def _change(change: ChangeResult, base: str, p_adjusted: float | None) -> dict[str, object]:
    return {
        **dict.fromkeys(("p_value", "p_attributes", "p_welch", "p_verdict")),
        **shared_fields(change, GrowthRecord),
        "base": base,
        "value": change.growth,
        "p_adjusted": p_adjusted,
        "p_method": change.p_verdict_method if isinstance(change, GrowthResult) else None,
    }


def _trials(subject: EmbeddedModel, numbers: Measurement) -> dict[str, list[float] | list[str]]:
    gaps = [trial.gap for trial in numbers.trials if trial.gap is not None]
    return {
        "labels": [trial.label for trial in subject.measured.trials],
        "effect_size": [trial.effect_size for trial in numbers.trials],
        "effect_judged": [trial.effect_judged for trial in numbers.trials],
        **({"gap": gaps} if gaps else {}),
    }


def model_record(file: SpecFile, subject: EmbeddedModel) -> ModelRecord:
    """Return the record of a model: its weights and the preprocessing of images."""
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
