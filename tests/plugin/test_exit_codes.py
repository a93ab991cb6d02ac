"""The exit code is pytest's own, and never 0 where the gate did not hold."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import one_test, sentences, vectors

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FLAG = "--visualbias"
OTHER = "def test_other(): pass"


@pytest.fixture
def neutral(project: Project) -> Project:
    """A gate that passes."""
    project.pair()
    project.spec()
    return project


def test_0_where_every_limit_is_kept(neutral: Project) -> None:
    result = neutral.gate()
    assert result.ret == 0
    result.assert_outcomes(passed=2)


def test_1_where_a_limit_is_exceeded(neutral: Project) -> None:
    neutral.store("after", bias=1.0)
    result = neutral.gate()
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)


def test_1_where_vectors_are_missing(neutral: Project) -> None:
    (neutral.path / "after.safetensors").unlink()
    result = neutral.gate()
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)


@pytest.mark.parametrize(
    ("head", "test", "said"),
    [
        ("setings: {}", one_test("one"), "setings: unknown key; did you mean 'settings'?"),
        ("", one_test("one", X="z"), "tests[0].targets.X: unknown concept 'z'"),
        ("", one_test("one", "{max_effect: no}"), "must be a number, but 'no' was read"),
        ("", one_test("one", X="a", Y="a"), "X and Y are the same concept"),
    ],
)
def test_2_where_the_text_of_a_spec_is_wrong(
    neutral: Project, head: str, test: str, said: str
) -> None:
    neutral.spec(test, head=head)
    result = neutral.gate()
    assert result.ret == 2
    assert said in sentences(result)


def test_2_where_alpha_cannot_be_reached_with_these_sizes(neutral: Project) -> None:
    neutral.pair(n=4)
    neutral.spec(head="settings: {alpha: 0.01}")
    result = neutral.gate()
    assert result.ret == 2
    text = sentences(result)
    assert "4 against 4 images" in text
    assert "1/35" in text
    assert "alpha 0.01" in text


def test_2_where_targets_overlap_by_content(neutral: Project) -> None:
    sets = vectors()
    sets["y"][0] = sets["x"][0]
    neutral.store("after", sets)
    result = neutral.gate()
    assert result.ret == 2
    assert "tests[0].targets: X and Y share x/" in sentences(result)


def test_2_where_a_set_is_empty(neutral: Project) -> None:
    sets = vectors()
    sets["x"] = sets["x"][:0]
    neutral.store("after", sets)
    result = neutral.gate()
    assert result.ret == 2
    assert "concepts.x: no image was found" in sentences(result)


def test_2_also_where_collecting_goes_on_after_errors(neutral: Project) -> None:
    neutral.pytester.makepyfile(OTHER)
    neutral.spec(head="setings: {}")
    result = neutral.gate("--continue-on-collection-errors")
    assert result.ret == 2
    result.assert_outcomes(passed=1, errors=1)


def test_2_of_a_faulty_spec_while_another_is_sound(neutral: Project) -> None:
    neutral.spec(head="setings: {}", file="bias_specs/y.bias.yaml")
    assert neutral.gate().ret == 2


BAD_OPTIONS = [
    (["--visualbias-device=gpu"], "'gpu' is not auto, cpu, cuda, cuda:N or mps"),
    (["--visualbias-device=cuda:x"], "'cuda:x' is not auto"),
    (["--visualbias-precision=fp8"], "'fp8' is not fp32 or bf16 or fp16"),
    (["--visualbias-batch-size=0"], "'0' is not a number of images"),
    (["--visualbias-batch-size=many"], "'many' is not a number of images"),
    (["--visualbias-stimuli=nowhere"], "nowhere is not a folder"),
    (["--visualbias-cache=after.safetensors"], "after.safetensors is not a folder"),
    (["--visualbias-cache="], "--visualbias-cache: the value is empty"),
    (["--visualbias-json="], "--visualbias-json: the value is empty"),
    (["--visualbias-model=after"], "'after' is not NAME=REF"),
    (["--visualbias-model==x"], "'=x' is not NAME=REF"),
    (["--visualbias-after="], "--visualbias-after: the value is empty"),
    (["--visualbias-after=timm:"], "'timm:' is no model"),
    (["--visualbias-after=factory:networks"], "'factory:networks' is no model"),
    (["--visualbias-model=afterr=x.pt"], "has no model 'afterr'"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_OPTIONS)
def test_4_where_an_option_has_no_use(neutral: Project, arguments: list[str], said: str) -> None:
    result = neutral.gate(*arguments)
    assert result.ret == 4
    assert said in sentences(result)


def test_4_names_the_nearest_model(neutral: Project) -> None:
    result = neutral.gate("--visualbias-model=afterr=x.pt")
    assert "did you mean 'after'?" in sentences(result)


def test_4_where_the_ini_file_has_a_value_of_no_use(neutral: Project) -> None:
    neutral.pytester.makeini("[pytest]\nvisualbias_precision = fp8")
    result = neutral.gate()
    assert result.ret == 4
    assert "'fp8' is not fp32 or bf16 or fp16" in sentences(result)


def test_4_where_the_environment_names_a_file_as_cache(
    neutral: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALBIAS_CACHE", "after.safetensors")
    result = neutral.gate()
    assert result.ret == 4
    assert "VISUALBIAS_CACHE: " in sentences(result)


def test_5_where_the_flag_is_given_and_there_is_no_spec(project: Project) -> None:
    result = project.gate()
    assert result.ret == 5
    assert "no item of a spec ran; put *.bias.yaml into" in sentences(result)


def test_5_where_the_flag_is_given_and_only_other_tests_ran(project: Project) -> None:
    project.pytester.makepyfile(OTHER)
    result = project.gate()
    assert result.ret == 5
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("selection", [["-k", "other"], ["-m", "not visualbias"]])
def test_5_where_all_gate_items_are_deselected_while_others_pass(
    neutral: Project, selection: list[str]
) -> None:
    neutral.pytester.makepyfile(OTHER)
    result = neutral.gate(*selection)
    assert result.ret == 5
    result.assert_outcomes(passed=1, deselected=2)
    assert "all 2 items of specs were deselected: nothing was gated" in sentences(result)
    assert neutral.report()["summary"]["deselected"] == 2


def test_5_where_every_item_was_skipped_by_a_hook_of_the_users(neutral: Project) -> None:
    neutral.pytester.makeconftest(
        "import pytest\ndef pytest_runtest_setup(item): pytest.skip('not today')"
    )
    assert neutral.gate().ret == 5


def test_5_replaces_0_only(project: Project) -> None:
    project.pytester.makepyfile("def test_other(): assert 0")
    assert project.gate().ret == 1


def test_collect_only_is_exempt_from_5(neutral: Project) -> None:
    neutral.pytester.makepyfile(OTHER)
    assert neutral.gate("--collect-only").ret == 0
    assert neutral.gate("--collect-only", "-k", "other").ret == 0
    assert not (neutral.path / "out.json").exists()


def test_the_ini_file_alone_never_asks_for_5(project: Project) -> None:
    project.pytester.makeini("[pytest]\nvisualbias = true")
    project.pytester.makepyfile(OTHER)
    assert project.run().ret == 0


def test_a_report_that_cannot_be_written_makes_it_1(neutral: Project) -> None:
    result = neutral.run(FLAG, "--visualbias-json=before.safetensors/out.json")
    assert result.ret == 1
    text = sentences(result)
    assert "before.safetensors/out.json cannot be written" in text
    result.assert_outcomes(passed=2)


def test_a_report_that_cannot_be_written_keeps_a_worse_code(neutral: Project) -> None:
    neutral.spec(head="setings: {}")
    assert neutral.run(FLAG, "--visualbias-json=before.safetensors/out.json").ret == 2


def test_interrupting_at_the_first_failure_is_1(neutral: Project) -> None:
    neutral.store("after", bias=1.0)
    neutral.spec(one_test("one"), one_test("two"))
    result = neutral.gate("-x")
    assert result.ret == 1
    assert neutral.outcomes() == {
        "before::one[pooled]": "pass",
        "before::two[pooled]": "pass",
        "after::one[pooled]": "fail",
    }


def test_4_where_an_option_would_do_nothing(neutral: Project) -> None:
    """A gate that was not asked for must not look like one that passed."""
    result = neutral.pytester.runpytest_inprocess("--visualbias-strict", "--visualbias-json=r.json")
    assert result.ret == 4
    text = "--visualbias-strict does nothing without --visualbias; add it"
    assert text in result.stderr.str()


def test_4_where_a_path_after_a_space_moved_the_root(neutral: Project) -> None:
    """Pytest takes the path for one of a test, and its root for the one above both."""
    elsewhere = neutral.path.parent / f"{neutral.path.name}-elsewhere"
    elsewhere.mkdir()
    path = elsewhere / "after.safetensors"
    shutil.copy(neutral.path / "after.safetensors", path)
    result = neutral.pytester.runpytest_inprocess(FLAG, "--visualbias-after", str(path))
    assert result.ret == 4
    assert f"write --visualbias-after={path}" in result.stderr.str()
    assert neutral.pytester.runpytest_inprocess(FLAG, f"--visualbias-after={path}").ret == 0
