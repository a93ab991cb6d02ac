"""The files a run writes beside its verdicts, and what GitHub Actions is told."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import LATER, one_test, sentences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

FILES = {"md": "out.md", "csv": "out.csv", "model-card": "README.md"}
WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["serial", "two workers"])


@pytest.fixture
def found(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A test that fails, one that is open, and one of which a set is missing, on GitHub Actions."""
    project.pair(after=0.15)
    project.spec(
        one_test("open"),
        one_test("large", evidence="point"),
        one_test("gone", X="gone"),
        concepts="{x: x, y: y, a: a, b: b, gone: gone}",
        head="settings: {evidence: significant}",
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    return project


def options(files: dict[str, str] = FILES) -> list[str]:
    return [f"--visualbias-{name}={file}" for name, file in files.items()]


def commands(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("::")]


@WORKERS
def test_all_files_say_what_the_json_report_says(found: Project, workers: tuple[str, ...]) -> None:
    result = found.gate(*options(), "--junitxml=junit.xml", *workers)
    assert result.ret == 1
    report = found.report()
    rows = report["results"]
    table = list(csv.DictReader(io.StringIO((found.path / "out.csv").read_text("utf-8"))))
    for key in ("nodeid", "outcome"):
        assert [row[key] for row in table] == [row[key] for row in rows]
    for file in ("out.md", "README.md", "summary.md"):
        assert "1 fail" in (found.path / file).read_text("utf-8")
    assert suite_properties(found.path / "junit.xml") == {
        "visualbias.version": report["tool"]["version"],
        "visualbias.schema_version": str(report["schema_version"]),
        "visualbias.exit_status": "1",
    }
    assert_marked(found, result)


@pytest.mark.parametrize("quiet", ["-q", "-qq", "-s"])
def test_what_failed_is_marked_on_its_line_however_quiet_the_run(
    found: Project, quiet: str
) -> None:
    assert_marked(found, found.run("--visualbias", quiet))


def assert_marked(found: Project, result: pytest.RunResult) -> None:
    heads = [line.split("::")[1] for line in commands(result)]
    spec = "bias_specs/x.bias.yaml"
    lines = (found.path / spec).read_text().splitlines()
    line = {name: lines.index(f"  - name: {name}") + 1 for name in ("open", "large")}
    (concepts,) = [line for line in lines if line.startswith("concepts:")]
    # What keeps a test from being measured is marked where it is to be mended.
    gone = f"line={lines.index(concepts) + 1},col={concepts.index('gone: gone') + 1}"
    assert heads == [
        f"error file={spec},line={line['large']},title=fail%3A after%3A%3Alarge[pooled]",
        f"error file={spec},{gone},title=error%3A before%3A%3Agone[pooled]",
        f"error file={spec},{gone},title=error%3A after%3A%3Agone[pooled]",
        f"warning file={spec},line={line['open']},title=inconclusive%3A after%3A%3Aopen[pooled]",
    ]


def test_under_strict_what_is_open_is_an_error(found: Project) -> None:
    result = found.run("--visualbias", "--visualbias-strict")
    assert {line.split()[0] for line in commands(result)} == {"::error"}


def test_every_fault_of_a_spec_is_marked_where_it_stands(found: Project) -> None:
    spec = found.spec(one_test("one", "{max_efect: 1}"), head="setings: {}")
    lines = spec.read_text().splitlines()
    typo = next(n for n, line in enumerate(lines, 1) if "max_efect" in line)
    result = found.run("--visualbias")
    heads = [re.sub(",col=.*", "", line) for line in commands(result)]
    assert f"::error file=bias_specs/x.bias.yaml,line={typo}" in heads
    assert len(heads) == 2
    assert (found.path / "summary.md").read_text("utf-8").count("x.bias.yaml") == 2


def test_elsewhere_nothing_is_marked(found: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert commands(found.run("--visualbias")) == []


@pytest.mark.parametrize("way", ["option", "ini"])
def test_the_summary_of_the_step_can_be_turned_off(found: Project, way: str) -> None:
    if way == "ini":
        found.pytester.makeini("[pytest]\nvisualbias_step_summary = false")
    found.run("--visualbias", *(["--visualbias-no-step-summary"] if way == "option" else []))
    assert not (found.path / "summary.md").exists()


def test_the_summary_is_added_to_what_is_there(found: Project) -> None:
    (found.path / "summary.md").write_text("# Before\n")
    found.run("--visualbias", "-k", "open")
    found.run("--visualbias", "-k", "open")
    text = (found.path / "summary.md").read_text("utf-8")
    assert text.startswith("# Before\n")
    assert text.count("## Bias of vision models") == 2


def test_a_summary_that_cannot_be_written_is_said_and_fails_nothing(
    found: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(found.path))
    result = found.run("--visualbias", "-k", "open")
    assert result.ret == 0
    assert str(found.path) in sentences(result)


def test_a_card_that_could_lose_something_stays_and_the_run_fails(project: Project) -> None:
    project.pair()
    project.spec()
    card = project.path / "README.md"
    card.write_text("---\nlicense: [\n---\n# Mine\n")
    result = project.run("--visualbias", "--visualbias-model-card=README.md")
    assert result.ret == 1
    assert str(card) in sentences(result)
    assert card.read_text() == "---\nlicense: [\n---\n# Mine\n"


def suite_properties(path: Path) -> dict[str, str]:
    tree = ET.parse(path)
    found = tree.findall("./testsuite/properties/property")
    return {one.get("name", ""): one.get("value", "") for one in found}


def test_junit_is_xml_whatever_a_test_is_called(project: Project) -> None:
    """No character of a name or of a reason, not even one that XML cannot have, breaks it."""
    name = "\x9b<b>&\u202e]]>\ufffe"
    accept = f"{{max_effect: 0.6, until: {LATER}, reason: {json.dumps('x' + chr(1) + chr(27))}}}"
    project.pair(after=1.0)
    project.spec(one_test(json.dumps(name), accept=accept))
    result = project.gate("--junitxml=junit.xml", *options())
    assert result.ret == 1
    (case,) = (
        one
        for one in ET.parse(project.path / "junit.xml").iter("testcase")
        if "after" in one.get("classname", "")
    )
    assert "<b>&" in case.get("name", "")
    values = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert values["visualbias.outcome"] == "fail"
    assert project.row(name)["outcome"] == "fail"
