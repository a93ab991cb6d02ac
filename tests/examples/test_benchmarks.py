"""The simulations run, and print a row for every situation."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("table", ["effects", "within"])
def test_every_table_of_the_coverage_can_be_printed(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    coverage = script("coverage", monkeypatch)
    monkeypatch.setattr(coverage, "POPULATION", 20)
    monkeypatch.setattr(coverage, "IMAGES", 100)
    coverage.main(["--runs", "1", "--only", table])
    assert capsys.readouterr().out.count("%") >= 9


@pytest.mark.slow
def test_the_time_of_a_run_can_be_printed_by_the_number_of_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script("scale", monkeypatch).main(["--tests", "3", "--run"])
    *_, row = capsys.readouterr().out.splitlines()
    tests, *numbers = row.strip("| ").split(" | ")
    assert tests == "3"
    assert len([float(number) for number in numbers]) == 4


@pytest.mark.slow
def test_the_trace_of_a_verdict_counts_functions_and_modules() -> None:
    call = [sys.executable, str(FOLDER / "trace.py")]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    assert "exit code 0" in done.stdout
    (functions,) = re.findall(r"^functions (\d+)", done.stdout, re.MULTILINE)
    assert 50 < int(functions) < 1_000
