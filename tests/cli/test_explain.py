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


ASKED = {
    "one": (
        "Are 'x' (12 images) nearer to 'a' (12 images) than to 'b' (12 images), compared with 'y' "
        "(12 images)?"
    ),
    "near": "Are 'x' (12 images) nearer to 'a' (12 images) than 'y' (12 images) are?",
    "apart": "Are 'x' (12 images) nearer to 'a' (12 images) than to 'b' (12 images)?",
    "alike": "How alike are 'x' (12 images) to each other?",
    "control": "It is a positive control: a model has to show this effect",
}


@pytest.mark.parametrize("test", ASKED)
def test_every_kind_says_its_sets_and_what_it_cannot_see(
    said: Callable[..., str], test: str
) -> None:
    text = said(SPEC, test)
    assert ASKED[test] in text
    parts = ("What it asks", "What its numbers mean", "What it is judged by", "What it cannot see")
    assert [text.count(part) for part in parts] == [1] * 4
    assert "It is read at the layer 'pooled'." in text
    assert "What came out" not in text


def test_limits_roles_family_and_controls_are_said(said: Callable[..., str]) -> None:
    text = said(SPEC, "one")
    for sentence in (
        "The author says: As in the paper.",
        "It is computed twice, the second time with targets and attributes exchanged",
        (
            "It fails where the effect, whatever its sign, is over 0.5 (max_effect); the growth "
            "of the absolute effect since 'before' is over 0.2 (max_growth), and the corrected "
            "p is at most 0.05."
        ),
        "Gated, so that they can fail: 'after'.",
        "References, measured and reported but never failed: 'before'.",
        "Untrained, to compare with, never failed: 'blank'.",
        (
            "Its p of effect and growth is corrected over 3 p of the spec for each model, with "
            "those of 'near' (Holm's correction)"
        ),
        "It is invalid where a positive control fails that speaks for it: 'control'.",
    ):
        assert sentence in text


def test_the_smallest_detectable_effect_before_data_is_the_largest_after(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    row = report()["one"]
    found = re.search(r"smallest detectable effect is at most about ([\d.]+)", said(SPEC, "one"))
    assert found is not None
    assert 0 < row["detectable"] <= float(found[1]) + 0.005


def test_other_settings_are_said_as_they_are(said: Callable[..., str]) -> None:
    near = said(SPEC, "near")
    assert "It fails where the gap in cosines is over 0.3 (max_gap)" in near
    assert "p is the chance of an effect as large, as positive as this" in near
    assert f"A waiver accepts effect up to 0.9 until {LATER}: The release of May." in near
    assert "No positive control speaks for it" in near
    apart = said(SPEC, "apart")
    assert "and the whole 95% interval lies beyond" in apart
    assert "No p of it counts in the correction of the others." in apart
    assert "It has no limits: it is measured and reported" in said(SPEC, "alike")
    control = said(SPEC, "control")
    assert "It passes where the judged effect is 0.1 or beyond" in control


@pytest.mark.parametrize("test", ["one", "near", "apart", "alike", "control"])
def test_a_result_of_every_kind_is_told_with_the_numbers_of_the_report(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]], test: str
) -> None:
    row = report()[test]
    text = said(SPEC, test, "--report", "run.json").partition("What came out")[2]
    assert text.startswith(" 'after' at 'pooled' ")
    effect = row["effect_judged"]
    assert (f"{effect:.3f}" if test == "alike" else f"{effect:+.2f}") in text
    assert f"interval {row['ci_low']:+.2f} to {row['ci_high']:+.2f})" in text
    if test != "alike":
        assert f"corrected over {row['family_size']} p" in text or row["p_adjusted"] is None
        assert ("'x' go with 'a'" in text) is (test in ("one", "apart"))
    assert ("has grown by" in text) is (row["growth"]["value"] > 0)


def test_the_direction_of_an_effect_is_told_as_it_is(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    write(
        TEXT.replace(
            "targets: {X: x, Y: y}\n    attributes: {A: a, B: b}",
            "targets: {X: y, Y: x}\n    attributes: {A: a, B: b}",
        )
    )
    assert report()["one"]["effect_judged"] < -0.5
    text = said(f"{SPEC}::after::one[pooled]", "--report", "run.json")
    assert "'y' go with 'b' and 'x' with 'a'" in text


def test_a_result_that_is_an_error_says_why(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    Path("specs/after.safetensors").unlink()
    report()
    text = said(f"{SPEC}::after::one", "--report", "run.json")
    assert "'after' at 'pooled' was not measured (" in text
    assert "Not all sets are known: " in text
    assert "How small an effect it can see is not known before all of its sets are there." in text


def test_an_id_as_pytest_shows_it_names_model_test_and_layer(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    report(spec="x.bias.yaml")  # as seen from another root
    text = said(f"{SPEC}::after::one[pooled]", "--report", "run.json")
    assert text.startswith("one (ieat), specs/x.bias.yaml:9 ")
    assert "Gated, so that they can fail: 'after'." in text
    assert "'before'." not in text.partition("What it cannot see")[0].replace("since 'before'", "")


def test_a_spec_alone_says_all_of_its_tests(said: Callable[..., str]) -> None:
    text = said(SPEC)
    assert text.count("What it asks") == 5


def test_lines_wrap_to_the_terminal_and_no_wider(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, most in ((60, 60), (400, 100)):
        monkeypatch.setenv("COLUMNS", str(columns))
        main(["explain", SPEC, "one"])
        lines = capsys.readouterr().out.splitlines()
        assert most - 15 < max(map(len, lines)) <= most


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no.bias.yaml", "one"], "there is no spec no.bias.yaml; correct the path"),
        ([SPEC, "on"], "specs/x.bias.yaml has no test 'on'; did you mean 'one'?"),
        (
            [f"{SPEC}::aftr::one[pooled]"],
            "specs/x.bias.yaml has no model 'aftr'; did you mean 'after'?",
        ),
        (
            [f"{SPEC}::after::one[layer9]"],
            "specs/x.bias.yaml has no test 'one[layer9]'; did you mean 'one'?",
        ),
        (
            [f"{SPEC}::after::one", "one"],
            f"'{SPEC}::after::one' names a test already; leave out 'one'",
        ),
    ],
)
def test_a_wrong_call_is_one_sentence(
    said: Callable[..., str], arguments: list[str], sentence: str
) -> None:
    assert said(*arguments, status=2) == sentence


def test_a_report_without_the_result_is_told(
    said: Callable[..., str], report: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    report("before")
    assert said(f"{SPEC}::after::one", "--report", "run.json", status=2) == (
        f"the report has no result of 'one' in {SPEC}; run it, or name another report"
    )
    assert "cannot be read" in said(SPEC, "one", "--report", "none.json", status=2)


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
    assert "no effect at all can be told from chance, once p is corrected" in text


def test_an_idle_control_is_said_to_be_measured_only(capsys: Output) -> None:
    asked = "control: positive\n    limits: {min_effect: 0.1}"
    Path(SPEC).write_text(TEXT.replace(asked, "control: idle"), encoding="utf-8")
    assert main(["explain", SPEC, "control"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "It is an idle control" in said
    assert "never judged, as no 'min_effect' is asked of it" in said


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
    assert "Of 'after' they are so many at each of its 3 checkpoints: 6 p, corrected" in text
    assert "at most about 1.25" in text
    write(RUN.replace("GATE", "last"))
    text = said(node)
    assert "checkpoints: " not in text
    assert "at most about 1.15" in text
    write(RUN.replace("GATE", "all").replace("run/", "later/"))
    text = said(node)
    assert "none is there yet to be counted" in text
    assert "is not known before its checkpoints are there" in text


@pytest.mark.usefixtures("checkpoints")
def test_limits_are_proposed_for_the_p_of_all_checkpoints(capsys: Output) -> None:
    # Measured is the model before; a network that cannot be made costs no import of torch.
    made = "source: factory, call: 'nowhere:made', transform: {size: 8}"
    write(RUN.replace("GATE", "all").replace("source: timm, name: test_resnet", made))
    main(["suggest", SPEC])
    assert "(12 against 12 images, 9 p)" in capsys.readouterr().out
