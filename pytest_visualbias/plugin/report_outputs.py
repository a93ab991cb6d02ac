"""Write reports to the outputs that a run names: files, GitHub, JUnit properties."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.plugin.option_values import below, path_of, place_of, switch_of, value_of
from pytest_visualbias.reports.files import FORMATS, STANDARD_OUTPUT, find_path_problem
from pytest_visualbias.reports.github import append_summary, workflow_commands
from pytest_visualbias.results import Report
from pytest_visualbias.spec.urls import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.plugin.gate_items import RunOutcome
    from pytest_visualbias.results import ResultRecord

# It marks failed calls by itself, and GitHub shows ten of all of them.
ANNOTATOR = "pytest_github_actions_annotate_failures"


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


def summarise(report: Callable[[], Report], *, is_wanted: bool) -> str | None:
    """Add the report to the summary of a step of GitHub Actions; return what went wrong, if any."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not is_wanted:
        return None
    try:
        append_summary(report(), Path(path))
    except OSError as error:
        what = error.strerror or str(error)
        return f"the summary of the step, {path}, cannot be written ({what}); it is left out"
    return None


def annotate(
    config: pytest.Config,
    terminalreporter: Any,
    results: Sequence[ResultRecord],
    faults: Sequence[LocatedFault],
    *,
    is_strict: bool,
) -> None:
    """Mark what failed at its lines, where GitHub Actions runs the tests."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    if config.pluginmanager.hasplugin(ANNOTATOR):
        results = [result for result in results if result.outcome in ("error", "inconclusive")]
    workspace = os.environ.get("GITHUB_WORKSPACE")
    lines = workflow_commands(
        results,
        faults,
        root=config.rootpath,
        workspace=Path(workspace) if workspace else None,
        is_strict=is_strict,
    )
    terminalreporter.ensure_newline()
    for line in lines:
        terminalreporter.write_line(line)


class SuiteProperties:
    """What JUnit's XML says of all tests together; the file is written when the session ends."""

    def __init__(self, config: pytest.Config, outcome: Callable[[], RunOutcome]) -> None:
        self.config = config
        self.outcome = outcome

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tell the writer of JUnit's XML, where there is one."""
        properties = {
            "visualbias.version": self._version(),
            "visualbias.schema_version": Report.model_fields["schema_version"].default,
            "visualbias.exit_status": int(self.outcome().exit_code(int(exitstatus))),
        }
        for plugin in self.config.pluginmanager.get_plugins():
            add = getattr(plugin, "add_global_property", None)
            if add is not None:
                for name, value in properties.items():
                    add(name, str(value))

    def _version(self) -> str:
        from pytest_visualbias import __version__

        return __version__
