"""The console script: about specs and models, without pytest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
import safetensors.numpy
import yaml
from PIL import Image

import pytest_visualbias
from pytest_visualbias.cli.main import main
from pytest_visualbias.stimuli import digest_cache
from tests.plugin.conftest import LATER

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = """visualbias: 1
models:
  before: {{source: embeddings, path: before.safetensors}}
  after: {{source: timm, name: test_resnet, checkpoint: after.safetensors}}
  untrained: {{source: timm, name: test_resnet, pretrained: false}}
stimuli: stimuli
concepts: {{x: x, y: y, a: a, b: b}}
{head}
tests:
  - name: one
    kind: ieat
    targets: {{X: x, Y: y}}
    attributes: {{A: a, B: b}}
    limits: {{max_growth: 0.2}}
"""
PREDICTING = """visualbias: 1
{classes}
models:
  before: {{source: embeddings, path: before.safetensors}}
  after:
    source: timm
    name: test_resnet
    checkpoint: after.safetensors
    arguments: {{num_classes: 3}}
  other:
    source: torchvision
    name: resnet18
    checkpoint: other.safetensors
    arguments: {{num_classes: 3}}
stimuli: stimuli
concepts: {{x: x, y: y}}
tests:
  - name: one
    kind: outcome-gap
    targets: {{X: x, Y: y}}
    prediction: {{class: {asked}, rate: share}}
    limits: {{max_gap: 0.9}}
"""
N = 6


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound spec with its images and checkpoint, which is there but never loaded."""
    random = np.random.default_rng(0)
    sets = {name: random.normal(size=(N, 4)).astype(np.float32) for name in "xyab"}
    safetensors.numpy.save_file(sets, tmp_path / "before.safetensors")
    for name in "xyab":
        folder = tmp_path / "stimuli" / name
        folder.mkdir(parents=True)
        for index in range(N):
            colour = (index, ord(name), 0)
            Image.new("RGB", (4, 4), colour).save(folder / f"{index}.png")
    safetensors.numpy.save_file({"w": np.zeros(3)}, tmp_path / "after.safetensors")
    path = tmp_path / "x.bias.yaml"
    path.write_text(SPEC.format(head=""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUALBIAS_CACHE", raising=False)
    return path


Output = pytest.CaptureFixture[str]


def test_check_counts_tests_models_and_images_of_a_sound_spec(spec: Path, capsys: Output) -> None:
    assert main(["check", "x.bias.yaml"]) == 0
    counts, images, *_ = capsys.readouterr().out.splitlines()
    assert counts.startswith("x.bias.yaml: ")
    assert re.findall(r"\d+", counts) == ["1", "3"]
    assert re.findall(r"(\w) (\d+)", images) == [(name, "6") for name in "xyab"]


def remove(path: str) -> None:
    Path(path).unlink()


def cut_checkpoint() -> None:
    path = Path("after.safetensors")
    path.write_bytes(path.read_bytes()[:-3])


FAULTS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "damaged checkpoint": (cut_checkpoint, {"x.bias.yaml:4:3: models.after: "}),
    "missing checkpoint": (lambda: remove("after.safetensors"), {"x.bias.yaml:4:3: models.after"}),
    "missing folder": (
        lambda: Path("stimuli/x").rename("stimuli/z"),
        {"x.bias.yaml:7:12: concepts.x: "},
    ),
    "no image": (lambda: Path("stimuli/x/3.png").write_text("no picture"), {"3.png"}),
    "two unknown keys": (
        lambda: Path("x.bias.yaml").write_text(
            SPEC.format(head="titel: x").replace("max_growth", "max_grow")
        ),
        {"x.bias.yaml:8:1: titel: ", "x.bias.yaml:14:14: tests[0].limits.max_grow: "},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_the_place_of_every_fault(spec: Path, capsys: Output, fault: str) -> None:
    cause, places = FAULTS[fault]
    cause()
    assert main(["check", "x.bias.yaml"]) == 1
    output = capsys.readouterr().out
    assert all(place in output for place in places)


def test_check_takes_a_recorded_baseline_for_a_model_before(spec: Path, capsys: Output) -> None:
    spec.write_text(SPEC.format(head="").replace("  before:", "  other:"))
    assert main(["check", "x.bias.yaml"]) == 1
    assert "limits.max_growth: " in capsys.readouterr().out
    (spec.parent / "__visualbias__").mkdir()
    (spec.parent / "__visualbias__/x.json").write_text('{"visualbias_baseline": 1, "entries": {}}')
    assert main(["check", "x.bias.yaml"]) == 1
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    options = {"after": "after", "other": "model=other"}
    for line, (model, option) in zip((first, second), options.items(), strict=True):
        assert line.startswith("x.bias.yaml:10:5: tests[0]: ")
        assert f"'{model}::one[pooled]'" in line
        assert f"--visualbias-{option}=CHECKPOINT --visualbias-update" in line


def test_check_of_several_goes_on_after_a_faulty_one(spec: Path, capsys: Output) -> None:
    (spec.parent / "bad.bias.yaml").write_text("visualbias: 2\n")
    assert main(["check", "bad.bias.yaml", "gone.bias.yaml", "x.bias.yaml"]) == 1
    out = capsys.readouterr().out
    assert "bad.bias.yaml:1:" in out
    assert "gone.bias.yaml:1:1: " in out
    assert "\nx.bias.yaml: ok " in out


def test_check_prints_warnings_and_passes(spec: Path, capsys: Output) -> None:
    folder = spec.parent / "stimuli" / "x"
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    assert main(["check", "x.bias.yaml"]) == 0
    assert "warning: x.bias.yaml:7:12: concepts.x: " in capsys.readouterr().out


def test_check_takes_the_root_of_stimuli(spec: Path, capsys: Output) -> None:
    (spec.parent / "stimuli").rename(spec.parent / "moved")
    assert main(["check", "x.bias.yaml"]) == 1
    assert main(["check", "--stimuli", "moved", "x.bias.yaml"]) == 0


def test_check_says_that_a_waiver_is_past_its_day(spec: Path, capsys: Output) -> None:
    """The gate fails for it whatever the model shows; on its last day it still holds."""
    accept = "\n    accept: {max_effect: 0.6, reason: known, until: %s}"
    limits = "limits: {max_effect: 0.5}"
    text = spec.read_text().replace("limits: {max_growth: 0.2}", limits)
    for until, code in (("2020-02-29", 1), (LATER, 0)):
        spec.write_text(text.replace(limits, limits + accept % until))
        assert main(["check", str(spec)]) == code
        out = capsys.readouterr().out
        assert ("accept.until: " in out) == code


@pytest.mark.parametrize(
    ("asked", "classes", "place"),
    [
        ("7", "", "prediction.class: "),
        ("2", "", ""),
        ("k", "", "prediction.class: "),
        ("k", "classes: [k, l]", "models.after.arguments.num_classes: "),
        ("k", "classes: [k, l, m, n]", "models.other.arguments.num_classes: "),
        ("k", "classes: [k, l, m]", ""),
    ],
)
def test_check_says_that_a_classifier_has_no_such_class(
    spec: Path, capsys: Output, asked: str, classes: str, place: str
) -> None:
    """Where the entry says how many classes there are, and nothing what they are called."""
    safetensors.numpy.save_file({"v": np.ones(3)}, spec.parent / "other.safetensors")
    spec.write_text(PREDICTING.format(asked=asked, classes=classes))
    assert main(["check", str(spec)]) == (1 if place else 0)
    assert place in capsys.readouterr().out


def test_check_says_that_a_name_will_not_be_collected(spec: Path, capsys: Output) -> None:
    spec.rename(spec.parent / "x.yaml")
    assert main(["check", "x.yaml"]) == 1
    assert "*.bias.yaml" in capsys.readouterr().out


def test_check_strict_makes_a_hidden_test_a_fault(spec: Path, capsys: Output) -> None:
    spec.write_text(SPEC.format(head="settings: {alpha: 0.003}").replace("max_growth: 0.2", BOTH))
    for strict, code in (([], 0), (["--strict"], 1)):
        assert main(["check", *strict, "x.bias.yaml"]) == code
        assert re.search("1 of 2 .+'after'", capsys.readouterr().out)


BOTH = "max_effect: 0.5, max_growth: 0.2"


def test_check_remembers_digests_in_the_cache_that_is_named(
    spec: Path, capsys: Output, hashed: list[str]
) -> None:
    assert main(["check", "--cache=cache", "x.bias.yaml"]) == 0
    assert len(hashed) == 4 * N + 1, "every image, and the checkpoint"
    assert "after.safetensors" in hashed
    hashed.clear()
    assert main(["check", "--cache=cache", "x.bias.yaml", "x.bias.yaml"]) == 0
    assert hashed == []
    assert main(["check", "--cache=cache", "--rehash", "x.bias.yaml"]) == 0
    assert len(hashed) == 4 * N + 1


def test_check_shares_pytests_cache_but_never_makes_one(
    spec: Path, capsys: Output, hashed: list[str]
) -> None:
    """Pytest writes what keeps its cache out of git only where it makes the folder itself."""
    cache = spec.parent / ".pytest_cache"
    assert main(["check", "x.bias.yaml"]) == 0
    assert not cache.exists()
    cache.mkdir()
    assert main(["check", "x.bias.yaml"]) == 0
    assert (cache / "d/visualbias" / digest_cache.DIGESTS_FILE).is_file()
    hashed.clear()
    assert main(["check", "x.bias.yaml"]) == 0
    assert hashed == []


def test_without_a_command_the_help_is_shown_as_for_a_wrong_call(capsys: Output) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: visualbias")
    assert "visualbias check bias_specs/gender.bias.yaml" in said.err


@pytest.mark.torch
def test_layers_names_where_a_network_can_be_read(spec: Path, capsys: Output) -> None:
    assert main(["layers", "x.bias.yaml", "untrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pooled"
    assert "layer3" in lines


def test_layers_of_stored_vectors_are_those_of_the_prefix(spec: Path, capsys: Output) -> None:
    assert main(["layers", "x.bias.yaml", "before"]) == 0
    assert "stored vectors have no layers" in capsys.readouterr().out


def test_layers_of_an_unknown_model_names_the_known_ones(spec: Path, capsys: Output) -> None:
    assert main(["layers", "x.bias.yaml", "aftr"]) == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ("x.bias.yaml", "before", "after", "untrained"))


@pytest.mark.torch
def test_layers_of_a_model_that_cannot_be_made_names_it(spec: Path, capsys: Output) -> None:
    spec.write_text(SPEC.format(head="").replace("name: test_resnet", "name: tst_resnet"))
    assert main(["layers", "x.bias.yaml", "untrained"]) == 1
    assert "'tst_resnet'" in capsys.readouterr().err


def schema_of(capsys: Output, *arguments: str) -> dict[str, Any]:
    assert main(["schema", *arguments]) == 0
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def shipped() -> list[Path]:
    return sorted((Path(__file__).parents[2] / "bias_specs").glob("*.bias.yaml"))


def test_the_schema_of_specs_accepts_a_sound_spec(spec: Path, capsys: Output) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(capsys))
    validator.validate(yaml.safe_load(spec.read_text()))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_the_schema_of_specs_accepts_what_is_shipped(path: Path, capsys: Output) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(capsys))
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert main(["check", str(path)]) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("visualbias: 1", "visualbias: 2"),
        ("kind: ieat", "kind: ieet"),
        ("stimuli: stimuli", "stimulus: stimuli"),
        ("max_growth: 0.2", "max_grow: 0.2"),
        ("max_growth: 0.2", "max_growth: small"),
    ],
)
def test_the_schema_of_specs_rejects_what_we_reject(
    spec: Path, capsys: Output, old: str, new: str
) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(capsys))
    data = yaml.safe_load(spec.read_text().replace(old, new))
    assert not validator.is_valid(data)


def test_the_version_is_that_of_the_package(capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"pytest-visualbias {pytest_visualbias.__version__}\n"


def test_a_wrong_call_is_2_and_help_shows_how(capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        main(["chek"])
    assert left.value.code == 2
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "visualbias check bias_specs/gender.bias.yaml" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """As ``visualbias schema | head -1``: nothing on stderr, even from the last flush."""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest_visualbias", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")


def test_a_command_that_is_stopped_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stopped(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_visualbias.cli.main._schema", stopped)
    assert main(["schema"]) == 130
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("stopped; ")


def test_figures_at_a_url_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", "run.json", "--plots", "s3://bucket/plots"])
    assert ended.value.code == 2
    assert "figures go to a folder of this machine" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
