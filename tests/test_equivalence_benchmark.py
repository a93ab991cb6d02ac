"""The simulation of equivalence runs, and few values at their limit pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "equivalence.py"


def test_a_tiny_run_prints_a_share_for_every_row() -> None:
    call = [sys.executable, str(SCRIPT), "--draws", "2", "--only", "sc-eat"]
    text = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    head, *rows = text.splitlines()
    assert head.startswith("sc-eat")
    shares = [float(row.split()[-1]) for row in rows]
    assert len(shares) == 30
    assert sum(shares) / len(shares) < 20
