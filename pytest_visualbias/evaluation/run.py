"""Evaluate specs model by model and keep what a run shares between tests."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.embed_model import (
    build,
    different,
    embed_stimuli,
    identify,
    lacking,
    network_of,
    request_for,
)
from pytest_visualbias.errors import EncoderError, VisualBiasError, path_sentence
from pytest_visualbias.evaluation.baseline.recording import ExpectedEntries
from pytest_visualbias.evaluation.baseline_check import expected_entries
from pytest_visualbias.evaluation.build_result import error_record, model_record, result_record
from pytest_visualbias.evaluation.family import judge_model
from pytest_visualbias.evaluation.measurement import EmbeddedModel, GrowthReferences
from pytest_visualbias.evaluation.preflight import preflight
from pytest_visualbias.evaluation.settings import utc_day
from pytest_visualbias.evaluation.training_run import Run, Trajectory, trajectory
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.spec.effective_settings import axis_of, test_at
from pytest_visualbias.spec.error_messages import shorten
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.model_entries import EmbeddingsModel
from pytest_visualbias.spec.parser import parse_spec, read_spec
from pytest_visualbias.stimuli.remote.mirror import Mirror

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.embeddings.request import EmbeddingRequest
    from pytest_visualbias.embeddings.table import ModelVectors, Resources, Trial
    from pytest_visualbias.evaluation.baseline.sources import Baseline, Baselines
    from pytest_visualbias.evaluation.family import JudgedFamily
    from pytest_visualbias.evaluation.preflight import Preflight
    from pytest_visualbias.evaluation.settings import RunSettings
    from pytest_visualbias.models.encoder import Identity
    from pytest_visualbias.results import ModelRecord, ResultRecord
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.parser import SpecFile


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSpec:
    """A spec with what is known before any model is loaded."""

    path: Path
    file: SpecFile
    preflight: Preflight
    baseline: Baseline | None = None


@dataclass(kw_only=True, slots=True)
class EvaluationRun:
    """Computes what is asked for, once; whatever goes wrong is remembered, too."""

    settings: RunSettings
    resources: Resources
    digest: Callable[[Path], str] = digest_of_file
    # Read once: a run that passes midnight judges by one day.
    today: dt.date = field(default_factory=utc_day)
    loaded: dict[Path, LoadedSpec] = field(default_factory=dict)
    _baselines: Baselines = field(init=False)
    _mirror: Mirror = field(init=False)
    _subjects: dict[tuple[Path, str], EmbeddedModel | VisualBiasError] = field(default_factory=dict)
    _models: dict[tuple[Path, str], ModelRecord] = field(default_factory=dict)
    _families: dict[tuple[Path, str], Mapping[str, JudgedFamily]] = field(default_factory=dict)
    _checkpoints: dict[tuple[Path, str], Sequence[Identity]] = field(default_factory=dict)
    _trajectories: dict[tuple[Path, str], Trajectory | VisualBiasError | None] = field(
        default_factory=dict
    )
    _expected: list[tuple[LoadedSpec, str]] = field(default_factory=list)
    _unbuilt: list[tuple[LoadedSpec, str]] = field(default_factory=list)
    _wants: dict[str, list[tuple[Path, EmbeddingRequest]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find out where results are recorded, and where copies of what lies at URLs go."""
        self._baselines = self.settings.baselines()
        self._mirror = Mirror(folder=self.resources.cache.folder, offline=self.settings.offline)

    @property
    def mirror(self) -> Mirror:
        """What brings files from URLs."""
        return self._mirror

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
            mirror=self._mirror,
        )
        loaded = LoadedSpec(path=path, file=spec_file, preflight=checked, baseline=baseline)
        self.loaded[path] = loaded
        return loaded

    def claims(self) -> list[ExpectedEntries]:
        """Return which recorded results the specs of this run claim, whatever is selected."""
        return [
            ExpectedEntries(
                path=one.path, file=one.file.file, keys=frozenset(expected_entries(one.file.spec))
            )
            for one in self.loaded.values()
        ]

    def expect(self, models: Iterable[tuple[LoadedSpec, str]]) -> None:
        """Say which models of which specs this run will ask for."""
        self._expected = list(models)
        self._unbuilt = list(self._expected)

    def result(
        self, spec: LoadedSpec, model: str, test: str, layer: str, *, nodeid: str
    ) -> ResultRecord:
        """Return the record of one test; its outcome is ``error`` where it could not be done."""
        try:
            subject = self._subject(spec, model)
            course = self._trajectory(spec, subject)
        except VisualBiasError as error:
            named = next(one for one in spec.file.spec.tests if one.name == test)
            declared = test_at(spec.file.spec, named, layer)
            reason = shorten(_said(spec, model, error), spec.file.folder, self.settings.project)
            return error_record(spec.file, model, declared, layer, nodeid=nodeid, reason=reason)
        tests = (self._judged(spec, subject) if course is None else course.families)[layer]
        judged = next(result for result in tests.results if result.test.name == test)
        warnings = spec.preflight.warnings.get((model, test), ())
        if course is not None:
            warnings = (*warnings, *course.warnings.get(test, ()))
        record = result_record(
            spec.file,
            subject,
            layer,
            tests,
            judged,
            nodeid=nodeid,
            warnings=warnings,
            project=self.settings.project,
        )
        if course is not None:
            record = record.model_copy(update={"series": course.series[layer, test]})
        if record.outcome != "error":
            return record
        folder, project = spec.file.folder, self.settings.project
        reasons = [shorten(reason, folder, project) for reason in record.reasons]
        return record.model_copy(update={"reasons": reasons})

    def model(self, spec: LoadedSpec, model: str) -> ModelRecord | None:
        """Return the record of a model that was measured."""
        key = _key(spec, model)
        subject = self._subjects.get(key)
        if isinstance(subject, EmbeddedModel) and key not in self._models:
            self._models[key] = model_record(spec.file, subject)
        return self._models.get(key)

    def identities(self, spec: LoadedSpec, model: str) -> Sequence[Identity]:
        """Return which weights a model means."""
        try:
            return identify(spec.file.spec.models[model], self.context(spec))
        except OSError as error:  # of a path that no file can have
            raise EncoderError(path_sentence(error)) from None

    def embedded(self, spec: LoadedSpec, model: str) -> ModelVectors:
        """Return a model's embeddings of all stimuli of a spec; they are in the cache then."""
        earlier = [
            _emptied(trial)
            for identity in self._series(spec, model)[:-1]
            for trial in self._measure(spec, model, identity).measured.trials
        ]
        measured = self._subject(spec, model).measured
        return dataclasses.replace(measured, trials=(*earlier, *measured.trials))

    def _subject(self, spec: LoadedSpec, model: str) -> EmbeddedModel:
        key = _key(spec, model)
        if key not in self._subjects:
            self._build_ahead(key)
        if key not in self._subjects:
            try:
                self._subjects[key] = self._measure(spec, model)
            except VisualBiasError as error:
                self._subjects[key] = error
            except OSError as error:  # of a path that no file can have
                self._subjects[key] = EncoderError(path_sentence(error))
        found = self._subjects[key]
        if isinstance(found, VisualBiasError):
            raise found
        return found

    def _build_ahead(self, first: tuple[Path, str]) -> None:
        """Build the networks that lack vectors before any image, to report their errors at once."""
        built: set[tuple[Any, ...]] = set()
        while self._unbuilt:
            spec, model = self._unbuilt.pop(0)
            key, entry = _key(spec, model), spec.file.spec.models[model]
            if key in self._subjects or isinstance(entry, EmbeddingsModel):
                continue
            context = self.context(spec)
            want = request_for(spec.file, model, spec.preflight.models[model])
            try:
                found = self._series(spec, model) or identify(entry, context)
                places = frozenset((point.module, point.pooling) for point in want.points)
                precision = getattr(entry, "precision", None)
                networks = (*map(network_of, found), precision, places)
                if networks in built and all(one.is_whole for one in found):
                    continue
                left = lacking(entry, found, context, want, self.resources.cache)
                built.add(networks)
                if not left or (key == first and not left[1:]):
                    continue
                _, reasons = build(entry, different(entry, left), context, want)
                if len(reasons) == len(want.points):
                    raise EncoderError(next(iter(reasons.values())))
            except VisualBiasError as error:
                self._subjects[key] = error
            except OSError as error:  # of a path that no file can have
                self._subjects[key] = EncoderError(path_sentence(error))

    def _series(self, spec: LoadedSpec, model: str) -> Sequence[Identity]:
        """Return the checkpoints of a series, looked for once: training may add to them."""
        key, entry = _key(spec, model), spec.file.spec.models[model]
        if key not in self._checkpoints:
            is_series = axis_of(entry) is not None
            self._checkpoints[key] = identify(entry, self.context(spec)) if is_series else ()
        return self._checkpoints[key]

    def _trajectory(self, spec: LoadedSpec, subject: EmbeddedModel) -> Trajectory | None:
        """Return the numbers and verdicts over a series; nothing of another model."""
        key = _key(spec, subject.name)
        if key not in self._trajectories:
            try:
                self._trajectories[key] = self._judge_series(spec, subject)
            except VisualBiasError as error:
                self._trajectories[key] = error
        found = self._trajectories[key]
        if isinstance(found, VisualBiasError):
            raise found
        return found

    def _judge_series(self, spec: LoadedSpec, subject: EmbeddedModel) -> Trajectory | None:
        identities = {one.step: one for one in self._series(spec, subject.name)}
        if not identities:
            return None
        run = Run(
            file=spec.file,
            model=subject.name,
            steps=tuple(identities),
            strict=self.settings.strict,
        )
        return trajectory(
            run,
            lambda step: (
                subject
                if step == run.steps[-1]
                else self._measure(spec, subject.name, identities[step])
            ),
            self._earlier(spec),
            today=self.today,
            threads=self.settings.threads,
        )

    def _earlier(self, spec: LoadedSpec) -> GrowthReferences:
        return GrowthReferences(
            models=lambda name: self._subject(spec, name), baseline=spec.baseline
        )

    def _measure(
        self, spec: LoadedSpec, model: str, identity: Identity | None = None
    ) -> EmbeddedModel:
        """Embed with a model; of a series, with the checkpoint that is named, or the last one."""
        sets = spec.preflight.models[model]
        chosen = [identity] if identity is not None else [*self._series(spec, model)[-1:]]
        measured = embed_stimuli(
            spec.file,
            model,
            sets,
            self.context(spec),
            self.resources,
            others=lambda network: self._wanted(network, besides=spec),
            identities=chosen or None,
            among=self._series(spec, model),
        )
        return EmbeddedModel(name=model, sets=sets, measured=measured)

    def context(self, spec: LoadedSpec) -> Context:
        """Return where the models of a spec are looked for, and how they are run."""
        settings = self.settings
        return Context(
            folder=spec.file.folder,
            project=settings.project,
            digest=self.digest,
            device=settings.device,
            precision=settings.precision,
            offline=settings.offline,
            worker=settings.worker,
            threads=settings.threads,
            modules=settings.modules,
            mirror=self._mirror,
        )

    def _wanted(self, network: str, *, besides: LoadedSpec) -> list[EmbeddingRequest]:
        """Return what the other specs want of a network."""
        while self._expected:
            spec, model = self._expected.pop()
            entry = spec.file.spec.models[model]
            if isinstance(entry, EmbeddingsModel):
                continue
            want = request_for(spec.file, model, spec.preflight.models[model])
            with contextlib.suppress(VisualBiasError):  # said by the tests that need it
                for identity in identify(entry, self.context(spec)):
                    self._wants.setdefault(network_of(identity), []).append((spec.path, want))
        return [want for path, want in self._wants.get(network, ()) if path != besides.path]

    def _judged(self, spec: LoadedSpec, subject: EmbeddedModel) -> Mapping[str, JudgedFamily]:
        key = _key(spec, subject.name)
        if key not in self._families:
            self._families[key] = judge_model(
                spec.file,
                subject,
                self._earlier(spec),
                today=self.today,
                threads=self.settings.threads,
            )
        return self._families[key]


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


def _said(spec: LoadedSpec, model: str, error: VisualBiasError) -> str:
    """Return why a model cannot be measured: of what is wrong with itself, at its line."""
    if not isinstance(error, EncoderError):
        return str(error)
    path = ("models", model, error.key) if error.key else ("models", model)
    return spec.file.sentence(path, str(error))


def _emptied(trial: Trial) -> Trial:
    """Return a network without its vectors: those of a whole training run fit into no memory."""
    tables = {name: dataclasses.replace(table, vectors={}) for name, table in trial.tables.items()}
    return dataclasses.replace(trial, tables=tables)


def _key(spec: LoadedSpec, model: str) -> tuple[Path, str]:
    return spec.path, model
