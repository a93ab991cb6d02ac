"""Read and check the options of a run before anything starts."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.api import Auditor
from pytest_visualbias.embeddings.cache import SharedCache
from pytest_visualbias.errors import EncoderError, UsageError
from pytest_visualbias.evaluation.baseline_file import is_report, named_baseline
from pytest_visualbias.evaluation.settings import DEVICE, PRECISIONS, RunSettings
from pytest_visualbias.reports.files import (
    FORMATS,
    STANDARD_OUTPUT,
    RenderOptions,
    find_path_problem,
)
from pytest_visualbias.spec.overrides import Override, parse_override
from pytest_visualbias.spec.urls import Url, is_url, miswritten_url
from pytest_visualbias.stimuli.byte_sizes import parse_size
from pytest_visualbias.stimuli.mirror import Mirror, TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.evaluation.baseline import Recording


def value_of(config: pytest.Config, name: str) -> str | None:
    """Return the text of an option or of its ini key; None where there is none."""
    given: str | None = config.getoption(f"--visualbias-{name}")
    place, text = f"--visualbias-{name}", given
    if given is None:
        place, text = ini_key(name), config.getini(ini_key(name))
    if text is not None and not text.strip():
        raise pytest.UsageError(f"{place}: the value is empty; give one or leave the option out")
    return text


def switch_of(config: pytest.Config, name: str) -> bool:
    """Whether an option or its ini key turns something on."""
    return bool(config.getoption(f"--visualbias-{name}") or config.getini(ini_key(name)))


def ini_key(name: str) -> str:
    """Return the key in the ini file of an option without its beginning."""
    return f"visualbias_{name.replace('-', '_')}"


def path_of(config: pytest.Config, name: str) -> Path | None:
    """Return a path: of the command line below the working directory, of the ini below its own."""
    text = value_of(config, name)
    is_given = config.getoption(f"--visualbias-{name}") is not None
    folder = config.invocation_params.dir if is_given else config.rootpath
    return None if text is None else _usable(below(folder, text), name)


def place_of(config: pytest.Config, name: str) -> Path | Url | None:
    """Return a URL as it is given, or a path as `path_of` does."""
    given = value_of(config, name)
    if problem := miswritten_url(given or ""):
        raise pytest.UsageError(f"--visualbias-{name}: {problem}")
    return Url(given) if given and is_url(given) else path_of(config, name)


def _usable(path: Path, name: str) -> Path:
    """Return a path that may be there or not; one that no file can have is refused."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise pytest.UsageError(f"--visualbias-{name}: {UsageError.of_path(error)}") from None
    except ValueError as error:  # a null byte
        raise pytest.UsageError(f"--visualbias-{name}: {path!r}: {error}; correct it") from None
    return path


def below(folder: Path, text: str) -> Path:
    """Return a path that is relative to a folder, or to the home where it begins so."""
    return folder / Path(text).expanduser()


def refuse_moved_root(config: pytest.Config) -> None:
    """Raise where an option's value moved pytest's root away from where it was called."""
    start, root = Path(config.invocation_params.dir), config.rootpath
    arguments = config.invocation_params.args
    for name, value in itertools.pairwise(arguments):
        is_apart = name.startswith("--visualbias-") and "=" not in name and value[:1] != "-"
        is_moved = config.inipath is None and root != start and start.is_relative_to(root)
        if is_apart and is_moved and not (start / value).is_relative_to(start):
            raise pytest.UsageError(
                f"{name} {value}: pytest takes the path for one of a test, and {root} for the root "
                f"of the project; write {name}={value}"
            )


def caches(config: pytest.Config) -> tuple[Path | None, SharedCache | None]:
    """Return the folder of the cache, and the cache at a URL behind it, where there are such."""
    if switch_of(config, "no-cache"):
        return None, None
    named, environment = place_of(config, "cache"), os.environ.get("VISUALBIAS_CACHE", "")
    if problem := miswritten_url(environment):
        raise pytest.UsageError(f"VISUALBIAS_CACHE: {problem}")
    chosen = named if named is not None else Url(environment) if is_url(environment) else None
    if not isinstance(chosen, Url):
        return _cache_folder(config, chosen), None
    is_reached = chosen.is_near or not switch_of(config, "offline")
    return _cache_folder(config, None), SharedCache(url=chosen) if is_reached else None


def _cache_folder(config: pytest.Config, named: Path | None) -> Path | None:
    name, path = "--visualbias-cache", named
    from_environment = os.environ.get("VISUALBIAS_CACHE", "")
    if path is None and from_environment and not is_url(from_environment):
        name, path = "VISUALBIAS_CACHE", below(config.invocation_params.dir, from_environment)
    if path is not None:
        if path.exists() and not path.is_dir():
            raise pytest.UsageError(f"{name}: {path} is not a folder; choose another")
        return path
    # Pytest's cache is not there with `-p no:cacheprovider`.
    cache: pytest.Cache | None = getattr(config, "cache", None)
    try:
        return None if cache is None else Path(cache.mkdir("visualbias"))
    except OSError:
        return None  # a repository that cannot be written to; pytest warns of that itself


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


def auditor_of(config: pytest.Config) -> Auditor:
    """Return an auditor with the options of a run."""
    options = read_options(config)
    # Models and recordings on the command line are about the specs that pytest collects.
    settings = dataclasses.replace(options.settings, overrides=(), recording=None)
    return Auditor(
        settings=settings,
        cache=options.cache,
        shared=options.shared,
        batch_size=options.batch_size,
    )


def expect_asked(auditor: Auditor) -> None:
    """Fail a test that made a failing audit and never looked at its outcome."""
    for audit in auditor.made:
        if audit.is_unasked:
            specs = ", ".join(dict.fromkeys(result.spec for result in audit.report.results))
            pytest.fail(
                f"the audit of {specs or 'a spec'} did not pass, and the test did not ask: call "
                ".check() on it, or look at .passed, .failures or .result(...)",
                pytrace=False,
            )


def targets(config: pytest.Config) -> dict[str, Path | Url]:
    """Return where reports go, by format, each to a file of its own."""
    options = {name: name.replace("_", "-") for name in FORMATS}
    for option in options.values():
        if value_of(config, option) == STANDARD_OUTPUT:
            raise pytest.UsageError(
                f"--visualbias-{option}: standard output is pytest's; name a file, and read it "
                "with `visualbias report`"
            )
    paths = {name: place_of(config, option) for name, option in options.items()}
    chosen = {name: path for name, path in paths.items() if path is not None}
    others = dict(_others(config))
    for name, path in chosen.items():
        target = path.resolve()
        why = others.get(target) if isinstance(target, Path) else None
        why = why or find_path_problem(name, path)
        if isinstance(path, Url) and not path.is_near and switch_of(config, "offline"):
            why = f"{path} is out of reach with --visualbias-offline; name a file"
        if why is not None:
            raise pytest.UsageError(f"--visualbias-{options[name]}: {why}")
    for first, second in itertools.combinations(chosen, 2):
        if chosen[first].resolve() == chosen[second].resolve():
            raise pytest.UsageError(
                f"--visualbias-{options[second]}: {chosen[second]} is where "
                f"--visualbias-{options[first]} goes; choose another"
            )
    return chosen


def _others(config: pytest.Config) -> Iterator[tuple[Path, str]]:
    """Yield which other files a run has, and what to say where a report is to go there."""
    baseline = path_of(config, "baseline")
    if baseline is not None:
        text = f"{baseline} is what growth is measured from; name another file"
        yield baseline.resolve(), text
    junit = config.getoption("xmlpath", None)
    if junit:
        path = below(config.invocation_params.dir, junit)
        yield path.resolve(), f"{path} is where --junitxml goes; name another file"


def has_step_summary(config: pytest.Config) -> bool:
    """Whether nobody has turned the summary of a step of GitHub Actions off."""
    is_off = config.getoption("--visualbias-no-step-summary")
    return not is_off and bool(config.getini("visualbias_step_summary"))
