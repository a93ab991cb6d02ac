"""Read and check the options of a run before anything starts."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import EncoderError, UsageError
from pytest_visualbias.evaluation.baseline.file import is_report, named_baseline
from pytest_visualbias.evaluation.settings import DEVICE, PRECISIONS, RunSettings
from pytest_visualbias.plugin.option_values import (
    caches,
    place_of,
    refuse_moved_root,
    switch_of,
    value_of,
)
from pytest_visualbias.plugin.report_outputs import has_step_summary, targets
from pytest_visualbias.reports.files import RenderOptions
from pytest_visualbias.spec.overrides import Override, parse_override
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.byte_sizes import parse_size
from pytest_visualbias.stimuli.mirror import Mirror, TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.embeddings.cache import SharedCache
    from pytest_visualbias.evaluation.baseline.records import Recording

BATCH_SIZE = 32

# What says that this is CI: everywhere; on Jenkins and the like, as pytest has it; on Azure.
CI = ("CI", "BUILD_NUMBER", "TF_BUILD")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of a run."""

    is_given: bool
    is_on: bool
    settings: RunSettings
    batch_size: int
    cache: Path | None
    shared: SharedCache | None
    passing: TemporaryFolder | None
    cache_limit: int
    rehash: bool
    reports: Mapping[str, Path | Url]
    look: RenderOptions
    step_summary: bool = True
    prune: bool = False


def read_options(config: pytest.Config) -> Options:
    """Read and check all options."""
    is_given = bool(config.getoption("--visualbias"))
    refuse_moved_root(config)
    stimuli = place_of(config, "stimuli")
    if isinstance(stimuli, Path) and not stimuli.is_dir():
        raise pytest.UsageError(f"--visualbias-stimuli: {stimuli} is not a folder; correct it")
    local, shared = caches(config)
    mirror = Mirror(folder=local, offline=switch_of(config, "offline"))
    baseline, origin = _baseline(config, mirror)
    settings = RunSettings(
        project=config.rootpath,
        overrides=tuple(_overrides(config)),
        stimuli=stimuli,
        device=_device(config),
        precision=_precision(config),
        offline=switch_of(config, "offline"),
        strict=switch_of(config, "strict"),
        worker=_worker(),
        threads=_threads(),
        baseline=baseline,
        baseline_origin=origin,
        baseline_mirror=mirror if origin else None,
        recording=_recording(config),
    )
    # A shared cache needs a place for its files where pytest has none.
    passing = TemporaryFolder() if shared is not None and local is None else None
    return Options(
        is_given=is_given,
        is_on=is_given or bool(config.getini("visualbias")),
        settings=settings,
        batch_size=_batch_size(config),
        cache=local if passing is None else passing.folder,
        shared=shared,
        passing=passing,
        cache_limit=_cache_limit(config),
        rehash=switch_of(config, "rehash"),
        reports=targets(config),
        look=RenderOptions(thumbnails=not switch_of(config, "no-thumbnails"), root=config.rootpath),
        step_summary=has_step_summary(config),
        prune=bool(config.getoption("--visualbias-prune")),
    )


def _baseline(config: pytest.Config, mirror: Mirror) -> tuple[Path | None, str]:
    """Return the path of the option, or of a local copy, and the URL if it is one."""
    _refuse_on_ci(config)
    named, writing = place_of(config, "baseline"), _writing(config)
    if named is None:
        return None, ""
    if writing and isinstance(named, Url):
        raise pytest.UsageError(f"{writing[0]}: {named} is only read; name a file")
    if isinstance(named, Path) and _recording(config) is not None:
        path = named
    else:
        try:
            path = named_baseline(named, "--visualbias-baseline", mirror)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
    if writing and is_report(path):
        raise pytest.UsageError(
            f"{writing[0]}: {path} is the report of a run, which stays as it is; name another "
            "--visualbias-baseline"
        )
    return path, named.shown if isinstance(named, Url) else ""


def _writing(config: pytest.Config) -> list[str]:
    """Return the options given that write into the repository."""
    names = (f"--visualbias-{name}" for name in ("update", "update-new", "prune"))
    return [name for name in names if config.getoption(name)]


def _refuse_on_ci(config: pytest.Config) -> None:
    """Raise where a gate would record what it is to judge."""
    names = [name for name in CI if os.environ.get(name, "").lower() not in ("", "0", "false")]
    if names and _writing(config):
        raise pytest.UsageError(
            f"{_writing(config)[0]}: refused on CI (the variable {names[0]} is set); record on a "
            "machine of your own and commit the file"
        )


def _recording(config: pytest.Config) -> Recording | None:
    if config.getoption("--visualbias-update"):
        return "changed"
    return "new" if config.getoption("--visualbias-update-new") else None


def _device(config: pytest.Config) -> str:
    device = value_of(config, "device") or "auto"
    if not DEVICE.fullmatch(device):
        raise pytest.UsageError(
            f"--visualbias-device: '{device}' is not auto, cpu, cuda, cuda:N or mps; choose one"
        )
    if device not in ("auto", "cpu") and not hasattr(config, "workerinput"):
        _require(device)
    return device


def _require(device: str) -> None:
    """Raise where this machine lacks a device, also if all embeddings are cached."""
    try:
        # By name, as for encoders: torch is no part of a run that says nothing of devices.
        importlib.import_module("pytest_visualbias.models.torch_encoder").choose_device(device)
    except ImportError as error:
        raise pytest.UsageError(f"--visualbias-device: '{device}' needs torch ({error})") from None
    except EncoderError as error:
        raise pytest.UsageError(f"--visualbias-device: {error}") from None


def _precision(config: pytest.Config) -> str:
    precision = value_of(config, "precision") or PRECISIONS[0]
    if precision not in PRECISIONS:
        raise pytest.UsageError(
            f"--visualbias-precision: '{precision}' is not {' or '.join(PRECISIONS)}; choose one"
        )
    return precision


def _batch_size(config: pytest.Config) -> int:
    text = value_of(config, "batch-size") or str(BATCH_SIZE)
    if not text.isdecimal() or int(text) < 1:
        raise pytest.UsageError(
            f"--visualbias-batch-size: '{text}' is not a number of images; give 1 or more"
        )
    return int(text)


def _worker() -> int:
    """Return the number of this process among the workers of xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _threads() -> int:
    """Return this process's share of the processors that it may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not there on every system
    processors = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, processors // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _cache_limit(config: pytest.Config) -> int:
    try:
        return parse_size(config.getini("visualbias_cache_limit"))
    except ValueError as error:
        raise pytest.UsageError(f"visualbias_cache_limit: {error}") from None


def _overrides(config: pytest.Config) -> Iterator[Override]:
    written = config.getini("visualbias_model")
    if written == []:
        raise pytest.UsageError("visualbias_model: the value is empty; give NAME=REF or remove it")
    for text in config.getoption("--visualbias-model") or written or ():
        name, separator, reference = text.partition("=")
        if not (name and separator and reference):
            raise pytest.UsageError(
                f"--visualbias-model: '{text}' is not NAME=REF; give a model's name and its REF"
            )
        yield _override(config, name, reference)
    for name in ("before", "after"):
        if (reference := value_of(config, name)) is not None:
            yield _override(config, name, reference)


def _override(config: pytest.Config, name: str, reference: str) -> Override:
    try:
        return parse_override(name, reference, config.invocation_params.dir)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
