"""Options and hooks. The only module loaded in every pytest run, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_visualbias.api import Auditor

SUFFIXES = (".bias.yaml", ".bias.yml")
DEVICES = "auto|cpu|cuda|cuda:N|mps"

# name, metavar, help; all of them take text, which xdist can hand to its workers
VALUES = (
    ("before", "REF", "the model to measure growth from, in every spec: PATH or SOURCE:WHAT"),
    ("after", "REF", "the model to gate, in every spec: PATH or SOURCE:WHAT"),
    ("stimuli", "DIR|URL", "root of relative stimulus paths"),
    ("device", DEVICES, "where to embed (default: auto)"),
    ("precision", "fp32|bf16|fp16", "of the embedding (default: fp32)"),
    ("batch-size", "N", "images in one forward pass (default: 32)"),
    (
        *("cache", "DIR|URL"),
        "where embeddings are kept (default: $VISUALBIAS_CACHE, else pytest's cache)",
    ),
    ("json", "PATH", "write the report as JSON"),
    ("html", "PATH", "write it as a page of HTML that needs no network"),
    ("md", "PATH", "write it as Markdown for a pull request"),
    ("csv", "PATH", "write its results as comma-separated values"),
    ("model-card", "PATH", "write it as a section of a model card, or add it to the one there"),
    ("baseline", "PATH", "measure growth from recorded results: a folder, a file, or a report"),
)
SWITCHES = (
    ("no-cache", "keep no embeddings"),
    ("rehash", "hash every file again, whatever its size and times say"),
    ("strict", "inconclusive results, and warnings that say so, are failures"),
    ("no-thumbnails", "show no stimuli in pages of HTML, for sets that must not be copied"),
    ("offline", "never touch the network"),
)

# What writes into the repository is said every time, so these have no ini key.
WRITING = (
    ("update", "record results that are new or have changed, to measure growth from"),
    ("update-new", "record results that are new"),
    ("prune", "drop recorded results that no test claims"),
)


def is_spec(path: Path) -> bool:
    """Whether a file is a bias spec by its name."""
    return path.name.endswith(SUFFIXES)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, and an ini key for each that does not write into the repository."""
    group = parser.getgroup("visualbias", "bias of vision models")
    group.addoption(
        "--visualbias",
        action="store_true",
        default=None,
        help="collect bias specs: those in bias_specs/, or below the paths given",
    )
    parser.addini("visualbias", "collect bias specs in every run", type="bool", default=False)
    group.addoption(
        "--visualbias-model",
        action="append",
        default=[],
        metavar="NAME=REF",
        help="replace the model NAME in every spec (repeatable)",
    )
    parser.addini(
        "visualbias_model", "NAME=REF of models to replace", type="linelist", default=None
    )
    limit = "what the cache may hold after a run; the least recently used goes (default: 20GB)"
    parser.addini("visualbias_cache_limit", limit, default="20GB")
    summary = "add the report to the summary of a step of GitHub Actions"
    parser.addini("visualbias_step_summary", summary, type="bool", default=True)
    group.addoption(
        "--visualbias-no-step-summary", action="store_true", default=False, help=f"do not {summary}"
    )
    for name, metavar, text in VALUES:
        group.addoption(f"--visualbias-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"visualbias_{name.replace('-', '_')}", text, default=None)
    for name, text in SWITCHES:
        option = f"--visualbias-{name}"
        group.addoption(option, action="store_true", default=None, help=text)
        parser.addini(f"visualbias_{name.replace('-', '_')}", text, type="bool", default=False)
    for name, text in WRITING:
        group.addoption(f"--visualbias-{name}", action="store_true", default=False, help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the working hooks where the run may meet a spec."""
    config.addinivalue_line("markers", "visualbias: an item of a bias spec")
    if not _is_on(config) and not any(is_spec_argument(argument) for argument in config.args):
        _refuse_idle_options(config)
    else:
        from pytest_visualbias.errors import UsageError
        from pytest_visualbias.plugin.hooks import VisualBiasHooks

        try:
            running = VisualBiasHooks(config)
        except OSError as error:
            raise pytest.UsageError(str(UsageError.of_path(error))) from None
        config.pluginmanager.register(running, "visualbias-running")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a spec that is named on the command line, or any where the flag is given."""
    if not is_spec(file_path):
        return None
    running = parent.config.pluginmanager.getplugin("visualbias-running")
    if running is None:
        return None
    node: pytest.Collector | None = running.collect(file_path, parent)
    return node


def is_spec_argument(argument: str) -> bool:
    """Whether an argument of the command line names a spec, or something in one."""
    return argument.partition("::")[0].endswith(SUFFIXES)


def _refuse_idle_options(config: pytest.Config) -> None:
    """Raise where an option was given that does nothing, because no spec is looked for."""
    given = [text for text in config.invocation_params.args if text.startswith("--visualbias-")]
    if given:
        name = given[0].partition("=")[0]
        raise pytest.UsageError(f"{name} does nothing without --visualbias; add it")


def _is_on(config: pytest.Config) -> bool:
    return bool(config.getoption("--visualbias") or config.getini("visualbias"))


@pytest.fixture
def visualbias(request: pytest.FixtureRequest) -> Iterator[Auditor]:
    """Measure networks of a test: ``visualbias.audit(SPEC, models={"after": network}).check()``."""
    from pytest_visualbias.plugin.options import auditor_of, expect_asked

    auditor, failed = auditor_of(request.config), request.session.testsfailed
    yield auditor
    if request.session.testsfailed == failed:
        expect_asked(auditor)
