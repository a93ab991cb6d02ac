"""For Python code: measure networks that it holds by a spec, and look at what comes of it."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import find_cache, shared_cache
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import UsageError
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import DEVICE, PRECISIONS, RunSettings
from pytest_visualbias.models.encoder import InMemory
from pytest_visualbias.reports.document import build_report
from pytest_visualbias.reports.files import FORMATS, write
from pytest_visualbias.reports.formatting import label
from pytest_visualbias.reports.sentences import failure_text
from pytest_visualbias.results import format_effect, format_p
from pytest_visualbias.spec.effective_settings import layers_of
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import IN_MEMORY
from pytest_visualbias.spec.overrides import Override, parse_override
from pytest_visualbias.spec.urls import Url, to_path
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.embeddings.cache import SharedCache
    from pytest_visualbias.evaluation.model_embedder import LoadedSpec
    from pytest_visualbias.results import Report, ResultRecord

__all__ = ["Audit", "Auditor", "Model", "audit"]

FAILING = ("fail", "invalid", "error")
SUFFIXES = {"json": "json", "html": "html", "htm": "html", "md": "md", "csv": "csv"}
COLUMNS = ("test", "model", "layer", "effect", "interval", "p adjusted", "growth", "verdict")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Audit:
    """The report of an audit with what code asks of it.

    Attributes
    ----------
    report : Report
        All results; `to_json` of `record` writes it.
    strict : bool
        Whether what is inconclusive fails.
    """

    report: Report
    strict: bool = False
    _asked: list[str] = field(default_factory=list, compare=False)

    @property
    def is_unasked(self) -> bool:
        """Whether it fails, and no code has looked at results or asked for the verdict."""
        return not self._asked and not self._passed

    def __bool__(self) -> bool:
        """Return whether it passed: ``assert audit(...)`` means what it says."""
        return self.passed

    def __iter__(self) -> Iterator[ResultRecord]:
        self._asked.append("results")
        return iter(self.report.results)

    def __repr__(self) -> str:
        state = "passed" if self._passed else f"{len(self._failures)} failing"
        return f"<Audit: {state} of {len(self)} results>"

    def __len__(self) -> int:
        return len(self.report.results)

    @property
    def failures(self) -> list[ResultRecord]:
        """The results for which a run of pytest would fail."""
        self._asked.append("failures")
        return self._failures

    @property
    def passed(self) -> bool:
        """Whether there are results, and none of them fails."""
        self._asked.append("passed")
        return self._passed

    @property
    def _failures(self) -> list[ResultRecord]:
        failing = (*FAILING, "inconclusive") if self.strict else FAILING
        return [result for result in self.report.results if result.outcome in failing]

    @property
    def _passed(self) -> bool:
        return len(self) > 0 and not self._failures

    def check(self) -> None:
        """Raise where a run of pytest would fail.

        Raises
        ------
        AssertionError
            With what each failure needs a person to know.
        """
        __tracebackhide__ = True  # pytest then shows the test's own line alone
        self._asked.append("check")
        if not self.passed:
            texts = [f"{failure.nodeid}: {failure_text(failure)}" for failure in self.failures]
            raise AssertionError("\n".join(texts) or "nothing was measured")

    def result(self, test: str, *, model: str = "after", layer: str | None = None) -> ResultRecord:
        """Return the result of a test.

        Parameters
        ----------
        test, model : str
            Their names.
        layer : str, optional
            Needed where there are several.

        Raises
        ------
        UsageError
            Where there is none, or more than one.
        """
        results = [result for result in self if result.model == model]
        matches = [
            result for result in results if result.test == test and layer in (None, result.layer)
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            layers = ", ".join(result.layer for result in matches)
            raise UsageError(f"'{test}' was measured at {layers}", "name a layer")
        if not results:
            near = did_you_mean(model, {result.model for result in self})
            raise UsageError(f"no model '{model}' was measured", near)
        near = did_you_mean(test, {result.test for result in results})
        raise UsageError(f"'{model}' has no result of '{test}' here", near)

    def save(self, path: Path | str) -> None:
        """Write a report, to a path or a URL, by its ending: .json, .html, .md or .csv.

        Raises
        ------
        UsageError
            For another ending.
        ReportError
            Where it cannot be written.
        """
        target = to_path(path) if isinstance(path, str) else path
        kind = SUFFIXES.get(target.suffix.lower().removeprefix("."), "")
        if kind not in FORMATS:
            raise UsageError(f"{target}: a report ends in .json, .html, .md or .csv", "choose one")
        write(kind, self.report, target)

    def __str__(self) -> str:
        """Return what the terminal shows, at 80 columns and without colour."""
        from pytest_visualbias.reports.tables import Screen
        from pytest_visualbias.reports.terminal import render

        screen = Screen(width=80, has_colour=False, has_unicode=True)
        return render(self.report.results, [], screen, is_strict=self.strict)

    def _repr_html_(self) -> str:
        """Return a table for a notebook; names are text, whatever stands in them."""
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(result))}</tr>"
            for result in self.report.results
        )
        heads = "".join(f"<th>{name}</th>" for name in COLUMNS)
        verdict = "passed" if self._passed else f"{len(self._failures)} failing"
        return (
            f"<table><caption>{verdict} of {len(self)} results</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _cells(record: ResultRecord) -> tuple[str, ...]:
    low, high, growth = record.ci_low, record.ci_high, record.growth
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    return (
        *(record.test, record.model, record.layer),
        "" if record.effect_judged is None else format_effect(record.effect_judged),
        "" if low is None or high is None else f"{low:+.2f} to {high:+.2f}",
        "" if p is None else format_p(p),
        "" if growth is None else format_effect(growth.value),
        label(record),
    )


BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network and what prepares its images.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied: training can go on with it afterwards.
    transform : callable, optional
        One RGB image (PIL) to the network's input ``(channels, height, width)``, such as the
        transform of the data that it was evaluated on. Without one, a network of timm brings its
        own, and of others the entry of this name in the spec says it.
    """

    module: Any
    transform: Callable[[Any], Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Auditor:
    """Measures by specs; what it remembers between two audits is the cache.

    Attributes
    ----------
    settings : Settings
        How to measure, for all audits.
    cache : Path or None
        Where embeddings are kept; of networks in memory they never are.
    batch_size : int
        Images in one forward pass.
    shared : SharedCache or None
        Where several machines keep embeddings, behind the folder of the cache.
    made : list of Audit
        What came of it.
    """

    settings: RunSettings
    cache: Path | None = None
    batch_size: int = BATCH_SIZE
    shared: SharedCache | None = None
    made: list[Audit] = field(default_factory=list, repr=False)

    def audit(
        self,
        spec: str | Path | Mapping[str, Any],
        *,
        models: Mapping[str, Any] | None = None,
    ) -> Audit:
        """Measure every model of a spec and judge it, as `audit` does."""
        overrides, modules = _given(models or {}, self.settings.project)
        settings = _with(self.settings, overrides, modules)
        cache = EmbeddingCache(folder=self.cache, shared=self.shared)
        resources = Resources(cache=cache, batch_size=self.batch_size, progress=_silent)
        session = EvaluationRun(settings=settings, resources=resources)
        loaded = _loaded(session, spec)
        results = _results(session, loaded)
        records = [session.model(loaded, name) for name in loaded.file.spec.models]
        report = build_report(
            results,
            [model for model in records if model is not None],
            {"deselected": 0, "collection_errors": [], "exit_status": None, "baselines": []},
            root=settings.project,
            settings={
                "started": settings.started,
                "device": settings.device,
                "precision": settings.precision,
                "strict": settings.strict,
                "overrides": {override.name: override.shown for override in overrides},
            },
        )
        audit = Audit(report=report, strict=settings.strict)
        self.made.append(audit)
        return audit


def audit(  # noqa: PLR0913 - the options of the command line
    spec: str | Path | Mapping[str, Any],
    *,
    models: Mapping[str, Any] | None = None,
    stimuli: str | Path | None = None,
    baseline: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH_SIZE,
    cache: str | Path | None = None,
    offline: bool = False,
    strict: bool = False,
) -> Audit:
    """Measure every model of a spec and judge it, as ``pytest --visualbias`` does.

    Parameters
    ----------
    spec : path or mapping
        A spec file, or the same as Python data; then paths in it are relative to the working
        directory.
    models : mapping of str to module, Model, path or str, optional
        What to measure in the place of the spec's own entries: a ``torch.nn.Module``, a `Model`,
        or what the command line takes (a checkpoint's path, ``timm:NAME``, ...).
    stimuli : path or URL, optional
        Root of relative stimulus paths.
    baseline : path or URL, optional
        Recorded results to measure growth from; nothing is recorded here.
    device, precision, batch_size
        How to embed, as on the command line.
    cache : path or URL, optional
        Where embeddings are kept; of a URL, a copy is kept in the folder that pytest would use.
        Those of modules are not: nothing says for sure what their code
        does.
    offline, strict : bool
        As on the command line.

    Returns
    -------
    Audit
        The report, with verdicts.

    Raises
    ------
    VisualBiasError
        For a spec that is wrong (`SpecError`), and models that fit no entry (`UsageError`). What
        goes wrong with a single model or set is an ``error`` in the report, as in a run.

    Examples
    --------
    >>> report = audit("bias_specs/gender.bias.yaml", models={"after": network})  # doctest: +SKIP
    >>> report.check()  # raises AssertionError where the gate would fail    # doctest: +SKIP
    """
    _refuse_unknown(device, precision, batch_size)
    named = None if cache is None else to_path(str(cache))
    folder = None if named is None else find_cache(named)
    mirror = Mirror(folder=folder, offline=offline)
    recorded = None if baseline is None else _placed(baseline)
    origin = recorded.shown if isinstance(recorded, Url) else ""
    settings = RunSettings(
        project=Path.cwd(),
        stimuli=None if stimuli is None else _placed(stimuli),
        baseline=mirror.file(recorded) if isinstance(recorded, Url) else recorded,
        baseline_origin=origin,
        baseline_mirror=mirror if origin else None,
        device=device,
        precision=precision,
        offline=offline,
        strict=strict,
    )
    shared = None if named is None else shared_cache(named, offline=offline)
    auditor = Auditor(settings=settings, cache=folder, batch_size=batch_size, shared=shared)
    return auditor.audit(spec, models=models)


def _placed(given: str | Path) -> Path | Url:
    path = to_path(str(given))
    return path if isinstance(path, Url) else path.absolute()


def _refuse_unknown(device: str, precision: str, batch_size: int) -> None:
    """Raise for what the command line would refuse, even where this spec does not need it."""
    if not DEVICE.fullmatch(device):
        raise UsageError(f"device: '{device}' is not auto, cpu, cuda, cuda:N or mps", "choose one")
    if precision not in PRECISIONS:
        raise UsageError(f"precision: '{precision}' is not {' or '.join(PRECISIONS)}", "choose one")
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise UsageError(f"batch_size: '{batch_size}' is not a number of images", "give 1 or more")


def _given(
    models: Mapping[str, Any], folder: Path
) -> tuple[tuple[Override, ...], dict[str, InMemory]]:
    overrides, modules = [], {}
    for name, given in models.items():
        if isinstance(given, str | Path):
            overrides.append(parse_override(name, str(given), folder))
            continue
        held = given if isinstance(given, Model) else Model(given)
        if not hasattr(held.module, "state_dict"):
            kind = type(held.module).__name__
            raise UsageError(
                f"the model '{name}' is a {kind}",
                "give a torch.nn.Module, a Model, or a text such as a checkpoint's path",
            )
        modules[name] = InMemory(module=held.module, transform=held.transform)
        overrides.append(Override(name=name, source=IN_MEMORY, what=name))
    return tuple(overrides), modules


def _with(
    settings: RunSettings, overrides: tuple[Override, ...], modules: Mapping[str, InMemory]
) -> RunSettings:
    every = (*settings.overrides, *overrides)
    return dataclasses.replace(settings, overrides=every, modules=modules)


def _loaded(session: EvaluationRun, spec: str | Path | Mapping[str, Any]) -> LoadedSpec:
    project = session.settings.project
    if isinstance(spec, Mapping):
        return session.load(project / "spec", "spec", _text(spec))
    path = project / Path(spec)
    if not path.is_file():
        raise UsageError(f"there is no spec {path}", "correct the path")
    shown = path.relative_to(project) if path.is_relative_to(project) else path
    return session.load(path, shown.as_posix())


class _WrittenOut(yaml.SafeDumper):
    """Writes a value out wherever it stands: a spec has no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - of PyYAML
        return True


def _text(spec: Mapping[str, Any]) -> str:
    try:
        text: str = yaml.dump(dict(spec), Dumper=_WrittenOut, sort_keys=False, allow_unicode=True)
    except (RecursionError, yaml.YAMLError) as error:
        what = error.args[0] if isinstance(error, yaml.YAMLError) else "it holds itself"
        raise UsageError(
            f"the spec cannot be written as YAML ({what})", "use text, numbers, lists and dicts"
        ) from None
    return text


def _results(session: EvaluationRun, loaded: LoadedSpec) -> list[ResultRecord]:
    file = loaded.file
    session.embedder.expect((loaded, model) for model in file.spec.models)
    return [
        session.result(
            *(loaded, model, test.name, layer),
            nodeid=f"{file.file}::{model}::{test.name}[{layer}]",
        )
        for model in file.spec.models
        for test in file.spec.tests
        for layer in layers_of(file.spec, test)
    ]


def _silent(_model: str, _done: int, _total: int) -> None:
    """Show no progress: the caller's output is the caller's."""
