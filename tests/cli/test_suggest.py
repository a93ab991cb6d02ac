"""Limits proposed for real specs: derived from what is measured, and fit to be used."""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import yaml

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings

if TYPE_CHECKING:
    from pytest_visualbias.results import ResultRecord

Output = pytest.CaptureFixture[str]
SPEC = "x.bias.yaml"
HEAD = """\
visualbias: 1
models:   # of the release
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors}
concepts: {x: x, y: y, a: a, b: b, s: s, t: t}
"""
TESTS = """\
tests:
  # the one that matters
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5, max_gap: 0.9}   # a guess
  - name: near
    kind: similarity-gap
    targets: {X: x, Y: y}
    attributes: {A: a}
  - name: apart
    kind: sc-eat
    targets: {X: x}
    attributes: {A: a, B: b}
  - name: alike
    kind: intra-similarity
    targets: {X: x}
  - name: control   # must hold
    kind: ieat
    targets: {X: s, Y: t}
    attributes: {A: a, B: b}
    control: positive
    limits: {min_effect: 0.1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISUALBIAS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def store(name: str, *, seed: int = 0, n: int = 24, bias: float = 0.3, moved: float = 0.0) -> None:
    """Store the vectors of a model: the same ones for one seed, but for what has moved."""
    random, moving = np.random.default_rng(seed), np.random.default_rng(99)
    along = np.eye(12)[0]
    poles = {"x": bias, "y": -bias, "a": 1.0, "b": -1.0, "s": 2.0, "t": -2.0}
    sets = {
        key: random.normal(size=(n, 12)) + pole * along + moved * moving.normal(size=(n, 12))
        for key, pole in poles.items()
    }
    plain = {key: rows.astype(np.float32) for key, rows in sets.items()}
    safetensors.numpy.save_file(plain, f"{name}.safetensors")


def write(tests: str = TESTS, *, head: str = HEAD, settings: str = "") -> None:
    Path(SPEC).write_text(head + settings + tests, encoding="utf-8")


def results(model: str) -> dict[str, ResultRecord]:
    """Return what the gate measures of a model, by test."""
    resources = Resources(cache=EmbeddingCache(folder=None), batch_size=8, progress=lambda *_: None)
    session = EvaluationRun(settings=RunSettings(project=Path.cwd()), resources=resources)
    loaded = session.load(Path.cwd() / SPEC, SPEC)
    tests = [test.name for test in loaded.file.spec.tests]
    return {name: session.result(loaded, model, name, "pooled", nodeid=name) for name in tests}


def limits() -> dict[str, dict[str, float]]:
    found = yaml.safe_load(Path(SPEC).read_text(encoding="utf-8"))["tests"]
    return {test["name"]: test.get("limits", {}) for test in found}


def printed(said: str) -> list[dict[str, Any]]:
    """Return the tests of the printed lines."""
    lines = said[said.index("\ntests:") : said.index("\npaste these keys")]
    found: list[dict[str, Any]] = yaml.safe_load(lines)["tests"]
    return found


def pasted(said: str) -> None:
    """Put the printed keys into the tests of the spec, as a person does."""
    spec = yaml.safe_load(Path(SPEC).read_text(encoding="utf-8"))
    tests = {test["name"]: test for test in spec.get("tests") or []}
    for new in printed(said):
        test = tests.setdefault(new["name"], {})
        limits = {**(test.get("limits") or {}), **new.get("limits", {})}
        test.update(new | ({"limits": limits} if limits else {}))
    spec["tests"] = [*tests.values()]
    Path(SPEC).write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


@pytest.mark.parametrize("seed", range(8))
def test_proposed_limits_pass_the_model_before_and_one_that_hardly_changed(
    folder: Path, capsys: Output, seed: int
) -> None:
    """Over drawn projects: sizes, biases, sides, corrections and directions differ."""
    random = np.random.default_rng(seed)
    n = int(random.integers(12, 40))
    bias = float(random.uniform(-0.6, 0.6))
    settings = (
        f"settings: {{sides: {random.choice(['both', 'targets'])}, "
        f"correction: {random.choice(['holm', 'bh', 'none'])}, "
        f"alternative: {random.choice(['two-sided', 'greater', 'less'])}}}\n"
    )
    store("before", seed=seed, n=n, bias=bias)
    store("after", seed=seed, n=n, bias=bias, moved=0.05)
    write(settings=settings)
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    pasted(said)
    assert main(["check", SPEC]) == 0  # every limit can be exceeded, and every p reached
    proposed = limits()
    before = results("before")
    for name in ("one", "near", "apart"):
        assert proposed[name].keys() & {"max_effect", "max_growth"}, said
        if (limit := proposed[name].get("max_effect")) is not None:
            effect = before[name].effect_judged
            assert effect is not None
            sign = {"greater": 1, "less": -1}.get(before[name].alternative)
            assert (abs(effect) if sign is None else sign * effect) <= limit
    assert before["control"].outcome == "pass"
    gated = results("after")
    assert {name: one.outcome for name, one in gated.items()} == dict.fromkeys(gated, "pass"), {
        name: one.reasons for name, one in gated.items()
    }


def test_a_model_that_learned_the_bias_fails_what_is_proposed(folder: Path, capsys: Output) -> None:
    store("before", bias=0.05)
    store("after", bias=0.05, moved=0.1)
    write()
    assert main(["suggest", SPEC]) == 0
    pasted(capsys.readouterr().out)
    store("after", bias=1.6, moved=0.1)
    assert results("after")["one"].outcome == "fail"


def test_the_spec_stays_and_every_kind_gets_its_keys(folder: Path, capsys: Output) -> None:
    store("before")
    store("after", moved=0.2)
    write()
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    assert Path(SPEC).read_text() == HEAD + TESTS
    assert "no untrained network: 'before' has no architecture to make one of\n" in said
    pasted(said)
    assert limits()["one"].keys() == {"max_effect", "max_gap", "max_growth", "max_shift"}
    assert limits()["alike"].keys() == {"max_shift"}
    assert "evidence: interval" in Path(SPEC).read_text()


def test_write_is_removed(folder: Path, capsys: Output) -> None:
    write()
    assert main(["suggest", SPEC, "--write"]) == 4
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert Path(SPEC).read_text() == HEAD + TESTS


def test_every_number_of_the_table_is_one_of_the_gate(folder: Path, capsys: Output) -> None:
    store("before")
    store("after", moved=0.2)
    write()
    main(["suggest", SPEC])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[3:9]}
    for name, record in results("before").items():
        assert record.effect_judged is not None
        assert record.ci_low is not None
        assert rows[name][1] == f"{record.effect_judged:+.2f}"
        assert rows[name][2] == f"{record.ci_low:+.2f}"
    seen = re.search(r"([\d.]+)", rows["one"][6])
    assert seen is not None
    # One of seven p: three tests with effect and growth make six, and the guess counts in them.
    write(TESTS.replace("{max_effect: 0.5, max_gap: 0.9}", "{max_effect: 0.9, max_growth: 0.9}"))
    assert float(seen[1]) >= (results("before")["one"].smallest_detectable_effect or 0) - 0.005


def test_small_sets_are_told_what_they_cannot_see(folder: Path, capsys: Output) -> None:
    store("before", n=4)
    store("after", n=4, moved=0.1)
    write(TESTS.replace("{max_effect: 0.5, max_gap: 0.9}", "{}"))
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    (line,) = [one for one in said.splitlines() if "no gate is possible" in one]
    assert "4 against 4 images" in line
    assert "limits:" not in said.split("- name: one")[1].split("- name:")[0]


def test_a_control_that_failed_leaves_its_tests_without_limits(
    folder: Path, capsys: Output
) -> None:
    store("before")
    store("after")
    write(TESTS.replace("{X: s, Y: t}", "{X: t, Y: s}"))
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    assert (
        "# the positive control 'control' did not show its effect, so it says nothing yet" in said
    )
    assert "# no min_effect: 'before' does not show this control" in said


@pytest.mark.parametrize(("least", "is_weaker"), [("0.1", False), ("1.9", True)])
def test_a_control_is_not_weakened_without_a_word(
    folder: Path, capsys: Output, least: str, *, is_weaker: bool
) -> None:
    store("before")
    store("after", moved=0.1)
    write(TESTS.replace("min_effect: 0.1", f"min_effect: {least}"))
    main(["suggest", SPEC])
    assert ("becomes weaker" in capsys.readouterr().out) is is_weaker


def test_a_wished_limit_has_the_images_it_needs(folder: Path, capsys: Output) -> None:
    """34 / L^2 images for 80 % (two one-sided tests at 0.05 of an absent effect)."""
    store("before")
    store("after", moved=0.1)
    write()
    assert main(["suggest", SPEC]) == 0
    z = NormalDist().inv_cdf
    needed = math.ceil(4 * (z(0.95) + z(0.9)) ** 2 / 0.5**2)
    assert f"about {needed} images a set show an absent effect to be within the present 0.5" in (
        capsys.readouterr().out
    )


SUITE = """\
visualbias_suite: 1
concepts: {x: x, y: y, a: a, b: b, s: s, t: t}
tests:
  - {name: seen, kind: ieat, targets: {X: s, Y: t}, attributes: {A: a, B: b}, control: positive}
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("suite: own.suite.yaml\n", {"one"}),
        ("suite: {name: own.suite.yaml, limits: {min_effect: 0.1}}\n", {"seen", "one"}),
        ("suite: own.suite.yaml\ntests: [\n  {name: seen, control: none}]\n", {"seen", "one"}),
    ],
)
def test_controls_of_a_suite_get_no_limit_before_they_are_demanded(
    folder: Path, capsys: Output, suite: str, expected: set[str]
) -> None:
    """Nor one on how large they are: a suite's control is to be large."""
    Path("own.suite.yaml").write_text(SUITE, encoding="utf-8")
    store("before")
    store("after", moved=0.1)
    write(suite, head=HEAD.partition("concepts")[0])
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    proposed = {one["name"]: one.get("limits", {}) for one in printed(said)}
    assert {name for name, keys in proposed.items() if keys} == expected
    assert ("the suite has it for a positive control" in said) is ("seen" not in expected)
    if "control: none" not in suite:
        assert proposed["seen"].keys() <= {"min_effect"}


def test_without_a_model_after_growth_is_limited_by_what_is_usual(
    folder: Path, capsys: Output
) -> None:
    store("before")
    head = HEAD.replace("  after: {source: embeddings, path: after.safetensors}\n", "")
    tests = TESTS.replace("{max_effect: 0.5, max_gap: 0.9}", "{}").rpartition("  - name: control")
    write(tests[0], head=head)
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    assert "max_growth: " in said
    assert "if scores before and after correlate by 0.5" in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["none.bias.yaml"], "none.bias.yaml"),
        ([SPEC, "--model", "befor"], "--model: .+'befor'.+'before'"),
        ([SPEC, "--model", "blank"], "--model: .*'blank'"),
    ],
)
def test_a_wrong_call_is_one_line(
    folder: Path, capsys: Output, arguments: list[str], named: str
) -> None:
    store("before")
    store("after")
    untrained = "  blank: {source: timm, name: test_resnet, pretrained: false}\nconcepts"
    write(head=HEAD.replace("concepts", untrained))
    assert main(["suggest", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(named, line)


def test_a_faulty_spec_is_told_with_its_place(folder: Path, capsys: Output) -> None:
    write(TESTS.replace("kind: sc-eat", "kind: sceat"))
    assert main(["suggest", SPEC]) == 1
    assert capsys.readouterr().err.startswith("x.bias.yaml:18:5: tests[2].kind: ")


def test_a_model_that_is_not_there_gives_no_limits(folder: Path, capsys: Output) -> None:
    store("after")
    write()
    assert main(["suggest", SPEC]) == 1
    said = capsys.readouterr().out
    assert "before.safetensors" in said
    assert "limits:" not in said


def test_several_layers_share_the_widest_limit(folder: Path, capsys: Output) -> None:
    head = HEAD.replace("path: before.safetensors", 'path: before.safetensors, prefix: "{layer}/"')
    head = head.replace("path: after.safetensors", 'path: before.safetensors, prefix: "{layer}/"')
    stored: dict[str, np.ndarray] = {}
    for layer, bias in (("low", 0.0), ("high", 0.9)):
        store("one", bias=bias)
        found = safetensors.numpy.load_file("one.safetensors")
        stored |= {f"{layer}/{key}": rows for key, rows in found.items()}
    safetensors.numpy.save_file(stored, "before.safetensors")
    write(head=head + "layers: [low, high]\n")
    assert main(["suggest", SPEC]) == 0
    said = capsys.readouterr().out
    assert "one[low] " in said
    line = next(line for line in said.splitlines() if line.startswith("      max_effect: "))
    assert line.endswith(", at high")


def test_a_model_that_the_gate_calls_invalid_says_nothing_of_noise(
    folder: Path, capsys: Output
) -> None:
    """Its control failed: how much its scores changed is not what growth is told from."""
    one, control = TESTS.index("  - name: near"), TESTS.index("  - name: control")
    write(TESTS[:one] + TESTS[control:])
    store("before")
    store("after", moved=0.1)
    assert main(["suggest", SPEC]) == 0
    said = "as scores change from 'before' to 'after'"
    assert said in " ".join(capsys.readouterr().out.split())
    sets = safetensors.numpy.load_file("after.safetensors")
    safetensors.numpy.save_file({**sets, "s": sets["t"], "t": sets["s"]}, "after.safetensors")
    assert results("after")["one"].outcome == "invalid"
    capsys.readouterr()
    assert main(["suggest", SPEC]) == 0
    assert said not in " ".join(capsys.readouterr().out.replace("#", "").split())
