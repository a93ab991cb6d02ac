"""Run the gate on the three checkpoints that ship, and check that it tells them apart.

Exits 0 exactly when pytest exited 1, the items that failed are those of the biased checkpoint,
and everything else passed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = "bias_specs/quickstart.bias.yaml"
BIASED = "biased"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gated:
    """What the gate said.

    Attributes
    ----------
    exit_status : int
        Of pytest.
    outcomes : dict of str to str
        By node id.
    """

    exit_status: int
    outcomes: dict[str, str]


def run_gate(report: Path) -> Gated:
    """Run pytest on the quickstart spec, shown as it runs, and read its report."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--visualbias", SPEC, f"--visualbias-json={report}"],
        cwd=ROOT,
        check=False,
    )
    results = json.loads(report.read_text(encoding="utf-8"))["results"] if report.exists() else []
    outcomes = {result["nodeid"]: result["outcome"] for result in results}
    return Gated(exit_status=done.returncode, outcomes=outcomes)


def complaints(gated: Gated) -> list[str]:
    """Return what is not as it should be; nothing where the biased checkpoint alone is caught."""
    found = []
    if gated.exit_status != 1:
        found.append(f"pytest exited with {gated.exit_status}, not with 1")
    failed = {node for node, outcome in gated.outcomes.items() if outcome == "fail"}
    if not failed:
        found.append("nothing failed")
    for node, outcome in gated.outcomes.items():
        if outcome != "pass" and node not in failed:
            found.append(f"{node} is {outcome}")
        if node in failed and f"::{BIASED}::" not in node:
            found.append(f"{node} failed")
    return found


def main() -> int:
    """Run the demonstration."""
    with tempfile.TemporaryDirectory() as folder:
        gated = run_gate(Path(folder, "report.json"))
    found = complaints(gated)
    if found:
        print("demo: not what should have been seen: " + "; ".join(found))
        return 1
    print("demo: the gate let 'balanced' pass and caught 'biased', as it should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
