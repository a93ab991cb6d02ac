"""Turn tests of a spec into pytest items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_visualbias.errors import LocatedFault, SpecError, UsageError
from pytest_visualbias.evaluation.build_result import error_record
from pytest_visualbias.reports.formatting import FAILING
from pytest_visualbias.reports.sentences import failure_text, waiver_text
from pytest_visualbias.spec.effective_settings import is_gated, is_random, layers_of, test_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
