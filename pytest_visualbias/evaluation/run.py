"""Evaluate specs model by model and keep what a run shares between tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.baseline.recording import ExpectedEntries
from pytest_visualbias.evaluation.baseline_check import expected_entries
from pytest_visualbias.evaluation.build_result import error_record, model_record, result_record
from pytest_visualbias.evaluation.controls import apply_controls
from pytest_visualbias.evaluation.family import correct_p_values, declared_family, interval_count
from pytest_visualbias.evaluation.judging import JudgedFamily, JudgingContext, judge_tests
from pytest_visualbias.evaluation.measure_tests import measure_layers
from pytest_visualbias.evaluation.measurement import GrowthReferences
from pytest_visualbias.evaluation.model_embedder import LoadedSpec, ModelEmbedder, model_key
from pytest_visualbias.evaluation.preflight import preflight
from pytest_visualbias.evaluation.settings import utc_day
from pytest_visualbias.evaluation.training_run import Evaluation, Run, trajectory
from pytest_visualbias.spec.effective_settings import test_at
from pytest_visualbias.spec.error_messages import shorten
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.parser import parse_spec, read_spec
from pytest_visualbias.stimuli.remote.mirror import Mirror

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pytest_visualbias.embeddings.table import ModelVectors, Resources
    from pytest_visualbias.evaluation.baseline.sources import Baseline, Baselines
    from pytest_visualbias.evaluation.measurement import EmbeddedModel
    from pytest_visualbias.evaluation.settings import RunSettings
    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.results import ModelRecord, ResultRecord
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.parser import SpecFile


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
    _embedder: ModelEmbedder = field(init=False)
    _models: dict[tuple[Path, str], ModelRecord] = field(default_factory=dict)
    _evaluations: dict[tuple[Path, str], Evaluation | VisualBiasError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find out where results are recorded, and where copies of remote files go."""
        self._baselines = self.settings.baselines()
        self._embedder = ModelEmbedder(
            settings=self.settings,
            resources=self.resources,
            mirror=Mirror(folder=self.resources.cache.folder, offline=self.settings.offline),
            digest=self.digest,
        )

    @property
    def mirror(self) -> Mirror:
        """What brings files from URLs."""
        return self._embedder.mirror

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
            mirror=self.mirror,
        )
        loaded = LoadedSpec(path=path, file=spec_file, preflight=checked, baseline=baseline)
        self.loaded[path] = loaded
        return loaded

    def claims(self) -> list[ExpectedEntries]:
        """Return which recorded results the specs of this run claim, whatever is selected."""
        return [
            ExpectedEntries(
                path=spec.path,
                file=spec.file.file,
                keys=frozenset(expected_entries(spec.file.spec)),
            )
            for spec in self.loaded.values()
        ]

    def expect(self, models: Iterable[tuple[LoadedSpec, str]]) -> None:
        """State which models of which specs this run will ask for."""
        self._embedder.expect(models)

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
            fault = spec.file.fault_of(model, error)
            record = error_record(
                spec.file,
                model,
                declared,
                layer,
                nodeid=nodeid,
                reason=str(fault or error),
                fault=fault,
            )
            return _shortened(record, folder, project)
        warnings = spec.preflight.warnings.get((model, test), ())
        record = result_record(
            spec.file,
            self._embedder.embed(spec, model),
            layer,
            evaluation.families[layer],
            evaluation.judged(layer, test),
            nodeid=nodeid,
            warnings=(*warnings, *evaluation.warnings.get(test, ())),
            project=project,
        )
        record = record.model_copy(update={"series": evaluation.series.get((layer, test))})
        return _shortened(record, folder, project) if record.outcome == "error" else record

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
        embedded = self._embedder.embed(spec, model)
        references = GrowthReferences(
            models=lambda name: self._embedder.embed(spec, name), baseline=spec.baseline
        )
        checkpoints = {one.step: one for one in self._embedder.series(spec, model)}
        if not checkpoints:
            return self._judge_model(spec.file, embedded, references)
        run = Run(
            file=spec.file, model=model, steps=tuple(checkpoints), strict=self.settings.strict
        )
        return trajectory(
            run,
            lambda step: (
                embedded
                if step == run.steps[-1]
                else self._embedder.embed_checkpoint(spec, model, checkpoints[step])
            ),
            references,
            today=self.today,
            threads=self.settings.threads,
        )

    def _judge_model(
        self, file: SpecFile, model: EmbeddedModel, references: GrowthReferences
    ) -> Evaluation:
        """Measure every test at every layer, correct all p-values together, and judge."""
        measured = measure_layers(file, model, references, threads=self.settings.threads)
        members = declared_family(file.spec, model.name)
        intervals = interval_count(file.spec, model.name)
        p_values = correct_p_values(file.spec, members, measured, intervals)
        families = {}
        for layer, measurements in measured.items():
            context = JudgingContext(
                file=file, model=model.name, layer=layer, references=references, today=self.today
            )
            judged = judge_tests(context, measurements, p_values[layer])
            results = apply_controls(context, judged)
            families[layer] = JudgedFamily(results=results, size=len(members))
        return Evaluation(families=families)

    def model(self, spec: LoadedSpec, model: str) -> ModelRecord | None:
        """Return the record of a model that was embedded."""
        key = model_key(spec, model)
        embedded = self._embedder.known(spec, model)
        if embedded is not None and key not in self._models:
            self._models[key] = model_record(spec.file, embedded)
        return self._models.get(key)

    def identities(self, spec: LoadedSpec, model: str) -> Sequence[Identity]:
        """Return the identities of the weights that a model means."""
        return self._embedder.identities(spec, model)

    def embedded(self, spec: LoadedSpec, model: str) -> ModelVectors:
        """Return a model's embeddings of all stimuli of a spec; they are in the cache then."""
        return self._embedder.embed_all(spec, model)

    def context(self, spec: LoadedSpec) -> Context:
        """Return where the models of a spec are looked for, and how they are run."""
        return self._embedder.context(spec)


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


def _shortened(record: ResultRecord, folder: Path, project: Path) -> ResultRecord:
    """Return the record of an error with paths relative to the project."""
    changes: dict[str, object] = {
        "reasons": [shorten(reason, folder, project) for reason in record.reasons]
    }
    if record.fault is not None:
        problem = shorten(record.fault.problem, folder, project)
        changes["fault"] = replace(record.fault, problem=problem)
    return record.model_copy(update=changes)
