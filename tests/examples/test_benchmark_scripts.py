"""The benchmarks run on tiny sizes, and print a number for every row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def printed(script: str, *arguments: str) -> list[str]:
    """Run a script and return the lines that it prints."""
    call = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()


def test_few_values_at_their_limit_pass() -> None:
    head, *rows = printed("equivalence.py", "--draws", "2", "--only", "sc-eat")
    assert head.startswith("sc-eat")
    shares = [float(row.split()[-1]) for row in rows]
    assert len(shares) == 30
    assert sum(shares) / len(shares) < 20


@pytest.mark.parametrize(("table", "rows"), [("rates", 8), ("clusters", 4), ("control", 8)])
def test_evidence_prints_shares_with_their_errors(table: str, rows: int) -> None:
    lines = printed("evidence.py", "--draws", "2", "--only", table)
    shares = [re.findall(r"(\d+\.\d) ± (\d+\.\d) %", line) for line in lines]
    counts = [len(row) for row in shares if row]
    assert len(counts) == rows
    assert len({*counts}) == 1


def test_coverage_prints_a_row_for_each_growth() -> None:
    lines = printed("coverage.py", "--runs", "1", "--only", "growth")
    assert sum("0.5, 1.5" in line for line in lines) == 6


def test_controls_prints_a_row_for_each_positive_control() -> None:
    report = BENCHMARKS.parent / "tests" / "reports" / "version_1.json"
    _, _, *rows = printed("controls.py", str(report))
    assert [row.split("[")[0] for row in rows] == ["| control, before ", "| control, after "]


def ratios(lines: list[str]) -> list[float]:
    """Return the last number of each row of the printed tables."""
    rows = (re.fullmatch(r"\|.*\| (\d[\d.,]*) \|", line) for line in lines)
    return [float(row[1].replace(",", "")) for row in rows if row is not None]


def test_permutation_prints_ratios() -> None:
    lines = printed("permutation.py", "--quick")
    assert len(ratios(lines)) >= 3


@pytest.mark.slow
@pytest.mark.torch
def test_embedding_prints_ratios_to_the_bare_network() -> None:
    sizes = ("--model", "test_resnet", "--images", "4", "--batch-size", "2", "--rounds", "1")
    lines = printed("embedding.py", *sizes, "--only", "throughput")
    assert ratios(lines)[0] == 1.0
    assert len(ratios(lines)) >= 4


@pytest.mark.nightly
def test_tasks_of_ray_print_the_costs_of_the_driver_and_of_workers() -> None:
    pytest.importorskip("ray", reason="the engine 'ray' is an extra")
    lines = printed("ray_tasks.py", "--tasks", "4", "--images", "8", "--rounds", "1")
    assert len(re.findall(r"[\d.]+ ms|\d+ bytes|[\d.]+ x", "\n".join(lines))) == 3
