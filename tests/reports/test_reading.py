"""Reports of earlier runs: read whole, or refused in a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import BaselineError, ReportError
from pytest_visualbias.evaluation.baseline_file import read_baseline
from pytest_visualbias.reports.comparison import compare
from pytest_visualbias.reports.document import read_report
from pytest_visualbias.reports.files import FORMATS, RenderOptions, write, write_all
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from pytest_visualbias.results import to_json
from pytest_visualbias.spec.test_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]


P_VALUES = ("p_value", "p_verdict")
VERSION_1 = Path(__file__).with_name("version_1.json")


def refusal(path: Path) -> str:
    with pytest.raises(ReportError) as caught:
        read_report(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_what_was_written_is_read_again(
    make: Make, make_report: MakeReport, tmp_path: Path
) -> None:
    report = make_report(make("Müller → 花"), make(outcome="error", measured=False))
    write("json", report, tmp_path / "new" / "a.json")
    assert read_report(tmp_path / "new" / "a.json") == report


def test_hostile_names_are_the_same_after_reading(
    make: Make, make_report: MakeReport, tmp_path: Path, hostile: str
) -> None:
    report = make_report(make(hostile, reasons=[hostile]))
    write("json", report, tmp_path / "a.json")
    assert read_report(tmp_path / "a.json") == report


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "'a'"),
        ("[" * 100_000, "deeply"),
        ("[]", "--visualbias-json"),
        ('{"x": 1}', "--visualbias-json"),
        ('{"visualbias_baseline": 1, "entries": {}}', "recorded results"),
        ('{"schema_version": 3}', "version 3"),
        ('{"schema_version": 0}', "'schema_version' is 0"),
        ('{"schema_version": true}', "'schema_version' is True"),
        ('{"schema_version": "1"}', "'schema_version' is '1'"),
        ('{"schema_version": 1}', "(tool: "),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | bytes, word: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert word in refusal(path)


def test_so_is_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        assert "cannot be read" in refusal(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stored: stored["results"][0].pop("outcome"),
        lambda stored: stored["results"][0].update(effect_size="large"),
        lambda stored: stored.update(results={}),
        lambda stored: stored["results"][0]["growth"].pop("shift"),
    ],
)
def test_a_report_with_a_part_missing_or_wrong_is_refused(
    make_report: MakeReport, tmp_path: Path, spoil: Callable[[Any], object]
) -> None:
    stored = json.loads(to_json(make_report()))
    spoil(stored)
    (tmp_path / "a.json").write_text(json.dumps(stored))
    assert "(results" in refusal(tmp_path / "a.json")


def test_keys_that_a_later_release_adds_are_left_out(
    make: Make, make_report: MakeReport, tmp_path: Path
) -> None:
    """Keys are added to a version, never changed, so that older readers go on reading."""
    report = make_report(make(), make("second"))
    stored = json.loads(to_json(report))
    stored["later"] = 1
    stored["results"][1]["later"] = stored["results"][1]["growth"]["later"] = {"x": [1]}
    stored["models"][0]["later"] = None
    (tmp_path / "a.json").write_text(json.dumps(stored))
    assert read_report(tmp_path / "a.json") == report


def test_a_report_of_version_1_is_read(tmp_path: Path) -> None:
    """A release before version 2 wrote it; keys that were removed since are left out."""
    old = json.loads(VERSION_1.read_text())
    assert old["schema_version"] == 1
    assert [row["drift"] for row in old["results"] if row["drift"]] == [["stop"], ["stop"]]
    report = read_report(VERSION_1)
    rows = [(one.test, one.model, one.outcome, one.effect_judged) for one in report.results]
    assert rows == [
        (row["test"], row["model"], row["outcome"], row["effect_judged"]) for row in old["results"]
    ]
    assert {one.outcome for one in report.results} == {"pass", "fail"}
    again = tmp_path / "a.json"
    write("json", report, again)
    assert json.loads(again.read_text())["schema_version"] == 2
    assert read_report(again) == report
    changes = compare(report, read_report(again), 0.0).changes
    assert {one.how for one in changes} == {"same"}


def test_a_report_of_version_1_is_a_baseline() -> None:
    contents = read_baseline(VERSION_1, "old.json")
    assert contents.is_report
    entries = contents.of("bias_specs/x.bias.yaml")
    assert {key: one.effect_judged for key, one in entries.items()} == {
        f"{row['model']}::{row['test']}[pooled]": row["effect_judged"]
        for row in json.loads(VERSION_1.read_text())["results"]
    }


def test_a_baseline_report_of_a_later_version_is_refused(tmp_path: Path) -> None:
    stored = json.loads(VERSION_1.read_text()) | {"schema_version": 3}
    (tmp_path / "a.json").write_text(json.dumps(stored))
    with pytest.raises(BaselineError, match="'schema_version' is 3"):
        read_baseline(tmp_path / "a.json", "a.json")


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_there_stays_where_a_file_cannot_be_written(
    make_report: MakeReport, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "there"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    said = write_all(make_report(), {name: path}, RenderOptions())
    (line,) = said
    assert str(path) in line
    assert "No space left on device" in line
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_a_link_goes_on_pointing_where_it_did(make_report: MakeReport, tmp_path: Path) -> None:
    (tmp_path / "goal.md").write_text("before")
    (tmp_path / "link.md").symlink_to("goal.md")
    write("md", make_report(), tmp_path / "link.md")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "goal.md").read_text().startswith("## Bias")


def test_text_that_is_no_unicode_is_written_all_the_same(
    make_report: MakeReport, tmp_path: Path
) -> None:
    """An error of collecting can name a file that has half a character in its name."""
    report = make_report(summary={"collection_errors": ["a\udc80.py: wrong"]})
    targets = {name: tmp_path / name for name in FORMATS}
    assert write_all(report, targets, RenderOptions()) == []
    stored = json.loads((tmp_path / "json").read_text("utf-8"))
    assert stored["summary"]["collection_errors"] == ["a\udc80.py: wrong"]


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        # What an image carries could not be told from them.
        (("sets", "Y", "names"), [], "results.0.sets.Y: "),
        (("sets", "Y", "names"), ["a.png", "b.png"], "results.0.sets.Y: "),
        (("sets", "Y", "images"), ["other"], "results.0.sets.Y: "),
        # Biases could not be counted by it.
        *(((key,), p, f"results.0.{key}: ") for key in P_VALUES for p in (-0.1, 1.5, 1e308)),
    ],
)
def test_numbers_and_sets_that_contradict_themselves_are_refused(
    make_measured: Make,
    make_report: MakeReport,
    tmp_path: Path,
    path: tuple[str, ...],
    value: object,
    place: str,
) -> None:
    stored = json.loads(to_json(make_report(make_measured())))
    part = stored["results"][0]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "a.json").write_text(json.dumps(stored))
    assert place in refusal(tmp_path / "a.json")


@pytest.mark.parametrize("said", [3, "one", [1, None], {"a": 1}, None])
def test_a_summary_of_another_shape_is_shown(
    make_report: MakeReport, tmp_path: Path, said: object
) -> None:
    """By the schema it may hold anything."""
    summary = {"collection_errors": said, "deselected": said, "exit_status": said, "title": said}
    path = tmp_path / "a.json"
    path.write_text(to_json(make_report(summary=summary)))
    report = read_report(path)
    for name in FORMATS:
        write(name, report, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0


SCREEN = Screen(width=100, has_colour=True, has_unicode=True)
HUGE = 1.7e308
ENDS = (HUGE, -HUGE, 5e-324, 0.0, 1.0, 2.0)
STEPS = (("10", HUGE), ("2", -HUGE), ("2", None))
POINT: dict[str, object] = {
    **dict.fromkeys(("checkpoint", "digest", "fingerprint"), "0"),
    **dict.fromkeys(("effect_size", "effect_size_attributes", "gap", "ci_low", "ci_high")),
    **dict.fromkeys(("p_value", "p_attributes", "p_welch", "p_verdict", "p_adjusted", "growth")),
    "over": {"max_later": True},
    "outcome": "pass",
}
EFFECTS = ("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "wide_low")


@pytest.mark.parametrize("kind", [*KINDS, "of a later release"])
def test_numbers_and_words_that_no_run_gives_are_shown(
    make: Make, make_report: MakeReport, tmp_path: Path, kind: str
) -> None:
    """A file may have been edited, or come from a later release with another kind of test."""
    odd: dict[str, object] = {
        "kind": kind,
        "alternative": "sideways",
        "labels": {"size": "1e999999999"},
        "trials": {"labels": [1.0], "effect_judged": ["none"], "effect_size": []},
        "series": {
            "axis": "",
            "gate": "all",
            "correction": "none",
            "points": [POINT | {"label": label, "effect_judged": d} for label, d in STEPS],
            "first_over": {},
            "first_evident": {},
        },
    }
    records = [
        make(f"t{n}", layer=f"l{n % 2}", ci_high=-sign, **odd, **dict.fromkeys(EFFECTS, sign))
        for n, sign in enumerate((HUGE, -HUGE, 5e-324, 0.0, 1.0, -1.0))
    ]
    growths = [one.growth for one in records if one.growth is not None]
    records = [
        one.model_copy(update={"growth": growth.model_copy(update={"before": HUGE, "after": d})})
        for one, growth, d in zip(records, growths, ENDS, strict=True)
    ]
    path = tmp_path / "a.json"
    path.write_text(to_json(make_report(*records)))
    report = read_report(path)
    for name in FORMATS:
        write(name, report, tmp_path / name, RenderOptions(thumbnails=False))
    drawn = re.findall(r' (?:points|[cd]?[xyd]|width)="([^"]*)"', (tmp_path / "html").read_text())
    assert drawn
    assert not [one for one in drawn if "nan" in one or "inf" in one]
    assert report.results[0].test in render(report.results, [], SCREEN, verbosity=2)
    assert compare(report, report, 0.1).changes


def test_a_report_that_names_no_tool_is_shown(
    make: Make, make_report: MakeReport, tmp_path: Path
) -> None:
    report = make_report(make(), tool={})
    for name in FORMATS:
        write(name, report, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
