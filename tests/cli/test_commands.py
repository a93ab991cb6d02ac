"""What is said about commands is true of them."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pytest_visualbias.cli import main as cli
from pytest_visualbias.cli.main import main
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.spec.suites import shipped_folder

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "commands.md"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands by name."""
    (found,) = (
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(found.choices)


def examples(text: str) -> list[list[str]]:
    """Return the calls that a text shows, without what the shell does with them."""
    lines = re.findall(r"^(?:\$ |  )?(?:[A-Z_]+=\S+ )?(visualbias .*)$", text, flags=re.MULTILINE)
    calls = [re.split(r"\s(?:\||>)\s|\s#\s|\s{3}", line)[0] for line in lines]
    return [shlex.split(call)[1:] for call in calls]


def sections() -> dict[str, str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", commands())
def test_every_command_shows_examples_of_itself_that_can_be_called(name: str) -> None:
    epilog = commands()[name].epilog
    assert epilog is not None
    shown = examples(epilog)
    assert shown
    for call in shown:
        assert call[0] == name
        cli._parser().parse_args(call)  # leaves the process where it cannot


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_section_with_calls_that_can_be_made(name: str) -> None:
    shown = examples(sections()[name])
    assert shown
    for call in shown:
        assert call[0] == name
        cli._parser().parse_args(call)


def test_no_section_is_of_a_command_that_there_is_not() -> None:
    table = re.findall(r"^\| \[`(\w+)`\]\(#\w+\)", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert sorted(table) == sorted({*sections()} - {"Exit codes"}) == sorted(commands())


def test_the_examples_of_the_whole_script_can_be_called() -> None:
    for call in examples(cli.EXAMPLES):
        cli._parser().parse_args(call)


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for name in ("commands.md", "limits.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for file, part in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
            target = ROOT / "docs" / (file or name)
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert not part or part in anchors, (name, file, part)


def first_spec(*flags: str) -> None:
    Path("model.pt").write_bytes(b"\x80\x02")
    assert main(["init", "--source", "timm", "--name", "resnet18", *flags]) == 0


def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema"]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return found


def test_the_schema_is_one_and_takes_every_spec_that_ships_is_written_or_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As check-jsonschema does it, on the text of a file and nothing else."""
    monkeypatch.chdir(tmp_path)
    first_spec()
    capsys.readouterr()
    rules = schema(capsys)
    jsonschema.Draft202012Validator.check_schema(rules)
    texts = [
        path.read_text(encoding="utf-8")
        for path in shipped_folder("bias_specs").glob("*.bias.yaml")
    ]
    texts.append((tmp_path / "bias_specs" / "first.bias.yaml").read_text(encoding="utf-8"))
    for document in (ROOT / "docs" / "spec.md", ROOT / "docs" / "suites.md", ROOT / "README.md"):
        blocks = re.findall(r"```yaml\n(.*?)```", document.read_text(), flags=re.DOTALL)
        texts += [block for block in blocks if block.startswith("visualbias: 1")]
    assert len(texts) >= 4
    editor = jsonschema.Draft202012Validator(rules)
    for text in texts:
        assert [error.message for error in editor.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    ("before", "after"), [("title:", "titel:"), ("name: drawings", "nam: drawings"), ("1\n", "2\n")]
)
def test_the_schema_refuses_what_check_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    first_spec()
    path = tmp_path / "bias_specs" / "first.bias.yaml"
    text = path.read_text(encoding="utf-8").replace(before, after, 1)
    path.write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert not jsonschema.Draft202012Validator(schema(capsys)).is_valid(yaml.safe_load(text))
    assert main(["check", str(path)]) == 1


def test_the_schema_that_init_writes_is_that_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first_spec("--schema")
    capsys.readouterr()
    written = yaml.safe_load((tmp_path / "bias_specs" / "bias.schema.json").read_text())
    assert written == schema(capsys) == BiasSpec.model_json_schema()


def test_the_hook_of_pre_commit_calls_a_command_on_specs_and_nothing_else() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    script, *call = hook["entry"].split()
    assert script == "visualbias"
    cli._parser().parse_args([*call, "a.bias.yaml", "b.bias.yml"])
    chosen = re.compile(hook["files"])
    assert all(chosen.search(name) for name in ("bias_specs/a.bias.yaml", "b.bias.yml"))
    assert not any(chosen.search(name) for name in ("ieat.suite.yaml", "bias.yaml.txt", "x.yaml"))
    assert f"- id: {hook['id']}\n" in DOCUMENT.read_text(encoding="utf-8")
