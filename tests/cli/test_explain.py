"""A test and its result in words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings
from pytest_visualbias.results import Report, to_json
from tests.plugin.conftest import LATER

if TYPE_CHECKING:
    from collections.abc import Callable

Output = pytest.CaptureFixture[str]
SPEC = "specs/x.bias.yaml"
TEXT = """\
visualbias: 1
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors}
  blank: {source: timm, name: test_resnet, pretrained: false}
concepts: {x: x, y: y, a: a, b: b, s: s, t: t}
layers: [pooled]
tests:
  - name: one
    about: As in the paper.
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5, max_growth: 0.2}
  - name: near
    kind: similarity-gap
    targets: {X: x, Y: y}
    attributes: {A: a}
    alternative: greater
    limits: {max_gap: 0.3}
    accept: {max_effect: 0.9, reason: The release of May., until: LATER}
  - name: apart
    kind: sc-eat
    targets: {X: x}
    attributes: {A: a, B: b}
    evidence: interval
    limits: {max_shift: 0.4}
  - name: alike
    kind: intra-similarity
    targets: {X: x}
  - name: control
    kind: ieat
    targets: {X: s, Y: t}
    attributes: {A: a, B: b}
    control: positive
    limits: {min_effect: 0.1}
""".replace("LATER", LATER)
N = 12


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a spec and its vectors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "specs").mkdir()
    write(TEXT)
    random = np.random.default_rng(1)
    along = np.eye(8)[0]
    for file, bias in (("before", 0.1), ("after", 1.5)):
        poles = {"x": bias, "y": -bias, "a": 1.5, "b": -1.5, "s": 2.0, "t": -2.0}
        sets = {
            name: (random.normal(size=(N, 8)) + pole * along).astype(np.float32)
            for name, pole in poles.items()
        }
        safetensors.numpy.save_file(sets, tmp_path / "specs" / f"{file}.safetensors")
    return tmp_path


def write(text: str) -> None:
    Path(SPEC).write_text(text, encoding="utf-8")


@pytest.fixture
def said(capsys: Output) -> Callable[..., str]:
    """Return what is said, in one line."""

    def say(*arguments: str, status: int = 0) -> str:
        assert main(["explain", *arguments]) == status
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return " ".join((found.out if status == 0 else found.err).split())

    return say


@pytest.fixture
def report() -> Callable[..., dict[str, dict[str, Any]]]:
    """Measure the spec as the gate does, write ``run.json``, and return its rows by test."""

    def measure(model: str = "after", spec: str = SPEC) -> dict[str, dict[str, Any]]:
        resources = Resources(
            cache=EmbeddingCache(folder=None), batch_size=8, progress=lambda *_: None
        )
        session = EvaluationRun(settings=RunSettings(project=Path.cwd()), resources=resources)
        loaded = session.load(Path.cwd() / SPEC, spec)
        rows = [
            session.result(loaded, model, test.name, "pooled", nodeid=test.name)
            for test in loaded.file.spec.tests
        ]
        text = to_json(Report(tool={}, environment={}, models=[], results=rows, summary={}))
        Path("run.json").write_text(text, encoding="utf-8")
        return {row["test"]: row for row in json.loads(text)["results"]}

    return measure


QUESTIONS = {
    "one": "'x' (12 images) nearer to 'a' (12 images) than to 'b' (12 images)",
    "near": "'x' (12 images) nearer to 'a' (12 images) than 'y' (12 images)",
    "apart": "'x' (12 images) nearer to 'a' (12 images) than to 'b' (12 images)",
    "alike": "'x' (12 images)",
    "control": "'s' (12 images) nearer to 'a' (12 images) than to 'b' (12 images)",
}


@pytest.mark.parametrize("test", QUESTIONS)
def test_every_kind_has_a_question_with_its_sets_and_all_sections(
    said: Callable[..., str], test: str
) -> None:
    text = said(SPEC, test)
    assert QUESTIONS[test] in text
    sections = ("Question", "Measure", "Verdict", "Scope", "Result")
    assert [text.count(f" {section} ") for section in sections] == [1, 1, 1, 1, 0]


def test_limits_roles_family_and_controls_are_stated(said: Callable[..., str]) -> None:
    text = said(SPEC, "one")
    for fact in (
        "about: As in the paper.",
        "|effect| > 0.5 or growth of |effect| since 'before' > 0.2",
        "the corrected p is at most 0.05",
        "gated: 'after' ",
        "reference, reported only: 'before' ",
        "untrained, reported only: 'blank' ",
        "over 3 p-values a model (effect and growth of this test, with those of 'near')",
        "without which it is invalid: 'control'",
    ):
        assert fact in text


def test_the_smallest_detectable_effect_before_data_is_the_largest_after(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    row = report()["one"]
    least = re.search(r"detectable effect: at most about ([\d.]+)", said(SPEC, "one"))
    assert least is not None
    assert 0 < row["detectable"] <= float(least[1]) + 0.005


@pytest.mark.parametrize(
    ("test", "facts"),
    [
        ("near", ("gap > 0.3", "in this direction", f"waiver until {LATER}: effect up to 0.9")),
        ("near", ("positive controls: none",)),
        ("apart", ("the whole simultaneous 95% interval", "no p-value that a limit depends on")),
        ("alike", ("cannot fail",)),
        ("control", ("at least 0.1",)),
    ],
)
def test_settings_of_a_test_are_stated(
    said: Callable[..., str], test: str, facts: tuple[str, ...]
) -> None:
    text = said(SPEC, test)
    assert all(fact in text for fact in facts)


@pytest.mark.parametrize("test", ["one", "near", "apart", "alike", "control"])
def test_a_result_is_shown_with_the_numbers_of_the_report(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]], test: str
) -> None:
    row = report()[test]
    text = said(SPEC, test, "--report", "run.json").partition(" Result ")[2]
    assert f"{row['effect_judged']:+.2f}" in text
    assert f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}" in text
    assert all(reason in text for reason in row["reasons"])


def test_a_result_that_is_an_error_says_why(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    Path("specs/after.safetensors").unlink()
    reasons = report()["one"]["reasons"]
    text = said(f"{SPEC}::after::one", "--report", "run.json")
    assert reasons[0].partition(";")[0] in text.partition(" Result ")[2]
    assert "unknown: " in text
    assert "smallest detectable effect: unknown" in text


def test_an_id_as_pytest_shows_it_names_model_test_and_layer(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    report(spec="x.bias.yaml")  # as seen from another root
    text = said(f"{SPEC}::after::one[pooled]", "--report", "run.json")
    assert text.startswith("one (ieat), specs/x.bias.yaml:9 ")
    assert "gated: 'after' " in text
    assert "reported only" not in text


def test_a_spec_alone_explains_all_of_its_tests(said: Callable[..., str]) -> None:
    assert said(SPEC).count(" Question ") == 5


def test_lines_wrap_to_the_terminal_and_no_wider(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, most in ((60, 60), (400, 100)):
        monkeypatch.setenv("COLUMNS", str(columns))
        main(["explain", SPEC, "one"])
        lines = capsys.readouterr().out.splitlines()
        assert most - 15 < max(map(len, lines)) <= most


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no.bias.yaml", "one"], "no.bias.yaml"),
        ([SPEC, "on"], "'on'"),
        ([f"{SPEC}::aftr::one[pooled]"], "'aftr'"),
        ([f"{SPEC}::after::one[layer9]"], "'one[layer9]'"),
        ([f"{SPEC}::after::one", "one"], f"'{SPEC}::after::one'"),
        ([f"{SPEC}::after::one", "--report", "run.json"], "'one'"),
        ([SPEC, "one", "--report", "none.json"], "none.json"),
    ],
)
def test_a_wrong_call_names_what_is_wrong(
    said: Callable[..., str],
    report: Callable[..., dict[str, dict[str, Any]]],
    arguments: list[str],
    named: str,
) -> None:
    report("before")
    assert named in said(*arguments, status=2)


def test_hostile_names_stay_on_their_line(said: Callable[..., str], capsys: Output) -> None:
    write(
        TEXT.replace("As in the paper.", '"\\u001b[2J red\\nred"').replace(
            "x: x,", '"x\\u202e": x, x: x,'
        )
    )
    main(["explain", SPEC, "one"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[2J red\\nred" in out


def test_too_few_images_are_told(said: Callable[..., str]) -> None:
    stored = safetensors.numpy.load_file("specs/after.safetensors")
    small = {name: rows[:5] for name, rows in stored.items()}
    for name in ("before", "after"):
        safetensors.numpy.save_file(small, f"specs/{name}.safetensors")
    many = "".join(
        f"  - {{name: t{index}, kind: ieat, targets: {{X: x, Y: y}}, attributes: {{A: a, B: b}}, "
        "limits: {max_effect: 1}}\n"
        for index in range(9)
    )
    write(TEXT + many)
    text = said(SPEC, "one")
    assert "smallest detectable effect: none" in text


def test_a_control_without_a_minimum_is_not_judged(said: Callable[..., str]) -> None:
    asked = "control: positive\n    limits: {min_effect: 0.1}"
    write(TEXT.replace(asked, "control: idle"))
    assert "measured and not judged" in said(SPEC, "control")


RUN = """\
visualbias: 1
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: timm, name: test_resnet, checkpoints: run/epoch_*.pt, series: epoch, gate: GATE}
stimuli: images
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5, max_growth: 0.2}
"""


@pytest.fixture
def checkpoints() -> None:
    """Files in the places of three checkpoints and of all images: none of them is read."""
    paths = [Path(f"specs/run/epoch_{step}.pt") for step in (1, 2, 10)]
    paths += [Path(f"specs/images/{name}/{i}.png") for name in "xyab" for i in range(20)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path), encoding="ascii")


@pytest.mark.usefixtures("checkpoints")
def test_checkpoints_that_are_judged_together_are_corrected_together(
    said: Callable[..., str],
) -> None:
    """As the gate does: more p ask for a larger effect."""
    node = f"{SPEC}::after::one[pooled]"
    write(RUN.replace("GATE", "all"))
    text = said(node)
    assert "3 checkpoints are corrected together, 6 p-values" in text
    assert "at most about 1.25" in text
    write(RUN.replace("GATE", "last"))
    text = said(node)
    assert "corrected together" not in text
    assert "at most about 1.15" in text
    write(RUN.replace("GATE", "all").replace("run/", "later/"))
    assert "smallest detectable effect: unknown" in said(node)


@pytest.mark.usefixtures("checkpoints")
def test_limits_are_proposed_for_the_p_of_all_checkpoints(capsys: Output) -> None:
    # Measured is the model before; a network that cannot be made costs no import of torch.
    made = "source: factory, call: 'nowhere:made', transform: {size: 8}"
    write(RUN.replace("GATE", "all").replace("source: timm, name: test_resnet", made))
    main(["suggest", SPEC])
    assert "(12 against 12 images, 9 p)" in capsys.readouterr().out
