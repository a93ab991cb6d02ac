"""Ways to a green run that nobody had thought of, found by trying: each is closed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pytest_visualbias.api import audit
from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import UsageError
from tests.acceptance.conftest import PIXELS
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
from PIL import Image

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
from PIL import Image

def pytest_runtest_teardown(item):
    pytest.exit("enough", returncode=0)
"""
WHITEWASHING = """
import pytest
from PIL import Image

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
    serial.says(0, given=("--visualbias-update-new",))
    project.store("after", bias=1.0)
    return project


def test_an_item_that_a_mark_skips_is_not_green(biased: Project, gate: Gate) -> None:
    """A hook that skips what is slow, or a tag that another plugin knows, is enough."""
    conftest = MARKING.replace("MARK", "pytest.mark.skip(reason='slow')")
    (biased.path / "conftest.py").write_text(conftest)
    gate.says(1, f"{SPEC}::after::one[pooled]")
    assert biased.report()["summary"]["exit_status"] == 1


@pytest.mark.parametrize("mark", ["xfail(reason='known')", "xfail(reason='known', strict=True)"])
def test_a_failure_that_a_mark_expects_is_the_items_own_failure(
    biased: Project, serial: Gate, mark: str
) -> None:
    """What is known has a waiver, with a size and a day. Marks are the same with workers."""
    (biased.path / "conftest.py").write_text(MARKING.replace("MARK", f"pytest.mark.{mark}"))
    text = serial.says(1, given=("--junitxml=junit.xml",))
    assert "1 failed, 1 passed" in text
    assert 'failures="1"' in (biased.path / "junit.xml").read_text(encoding="utf-8")


def test_an_expected_failure_that_never_ran_is_not_green(biased: Project, serial: Gate) -> None:
    (biased.path / "conftest.py").write_text(
        MARKING.replace("MARK", "pytest.mark.xfail(run=False)")
    )
    serial.says(1, f"{SPEC}::after::one[pooled]")


def test_a_hook_that_calls_a_failure_passed_is_not_believed(biased: Project, gate: Gate) -> None:
    (biased.path / "conftest.py").write_text(WHITEWASHING)
    gate.says(1, f"{SPEC}::after::one[pooled]")
    assert biased.row()["outcome"] == "fail"


def test_a_run_that_is_ended_with_0_before_its_last_item_is_not_green(
    biased: Project, serial: Gate
) -> None:
    """Where workers run, pytest-xdist takes it for a crash."""
    (biased.path / "conftest.py").write_text(ENDING)
    serial.says(1, f"{SPEC}::after::one[pooled]")


@pytest.mark.parametrize("kept", ["before", "nothing"])
def test_items_that_a_hook_takes_away_without_a_word_are_counted(
    biased: Project, gate: Gate, kept: str
) -> None:
    (biased.path / "conftest.py").write_text(TAKING.replace("KEPT", kept))
    gate.says(5)
    assert biased.report()["summary"]["deselected"] == (1 if kept == "before" else 2)


@pytest.mark.parametrize("strict", [(), ("--visualbias-strict",)])
def test_references_alone_are_told_to_be_no_gate(
    biased: Project, gate: Gate, strict: tuple[str, ...]
) -> None:
    """They never fail, so a selection that leaves only them says nothing."""
    gate.says(5, given=("-k", "before", *strict))


def test_a_spec_without_limits_is_measured_and_green(project: Project, gate: Gate) -> None:
    """It claims nothing; the summary calls its results reported."""
    project.pair(after=1.0)
    project.spec(one_test("one", "{}"))
    assert "2 reported" in gate.says(0)


def test_a_spec_named_without_the_flag_is_held_to_the_same(biased: Project, serial: Gate) -> None:
    (biased.path / "conftest.py").write_text(MARKING.replace("MARK", "pytest.mark.skip"))
    result = serial.run(SPEC)
    assert result.ret == 1, sentences(result)


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
    assert "--visualbias-json: " in sentences(result)
    assert (recorded.path / "last.json").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "path"),
    [
        *(("json", SPEC), ("md", "bias_specs/new.BIAS.yml"), ("html", "after.safetensors")),
        *(("csv", "pytest.ini"), ("json", RECORDED), ("json", "link.json")),
    ],
)
def test_a_report_never_takes_the_place_of_what_a_run_reads(
    recorded: Project, serial: Gate, option: str, path: str
) -> None:
    """A path after a space is easily one that was meant for pytest."""
    (recorded.path / "pytest.ini").write_text("[pytest]\n")
    (recorded.path / "link.json").symlink_to("after.safetensors")
    place = recorded.path / path
    before = place.read_bytes() if place.exists() else None
    result = serial.run("--visualbias", f"--visualbias-{option}={path}")
    assert result.ret == 4
    assert f"--visualbias-{option}: " in sentences(result)
    assert (place.read_bytes() if place.exists() else None) == before


def test_a_report_never_takes_the_place_of_junits(biased: Project, serial: Gate) -> None:
    result = serial.run("--visualbias", "--junitxml=o.xml", "--visualbias-html=./o.xml")
    assert result.ret == 4
    assert "--junitxml" in sentences(result)


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
    serial.says(1, RECORDED)
    assert recorded.outcomes() == {"after::one[pooled]": "error"}


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER", "TF_BUILD"])
def test_no_system_of_ci_records_what_it_is_to_judge(
    recorded: Project, serial: Gate, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Jenkins and Azure do not set the variable CI."""
    monkeypatch.setenv(variable, "17")
    result = serial("--visualbias-update")
    assert result.ret == 4
    assert variable in sentences(result)


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
    serial.says(1, given=("-k", "one"))
    assert project.outcomes()["after::one[pooled]"] == "invalid"


AUDITING = """
SPEC = "bias_specs/x.bias.yaml"

def test_asks_nothing(visualbias): visualbias.audit(SPEC)
def test_only_prints(visualbias): print(visualbias.audit(SPEC))
def test_asserts_the_audit(visualbias): assert visualbias.audit(SPEC)
def test_names_the_check_and_does_not_call_it(visualbias): visualbias.audit(SPEC).check
def test_fails_before_it_asks(visualbias): visualbias.audit(SPEC); assert 0, "of another cause"
def test_looks(visualbias): assert visualbias.audit(SPEC).result("one").outcome == "fail"
def test_expects_it(visualbias): assert not visualbias.audit(SPEC).passed
def test_counts(visualbias): assert len([one for one in visualbias.audit(SPEC)]) == 2
def test_measures_nothing(visualbias): pass
"""


def test_an_audit_in_a_test_is_asked_for_its_verdict(biased: Project, serial: Gate) -> None:
    """Or a test that forgets `check()` would be green whatever the model does."""
    biased.pytester.makepyfile(AUDITING)
    result = serial.run("test_an_audit_in_a_test_is_asked_for_its_verdict.py")
    assert result.ret == 1
    result.assert_outcomes(passed=7, failed=2, errors=3)
    text = sentences(result)
    for name in ("asks_nothing", "only_prints", "names_the_check_and_does_not_call_it"):
        assert f"::test_{name} - Failed: " in text


def test_an_audit_that_passes_may_go_unasked(project: Project, serial: Gate) -> None:
    project.pair()
    project.spec()
    project.pytester.makepyfile(AUDITING.partition("def test_only")[0])
    assert serial.run("test_an_audit_that_passes_may_go_unasked.py").ret == 0


@pytest.mark.parametrize(
    "given", [{"batch_size": 0}, {"batch_size": -3}, {"device": "gpu"}, {"precision": "fp64"}]
)
def test_code_is_told_of_an_argument_of_no_use(biased: Project, given: dict[str, Any]) -> None:
    """As the command line is, whatever the spec needs."""
    ((name, value),) = given.items()
    with pytest.raises(UsageError, match=f"{name}: '{value}' "):
        audit(biased.path / SPEC, **given)


@pytest.mark.parametrize("worse", ["{}", "{max_effect: 1.9}"])
def test_a_limit_that_is_gone_is_worse_to_a_comparison(
    project: Project, serial: Gate, worse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it nothing can get worse, so that the next step of a pipeline would let it pass."""
    project.pair()
    project.spec(one_test("one", "{max_effect: 1.9}"))
    serial.run("--visualbias", "--visualbias-json=old.json")
    project.spec(one_test("one", worse))
    serial.run("--visualbias", "--visualbias-json=new.json")
    capsys.readouterr()
    assert main(["compare", "old.json", "new.json"]) == (1 if worse == "{}" else 0)


def test_a_comparison_of_nothing_is_none(biased: Project, serial: Gate) -> None:
    assert serial("-k", "nothing").ret == 5
    assert main(["compare", "out.json", "out.json"]) == 2


def test_a_report_is_not_replaced_by_what_is_made_of_it(biased: Project, serial: Gate) -> None:
    serial()
    before = (biased.path / "out.json").read_bytes()
    assert main(["report", "out.json", "--html", "./out.json"]) == 2
    assert main(["report", "out.json", "--json", SPEC]) == 2
    assert (biased.path / "out.json").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on Unix")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(pixels: Project, serial: Gate) -> None:
    for name in ("after.txt", "stimuli/x/0.png"):
        (pixels.path / name).unlink()
        os.mkfifo(pixels.path / name)
    listed = "{path: x, files: [0.png, 1.png, 2.png, 3.png, 4.png]}"
    limits = "{max_effect: 1.8}"
    for sets in ("{x: y, y: x2, a: a, b: b}", f"{{x: {listed}, y: y, a: a, b: b}}"):
        shutil.copytree(pixels.path / "stimuli/y", pixels.path / "stimuli/x2", dirs_exist_ok=True)
        for file in (pixels.path / "stimuli/x2").iterdir():
            file.write_bytes(file.read_bytes() + b"other")
        pixels.spec(
            one_test("one", limits), head="stimuli: ../stimuli", models=PIXELS, concepts=sets
        )
        serial.says(1)
        assert pixels.row()["outcome"] == "error"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on Unix")
def test_a_pipe_in_the_place_of_vectors_is_not_waited_for(biased: Project, serial: Gate) -> None:
    (biased.path / "after.safetensors").unlink()
    os.mkfifo(biased.path / "after.safetensors")
    serial.says(1, "1 passed, 1 error")


@pytest.fixture
def neutral(project: Project) -> Project:
    """A gate that passes."""
    project.pair()
    project.spec()
    return project


@pytest.mark.parametrize("name", ["gender.bias.YAML", "gender_bias.yaml", "build/gender.bias.yaml"])
def test_a_spec_that_is_not_read_is_named(neutral: Project, serial: Gate, name: str) -> None:
    """Beside one that is read nobody would miss it. Under --visualbias-strict it fails the run."""
    file = neutral.path / "bias_specs" / name
    file.parent.mkdir(exist_ok=True)
    shutil.copy(neutral.path / SPEC, file)
    for given in ((), ("bias_specs",)):
        serial.says(0, f"bias_specs/{name} ", given=given)
    serial.says(1, f"bias_specs/{name} ", given=("--visualbias-strict",))


def test_a_spec_that_links_to_nothing_is_named(neutral: Project, gate: Gate) -> None:
    (neutral.path / "bias_specs/y.bias.yaml").symlink_to("nowhere.yaml")
    gate.says(0, "bias_specs/y.bias.yaml ")


def test_what_is_no_spec_is_not_named(neutral: Project, gate: Gate) -> None:
    """Suites, hidden files and notes; nor specs elsewhere, nor one behind a link."""
    neutral.path.joinpath("bias_specs").rename(neutral.path / "gates")
    (neutral.path / "bias_specs").symlink_to("gates")
    for name in ("own.suite.yaml", "README.md", ".hidden.yaml"):
        (neutral.path / "bias_specs" / name).write_text("{}")
    (neutral.path / "elsewhere").mkdir()
    (neutral.path / "elsewhere/y.bias.YAML").touch()
    text = gate.says(0, given=("--visualbias-strict",))
    assert not [name for name in ("own.suite", "README", ".hidden", "YAML") if name in text]


def test_one_picture_in_different_files_is_told(pixels: Project, serial: Gate) -> None:
    """Compression and EXIF change the bytes, by which sets are checked, and not the picture."""
    stimuli = pixels.path / "stimuli"
    first = Image.open(stimuli / "x/0.png").convert("RGB")
    first.save(stimuli / "y/again.png", compress_level=1)
    Image.open(stimuli / "a/1.png").save(stimuli / "a/again.png", compress_level=1)
    pairs = "X x/0.png = Y y/again.png", "A a/1.png = A a/again.png"
    serial.says(0, "'after' sees one image in different files", *pairs)
    # Predictions of different images are often equal.
    for known in ("known_duplicates: [again]", "layers: [logits]"):
        pixels.spec(
            one_test("one", "{max_effect: 1.8}"),
            head=f"stimuli: ../stimuli\n{known}",
            models=PIXELS,
            concepts="{x: x, y: y, a: a, b: b}",
        )
        assert "'after' sees one image in different files" not in serial.says(0)


@pytest.mark.parametrize(("second", "code"), [("worse.json", 1), ("out.json", 0)])
def test_a_reader_that_has_seen_enough_makes_no_comparison_better(
    biased: Project, serial: Gate, second: str, code: int
) -> None:
    """As in ``visualbias compare a b | head -1``, where the shell heeds the first of a pipe."""
    serial()
    report = biased.report()
    for row in report["results"]:
        row["outcome"] = "error"
    (biased.path / "worse.json").write_text(json.dumps(report), encoding="utf-8")
    receiving, sending = os.pipe()
    os.close(receiving)
    words = ["-m", "pytest_visualbias", "compare", "out.json", second]
    with os.fdopen(sending, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, *words], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (code, b"")
