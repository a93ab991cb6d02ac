"""Collect results from items and workers, and show progress and the report."""

from __future__ import annotations

import itertools
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.baseline_file import SUFFIXES
from pytest_visualbias.evaluation.build_result import error_record
from pytest_visualbias.reports.document import build_report
from pytest_visualbias.reports.github import append_summary, workflow_commands
from pytest_visualbias.reports.tables import has_unicode
from pytest_visualbias.results import ModelRecord, Report, ResultRecord
from pytest_visualbias.spec.effective_settings import layers_of, test_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.evaluation.run import EvaluationRun
    from pytest_visualbias.evaluation.settings import RunSettings
    from pytest_visualbias.plugin.items import RunOutcome


@dataclass(kw_only=True, slots=True)
class CollectedResults:
    """What items have carried so far, from this process or from workers of xdist."""

    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, nodeid: str, row: dict[str, Any]) -> None:
        """Keep what an item carried; a run of it again replaces the one before."""
        self._rows[nodeid] = row

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as the specs have them, whatever the order in which they ran."""
        return sorted(self._rows.values(), key=lambda row: row["order"])

    def results(self) -> list[ResultRecord]:
        """Return the records of the rows."""
        return [ResultRecord.model_validate(row["result"]) for row in self.rows()]


def lost_result(report: pytest.TestReport, session: EvaluationRun) -> dict[str, Any] | None:
    """Return the row of an item whose worker died with it, and so could not carry it."""
    name, _, rest = report.nodeid.partition("::")
    if report.when in ("setup", "call", "teardown") or not name.endswith(SUFFIXES):
        return None
    try:
        file = session.load(session.settings.project / name, name).file
    except VisualBiasError:
        return None  # changed since the workers read it
    places = itertools.product(enumerate(file.spec.models), enumerate(file.spec.tests))
    for (number, model), (index, test) in places:
        for position, layer in enumerate(layers_of(file.spec, test)):
            if rest == f"{model}::{test.name}[{layer}]":
                declared, reason = test_at(file.spec, test, layer), report.longreprtext
                record = error_record(
                    file, model, declared, layer, nodeid=report.nodeid, reason=reason
                )
                order = [file.file, number, index, position]
                return {"order": order, "result": record.model_dump(mode="json"), "model": None}
    return None


def unwritten(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each reason for which embeddings could not be kept."""
    models = [row["model"] for row in rows if row["model"] is not None]
    problems = dict.fromkeys(str(model["description"].get("cache", "")) for model in models)
    return [f"cache {problem}; the next run embeds anew" for problem in problems if problem]


def report_of(
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    settings: RunSettings,
    *,
    root: Path,
) -> Report:
    """Return the report of a run."""
    records = [row["model"] for row in rows if row["model"] is not None]
    models = {(row["spec"], row["model"]): ModelRecord.model_validate(row) for row in records}
    return build_report(
        [ResultRecord.model_validate(row["result"]) for row in rows],
        list(models.values()),
        summary,
        root=root,
        settings={
            "started": settings.started,
            "device": settings.device,
            "precision": settings.precision,
            "strict": settings.strict,
            "overrides": {override.name: override.shown for override in settings.overrides},
        },
    )


def print_report(
    config: pytest.Config,
    terminalreporter: Any,
    results: Sequence[ResultRecord],
    notes: Sequence[str],
    *,
    is_strict: bool,
    is_broken: bool,
) -> None:
    """Show verdicts and tables in pytest's terminal."""
    from pytest_visualbias.reports.tables import Screen
    from pytest_visualbias.reports.terminal import render

    writer = config.get_terminal_writer()
    screen = Screen(
        width=writer.fullwidth,
        has_colour=writer.hasmarkup,
        has_unicode=has_unicode(sys.stdout),
    )
    text = render(
        results,
        notes,
        screen,
        verbosity=config.get_verbosity(),
        is_strict=is_strict,
        is_broken=is_broken,
    )
    terminalreporter.section("visualbias")
    terminalreporter.write(text)


# Short work needs no sign of life, and a log no line for every batch.
FIRST_AFTER = 3.0
EVERY = 10.0


class TerminalProgress:
    """Writes lines through pytest's own reporter: one that is rewritten where it is a terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager
        self._next: float | None = None
        self._reported = 0

    def __call__(self, model: str, done: int, total: int) -> None:
        """Tell that `done` of `total` images were embedded with a model, or a network of it."""
        now = time.monotonic()
        self._next = now + FIRST_AFTER if self._next is None else self._next
        reporter = self._plugins.getplugin("terminalreporter")
        if reporter is None or now < self._next:
            return
        self._next = now + (0.0 if reporter.isatty else EVERY)
        self._write(reporter, f"visualbias: {model}: {done} of {total} images embedded")

    def _write(self, reporter: Any, line: str) -> None:
        capture = self._plugins.getplugin("capturemanager")
        if capture is None:
            self._show(reporter, line)
            return
        with capture.global_and_fixture_disabled():
            self._show(reporter, line)

    def _show(self, reporter: Any, line: str) -> None:
        # Ends a line that begins with a file; with -q there are dots alone, which none ends.
        reporter.ensure_newline()
        reported = sum(len(stat) for name, stat in reporter.stats.items() if name)
        if reported > self._reported and not reporter.showfspath:
            reporter.line("")
        self._reported = reported
        if reporter.isatty:
            reporter.rewrite(line, erase=True)
        else:
            reporter.write_line(line)


# It marks failed calls by itself, and GitHub shows ten of all of them.
ANNOTATOR = "pytest_github_actions_annotate_failures"


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
