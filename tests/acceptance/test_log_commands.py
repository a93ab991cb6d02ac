"""What a run prints is read by the log of a CI: no name in it becomes a command there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.reports.escaping import csv_text, markdown_code, markdown_text, visible
from tests.plugin.conftest import LATER, one_test, vectors

if TYPE_CHECKING:
    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
COMMANDS = (
    "##[stop-commands]x",
    "##[set-output name=ok]true",
    "##[error]x",
    "##vso[task.setvariable variable=ok]true",
    "##teamcity[buildStatus text='x']",
    "a##[group]b",
    "###[debug]x",
)
FORMS = re.compile(r"##\w*\[|^\s*::", re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("shown", [visible, csv_text, markdown_code, markdown_text])
def test_no_format_shows_one(shown: object, command: str) -> None:
    assert callable(shown)
    assert not FORMS.search(shown(command))


def test_what_is_none_stays_as_it_is() -> None:
    assert visible("C## and #[x]") == "C## and #[x]"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_error_says_one(command: str) -> None:
    assert not FORMS.search(str(VisualBiasError(f"{command}: no such file; correct it")))


def outputs(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command of the console script prints."""
    main([*arguments])
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.parametrize(
    ("command", "is_github"), [*((one, False) for one in COMMANDS), (COMMANDS[0], True)]
)
def test_no_name_becomes_a_command(
    project: Project,
    serial: Gate,
    command: str,
    is_github: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names of images, labels and files, texts of the spec, and what errors quote of them."""
    if is_github:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.chdir(project.path)
    quoted = json.dumps(command)
    test = one_test("one", "{max_effect: 0.2}", about=quoted, tags="[one]")
    accept = f"{{max_effect: 0.3, reason: {quoted}, until: {LATER}}}"
    label = command.replace("/", "_")
    project.store("before", label=label)
    project.store("after", vectors(bias=1.0), label=label)
    (project.path / f"{label}.safetensors").write_bytes(b"no vectors")
    models = f"""
  before: {{source: embeddings, path: ../before.safetensors}}
  after: {{source: embeddings, path: ../after.safetensors, labels: {{run: {quoted}}}}}
  broken: {{source: embeddings, path: {json.dumps(f"../{label}.safetensors")}}}
"""
    head = f"title: {quoted}"
    project.spec(
        test,
        one_test("two", "{max_effect: 0.2}", accept=accept, about=quoted),
        head=head,
        models=models,
    )
    said = serial("-vv", "-rA")
    assert said.ret == 1
    text = "\n".join([*said.outlines, *said.errlines])
    text += outputs(capsys, "report", "out.json")
    for option in ("--md", "--csv", "--html", "--json"):
        text += outputs(capsys, "report", "out.json", option, "-")
    text += outputs(capsys, "check", SPEC) + outputs(capsys, "explain", SPEC)
    text += outputs(capsys, "compare", "out.json", "out.json")
    text += outputs(capsys, "suggest", SPEC)
    own = [line for line in text.splitlines() if line.startswith(("::error ", "::warning "))]
    rest = "\n".join(line for line in text.splitlines() if line not in own)
    assert not FORMS.search(rest), FORMS.search(rest)
    assert not re.search(r"##\w*\[", "\n".join(own))


@pytest.mark.parametrize("where", ["concept", "model", "test", "layer"])
def test_a_name_in_a_node_id_is_none(project: Project, serial: Gate, where: str) -> None:
    """Pytest prints them, and concepts are in every table."""
    project.pair()
    name = json.dumps("a ##[set-output name=x]y")
    concepts = "{x: x, y: y, a: a, b: b}"
    test, models, head = one_test("one"), None, ""
    if where == "concept":
        concepts = f"{{x: x, y: y, a: a, b: b, {name}: a}}"
    elif where == "model":
        models = f"\n  {name}: {{source: embeddings, path: ../after.safetensors}}\n"
    elif where == "test":
        test = one_test(name)
    else:
        head = f"layers: [{name}]"
    keys = {} if models is None else {"models": models}
    project.spec(test, head=head, concepts=concepts, **keys)
    result = serial()
    text = "\n".join([*result.outlines, *result.errlines])
    assert result.ret == 2
    assert not FORMS.search(text)
    assert Path(SPEC).name in text
