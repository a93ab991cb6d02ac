"""The simulations run, and print a share for every row."""

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
