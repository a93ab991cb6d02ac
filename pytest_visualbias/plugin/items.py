"""Turn tests of a spec into pytest items."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_visualbias.errors import LocatedFault, SpecError, UsageError
from pytest_visualbias.evaluation.baseline_file import SUFFIXES
from pytest_visualbias.evaluation.build_result import error_record
from pytest_visualbias.reports.formatting import FAILING
from pytest_visualbias.reports.sentences import failure_text, waiver_text
from pytest_visualbias.spec.effective_settings import is_gated, is_random, layers_of, test_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_visualbias.evaluation.model_embedder import LoadedSpec
    from pytest_visualbias.evaluation.run import EvaluationRun
    from pytest_visualbias.results import ResultRecord


STRICT: pytest.StashKey[bool] = pytest.StashKey()

# The exit code that collecting asks for. To raise `pytest.exit` there would not do: pytest takes it
# for an error of the file, and under xdist it would be a worker's alone.
FAULT: pytest.StashKey[int] = pytest.StashKey()


class NotPassed(AssertionError):  # noqa: N818 - a verdict, not an error
    """Carries the text of a result that is not a pass."""


class BiasFile(pytest.File):
    """One spec file."""

    run: EvaluationRun
    faults: tuple[LocatedFault, ...] = ()

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, run: EvaluationRun) -> BiasFile:
        """Return the node of a spec file in a run."""
        node: BiasFile = cls.from_parent(parent, path=path)
        node.run = run
        return node

    def collect(self) -> Iterator[ModelNode]:
        """Yield a node for every model."""
        try:
            shown = self.path.relative_to(self.config.rootpath).as_posix()
        except ValueError:
            shown = self.path.as_posix()
        try:
            spec = self.run.load(self.path, shown)
        except (SpecError, UsageError) as error:
            code = pytest.ExitCode
            fault = code.USAGE_ERROR if isinstance(error, UsageError) else code.INTERRUPTED
            self.config.stash[FAULT] = max(self.config.stash[FAULT], fault)
            if isinstance(error, SpecError):
                self.faults = error.faults
            else:
                self.faults = (LocatedFault(file=shown, problem=str(error)),)
            raise self.CollectError(str(error)) from None
        for model in spec.file.spec.models:
            yield ModelNode.of(self, model, spec)


class ModelNode(pytest.Collector):
    """One model of a spec; its items run one after the other, so that it is embedded once."""

    run: EvaluationRun
    spec: LoadedSpec

    @classmethod
    def of(cls, parent: BiasFile, model: str, spec: LoadedSpec) -> ModelNode:
        """Return the node of a model."""
        node: ModelNode = cls.from_parent(parent, name=model)
        node.run, node.spec = parent.run, spec
        return node

    def collect(self) -> Iterator[BiasItem]:
        """Yield an item for every test and layer."""
        spec = self.spec.file.spec
        for test in spec.tests:
            for position, layer in enumerate(layers_of(spec, test)):
                yield BiasItem.of(self, test.name, layer, position)


class BiasItem(pytest.Item):
    """One test of one model at one layer."""

    run: EvaluationRun
    spec: LoadedSpec
    model: str
    test: str
    layer: str
    position: int
    record: ResultRecord | None = None

    @classmethod
    def of(cls, parent: ModelNode, test: str, layer: str, position: int) -> BiasItem:
        """Return the item of a test at a layer, of which it is the n-th."""
        name = f"{test}[{layer}]"
        # Given whole, so that pytest parses it as it parses the ids that --lf remembers: of an id
        # that it puts together, pytest 9.2 takes the bracket for a part of the name.
        item: BiasItem = cls.from_parent(parent, name=name, nodeid=f"{parent.nodeid}::{name}")
        item.run, item.spec, item.model = parent.run, parent.spec, parent.name
        item.test, item.layer, item.position = test, layer, position
        item.add_marker(pytest.mark.visualbias)
        spec = item.spec.file
        for tag in spec.spec.tests[spec.positions[test]].tags:
            line = f"{tag}: a tag of bias specs"
            if line not in item.config.getini("markers"):
                item.config.addinivalue_line("markers", line)
            item.add_marker(tag)
            item.extra_keyword_matches.add(tag)
        return item

    @property
    def is_judged(self) -> bool:
        """Whether a limit or a control can fail it."""
        spec = self.spec.file.spec
        declared = test_at(spec, spec.tests[self.spec.file.positions[self.test]], self.layer)
        if declared.is_positive:
            return not is_random(spec.models[self.model])
        return declared.limits != type(declared.limits)() and is_gated(spec, self.model, declared)

    def setup(self) -> None:
        """Obtain the record of the test, with its family, from the run's memory."""
        if self.record is None:  # not a retry
            self.record = self.run.result(
                self.spec, self.model, self.test, self.layer, nodeid=self.nodeid
            )
            self.user_properties.extend(_properties(self.record))
        if self.record.outcome == "error":
            raise NotPassed(failure_text(self.record))

    def _initrequest(self) -> None:
        """Do nothing: pytest-retry resets fixtures by it, and these items have none."""

    def runtest(self) -> None:
        """Turn the outcome into pytest's."""
        assert self.record is not None  # noqa: S101 - set up before
        if self.record.outcome == "inconclusive":
            text = failure_text(self.record)
            if not self.config.stash[STRICT]:
                pytest.skip(text)
            raise NotPassed(f"{text}\n(inconclusive results fail under --visualbias-strict)")
        if self.record.outcome in ("fail", "invalid"):
            raise NotPassed(failure_text(self.record))

    def repr_failure(  # type: ignore[override] # the type of a traceback is private to pytest
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Literal["long"] | None = None
    ) -> object:
        """Return the text of a result; pytest shows everything else."""
        if isinstance(excinfo.value, NotPassed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def keep_verdict(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Undo an xfail mark, which hides a verdict, and give a skip its place in the spec."""
        if self.record is None:
            return
        if call.excinfo is not None and isinstance(call.excinfo.value, NotPassed):
            # Pytest itself calls it for calls only, not for set-ups.
            report.longrepr = self.repr_failure(call.excinfo)  # type: ignore[assignment]
        if hasattr(report, "wasxfail") and self.record.outcome in FAILING:
            # Known effects have a waiver, with a size and an expiry date.
            del report.wasxfail
            report.outcome, report.longrepr = "failed", failure_text(self.record)
        if isinstance(report.longrepr, tuple) and self.record.outcome == "inconclusive":
            *_, reason = report.longrepr
            report.longrepr = (str(self.path), self.record.line, reason)

    def row(self, excinfo: pytest.ExceptionInfo[BaseException] | None) -> dict[str, Any]:
        """Return the result and its place among the others, in builtin types."""
        file = self.spec.file
        index = file.positions[self.test]
        record = self.record
        if record is None:
            reason = excinfo.exconly() if excinfo is not None else "not run"
            test = file.spec.tests[index]
            record = error_record(
                file, self.model, test, self.layer, nodeid=self.nodeid, reason=reason
            )
        model = self.run.model(self.spec, self.model)
        return {
            "order": [file.file, list(file.spec.models).index(self.model), index, self.position],
            "result": record.model_dump(mode="json", by_alias=True),
            "model": None if model is None else model.model_dump(mode="json"),
        }

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the line of the test in the spec, and what stands above its failure."""
        # Not a tail of the node id: `-v` would put slashes for the dots of a name.
        shown = f"{self.model}: {self.name}"
        return self.path, self.spec.file.test_line(self.test) - 1, shown


def _properties(record: ResultRecord) -> Iterator[tuple[str, object]]:
    """Yield what a JUnit file and other plugins show of a result."""
    properties = {
        "outcome": record.outcome,
        "effect_size": record.effect_size,
        "effect_judged": record.effect_judged,
        "ci_low": record.ci_low,
        "ci_high": record.ci_high,
        "p_verdict": record.p_verdict,
        "p_adjusted": record.p_adjusted,
        "growth": None if record.growth is None else record.growth.value,
        "accept": None if record.accept is None else waiver_text(record.accept),
    }
    for name, value in properties.items():
        if value is not None:
            yield f"visualbias.{name}", value


MAX_SHOWN = 3


@dataclass(kw_only=True, slots=True)
class GateItemTracker:
    """Which items of specs there were, and whether a limit or a control judges each."""

    collected: dict[str, bool] = field(default_factory=dict)
    selected: dict[str, bool] = field(default_factory=dict)

    def collect(self, item: pytest.Item) -> None:
        """Count an item as collected."""
        if isinstance(item, BiasItem):
            self.collected[item.nodeid] = item.is_judged

    def select(self, items: Sequence[pytest.Item]) -> None:
        """Count the items that are left once options, marks and hooks have chosen."""
        self.selected = {
            item.nodeid: item.is_judged for item in items if isinstance(item, BiasItem)
        }

    @property
    def deselected(self) -> int:
        """How many were left out, whoever did it and whether it was told or not."""
        return len(self.collected.keys() - self.selected.keys())

    def plain(self) -> dict[str, dict[str, bool]]:
        """Return what a worker of xdist hands over."""
        return {"collected": self.collected, "selected": self.selected}

    def join(self, counted: Mapping[str, Mapping[str, bool]]) -> None:
        """Take over what a worker counted: each of them collects everything."""
        self.collected |= counted.get("collected", {})
        self.selected |= counted.get("selected", {})

    def nothing_gated(self) -> str | None:
        """Return the sentence about a selection that leaves only what cannot fail, if it does."""
        judged = sum(self.collected.values())
        if not judged or any(self.selected.values()):
            return None
        return (
            f"every item that a limit or a control judges was deselected ({judged}): nothing was "
            "gated"
        )

    def hidden(self, rows: Sequence[Mapping[str, Any]], *, is_strict: bool) -> list[str]:
        """Return sentences about a run that pytest takes for passed, where it did not pass."""
        failing = (*FAILING, "inconclusive") if is_strict else FAILING
        outcomes = {row["result"]["nodeid"]: row["result"]["outcome"] for row in rows}
        failed = [name for name, outcome in outcomes.items() if outcome in failing]
        missing = [name for name in self.selected if name not in outcomes]
        problems = []
        if failed:
            problems.append(
                f"not passed, though a mark or a hook hides it: {_listed(failed)}; "
                "accept an effect with 'accept' at its test"
            )
        if missing:
            problems.append(
                f"not measured, as a mark or a hook skips it or the run was ended: "
                f"{_listed(missing)}; leave items out with -k, -m or --deselect"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """What pytest does not know of a run: whether it gated anything, and what it hides."""

    is_strict: bool
    fault: int  # the exit code that collecting asks for, else 0
    is_empty: bool = False  # the flag was given, and no item ran that can fail
    ungated: str = ""  # why nothing was gated, also where that is allowed
    hidden: tuple[str, ...] = ()
    uncollected: tuple[str, ...] = ()

    def exit_code(self, status: int) -> int:
        """Return pytest's exit code, corrected."""
        code = pytest.ExitCode
        if status == code.OK and self.is_empty:
            return code.NO_TESTS_COLLECTED
        if status == code.OK and (self.hidden or (self.is_strict and self.uncollected)):
            return code.TESTS_FAILED
        if status in (code.INTERRUPTED, code.TESTS_FAILED):
            return self.fault or status  # xdist runs what it could collect: 1
        return status

    def problems(self, status: int, *, was_stopped: bool) -> list[str]:
        """Return what to print about a run that ended with an exit code of pytest."""
        if self.is_empty and not was_stopped:
            return [self.ungated]
        if status != pytest.ExitCode.OK:
            return []
        remark = [self.ungated] if self.ungated else []
        return [*(self.hidden or remark), *self.uncollected]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


YAML = (".yaml", ".yml")
SUITES = (".suite.yaml", ".suite.yml")


def uncollected_specs(folder: Path, known: Collection[Path], *, is_ours: bool) -> Iterator[str]:
    """Yield a sentence about each file that was not read as a spec and may be meant as one."""
    read = {path.resolve() for path in known}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[:1] not in "._")
        specs = [name for name in folders if name.endswith(SUFFIXES)]
        for path in (Path(place) / name for name in sorted([*files, *specs])):
            lower = path.name.lower()
            if lower.endswith(SUFFIXES):
                if path.resolve() not in read:
                    yield f"{path} was not read: {_why(path)}"
            elif is_ours and _may_be_meant(lower):
                yield f"{path} is no spec by its name; call it *.bias.yaml, or move it away"


def _may_be_meant(name: str) -> bool:
    return name.endswith(YAML) and not name.endswith(SUITES) and not name.startswith(".")


def _why(path: Path) -> str:
    if not path.name.endswith(SUFFIXES):
        return f"the end of its name is written {SUFFIXES[0]} in small letters; rename it"
    if not path.exists():
        return "it links to nothing; mend the link, or remove it"
    if not path.is_file():
        return "it is no file; move it away"
    return "pytest leaves it or its folder out (norecursedirs, --ignore); name it, or move it"
