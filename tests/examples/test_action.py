"""The GitHub Action: its scripts do locally what they do on a runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = {
    step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step
}
SCRIPTS = [name for name, step in STEPS.items() if "run" in step]
NOISE = 0.45
DEFAULTS = {name: str(one["default"]) for name, one in ACTION["inputs"].items()}
SPEC = """\
visualbias: 1
models:
  after: {source: embeddings, path: ../after.safetensors}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: LIMIT}
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A repository and what a runner of GitHub Actions has beside it."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def reports(self) -> Path:
        return self.folder / "temp" / "visualbias" / "reports"

    def executable(self, path: str, script: str) -> None:
        """Write a program of one line."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        target.chmod(0o755)

    def step(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the script of a step with inputs, as a runner does."""
        step = STEPS[name]
        environment = {
            **{key: value for key, value in os.environ.items() if key not in {"CI", "COLUMNS"}},
            **{key: filled(text, DEFAULTS | inputs) for key, text in step["env"].items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_WORKSPACE": str(self.repository),
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(self.folder / "temp"),
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(
            command, cwd=self.repository, env=environment, capture_output=True, text=True
        )

    def gate(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the gate; arguments of ours keep it quick."""
        lean = "-p\nno:hypothesispytest\n"
        return self.step("Gate", args=lean + inputs.pop("args", ""), **inputs)

    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "output").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)


def filled(text: str, inputs: dict[str, str]) -> str:
    """Put inputs in the place of their expressions; others must not be there."""
    found = re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: inputs[match[1]], text)
    assert "${{" not in found
    return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A repository whose model has an effect of 1.52 (0.91 to 1.75); its Python is this one."""
    made = Runner(folder=tmp_path)
    write_spec(made, limit="0.5")
    random = np.random.default_rng(0)
    poles = {"x": (1, 0), "y": (0, 1), "a": (1, 0.2), "b": (0.2, 1)}
    sets = {
        name: (np.array(pole) + random.normal(0, NOISE, (8, 2))).astype(np.float32)
        for name, pole in poles.items()
    }
    safetensors.numpy.save_file(sets, made.repository / "after.safetensors")
    made.executable("temp/visualbias/venv/bin/python", f'exec "{sys.executable}" "$@"')
    return made


def write_spec(made: Runner, *, limit: str, folder: str = "bias_specs") -> None:
    path = made.repository / folder / "one.bias.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SPEC.replace("LIMIT", limit), encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_valid_bash_and_holds_no_expression(name: str) -> None:
    """What stands in an input must never become part of a script."""
    script = STEPS[name]["run"]
    assert "${{" not in script
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_input_and_output_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "action.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \|(?: `([^`]*)`)? \|", text, flags=re.MULTILINE)
    assert dict(rows) == DEFAULTS
    assert all(f"`{name}`" in text for name in ACTION["outputs"])


def test_every_input_is_used() -> None:
    text = json.dumps(ACTION["runs"])
    assert {name for name in DEFAULTS if f"inputs.{name}" not in text} == set()


def test_a_model_over_its_limit_fails_the_step_and_leaves_reports(runner: Runner) -> None:
    done = runner.gate()
    assert done.returncode == 1, done.stdout + done.stderr
    assert runner.outputs() == {
        "exit-code": "1",
        "json": str(runner.reports / "bias.json"),
        "html": str(runner.reports / "bias.html"),
    }
    (row,) = json.loads((runner.reports / "bias.json").read_text("utf-8"))["results"]
    assert row["outcome"] == "fail"
    assert (runner.reports / "bias.html").read_text("utf-8").startswith("<!doctype html>")


def test_what_failed_is_marked_on_its_line_and_summarised(runner: Runner) -> None:
    done = runner.gate()
    assert "::error file=bias_specs/one.bias.yaml,line=6" in done.stdout
    assert "one" in (runner.folder / "summary.md").read_text("utf-8")


def test_a_model_within_its_limits_passes(runner: Runner) -> None:
    write_spec(runner, limit="1.6")
    done = runner.gate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.outputs()["exit-code"] == "0"


def test_paths_and_arguments_stand_on_lines_of_their_own(runner: Runner) -> None:
    """Spaces and what a shell would act on are nothing but text."""
    write_spec(runner, limit="1.6", folder="more specs; exit 0")
    done = runner.gate(
        path="bias_specs\n\nmore specs; exit 0\n", args="--junitxml=$(touch oops) `x`.xml"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    rows = json.loads((runner.reports / "bias.json").read_text("utf-8"))["results"]
    assert [row["outcome"] for row in rows] == ["fail", "pass"]
    assert (runner.repository / "$(touch oops) `x`.xml").exists()
    assert not (runner.repository / "oops").exists()


@pytest.mark.parametrize(("strict", "status"), [("true", 1), ("false", 0)])
def test_strict_decides_about_what_is_inconclusive(
    runner: Runner, strict: str, status: int
) -> None:
    path = runner.repository / "bias_specs" / "one.bias.yaml"
    text = path.read_text("utf-8").replace("{max_effect: 0.5}", "{max_effect: 1.45}")
    path.write_text(text + "    evidence: interval\n", encoding="utf-8")
    done = runner.gate(strict=strict)
    (row,) = json.loads((runner.reports / "bias.json").read_text("utf-8"))["results"]
    assert row["outcome"] == "inconclusive"
    assert done.returncode == status


@pytest.mark.parametrize("strict", ["yes", "", "true\n::stop-commands::x", "$(touch oops)"])
def test_another_word_than_true_or_false_is_refused(runner: Runner, strict: str) -> None:
    done = runner.gate(strict=strict)
    assert done.returncode == 4
    assert re.fullmatch(r"::error::.*'strict'.*\n", done.stdout)


@pytest.mark.parametrize(
    "args", ["--version", "--collect-only", "--help", "-p\nno:visualbias", "-h\n--visualbias"]
)
def test_a_run_that_gates_nothing_does_not_pass(runner: Runner, args: str) -> None:
    write_spec(runner, limit="1.6")
    runner.reports.mkdir(parents=True)
    (runner.reports / "bias.json").write_text("{}")
    done = runner.gate(args=args)
    assert done.returncode == 4, done.stdout + done.stderr
    assert runner.outputs()["exit-code"] == "4"


def test_a_path_is_never_an_option(runner: Runner) -> None:
    write_spec(runner, limit="1.6")
    done = runner.gate(path="--collect-only\nbias_specs")
    assert done.returncode == 4, done.stdout + done.stderr


def test_a_repository_without_specs_does_not_pass(runner: Runner) -> None:
    shutil.rmtree(runner.repository / "bias_specs")
    done = runner.gate()
    assert done.returncode == 4, done.stdout + done.stderr


def test_the_plugin_is_installed_from_the_ref_of_the_action(runner: Runner) -> None:
    runner.executable("bin/uv", f'for one in "$@"; do echo "<$one>"; done >> {runner.folder}/calls')
    done = runner.step("Install pytest-visualbias", install="--requirements=my file.txt\n\neinops")
    assert done.returncode == 0, done.stderr
    venv = f"<{runner.folder / 'temp' / 'visualbias' / 'venv'}>"
    assert (runner.folder / "calls").read_text("utf-8").splitlines() == [
        *("<venv>", "<--python>", "<3.13>", venv),
        *("<pip>", "<install>", "<--python>", venv, f"<{ROOT}>"),
        *("<--requirements=my file.txt>", "<einops>"),
    ]


def test_nothing_more_is_installed_unless_it_is_asked_for(runner: Runner) -> None:
    runner.executable("bin/uv", f'echo "$@" >> {runner.folder}/calls')
    assert runner.step("Install pytest-visualbias").returncode == 0
    assert (runner.folder / "calls").read_text("utf-8").splitlines()[-1].endswith(f"venv {ROOT}")


def test_reports_are_kept_whatever_came_out() -> None:
    step = STEPS["Keep the reports"]
    assert step["if"].startswith("always()")
    assert step["with"]["path"] == "${{ runner.temp }}/visualbias/reports"


def test_embeddings_are_kept_where_the_gate_looks_for_them() -> None:
    assert STEPS["Restore embeddings"]["with"]["path"] == "~/.cache/visualbias"
    assert 'VISUALBIAS_CACHE="$HOME/.cache/visualbias"' in STEPS["Gate"]["run"]
