"""Ways to a green run that nobody had thought of, found by trying: each is closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import control_test, one_test, sentences

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
RECORDED = "bias_specs/__visualbias__/x.json"
AFTER = "\n  after: {source: embeddings, path: ../after.safetensors}\n"
GROWTH = "{max_effect: 1.9, max_growth: 0.2}"
MARKING = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "after" in item.nodeid:
            item.add_marker(MARK)
"""
TAKING = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "KEPT" in item.nodeid]
"""
ENDING = """
import pytest

def pytest_runtest_teardown(item):
    pytest.exit("enough", returncode=0)
"""
WHITEWASHING = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report
"""


@pytest.fixture
def biased(project: Project) -> Project:
    """A gate that fails for `after`."""
    project.pair(after=1.0)
    project.spec()
    return project


@pytest.fixture
def recorded(project: Project, serial: Gate) -> Project:
    """A model that grew a bias since it was recorded."""
    project.store("after")
    project.spec(one_test("one", GROWTH), models=AFTER)
    serial.says(0, "1 recorded", given=("--visualbias-update-new",))
    project.store("after", bias=1.0)
    return project


def test_an_item_that_a_mark_skips_is_not_green(biased: Project, gate: Gate) -> None:
    """A hook that skips what is slow, or a tag that another plugin knows, is enough."""
    conftest = MARKING.replace("MARK", "pytest.mark.skip(reason='slow')")
    (biased.path / "conftest.py").write_text(conftest)
    gate.says(1, f"a mark or a hook skips it or the run was ended: {SPEC}::after::one[pooled]")
    assert biased.report()["summary"]["exit_status"] == 1


@pytest.mark.parametrize("mark", ["xfail(reason='known')", "xfail(reason='known', strict=True)"])
def test_a_failure_that_a_mark_expects_is_the_items_own_failure(
    biased: Project, serial: Gate, mark: str
) -> None:
    """What is known has a waiver, with a size and a day. Marks are the same with workers."""
    (biased.path / "conftest.py").write_text(MARKING.replace("MARK", f"pytest.mark.{mark}"))
    text = serial.says(1, "effect +1.83 is over 0.5", given=("--junitxml=junit.xml",))
    assert "1 failed, 1 passed" in text
    assert 'failures="1"' in (biased.path / "junit.xml").read_text(encoding="utf-8")


def test_an_expected_failure_that_never_ran_is_not_green(biased: Project, serial: Gate) -> None:
    (biased.path / "conftest.py").write_text(
        MARKING.replace("MARK", "pytest.mark.xfail(run=False)")
    )
    serial.says(1, "the run was ended")


def test_a_hook_that_calls_a_failure_passed_is_not_believed(biased: Project, gate: Gate) -> None:
    (biased.path / "conftest.py").write_text(WHITEWASHING)
    gate.says(1, f"not passed, though a mark or a hook hides it: {SPEC}::after::one[pooled]")


def test_a_run_that_is_ended_with_0_before_its_last_item_is_not_green(
    biased: Project, serial: Gate
) -> None:
    """Where workers run, pytest-xdist takes it for a crash."""
    (biased.path / "conftest.py").write_text(ENDING)
    serial.says(1, f"or the run was ended: {SPEC}::after::one[pooled]")


@pytest.mark.parametrize(("kept", "code"), [("before", 0), ("nothing", 5)])
def test_items_that_a_hook_takes_away_without_a_word_are_counted(
    biased: Project, gate: Gate, kept: str, code: int
) -> None:
    (biased.path / "conftest.py").write_text(TAKING.replace("KEPT", kept))
    gate.says(code, "deselected", "nothing was gated")
    assert biased.report()["summary"]["deselected"] == (1 if kept == "before" else 2)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--visualbias-strict",), 5)])
def test_references_alone_are_told_to_be_no_gate(
    biased: Project, gate: Gate, strict: tuple[str, ...], code: int
) -> None:
    """They never fail, so a selection that leaves only them says nothing."""
    gate.says(
        code,
        "every item that a limit or a control judges was deselected (1): nothing was gated",
        given=("-k", "before", *strict),
    )


def test_a_spec_without_limits_is_measured_and_green(project: Project, gate: Gate) -> None:
    """It claims nothing; the summary calls its results reported."""
    project.pair(after=1.0)
    project.spec(one_test("one", "{}"))
    assert "2 reported" in gate.says(0)


def test_a_spec_named_without_the_flag_is_held_to_the_same(biased: Project, serial: Gate) -> None:
    (biased.path / "conftest.py").write_text(MARKING.replace("MARK", "pytest.mark.skip"))
    result = serial.run(SPEC)
    assert result.ret == 1
    assert "not measured" in sentences(result)


def test_a_report_never_takes_the_place_of_its_own_baseline(
    recorded: Project, serial: Gate
) -> None:
    """The first run would fail, and the second one find no growth since the first."""
    recorded.store("after")
    assert serial.run("--visualbias", "--visualbias-json=last.json").ret == 0
    recorded.store("after", bias=1.0)
    before = (recorded.path / "last.json").read_bytes()
    result = serial.run(
        "--visualbias", "--visualbias-baseline=last.json", "--visualbias-json=last.json"
    )
    assert result.ret == 4
    assert "last.json is what growth is measured from; name another file" in sentences(result)
    assert (recorded.path / "last.json").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "path", "said"),
    [
        ("json", SPEC, "has the name of a spec"),
        ("md", "bias_specs/new.BIAS.yml", "has the name of a spec"),
        ("html", "after.safetensors", "has the name of no report (.safetensors)"),
        ("csv", "pytest.ini", "has the name of no report (.ini)"),
        ("json", RECORDED, "is there and is no report of a run"),
        ("json", "link.json", "has the name of no report (.safetensors)"),
    ],
)
def test_a_report_never_takes_the_place_of_what_a_run_reads(
    recorded: Project, serial: Gate, option: str, path: str, said: str
) -> None:
    """A path after a space is easily one that was meant for pytest."""
    (recorded.path / "pytest.ini").write_text("[pytest]\n")
    (recorded.path / "link.json").symlink_to("after.safetensors")
    place = recorded.path / path
    before = place.read_bytes() if place.exists() else None
    result = serial.run("--visualbias", f"--visualbias-{option}={path}")
    assert result.ret == 4
    assert said in sentences(result)
    assert (place.read_bytes() if place.exists() else None) == before


def test_a_report_takes_the_place_of_an_earlier_one_or_of_an_empty_file(
    biased: Project, serial: Gate
) -> None:
    (biased.path / "out.json").touch()
    for _ in range(2):
        serial.says(1)
    assert len(biased.report()["results"]) == 2


def _larger(entry: dict[str, Any]) -> None:
    """An effect of long ago that was so large that nothing has grown since."""
    for role in "XA":
        entry["scores"][role] = {name: score + 2 for name, score in entry["scores"][role].items()}


def _scaled(entry: dict[str, Any]) -> None:
    for scores in entry["scores"].values():
        scores.update({name: score * 1000 for name, score in scores.items()})


def _half(entry: dict[str, Any]) -> None:
    """As where two branches were merged line by line."""
    scores = entry["scores"]["B"]
    scores.update({name: -score for name, score in list(scores.items())[::2]})


@pytest.mark.parametrize("edit", [_larger, _scaled, _half])
def test_recorded_scores_that_do_not_give_the_recorded_effect_are_an_error(
    recorded: Project, serial: Gate, edit: Callable[[dict[str, Any]], None]
) -> None:
    """Growth is measured from the scores; people review the effect."""
    path = recorded.path / RECORDED
    stored = json.loads(path.read_text(encoding="utf-8"))
    edit(stored["entries"]["after::one[pooled]"])
    path.write_text(json.dumps(stored), encoding="utf-8")
    serial.says(1, "do not give the effect that stands beside them")
    assert recorded.outcomes() == {"after::one[pooled]": "error"}


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER", "TF_BUILD"])
def test_no_system_of_ci_records_what_it_is_to_judge(
    recorded: Project, serial: Gate, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Jenkins and Azure do not set the variable CI."""
    monkeypatch.setenv(variable, "17")
    result = serial("--visualbias-update")
    assert result.ret == 4
    assert f"refused on CI (the variable {variable} is set)" in sentences(result)


def test_an_alpha_that_no_arithmetic_can_hold_is_an_error_of_the_spec(
    biased: Project, serial: Gate
) -> None:
    biased.spec(head="settings: {alpha: 1e-300, evidence: point}")
    serial.says(2, "settings.alpha")


def test_a_control_speaks_for_its_attributes_in_either_order(
    project: Project, serial: Gate
) -> None:
    """Else the tests pass where the control that failed is not selected."""
    project.pair(control=0.0)
    turned = control_test(alternative="less").replace("A: a, B: b", "A: b, B: a")
    project.spec(turned, one_test("one"))
    said = "the positive control 'control' did not show its effect"
    serial.says(1, said, given=("-k", "one"))
    assert project.outcomes()["after::one[pooled]"] == "invalid"
