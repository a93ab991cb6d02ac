"""The tree of specs, models and items, and when there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import LAYERED, LEAN, MODELS, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FLAG = "--visualbias"
FOUR = [
    f"bias_specs/x.bias.yaml::{model}::{test}[pooled]"
    for model in ("before", "after")
    for test in ("one", "two")
]


@pytest.fixture
def pair(project: Project) -> Project:
    """Two models, two tests of which the first is tagged."""
    project.pair(after=1.0)
    project.spec(one_test("one", tags="[gender]"), one_test("two", A="c", B="d"))
    return project


def ids(result: pytest.RunResult) -> list[str]:
    """Return the node ids that ``--collect-only -q`` printed."""
    return [line for line in result.outlines if "::" in line]


def collected(project: Project, *arguments: str) -> list[str]:
    return ids(project.run("--collect-only", "-q", *arguments))


def test_node_ids_are_file_model_test_and_layer(pair: Project) -> None:
    assert collected(pair, FLAG) == FOUR


def test_every_layer_has_an_item_of_its_own(project: Project) -> None:
    project.layered("pooled", "blocks.0:cls", "blocks.1:cls")
    project.spec(head="layers: [pooled, 'blocks.{0..1}:cls']", models=LAYERED)
    project.gate().assert_outcomes(passed=3)
    assert list(project.outcomes()) == [
        "after::one[pooled]",
        "after::one[blocks.0:cls]",
        "after::one[blocks.1:cls]",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "visualbias"], FOUR),
        (["-m", "gender"], [FOUR[0], FOUR[2]]),
        (["-m", "visualbias and not gender"], [FOUR[1], FOUR[3]]),
        (["-k", "after and two"], [FOUR[3]]),
        (["-k", "gender"], [FOUR[0], FOUR[2]]),
        (["-k", "before"], FOUR[:2]),
        (["bias_specs/x.bias.yaml::after"], FOUR[2:]),
        ([FOUR[3]], [FOUR[3]]),
        (["--deselect", FOUR[0]], FOUR[1:]),
    ],
)
def test_items_are_selected_as_any_others(
    pair: Project, arguments: list[str], expected: list[str]
) -> None:
    pair.pytester.makepyfile("def test_other(): pass")
    found = collected(pair, FLAG, *arguments)
    assert [one for one in found if "bias" in one] == expected


def test_last_failed_runs_what_failed_and_nothing_else(pair: Project) -> None:
    pair.run(FLAG).assert_outcomes(failed=1, passed=3)
    result = pair.gate("--lf")
    result.assert_outcomes(failed=1)
    assert pair.outcomes() == {"after::one[pooled]": "fail"}


def test_a_spec_named_explicitly_needs_no_flag(pair: Project) -> None:
    assert collected(pair, "bias_specs/x.bias.yaml") == FOUR
    assert pair.run("bias_specs/x.bias.yaml").ret == 1


@pytest.mark.parametrize("argument", ["bias_specs/x.bias.yaml::after", FOUR[2]])
def test_a_part_of_a_spec_named_explicitly_needs_no_flag(pair: Project, argument: str) -> None:
    pair.run(argument, "-k", "one").assert_outcomes(failed=1, deselected="::one" not in argument)


def test_without_the_flag_a_folder_of_specs_says_nothing(pair: Project) -> None:
    result = pair.run("bias_specs")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "x.bias" not in sentences(result)


def test_a_folder_is_searched_at_every_depth(pair: Project) -> None:
    pair.spec(file="gates/deep/down/y.bias.yaml", models=_models("../../.."))
    found = collected(pair, FLAG, "gates")
    assert {one.partition("::")[0] for one in found} == {"gates/deep/down/y.bias.yaml"}


def test_without_a_path_the_default_folder_joins_what_pytest_collects(pair: Project) -> None:
    pair.pytester.makepyfile("def test_other(): pass")
    pair.spec(file="elsewhere/y.bias.yaml")
    found = collected(pair, FLAG)
    assert {one.partition("::")[0] for one in found} == {
        "bias_specs/x.bias.yaml",
        "test_without_a_path_the_default_folder_joins_what_pytest_collects.py",
    }


def test_testpaths_do_not_hide_the_default_folder(pair: Project) -> None:
    pair.pytester.makeini("[pytest]\ntestpaths = unit")
    pair.pytester.mkdir("unit").joinpath("test_unit.py").write_text("def test_unit(): pass\n")
    pair.spec(file="unit/y.bias.yaml")
    assert collected(pair, FLAG) == ["unit/test_unit.py::test_unit", *FOUR]


def test_from_a_folder_below_the_root_the_default_folder_is_found(
    pair: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.pytester.makeini("[pytest]")
    monkeypatch.chdir(pair.pytester.mkdir("unit"))
    pair.gate().assert_outcomes(failed=1, passed=3)


class TestOfAPackageInAMonorepo:
    """A folder below the root with specs of its own, where pytest is started."""

    @pytest.fixture
    def package(self, pair: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
        pair.pytester.makeini("[pytest]")
        spec = "packages/vision/bias_specs/own.bias.yaml"
        models = MODELS.replace("../", "../../../")
        pair.spec(one_test("own"), models=models, file=spec)
        monkeypatch.chdir(pair.path / "packages" / "vision")
        return pair

    @pytest.mark.parametrize("arguments", [(), pytest.param(("-n", "1"), marks=pytest.mark.slow)])
    def test_its_specs_are_collected_and_no_others(
        self, package: Project, arguments: tuple[str, ...]
    ) -> None:
        package.process(FLAG, "--visualbias-json=out.json", *arguments)
        report = json.loads(Path("out.json").read_text(encoding="utf-8"))
        specs = {row["spec"] for row in report["results"]}
        assert specs == {"packages/vision/bias_specs/own.bias.yaml"}

    def test_the_header_names_them(self, package: Project) -> None:
        lines = package.run(FLAG, "--collect-only").outlines
        assert f"visualbias: specs from {Path.cwd() / 'bias_specs'}" in lines

    def test_a_path_goes_before_them(self, package: Project) -> None:
        assert collected(package, FLAG, str(package.path / "bias_specs")) == FOUR

    def test_where_it_is_empty_nothing_passes(self, package: Project) -> None:
        Path("bias_specs/own.bias.yaml").unlink()
        assert package.run(FLAG).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_with_a_path_the_default_folder_stays_out(pair: Project) -> None:
    test = pair.pytester.makepyfile("def test_other(): pass")
    assert collected(pair, FLAG, str(test)) == [f"{test.name}::test_other"]


def test_the_ini_file_can_turn_it_on(pair: Project) -> None:
    pair.pytester.makeini("[pytest]\nvisualbias = true")
    assert collected(pair) == FOUR


def test_both_suffixes_are_specs(pair: Project) -> None:
    pair.spec(file="bias_specs/y.bias.yml")
    pair.spec(file="bias_specs/z.yaml")
    files = {one.partition("::")[0] for one in collected(pair, FLAG)}
    assert files == {"bias_specs/x.bias.yaml", "bias_specs/y.bias.yml"}


def test_the_same_spec_named_twice_is_collected_once(pair: Project) -> None:
    assert collected(pair, FLAG, "bias_specs", "bias_specs/x.bias.yaml") == FOUR


def test_a_report_points_at_the_line_of_the_test_in_the_yaml(pair: Project) -> None:
    """Annotations and editors jump to ``- name: two``, not to a line of this package."""
    result, _ = pair.pytester.inline_genitems(*LEAN, FLAG)
    lines = (pair.path / "bias_specs/x.bias.yaml").read_text().splitlines()
    for item in result:
        path, line, _ = item.reportinfo()
        assert str(path) == str(pair.path / "bias_specs/x.bias.yaml")
        assert line is not None
        assert lines[line].strip() == f"- name: {item.name.partition('[')[0]}"


def test_a_dot_in_a_name_stays_a_dot_in_the_verbose_line(project: Project) -> None:
    project.pair()
    project.spec(one_test("v1.2"))
    project.run(FLAG, "-v").stdout.fnmatch_lines(["bias_specs/x.bias.yaml::after::v1.2?pooled?*"])


def test_the_header_says_that_it_is_on_and_how_it_embeds(pair: Project) -> None:
    result = pair.run(FLAG, "--visualbias-no-cache", "--visualbias-device=cpu")
    result.stdout.fnmatch_lines(["visualbias: device cpu, fp32, cache off"])


def _models(up: str) -> str:
    return (
        f"\n  before: {{source: embeddings, path: {up}/before.safetensors}}"
        f"\n  after: {{source: embeddings, path: {up}/after.safetensors}}\n"
    )
