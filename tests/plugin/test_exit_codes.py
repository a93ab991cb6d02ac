"""The exit code is pytest's own, and never 0 where the gate did not hold; mistakes name a place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import one_test, vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Project

FLAG = "--visualbias"
OTHER = "def test_other(): pass"
SPEC = "bias_specs/x.bias.yaml"
MODELS_OF = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../after.KIND}
"""


@pytest.fixture
def neutral(project: Project) -> Project:
    """A gate that passes."""
    project.pair()
    project.spec()
    return project


@pytest.mark.parametrize(
    ("bias", "code", "counts"), [(0.0, 0, {"passed": 2}), (1.0, 1, {"passed": 1, "failed": 1})]
)
def test_0_or_1_by_the_limits(
    neutral: Project, bias: float, code: int, counts: dict[str, int]
) -> None:
    neutral.store("after", bias=bias)
    result = neutral.gate()
    assert result.ret == code
    result.assert_outcomes(**counts)


# --------------------------------------------------------------------- 2: faulty specs


@pytest.mark.parametrize(
    ("head", "test", "places"),
    [
        ("setings: {}", one_test("one"), ["6:1: setings: "]),
        ("", one_test("one", X="flowr"), ["10:15: tests[0].targets.X: ", "'flower'"]),
        ("", one_test("one", "{max_effect: no}"), ["12:14: tests[0].limits.max_effect: "]),
        ("", one_test("one", "{max_effect: 0.5, max_effect: 5}"), ["12:31: ", "line 12"]),
        ("", one_test("one", X="a", Y="a"), ["tests[0].targets: "]),
        (
            "titel: mine",
            one_test("one", "{max_efect: 0.5}", X="flowr"),
            ["titel: ", "tests[0].limits.max_efect: ", "tests[0].targets.X: "],
        ),
    ],
)
def test_2_where_a_spec_is_wrong_with_every_place(
    neutral: Project, head: str, test: str, places: list[str]
) -> None:
    neutral.spec(test, head=head)
    assert SPEC in neutral.refuses(2, *places)


@pytest.mark.parametrize(
    ("content", "place"), [(b"visualbias: [1\n", "2:1"), (b"", "1:1"), (b"visualbias: \xff", "1:1")]
)
def test_2_where_a_spec_is_no_yaml(neutral: Project, content: bytes, place: str) -> None:
    (neutral.path / SPEC).write_bytes(content)
    neutral.refuses(2, f"{SPEC}:{place}: ")


def test_2_where_alpha_cannot_be_reached_with_these_sizes(neutral: Project) -> None:
    neutral.pair(n=4)
    neutral.spec(head="settings: {alpha: 0.01}")
    neutral.refuses(2, "4 against 4 images", "1/35", "alpha 0.01")


def test_2_where_targets_overlap_by_content(neutral: Project) -> None:
    sets = vectors()
    sets["y"][0] = sets["x"][0]
    neutral.store("after", sets)
    neutral.refuses(2, "tests[0].targets: ")


def test_2_where_a_set_is_empty(neutral: Project) -> None:
    neutral.store("after", {**vectors(), "x": vectors()["x"][:0]})
    neutral.refuses(2, "concepts.x: ")


def test_2_of_a_faulty_spec_whatever_else_is_sound(neutral: Project) -> None:
    neutral.pytester.makepyfile(OTHER)
    neutral.spec(head="setings: {}", file="bias_specs/y.bias.yaml")
    assert neutral.gate().ret == 2
    result = neutral.gate("--continue-on-collection-errors")
    assert result.ret == 2
    result.assert_outcomes(passed=3, errors=1)


# ------------------------------------------------- 1 or 2: what models and images lack


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def replace(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        text = text.replace(old, new)
    path.write_text(text)


def rename(path: Path) -> None:
    path.rename(path.with_name("moved"))


def empty(path: Path) -> None:
    for image in path.iterdir():
        image.unlink()


@pytest.mark.parametrize(
    ("file", "change", "code", "places"),
    [
        ("stimuli/x", rename, 1, [f"{SPEC}:5:12: concepts.x: ", "stimuli/x"]),
        ("stimuli/x", empty, 2, [f"{SPEC}:5:12: concepts.x: "]),
        ("stimuli", rename, 1, [f"ERROR 2 tests of 'before', 'after': {SPEC}:6:1: stimuli: "]),
        ("stimuli/x/2.png", lambda path: path.write_text("<html>"), 1, ["stimuli/x/2.png"]),
        ("stimuli/x/2.png", break_off, 1, ["stimuli/x/2.png"]),
        ("after.safetensors", Path.unlink, 1, [f"\n{SPEC}:4:3: models.after: "]),
        ("after.safetensors", lambda path: path.write_text("no"), 1, ["after.safetensors"]),
        (
            SPEC,
            lambda p: replace(p, ("../stimuli", "../stimuli\nlayers: [layr3]")),
            1,
            ["'layer3'"],
        ),
        (SPEC, lambda p: replace(p, ("test_resnet", "tst_resnet")), 1, ["'test_resnet'"]),
    ],
)
def test_what_cannot_be_measured_is_named_with_its_place(
    networks: Project, file: str, change: Callable[[Path], object], code: int, places: list[str]
) -> None:
    change(networks.path / file)
    networks.refuses(code, *places)
    if code == 1:
        assert "error" in networks.outcomes().values()


def test_the_checkpoint_of_another_architecture(networks: Project, weights: Path) -> None:
    shutil.copy(weights / "vit.safetensors", networks.path / "after.safetensors")
    networks.refuses(1, "after.safetensors", "conv1")
    assert networks.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "error"}


@pytest.mark.parametrize("kind", ["npz", "bin"])
def test_vectors_of_another_kind(project: Project, kind: str) -> None:
    project.pair()
    (project.path / f"after.{kind}").write_bytes(b"PK nothing")
    project.spec(models=MODELS_OF.replace("KIND", kind))
    project.refuses(1, f"ERROR {SPEC}::after::one[pooled] - {SPEC}:4:", f"after.{kind} ")


# --------------------------------------------------------------------------- 4: options

BAD_OPTIONS = [
    *("device=gpu", "device=cuda:x", "precision=fp8", "batch-size=0", "batch-size=many"),
    *("stimuli=nowhere", "cache=after.safetensors", "cache=", "json=", "model=after", "model==x"),
    *("after=", "after=timm:", "after=factory:networks", "model=afterr=x.pt", "md=-"),
]


@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_4_where_an_option_has_no_use(neutral: Project, option: str) -> None:
    name, _, value = option.partition("=")
    places = ["has no model 'afterr'", "'after'"] if "afterr" in value else []
    if not places:
        places = [f"--visualbias-{name}", value]
        if name == "after":
            places = [value]
    neutral.refuses(4, *places, options=[f"--visualbias-{option}"])


def test_4_where_two_reports_go_to_one_file(neutral: Project) -> None:
    neutral.refuses(4, "--visualbias-csv", options=["--visualbias-md=a", "--visualbias-csv=./a"])


@pytest.mark.parametrize("key", ["precision = fp8", "cache_limit = much"])
def test_4_where_the_ini_file_has_a_value_of_no_use(neutral: Project, key: str) -> None:
    neutral.pytester.makeini(f"[pytest]\nvisualbias_{key}")
    neutral.refuses(4, f"'{key.rpartition(' ')[2]}'")


def test_4_where_the_environment_names_a_file_as_cache(
    neutral: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALBIAS_CACHE", "after.safetensors")
    neutral.refuses(4, "VISUALBIAS_CACHE: ")


def test_4_where_a_device_is_not_here_whether_or_not_all_is_cached(networks: Project) -> None:
    for _ in ("cold", "warm"):
        networks.refuses(4, "'cuda:99'", options=["--visualbias-device=cuda:99"])
        assert networks.gate().ret == 0


def test_4_where_an_option_would_do_nothing(neutral: Project) -> None:
    """A gate that was not asked for must not look like one that passed."""
    result = neutral.pytester.runpytest_inprocess("--visualbias-strict", "--visualbias-json=r.json")
    assert result.ret == 4
    assert "--visualbias-strict" in result.stderr.str()


def test_4_where_a_path_after_a_space_moved_the_root(neutral: Project) -> None:
    """Pytest takes the path for one of a test, and its root for the one above both."""
    elsewhere = neutral.path.parent / f"{neutral.path.name}-elsewhere"
    elsewhere.mkdir()
    path = elsewhere / "after.safetensors"
    shutil.copy(neutral.path / "after.safetensors", path)
    result = neutral.pytester.runpytest_inprocess(FLAG, "--visualbias-after", str(path))
    assert result.ret == 4
    assert f"--visualbias-after={path}" in result.stderr.str()
    assert neutral.pytester.runpytest_inprocess(FLAG, f"--visualbias-after={path}").ret == 0


# -------------------------------------------------------------------- 5: nothing gated


def test_5_where_the_flag_is_given_and_there_is_no_spec(project: Project) -> None:
    project.refuses(5, str(project.path / "bias_specs"))
    project.pytester.makepyfile(OTHER)
    result = project.gate()
    assert result.ret == 5
    result.assert_outcomes(passed=1)
    project.pytester.makepyfile("def test_other(): assert 0")
    assert project.gate().ret == 1, "5 replaces 0 only"


@pytest.mark.parametrize("selection", [["-k", "other"], ["-m", "not visualbias"]])
def test_5_where_all_gate_items_are_deselected_while_others_pass(
    neutral: Project, selection: list[str]
) -> None:
    neutral.pytester.makepyfile(OTHER)
    result = neutral.gate(*selection)
    assert result.ret == 5
    result.assert_outcomes(passed=1, deselected=2)
    assert neutral.report()["summary"]["deselected"] == 2


def test_5_where_every_item_was_skipped_by_a_hook_of_the_users(neutral: Project) -> None:
    neutral.pytester.makeconftest(
        "import pytest\ndef pytest_runtest_setup(item): pytest.skip('not today')"
    )
    assert neutral.gate().ret == 5


def test_collect_only_is_exempt_from_5(neutral: Project) -> None:
    neutral.pytester.makepyfile(OTHER)
    assert neutral.gate("--collect-only").ret == 0
    assert neutral.gate("--collect-only", "-k", "other").ret == 0
    assert not (neutral.path / "out.json").exists()


def test_the_ini_file_alone_never_asks_for_5(project: Project) -> None:
    project.pytester.makeini("[pytest]\nvisualbias = true")
    project.pytester.makepyfile(OTHER)
    assert project.run().ret == 0


# ------------------------------------------------------------------ files and the rest


@pytest.mark.parametrize("name", ["json", "md", "csv", "model-card"])
def test_a_report_that_cannot_be_written_is_1_leaves_nothing_and_keeps_a_worse_code(
    neutral: Project, name: str
) -> None:
    (neutral.path / "folder").mkdir()
    result = neutral.run(FLAG, f"--visualbias-{name}=folder")
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    assert f"{neutral.path / 'folder'}" in result.stdout.str() + result.stderr.str()
    assert list((neutral.path / "folder").iterdir()) == []
    assert not list(neutral.path.glob(".*.part"))
    neutral.spec(head="setings: {}")
    assert neutral.run(FLAG, f"--visualbias-{name}=folder").ret == 2


def test_stopping_at_the_first_failure_is_1(neutral: Project) -> None:
    neutral.store("after", bias=1.0)
    neutral.spec(one_test("one"), one_test("two"))
    result = neutral.gate("-x")
    assert result.ret == 1
    assert neutral.outcomes() == {
        "before::one[pooled]": "pass",
        "before::two[pooled]": "pass",
        "after::one[pooled]": "fail",
    }
