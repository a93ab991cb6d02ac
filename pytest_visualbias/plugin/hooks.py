"""Implement the pytest hooks of a run that collects bias specs."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import evict_to_limit
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import LocatedFault, StorageError
from pytest_visualbias.evaluation.baseline import ExpectedEntries, update_baseline
from pytest_visualbias.evaluation.baseline_file import SUFFIXES
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.plugin.items import (
    FAULT,
    STRICT,
    BiasFile,
    BiasItem,
    GateItemTracker,
    RunOutcome,
    uncollected_specs,
)
from pytest_visualbias.plugin.options import read_options
from pytest_visualbias.plugin.reporting import (
    CollectedResults,
    SuiteProperties,
    TerminalProgress,
    annotate,
    lost_result,
    print_report,
    report_of,
    summarise,
    unwritten,
)
from pytest_visualbias.reports.files import write_all
from pytest_visualbias.stimuli.digest_cache import DigestCache

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pytest_visualbias.evaluation.baseline import BaselineUpdate
    from pytest_visualbias.results import Report

DEFAULT_FOLDER = "bias_specs"
KEY = "visualbias"


class VisualBiasHooks:
    """What one process of pytest does about specs; under xdist the controller reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self.options = read_options(config)
        self._reach_cache()
        config.stash[STRICT] = self.options.settings.strict
        config.stash[FAULT] = 0
        nearer = config.invocation_params.dir / DEFAULT_FOLDER
        self.default_folder = nearer if nearer.is_dir() else config.rootpath / DEFAULT_FOLDER
        self.only_default = self._choose_default()
        self.digests = DigestCache.inside(self.options.cache, rehash=self.options.rehash)
        self.session = EvaluationRun(
            settings=self.options.settings,
            resources=Resources(
                cache=EmbeddingCache(folder=self.options.cache, shared=self.options.shared),
                batch_size=self.options.batch_size,
                progress=TerminalProgress(config),
            ),
            digest=self.digests.of,
        )
        self.collected = CollectedResults()
        self.tracker = GateItemTracker()
        self.collection_errors: list[str] = []
        self.faults: list[LocatedFault] = []
        self.problems: list[str] = []
        self.is_broken = False  # for something that no item stands for
        self.expected: dict[str, ExpectedEntries] = {}
        self.updates: list[BaselineUpdate] = []
        if not self.is_worker:
            config.pluginmanager.register(SuiteProperties(config, lambda: self.outcome))

    def _reach_cache(self) -> None:
        """Refuse to begin where the shared cache cannot be reached; once for all processes."""
        if self.options.shared is not None and not self.is_worker:
            try:
                self.options.shared.check()
            except StorageError as error:
                raise pytest.UsageError(f"--visualbias-cache: {error}") from None

    def _choose_default(self) -> bool:
        """Whether only the default folder is looked at; it joins what pytest collects by itself."""
        if self.is_worker:
            return bool(self.config.workerinput.get(KEY))  # type: ignore[attr-defined]
        named = self.config.args_source is pytest.Config.ArgsSource.ARGS
        if not self.options.is_on or named:
            return False
        folder = self.default_folder
        seen = [Path(argument.partition("::")[0]).absolute() for argument in self.config.args]
        if folder.is_dir() and not any(folder.is_relative_to(path) for path in seen):
            self.config.args.append(str(folder))
        return True

    def collect(self, path: Path, parent: pytest.Collector) -> BiasFile | None:
        """Return the node of a spec, where this run wants it."""
        if not parent.session.isinitpath(path):
            is_elsewhere = self.only_default and not path.is_relative_to(self.default_folder)
            if not self.options.is_on or is_elsewhere:
                return None
        return BiasFile.of(parent, path, self.session)

    def pytest_report_header(self) -> list[str]:
        """Say that the plugin is on, how it embeds, and which specs of several are collected."""
        settings = self.options.settings
        local, shared = self.options.cache, self.options.shared
        cache = "off" if local is None else f"{local} and {shared.url}" if shared else local
        lines = [f"visualbias: device {settings.device}, {settings.precision}, cache {cache}"]
        if self.only_default and self.default_folder.parent != self.config.rootpath:
            lines.append(f"visualbias: specs from {self.default_folder}")
        return lines

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist what the command line does not say."""
        node.workerinput[KEY] = self.only_default

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of xdist counted."""
        output = getattr(node, "workeroutput", {}).get(KEY, {})
        self.tracker.join(output.get("tracker", {}))
        self.config.stash[FAULT] = max(self.config.stash[FAULT], output.get("fault", 0))
        for path, (file, keys) in output.get("expected", {}).items():
            self.expected[path] = ExpectedEntries(path=Path(path), file=file, keys=frozenset(keys))

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Count gate items, whatever becomes of them."""
        self.tracker.collect(item)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell the memory of the run which models it will be asked for."""
        self.tracker.select(session.items)
        items = [item for item in session.items if isinstance(item, BiasItem)]
        chosen = {(item.spec.path, item.model): (item.spec, item.model) for item in items}
        self.session.embedder.expect(chosen.values())

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Attach the faults of a spec to the report, in builtin types for xdist."""
        report = yield
        if isinstance(collector, BiasFile):
            report.visualbias = [dataclasses.asdict(fault) for fault in collector.faults]  # type: ignore[attr-defined]
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the errors of collecting."""
        if report.failed:
            message = report.longreprtext.strip()
            self.collection_errors.append(message)
            file = report.nodeid.partition("::")[0]
            if file.endswith(SUFFIXES):
                faults = [LocatedFault(**row) for row in getattr(report, "visualbias", ())]
                self.faults += faults or [LocatedFault(file=file, problem=message)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the result to the report: builtin types only, so that xdist can carry it."""
        report = yield
        if isinstance(item, BiasItem):
            item.keep_verdict(report, call)
            if report.when == "call" or (report.when == "setup" and report.failed):
                report.visualbias = item.row(call.excinfo)  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the results, on the controller from all workers."""
        row = getattr(report, "visualbias", None) or lost_result(report, self.session)
        if row is not None:
            self.collected.add(report.nodeid, row)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Set the exit code and write the reports, whatever happened."""
        self.digests.save()
        self.expected |= {str(entries.path): entries for entries in self.session.claims()}
        if self.is_worker:
            self.config.workeroutput[KEY] = {  # type: ignore[attr-defined]
                "tracker": self.tracker.plain(),
                "fault": int(self.config.stash[FAULT]),
                "expected": {
                    path: (entries.file, sorted(entries.keys))
                    for path, entries in self.expected.items()
                },
            }
            return
        status = int(session.exitstatus)
        was_stopped = status == pytest.ExitCode.INTERRUPTED or bool(self.collection_errors)
        self.problems += self.outcome.problems(status, was_stopped=was_stopped)
        session.exitstatus = self.outcome.exit_code(status)
        if not self._collects_only():
            self._update_baseline(session)
            self._write(session)
        if self.options.cache is not None and self.collected:
            evict_to_limit(self.options.cache, self.options.cache_limit)

    @functools.cached_property
    def outcome(self) -> RunOutcome:
        """What pytest does not know of this run, once all its items have run."""
        strict, tracker = self.options.settings.strict, self.tracker
        if self._collects_only():
            return RunOutcome(is_strict=strict, fault=self.config.stash[FAULT])
        ungated = tracker.nothing_gated() or ""
        is_allowed = not strict and self._are_named(tracker.selected)
        is_empty = not self.collected or (bool(ungated) and not is_allowed)
        return RunOutcome(
            is_strict=strict,
            fault=self.config.stash[FAULT],
            is_empty=self.options.is_given and is_empty,
            ungated=ungated if self.collected or not self.options.is_given else self._nothing_ran(),
            hidden=tuple(tracker.hidden(self.collected.rows(), is_strict=strict)),
            uncollected=tuple(self._uncollected()),
        )

    def _collects_only(self) -> bool:
        return bool(self.config.getoption("--collect-only"))

    def _are_named(self, nodeids: Iterable[str]) -> bool:
        """Whether the command line has all of these by their node ids."""
        folder, root = self.config.invocation_params.dir, self.config.rootpath
        parts = (argument.partition("::") for argument in self.config.args)
        places = {f"{os.path.realpath(folder / path)}::{rest}" for path, _, rest in parts}
        return all(
            f"{os.path.realpath(root / path)}::{rest}" in places
            for path, _, rest in (nodeid.partition("::") for nodeid in nodeids)
        )

    def _update_baseline(self, session: pytest.Session) -> None:
        """Record results if the run was asked to; fail if that is impossible or incomplete."""
        settings = self.options.settings
        self.updates = update_baseline(
            self.expected.values(),
            self.collected.rows(),
            settings.baselines(),
            prunes=self.options.prune,
        )
        self.problems += [sentence for update in self.updates for sentence in update.sentences]
        if any(
            update.problem is not None or (settings.strict and update.unclaimed)
            for update in self.updates
        ):
            self._fail(session)

    def _fail(self, session: pytest.Session) -> None:
        """Let the run fail for a problem that belongs to no item."""
        self.is_broken = True
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _uncollected(self) -> list[str]:
        """Return a sentence for each file that looks like a spec and was not collected."""
        if not self.options.is_on:
            return []
        named = [Path(arg.partition("::")[0]).absolute() for arg in self.config.args]
        folders = {path for path in named if path.is_dir()}
        if self.only_default:
            folders = {self.default_folder}
        known = [*map(Path, self.expected), *self.session.loaded]
        return [
            text
            for folder in sorted(folders - {*self.config.rootpath.parents, self.config.rootpath})
            for text in uncollected_specs(folder, known, is_ours=folder == self.default_folder)
        ]

    def _nothing_ran(self) -> str:
        if number := self.tracker.deselected:
            return f"all {number} items of specs were deselected: nothing was gated"
        return f"no item of a spec ran; put *.bias.yaml into {self.default_folder}, or name a spec"

    def _write(self, session: pytest.Session) -> None:
        """Write the reports; fail if one cannot be written."""
        report = functools.cache(lambda: self._report(int(session.exitstatus)))
        reports, look = self.options.reports, self.options.look
        if problems := write_all(report(), reports, look) if reports else []:
            self.problems += problems
            self._fail(session)
        self.problems += unwritten(self.collected.rows())
        if self.options.is_given or self.collected:
            problem = summarise(report, is_wanted=self.options.step_summary)
            self.problems += [problem] if problem else []

    def _report(self, exit_status: int) -> Report:
        summary = {
            "deselected": self.tracker.deselected,
            "collection_errors": self.collection_errors,
            "exit_status": exit_status,
            "baselines": [update.plain() for update in self.updates],
        }
        rows, settings = self.collected.rows(), self.options.settings
        return report_of(rows, summary, settings, root=self.config.rootpath)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show verdicts and tables; workers show nothing."""
        if self.is_worker:
            return
        results = self.collected.results()
        strict = self.options.settings.strict
        if results or self.problems:
            print_report(
                self.config,
                terminalreporter,
                results,
                self.problems,
                is_strict=strict,
                is_broken=self.is_broken or bool(self.faults),
            )
        annotate(self.config, terminalreporter, results, self.faults, is_strict=strict)
