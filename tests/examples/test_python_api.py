"""The training loop of the example stops before its bias grows too far, and only then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "python_api"
pytestmark = [pytest.mark.slow, pytest.mark.torch]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training that has ended."""

    out: Path
    shown: str

    def growths(self) -> list[float]:
        return [
            float(text) for text in re.findall(r"growth ([+-]\d\.\d\d)$", self.shown, re.MULTILINE)
        ]


def python(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in the folder of the example."""
    paths = os.pathsep.join([str(ROOT), path] if path else [str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True)


def trained(out: Path, *arguments: str) -> Trained:
    quickstart = str(EXAMPLE.parent / "quickstart")
    done = python("training_loop.py", "--out", str(out), *arguments, path=quickstart)
    assert done.returncode == 0, done.stderr
    return Trained(out=out, shown=done.stdout)


@pytest.fixture(scope="module")
def correlated(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("correlated"), "--agreement", "0.95")


def test_it_stops_at_the_first_epoch_over_the_limit(correlated: Trained) -> None:
    *before, last = correlated.growths()
    assert before
    assert max(before) <= 0.5 < last
    assert f"stopped: the weights after epoch {len(before)} are kept" in correlated.shown


def test_the_page_of_that_epoch_and_the_weights_before_it_are_written(correlated: Trained) -> None:
    assert "shape-ground" in (correlated.out / "stopped.html").read_text("utf-8")
    with safe_open(correlated.out / "after.safetensors", framework="pt") as file:
        assert any(name.startswith("layer4.") for name in file.keys())  # noqa: SIM118


def test_the_weights_that_are_kept_are_within_the_limit(correlated: Trained) -> None:
    """The checkpoint that was written gives the growth that was shown of its epoch."""
    from pytest_visualbias.api import audit

    kept = str(correlated.out / "after.safetensors")
    found = audit(EXAMPLE / "shapes.bias.yaml", models={"after": kept})
    growth = found.result("shape-ground").growth
    assert growth is not None
    assert growth.value == pytest.approx(correlated.growths()[-2], abs=0.01)
    assert found.passed


def test_independent_scenes_are_learned_to_the_end(tmp_path: Path) -> None:
    done = trained(tmp_path, "--agreement", "0.5", "--epochs", "3")
    assert len(done.growths()) == 3
    assert "stopped" not in done.shown
    assert not (tmp_path / "stopped.html").exists()


def test_the_test_of_the_example_passes_and_can_fail(tmp_path: Path) -> None:
    """What it holds is the limit of the spec: with a limit of zero or so, it fails."""
    lean = ("-m", "pytest", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
    assert python(*lean).returncode == 0
    for name in ("pytest.ini", "shapes.bias.yaml", "test_training_loop.py", "training_loop.py"):
        text = (EXAMPLE / name).read_text("utf-8")
        text = text.replace("../../data", str(ROOT / "data"))
        text = text.replace("HERE.parents[1]", f"Path({str(ROOT)!r})")
        text = text.replace("../quickstart", str(ROOT / "examples" / "quickstart"))
        text = text.replace("max_growth: 0.5", "max_effect: 0.01").replace(
            "kind: ieat", "kind: ieat\n    evidence: point", 1
        )
        (tmp_path / name).write_text(text, encoding="utf-8")
    failed = python(*lean, "--rootdir", str(tmp_path), str(tmp_path / "test_training_loop.py"))
    assert failed.returncode == 1
    assert "effect -0." in failed.stdout or "effect +0." in failed.stdout
