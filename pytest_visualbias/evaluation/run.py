"""Evaluate specs model by model: embed, measure, correct, judge, apply controls, build results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.baseline import ExpectedEntries
from pytest_visualbias.evaluation.baseline_check import expected_entries
from pytest_visualbias.evaluation.build_result import error_record, model_record, result_record
from pytest_visualbias.evaluation.controls import apply_controls
from pytest_visualbias.evaluation.family import correct_p_values, declared_family, interval_count
from pytest_visualbias.evaluation.judging import JudgedFamily, JudgingContext, judge_tests
from pytest_visualbias.evaluation.measure_tests import measure_layers
from pytest_visualbias.evaluation.measurement import GrowthReferences, MeasurementContext
from pytest_visualbias.evaluation.model_embedder import LoadedSpec, ModelEmbedder, model_key
from pytest_visualbias.evaluation.preflight import preflight
from pytest_visualbias.evaluation.settings import utc_day
from pytest_visualbias.evaluation.training_run import Evaluation, Run, trajectory
from pytest_visualbias.spec.effective_settings import axis_of, test_at
from pytest_visualbias.spec.error_messages import shorten, shorten_fault
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.parser import parse_spec, read_spec
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.embeddings.table import Resources
    from pytest_visualbias.evaluation.baseline import Baseline, Baselines
    from pytest_visualbias.evaluation.measurement import EmbeddedModel
    from pytest_visualbias.evaluation.settings import RunSettings
    from pytest_visualbias.results import ModelRecord, ResultRecord
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.parser import SpecFile


def judge_model(
    file: SpecFile,
    model: EmbeddedModel,
    references: GrowthReferences,
    *,
    today: dt.date,
    threads: int,
) -> dict[str, JudgedFamily]:
    """Measure every test at every layer, correct all p-values together, judge, apply controls."""
    measured = measure_layers(file, model, references, threads=threads)
    members = declared_family(file.spec, model.name)
    intervals = interval_count(file.spec, model.name)
    p_values = correct_p_values(file.spec, members, measured, intervals)
    families = {}
    for layer, measurements in measured.items():
        context = JudgingContext(
            file=file, model=model.name, layer=layer, references=references, today=today
        )
        judged = judge_tests(context, measurements, p_values[layer])
        results = apply_controls(context, judged)
        families[layer] = JudgedFamily(results=results, size=len(members))
    return families


@dataclass(kw_only=True, slots=True)
class EvaluationRun:
    """Evaluates each model of each spec once; errors are kept like results."""

    settings: RunSettings
    resources: Resources
    digest: Callable[[Path], str] = digest_of_file
    # Read once: a run that passes midnight judges by one day.
    today: dt.date = field(default_factory=utc_day)
    loaded: dict[Path, LoadedSpec] = field(default_factory=dict)
    _baselines: Baselines = field(init=False)
    embedder: ModelEmbedder = field(init=False)
    _models: dict[tuple[Path, str], ModelRecord] = field(default_factory=dict)
    _evaluations: dict[tuple[Path, str], Evaluation | VisualBiasError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set up the baselines and the embedder of the run."""
        self._baselines = self.settings.baselines()
        self.embedder = ModelEmbedder(
            settings=self.settings,
            resources=self.resources,
            mirror=Mirror(folder=self.resources.cache.folder, offline=self.settings.offline),
            digest=self.digest,
        )

    def load(self, path: Path, file: str, text: str | None = None) -> LoadedSpec:
        """Read a spec and resolve its sets."""
        baseline = self._baselines.of(path, file)
        spec_file = _read(path, file, text, self.settings.overrides, baseline)
        spec_file.check_day(self.today)
        checked = preflight(
            spec_file,
            stimuli=self.settings.stimuli,
            strict=self.settings.strict,
            digest=self.digest,
            mirror=self.embedder.mirror,
        )
        expected = baseline if baseline.is_expected else None
        loaded = LoadedSpec(path=path, file=spec_file, preflight=checked, baseline=expected)
        self.loaded[path] = loaded
        return loaded

    def claims(self) -> list[ExpectedEntries]:
        """Return the baseline entries that the specs of this run can record, selected or not."""
        return [
            ExpectedEntries(
                path=spec.path,
                file=spec.file.file,
                keys=frozenset(expected_entries(spec.file.spec)),
            )
            for spec in self.loaded.values()
        ]

    def result(
        self, spec: LoadedSpec, model: str, test: str, layer: str, *, nodeid: str
    ) -> ResultRecord:
        """Return the record of one test; its outcome is ``error`` if it could not be measured."""
        folder, project = spec.file.folder, self.settings.project
        try:
            evaluation = self.evaluate(spec, model)
        except VisualBiasError as error:
            declared = next(entry for entry in spec.file.spec.tests if entry.name == test)
            declared = test_at(spec.file.spec, declared, layer)
            fault = shorten_fault(spec.file.fault_of(model, error), folder, project)
            reason = fault or shorten(str(error), folder, project)
            return error_record(spec.file, model, declared, layer, nodeid=nodeid, reason=reason)
        context = MeasurementContext(
            file=spec.file,
            model=self.embedder.embed(spec, model),
            layer=layer,
            references=self._references(spec),
        )
        family = evaluation.families[layer]
        judged = next(result for result in family.results if result.test.name == test)
        early = spec.preflight.warnings.get((model, test), ())
        record = result_record(
            context,
            judged,
            family.size,
            nodeid=nodeid,
            warnings=(*early, *evaluation.warnings.get(test, ())),
            project=project,
        )
        return record.model_copy(update={"series": evaluation.series.get((layer, test))})

    def evaluate(self, spec: LoadedSpec, model: str) -> Evaluation:
        """Embed the stimuli with a model, measure its tests, and judge them together."""
        key = model_key(spec, model)
        if key not in self._evaluations:
            try:
                self._evaluations[key] = self._evaluate(spec, model)
            except VisualBiasError as error:
                self._evaluations[key] = error
        evaluation = self._evaluations[key]
        if isinstance(evaluation, VisualBiasError):
            raise evaluation
        return evaluation

    def _evaluate(self, spec: LoadedSpec, model: str) -> Evaluation:
        """Measure and judge all tests of a model, or of each checkpoint of its series."""
        embedded = self.embedder.embed(spec, model)
        if axis_of(spec.file.spec.models[model]) is not None:
            return self._evaluate_series(spec, embedded)
        families = judge_model(
            spec.file,
            embedded,
            self._references(spec),
            today=self.today,
            threads=self.settings.threads,
        )
        return Evaluation(families=families)

    def _evaluate_series(self, spec: LoadedSpec, last: EmbeddedModel) -> Evaluation:
        """Measure and judge every checkpoint of a training run."""
        checkpoints = {
            identity.step: identity for identity in self.embedder.series(spec, last.name)
        }
        run = Run(
            file=spec.file, model=last.name, steps=tuple(checkpoints), strict=self.settings.strict
        )
        return trajectory(
            run,
            lambda step: (
                last
                if step == run.steps[-1]
                else self.embedder.embed_checkpoint(spec, last.name, checkpoints[step])
            ),
            self._references(spec),
            today=self.today,
            threads=self.settings.threads,
        )

    def _references(self, spec: LoadedSpec) -> GrowthReferences:
        return GrowthReferences(
            models=lambda name: self.embedder.embed(spec, name), baseline=spec.baseline
        )

    def model(self, spec: LoadedSpec, model: str) -> ModelRecord | None:
        """Return the record of a model that was embedded."""
        key = model_key(spec, model)
        embedded = self.embedder.known(spec, model)
        if embedded is not None and key not in self._models:
            self._models[key] = model_record(spec.file, embedded)
        return self._models.get(key)


def _read(
    path: Path,
    file: str,
    text: str | None,
    overrides: tuple[Override, ...],
    baseline: Baseline,
) -> SpecFile:
    has_baseline = baseline.is_expected
    if text is None:
        return read_spec(path, file=file, overrides=overrides, has_baseline=has_baseline)
    return parse_spec(
        text, file=file, folder=path.parent, overrides=overrides, has_baseline=has_baseline
    )
