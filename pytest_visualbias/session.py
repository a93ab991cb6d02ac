"""One run's memory: specs read, sets resolved, models embedded and families judged once each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.pipeline.embedding import measure
from pytest_visualbias.pipeline.family import family
from pytest_visualbias.pipeline.numbers import Subject
from pytest_visualbias.pipeline.preflight import preflight
from pytest_visualbias.pipeline.records import error_record, model_record, result_record
from pytest_visualbias.spec.parsing import read_spec

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.pipeline.embedding import Resources
    from pytest_visualbias.pipeline.family import Family
    from pytest_visualbias.pipeline.preflight import Preflight
    from pytest_visualbias.record import ModelRecord, ResultRecord
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.parsing import SpecFile

__all__ = ["LoadedSpec", "Session", "Settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the command line says about a run.

    Attributes
    ----------
    project : Path
        Root of the repository.
    overrides : tuple of Override
        Models in the place of those of every spec.
    stimuli : Path or None
        Root of relative stimulus paths.
    device, precision : str
        How to embed.
    offline, strict : bool
        Whether the network is forbidden, and whether warnings that say so are errors.
    threads : int
        This process's share of the processors.
    """

    project: Path
    overrides: tuple[Override, ...] = ()
    stimuli: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    offline: bool = False
    strict: bool = False
    threads: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSpec:
    """A spec with what is known before any model is loaded."""

    path: Path
    file: SpecFile
    preflight: Preflight


@dataclass(kw_only=True, slots=True)
class Session:
    """Computes what is asked for, once; whatever goes wrong is remembered, too."""

    settings: Settings
    resources: Resources
    _subjects: dict[tuple[Path, str], Subject | VisualBiasError] = field(default_factory=dict)
    _families: dict[tuple[Path, str, str], Family] = field(default_factory=dict)

    def load(self, path: Path, file: str) -> LoadedSpec:
        """Read a spec and resolve its sets.

        Raises
        ------
        SpecError
            With all faults of the text, or of the sets.
        UsageError
            For a model on the command line that fits no entry.
        """
        spec_file = read_spec(path, file=file, overrides=self.settings.overrides)
        checked = preflight(spec_file, stimuli=self.settings.stimuli, strict=self.settings.strict)
        return LoadedSpec(path=path, file=spec_file, preflight=checked)

    def result(
        self, spec: LoadedSpec, model: str, test: str, layer: str, *, nodeid: str
    ) -> ResultRecord:
        """Return the record of one test; its outcome is ``error`` where it could not be done."""
        try:
            subject = self._subject(spec, model)
        except VisualBiasError as error:
            declared = next(one for one in spec.file.spec.tests if one.name == test)
            return error_record(spec.file, model, declared, layer, nodeid=nodeid, reason=str(error))
        tests = self._family(spec, subject, layer)
        judged = next(one for one in tests.results if one.test.name == test)
        warnings = spec.preflight.warnings.get((model, test), ())
        return result_record(
            spec.file, subject, layer, tests, judged, nodeid=nodeid, warnings=warnings
        )

    def model(self, spec: LoadedSpec, model: str) -> ModelRecord | None:
        """Return the record of a model that was measured."""
        subject = self._subjects.get(_key(spec, model))
        return model_record(spec.file, subject) if isinstance(subject, Subject) else None

    def _subject(self, spec: LoadedSpec, model: str) -> Subject:
        key = _key(spec, model)
        if key not in self._subjects:
            try:
                self._subjects[key] = self._measure(spec, model)
            except VisualBiasError as error:
                self._subjects[key] = error
        found = self._subjects[key]
        if isinstance(found, VisualBiasError):
            raise found
        return found

    def _measure(self, spec: LoadedSpec, model: str) -> Subject:
        context = Context(
            folder=spec.file.folder,
            project=self.settings.project,
            device=self.settings.device,
            precision=self.settings.precision,
            offline=self.settings.offline,
        )
        sets = spec.preflight.models[model]
        measured = measure(spec.file, model, sets, context, self.resources)
        return Subject(name=model, sets=sets, measured=measured)

    def _family(self, spec: LoadedSpec, subject: Subject, layer: str) -> Family:
        key = (*_key(spec, subject.name), layer)
        if key not in self._families:
            self._families[key] = family(
                spec.file,
                subject,
                layer,
                lambda name: self._subject(spec, name),
                threads=self.settings.threads,
            )
        return self._families[key]


def _key(spec: LoadedSpec, model: str) -> tuple[Path, str]:
    return spec.path, model
