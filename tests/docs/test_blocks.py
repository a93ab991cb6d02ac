"""What the pages show can be done: specs are read, code runs, commands and options exist."""

from __future__ import annotations

import argparse
import ast
import builtins
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from pytest_visualbias.cli import main
from pytest_visualbias.plugin import pytest_addoption
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.spec.suites import read_suite
from tests.docs.pages import ROOT, Block, blocks, commands, pages, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a fragment of a spec stands in: it takes the place of the keys that it has.
AROUND = """
visualbias: 1
models:
  before: {source: timm, name: resnet50}
  after: {source: timm, name: resnet50}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_yaml_is_a_spec_a_suite_or_a_workflow(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    if "visualbias" in shown:
        parse_spec(block.text, file=block.page, folder=ROOT)
    elif "visualbias_suite" in shown:
        path = tmp_path / "shown.suite.yaml"
        path.write_text(block.text, encoding="utf-8")
        assert read_suite(path, file=block.page).suite.tests
    elif shown.keys() <= BiasSpec.model_fields.keys():
        whole = yaml.safe_dump({**yaml.safe_load(AROUND), **shown}, sort_keys=False)
        parse_spec(whole, file=block.page, folder=ROOT)
    elif "repos" in shown:
        offered = {one["id"] for one in yaml.safe_load(text_of(".pre-commit-hooks.yaml"))}
        assert {hook["id"] for one in shown["repos"] for hook in one["hooks"]} <= offered
    elif "pytest-visualbias@" in block.text:
        offered = yaml.safe_load(text_of("action.yml"))["inputs"]
        steps = [step for job in shown["jobs"].values() for step in job["steps"]]
        (ours,) = [step for step in steps if "pytest-visualbias@" in step.get("uses", "")]
        assert ours.get("with", {}).keys() <= offered.keys()
    else:
        assert any(words[0] == "pytest" for _, words in _calls_of(block))


def _calls_of(block: Block) -> list[tuple[str, list[str]]]:
    return [(place, words) for place, words in commands() if words and place == str(block)]


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_every_json_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.text)


def _marked() -> Iterator[Any]:
    for block in blocks("python"):
        marks = [pytest.mark.torch] if "import torch" in block.text else []
        yield pytest.param(block, marks=marks, id=str(block))


@pytest.mark.parametrize("block", [*_marked()])
def test_python_runs_where_it_is_whole_and_its_imports_exist_elsewhere(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = ast.parse(block.text)
    if _free_names(tree):
        tree.body = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(tree, str(block), "exec"), {"__name__": "shown"})


def _free_names(tree: ast.Module) -> set[str]:
    """Return the names that a block expects from around it."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {one.asname or one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
    return used - known


def test_some_python_is_run_and_some_is_not() -> None:
    """The test above tells them apart."""
    free = [bool(_free_names(ast.parse(block.text))) for block in blocks("python")]
    assert {True, False} == set(free)


def test_every_call_of_visualbias_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    calls = [(place, words) for place, words in commands() if words[:1] == ["visualbias"]]
    assert len(calls) > 20
    refused = [f"{place}: {' '.join(words)}" for place, words in calls if not _is_call(words[1:])]
    assert refused == [], capsys.readouterr().err


def _is_call(words: list[str]) -> bool:
    try:
        main._parser().parse_args(words)
    except SystemExit as stop:
        return stop.code == 0  # --help and --version
    return True


class Declared:
    """Stands in for pytest's parser: the plugin's options alone, read by argparse."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
        pytest_addoption(cast("pytest.Parser", self))

    def getgroup(self, *_: str) -> Declared:
        return self

    def addoption(self, name: str, **attributes: Any) -> None:  # noqa: ANN401 - as pytest takes them
        self.parser.add_argument(name, **attributes)

    def addini(self, *_: object, **__: object) -> None:
        """Ini keys are not on the command line."""


def test_every_call_of_pytest_has_options_that_exist(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_inprocess("--help").stdout.str()
    known = set(re.findall(r"(?<![\w-])--?\w[\w-]*", text))
    parser = Declared().parser
    calls = [(place, words) for place, words in commands() if words[:1] == ["pytest"]]
    assert len(calls) > 20
    for place, words in calls:
        options = [word for word in words[1:] if word.startswith("-")]
        ours = [option for option in options if option.startswith("--visualbias")]
        parser.parse_args(ours)
        for option in set(options) - set(ours):
            assert option.partition("=")[0] in known, f"{place}: {option}"


def test_every_option_of_ours_that_a_page_names_exists() -> None:
    known = {name for one in Declared().parser._actions for name in one.option_strings}
    for page in pages():
        named = set(re.findall(r"--visualbias(?:-[a-z]+)*", text_of(page)))
        # A hyphen at the end stands for several: --visualbias-...
        assert named <= known, page


def test_every_target_of_make_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))
    calls = [(place, words) for place, words in commands() if words[:1] == ["make"]]
    assert calls
    for place, words in calls:
        assert words[1] in targets, place
