"""What `visualbias check` says of recorded results is what the gate would fail by."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import ALONE, MODELS, kind_test, one_test
from tests.plugin.test_baseline import FILE, GROWTH, UPDATE

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
MAXIMUM = "{name: pooled, module: pooled, pooling: max}"
OVER = "--visualbias-baseline"
LIMITS = {
    "one": "{max_effect: 1.0}",
    "two": "{max_effect: 0.5}",
    "again": "{max_effect: 0.5}",
}


class Checked:
    """A project with recorded results, and the console script in it."""

    def __init__(self, project: Project, output: pytest.CaptureFixture[str]) -> None:
        self.project = project
        self.output = output

    def check(self, *arguments: str) -> tuple[int, list[str]]:
        """Return the exit code and the lines, without the first and those of sets and limits."""
        self.output.readouterr()
        code = main(["check", *arguments, SPEC])
        state, *lines = map(str.strip, self.output.readouterr().out.splitlines())
        assert state.startswith(f"{SPEC}: {'faulty' if code else 'ok'} (")
        facts = ("images: ", "note: no test")
        lines = [one for one in lines if ": smallest detectable " not in one]
        return code, [one for one in lines if not one.startswith(facts)]

    def spec(self, *tests: str, models: str = ALONE, head: str = "") -> None:
        self.project.spec(*tests, models=models, head=head)


@pytest.fixture
def checked(project: Project, capsys: pytest.CaptureFixture[str]) -> Checked:
    """Two tests of one model, recorded."""
    project.store("after")
    project.spec(one_test("one", GROWTH), one_test("two", A="c", B="d"), models=ALONE)
    assert project.gate(UPDATE).ret == 0
    return Checked(project, capsys)


def test_where_growth_is_measured_from_is_said(checked: Checked) -> None:
    code, (line,) = checked.check()
    assert code == 0
    assert line.startswith("growth of 'after': ")
    assert FILE in line
    assert "2 of 2" in line


def test_each_test_is_told_how_many_images_its_limit_needs(checked: Checked) -> None:
    """By Lakens' formula of two one-sided tests; none of a limit that a test does not have."""
    tests = [one_test(name, limits) for name, limits in LIMITS.items()]
    checked.spec(*tests, one_test("other", GROWTH))
    checked.output.readouterr()
    main(["check", SPEC])
    lines = map(str.strip, checked.output.readouterr().out.splitlines())
    found = [one.partition(": smallest detectable effect ")[::2] for one in lines]
    needed = {
        name: re.findall(r"(\d+) images a set.* ([\d.]+)$", rest) for name, rest in found if rest
    }
    wanted = {"max_effect: 0.5": [("138", "0.5")], "max_effect: 1": [("35", "1")]}
    assert needed == {
        name: next((numbers for key, numbers in wanted.items() if f"{key}" in limits), [])
        for name, limits in {**LIMITS, "other": GROWTH}.items()
    }


def test_a_missing_entry_is_a_fault_where_a_limit_needs_it(checked: Checked) -> None:
    """In the words of the gate, at the line of the test; and what nothing claims is a warning."""
    checked.spec(one_test("first", GROWTH), one_test("two", A="c", B="d"), one_test("more"))
    code, lines = checked.check()
    assert code == 1
    assert checked.project.gate().ret == 1
    (reason,) = checked.project.row("first")["reasons"]
    fault, warning, growth = lines
    assert fault == f"{SPEC}:7:5: tests[0]: {reason}"
    assert warning.startswith(f"warning: {FILE}: ")
    assert "after::one[pooled]" in warning
    assert "1 of 3" in growth


def test_what_nothing_claims_is_a_fault_when_strict(checked: Checked) -> None:
    checked.spec(one_test("one", GROWTH))
    assert checked.check()[0] == 0
    code, lines = checked.check("--strict")
    assert code == 1
    assert lines[0].startswith(f"{FILE}: ")
    assert "after::two[pooled]" in lines[0]


def test_other_images_are_a_fault(checked: Checked) -> None:
    checked.project.store("after", n=6)
    code, lines = checked.check()
    assert code == 1
    checked.project.gate()
    (reason,) = checked.project.row()["reasons"]
    assert "(8 images then, 6 now)" in reason
    assert lines[0].endswith(f": tests[0]: {reason}")
    assert "2 of 2" in lines[1]
    assert "1 of them" in lines[1]


@pytest.mark.parametrize(
    ("head", "is_fault"),
    [
        ("layers: [{name: pooled, module: block, pooling: max}]", True),
        (f"layers: [{MAXIMUM}]", True),
        (f"layers: [{MAXIMUM}]\nsettings: {{differs: [pooling]}}", False),
    ],
)
def test_another_layer_is_a_fault_unless_it_is_declared(
    checked: Checked, head: str, *, is_fault: bool
) -> None:
    checked.spec(one_test("one", GROWTH), head=head)
    code, lines = checked.check()
    assert code == is_fault
    assert checked.project.gate().ret == is_fault
    if is_fault:
        assert lines[0].endswith(checked.project.row()["reasons"][0])


def test_another_kind_is_a_fault(checked: Checked) -> None:
    checked.spec(kind_test("sc-eat", GROWTH, name="one"))
    code, lines = checked.check()
    assert (code, lines[0].partition(" not_comparable")[0]) == (1, f"{SPEC}:7:5: tests[0]:")


def test_a_record_that_a_model_takes_the_place_of_is_said_to_be_unused(checked: Checked) -> None:
    checked.project.store("before")
    checked.spec(one_test("other", GROWTH), models=MODELS)
    code, lines = checked.check()
    assert code == 0
    assert lines[0].startswith(f"note: {FILE} ")


def test_an_option_names_other_results(checked: Checked) -> None:
    """A folder, a file or the report of a run, which goes before a model as in the gate."""
    checked.project.gate()
    (checked.project.path / "out.json").rename(checked.project.path / "last.json")
    checked.project.store("before")
    checked.spec(one_test("one", GROWTH), one_test("new", GROWTH), models=MODELS)
    code, lines = checked.check("--baseline", "last.json")
    assert code == 1
    assert "last.json" in lines[0]
    assert "'after::new[pooled]'" in lines[0]
    assert checked.project.gate(f"{OVER}=last.json").ret == 1
    (checked.project.path / "elsewhere").mkdir()
    code, lines = checked.check("--baseline", "elsewhere")
    assert code == 1
    assert f"{OVER}=elsewhere" in lines[0]


@pytest.mark.parametrize("named", ["nothing.json", "{url}/nothing.json", "{url}/*.json", "{url}"])
def test_results_that_are_not_there_are_refused_as_pytest_refuses_them(
    checked: Checked, named: str
) -> None:
    """A URL is one of a file, for the console script as for the gate."""
    place = named.format(url=checked.project.path.as_uri())
    checked.output.readouterr()
    assert main(["check", "--baseline", place, SPEC]) == 1
    assert f"--baseline: {place} " in checked.output.readouterr().err


def test_results_at_a_url_are_those_of_the_file(checked: Checked) -> None:
    url = f"{checked.project.path.as_uri()}/{FILE}"
    code, lines = checked.check("--baseline", url)
    assert code == 0
    assert url in lines[0]
    assert "2 of 2" in lines[0]


def test_lines_of_a_spec_stand_in_their_order(checked: Checked) -> None:
    """Line 12 comes after line 7, though as a text before it."""
    checked.spec(*(one_test(name, GROWTH) for name in ("first", "second")))
    _, lines = checked.check()
    found = [int(line.split(":")[1]) for line in lines if "tests[" in line]
    assert found == [7, 12]


def test_a_damaged_file_is_a_fault(checked: Checked) -> None:
    (checked.project.path / FILE).write_text("<<<<<<< HEAD\n", encoding="utf-8")
    code, lines = checked.check()
    assert code == 1
    assert lines[0].startswith(f"{FILE} ")


def test_names_in_the_file_are_text(checked: Checked) -> None:
    path = checked.project.path / FILE
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["entries"]["\x1b[31mred"] = stored["entries"]["after::two[pooled]"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    _, lines = checked.check()
    assert "\x1b" not in "".join(lines)
    assert any("\\x1b[31mred" in line for line in lines)
