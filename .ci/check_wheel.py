"""Check an unpacked wheel: it holds what an installed user needs, and pytest starts with it.

Run as ``python .ci/check_wheel.py FOLDER`` by the interpreter of an environment that has the
dependencies. The folder goes before an editable install on the path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

WANTED = (
    "pytest_visualbias/py.typed",
    "pytest_visualbias/reports/html/page.html.j2",
    "pytest_visualbias/reports/html/page.css",
    "pytest_visualbias/reports/html/page.js",
    "pytest_visualbias/_shipped/bias_specs/*.bias.yaml",
    "pytest_visualbias/_shipped/bias_specs/*.suite.yaml",
    "pytest_visualbias/_shipped/data/manifests/*.tsv",
    "pytest_visualbias/_shipped/data/**/*",
    "*.dist-info/licenses/LICENSE",
)
UNWANTED = ("tests", "examples", "benchmarks", "docs", "data", "bias_specs")
MAX_MEBIBYTES = 20


def main() -> int:
    """Print every fault of the wheel; the exit status says whether there was one."""
    unpacked = Path(sys.argv[1]).resolve()
    faults = [*faults_of_content(unpacked), *faults_of_behaviour(unpacked)]
    for fault in faults:
        print(f"wheel: {fault}")
    if not faults:
        print("wheel: complete, and pytest starts with it")
    return 1 if faults else 0


def faults_of_content(unpacked: Path) -> list[str]:
    """Compare the files with what should and should not be there."""
    faults = [f"{pattern} is missing" for pattern in WANTED if not any(unpacked.glob(pattern))]
    faults += [f"{name}/ should not be there" for name in UNWANTED if (unpacked / name).exists()]
    size = sum(path.stat().st_size for path in unpacked.rglob("*") if path.is_file()) / 2**20
    if size > MAX_MEBIBYTES:
        faults.append(f"{size:.0f} MiB, more than {MAX_MEBIBYTES}")
    return faults


def faults_of_behaviour(unpacked: Path) -> list[str]:
    """Run what was installed from an empty folder, where the checkout cannot stand in for it."""
    version = distribution(unpacked).version
    shown = "import pytest_visualbias as p; print(p.__file__, p.__version__)"
    expected = f"{unpacked / 'pytest_visualbias' / '__init__.py'} {version}"
    faults = []
    if (printed := output_of(unpacked, "-c", shown)) != expected:
        faults.append(f"imports as {printed!r} instead of {expected!r}")
    shipped = unpacked / "pytest_visualbias" / "_shipped" / "bias_specs" / "quickstart.bias.yaml"
    starts = {
        "the shipped spec": ("-m", "pytest_visualbias", "check", str(shipped)),
        "a shipped suite": ("-m", "pytest_visualbias", "suites", "ieat"),
        "the shipped gate": ("-m", "pytest", "--visualbias", "--collect-only", str(shipped)),
        "pytest": ("-m", "pytest", "--visualbias", "--version"),
        "visualbias": ("-m", "pytest_visualbias", "--help"),
    }
    for name, arguments in starts.items():
        if (printed := output_of(unpacked, *arguments)).startswith("exit "):
            faults.append(f"{name} does not start: {printed}")
    return faults


def distribution(unpacked: Path) -> Distribution:
    """Find the one distribution in the folder."""
    (found,) = distributions(path=[str(unpacked)])
    return found


def output_of(unpacked: Path, *arguments: str) -> str:
    """Run this Python with the wheel before all else; its output, or ``exit N`` and its output."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
            check=False,
        )
    printed = (done.stdout + done.stderr).strip()
    return printed if done.returncode == 0 else f"exit {done.returncode}: {printed}"


if __name__ == "__main__":
    sys.exit(main())
