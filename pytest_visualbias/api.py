"""For Python code: measure networks that it holds by a spec, and look at what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.audited import Audit
from pytest_visualbias.cli_cache import place_of, shared_of
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.errors import UsageError
from pytest_visualbias.models.encoder import InMemory
from pytest_visualbias.pipeline.embedding import Resources
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.remote.urls import Url, place
from pytest_visualbias.reports.document import assemble
from pytest_visualbias.session import Session
from pytest_visualbias.settings import DEVICE, PRECISIONS, Settings
from pytest_visualbias.spec.layers import layers_of
from pytest_visualbias.spec.overrides import Override, override_of
from pytest_visualbias.spec.schema import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.embeddings.shared import SharedCache
    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.session import LoadedSpec

__all__ = ["Audit", "Auditor", "Model", "audit"]

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

    settings: Settings
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
        session = Session(settings=settings, resources=resources)
        loaded = _loaded(session, spec)
        results = _results(session, loaded)
        named = [session.model(loaded, name) for name in loaded.file.spec.models]
        report = assemble(
            results,
            [one for one in named if one is not None],
            {"deselected": 0, "collection_errors": [], "exit_status": None, "baselines": []},
            root=settings.project,
            settings={
                "started": settings.started,
                "device": settings.device,
                "precision": settings.precision,
                "strict": settings.strict,
                "overrides": {one.name: one.shown for one in overrides},
            },
        )
        found = Audit(report=report, strict=settings.strict)
        self.made.append(found)
        return found


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
    named = None if cache is None else place(str(cache))
    folder = None if named is None else place_of(named)
    mirror = Mirror(folder=folder, offline=offline)
    recorded = None if baseline is None else _placed(baseline)
    origin = recorded.shown if isinstance(recorded, Url) else ""
    settings = Settings(
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
    shared = None if named is None else shared_of(named, offline=offline)
    auditor = Auditor(settings=settings, cache=folder, batch_size=batch_size, shared=shared)
    return auditor.audit(spec, models=models)


def _placed(given: str | Path) -> Path | Url:
    found = place(str(given))
    return found if isinstance(found, Url) else found.absolute()


def _refuse_unknown(device: str, precision: str, batch_size: int) -> None:
    """Raise for what the command line would refuse, even where this spec does not need it."""
    if not DEVICE.fullmatch(device):
        raise UsageError(f"device: '{device}' is not auto, cpu, cuda, cuda:N or mps; choose one")
    if precision not in PRECISIONS:
        raise UsageError(f"precision: '{precision}' is not {' or '.join(PRECISIONS)}; choose one")
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise UsageError(f"batch_size: '{batch_size}' is not a number of images; give 1 or more")


def _given(
    models: Mapping[str, Any], folder: Path
) -> tuple[tuple[Override, ...], dict[str, InMemory]]:
    overrides, modules = [], {}
    for name, given in models.items():
        if isinstance(given, str | Path):
            overrides.append(override_of(name, str(given), folder))
            continue
        held = given if isinstance(given, Model) else Model(given)
        if not hasattr(held.module, "state_dict"):
            kind = type(held.module).__name__
            raise UsageError(
                f"the model '{name}' is a {kind}; give a torch.nn.Module, a Model, or a text such "
                "as a checkpoint's path"
            )
        modules[name] = InMemory(module=held.module, transform=held.transform)
        overrides.append(Override(name=name, source=IN_MEMORY, what=name))
    return tuple(overrides), modules


def _with(
    settings: Settings, overrides: tuple[Override, ...], modules: Mapping[str, InMemory]
) -> Settings:
    every = (*settings.overrides, *overrides)
    return dataclasses.replace(settings, overrides=every, modules=modules)


def _loaded(session: Session, spec: str | Path | Mapping[str, Any]) -> LoadedSpec:
    project = session.settings.project
    if isinstance(spec, Mapping):
        return session.load(project / "spec", "spec", _text(spec))
    path = project / Path(spec)
    if not path.is_file():
        raise UsageError(f"there is no spec {path}; correct the path")
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
            f"the spec cannot be written as YAML ({what}); use text, numbers, lists and dicts"
        ) from None
    return text


def _results(session: Session, loaded: LoadedSpec) -> list[ResultRecord]:
    file = loaded.file
    session.expect((loaded, model) for model in file.spec.models)
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
