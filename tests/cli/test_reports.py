"""The console script on reports: one as other files, two beside each other, and their schema."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.reports.field_descriptions import MEANINGS
from pytest_visualbias.results import Report, to_json
from tests.reports.test_document import full_row, report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The JSON report of a run."""
    path = tmp_path / "run.json"
    path.write_text(to_json(report()), encoding="utf-8")
    return path


def other(run: Path, **changes: Any) -> Path:  # noqa: ANN401 - plain data
    path = run.with_name("other.json")
    path.write_text(to_json(report(**changes)), encoding="utf-8")
    return path


def test_without_a_file_a_report_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.startswith(
        "FAILED: 1 of 2 tests (1 error, 1 pass)\nERROR specs/a.bias.yaml::after::t"
    )


def test_where_no_figure_can_be_drawn_that_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without a file would look as if something had gone wrong."""
    pytest.importorskip("matplotlib")
    nothing = other(run, results=[])
    assert main(["report", str(nothing), f"--plots={tmp_path / 'figures'}"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "no figure can be drawn: nothing was measured; `visualbias report` says why\n"
    )


def test_files_are_written_beside_each_other(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"md": "new/a.md", "csv": "a.csv", "model-card": "README.md", "json": "b.json"}
    arguments = [f"--{name}={tmp_path / file}" for name, file in files.items()]
    assert main(["report", str(run), *arguments, "--title", "My | run"]) == 0
    assert capsys.readouterr().out == ""
    texts = {name: (tmp_path / file).read_text("utf-8") for name, file in files.items()}
    assert texts["md"].startswith("## My &#124; run: failed\n")
    assert len(list(csv.reader(io.StringIO(texts["csv"])))) == 3
    assert "# My &#124; run" in texts["model-card"]
    assert json.loads(texts["json"])["summary"]["title"] == "My | run"


@pytest.mark.parametrize(("name", "start"), [("md", "## "), ("csv", "nodeid,"), ("json", "{")])
def test_a_dash_is_standard_output(
    run: Path, capsysbinary: pytest.CaptureFixture[bytes], name: str, start: str
) -> None:
    assert main(["report", str(run), f"--{name}", "-"]) == 0
    assert capsysbinary.readouterr().out.decode().startswith(start)


@pytest.mark.parametrize("arguments", [["--md=-", "--csv=-"], ["--model-card=-"]])
def test_a_dash_is_for_one_text(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["report", str(run), *arguments]) == 2
    said = capsys.readouterr()
    assert said.err == "only one report can go to standard output, as text; name files\n"
    assert said.out == ""


def test_what_is_no_report_is_a_wrong_call(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that 1 is left for what got worse."""
    (tmp_path / "no.json").write_text("{}")
    for arguments in (["report", "no.json"], ["compare", "run.json", "no.json"]):
        assert main([arguments[0], *(str(tmp_path / one) for one in arguments[1:])]) == 2
        assert "no.json is no report; name a file" in capsys.readouterr().err


def test_comparing_a_report_with_itself_is_0(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run), str(run)]) == 0
    assert capsys.readouterr().out.endswith("; nothing is worse\n")


def test_comparing_with_a_worse_one_is_1(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"effect_judged": 1.9, "p_adjusted": 0.001, "limits": {"max_effect": 0.5}}
    fallen = full_row().model_copy(update={"outcome": "fail", **numbers})
    run.write_text(to_json(report(results=[full_row()])), encoding="utf-8")
    assert main(["compare", str(run), str(other(run, results=[fallen]))]) == 1
    assert "pass → fail" in capsys.readouterr().out
    assert main(["compare", str(other(run, results=[fallen])), str(run)]) == 0


def test_a_comparison_as_json_is_whole(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_text(to_json(report(results=[full_row()])), encoding="utf-8")
    arguments = ["--json", "--tolerance=0.5", str(run)]
    assert main(["compare", *arguments, str(other(run, results=[]))]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "visualbias_comparison": 1,
        "is_worse": True,
        "tolerance": 0.5,
        "counts": {"vanished": 1},
        "changes": [
            {
                "spec": "specs/a.bias.yaml",
                "model": "after",
                "test": "t",
                "layer": "pooled",
                "how": "vanished",
                "unlike": None,
                "effects": [0.25, None],
                "verdicts": ["pass", None],
                "is_worse": True,
                "gates": None,
            }
        ],
    }


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "much"])
def test_a_tolerance_is_a_number(run: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(run), str(run), f"--tolerance={text}"])
    assert caught.value.code == 2
    assert f"'{text}' is not a number of 0 or more; give one" in capsys.readouterr().err


class TestSchema:
    @pytest.fixture
    def schema(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        assert main(["schema", "--report"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator.check_schema(found)
        return found

    def test_says_what_it_is_and_holds_for_a_report(self, schema: dict[str, Any]) -> None:
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["title"] == "Report of pytest-visualbias"
        assert "$id" not in schema
        jsonschema.validate(json.loads(to_json(report())), schema)

    def test_speaks_of_growth_from_by_that_word(self, schema: dict[str, Any]) -> None:
        found = schema["$defs"]["GrowthRecord"]
        assert "from" in found["required"]
        assert "base" not in found["properties"]

    def test_every_key_says_what_it_means_and_nothing_is_said_of_others(
        self, schema: dict[str, Any]
    ) -> None:
        parts = {**schema["$defs"], "Report": schema}
        assert parts.keys() == MEANINGS.keys()
        for name, part in parts.items():
            assert part["properties"].keys() == MEANINGS[name].keys()
            for key, one in part["properties"].items():
                assert one["description"] == MEANINGS[name][key]
        assert {*Report.model_fields} == {*MEANINGS["Report"]}
