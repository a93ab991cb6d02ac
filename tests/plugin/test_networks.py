"""Networks of several runs or of none, and signs of life while they embed."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.numpy
from PIL import Image

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    import numpy as np

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.models.torch_encoder import TorchEncoder
    from pytest_visualbias.spec.model_entries import TimmModel
    from tests.plugin.conftest import Project

UNTRAINED = """
  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}
  untrained: {source: timm, name: test_resnet, random_init: 2}
"""
RUNS = """
  after:
    source: timm
    name: test_resnet
    checkpoint: [../before.safetensors, ../after.safetensors]
"""


def is_drawn(image: np.ndarray) -> bool:
    """Whether a prepared image is a drawn one: neither noise nor blank."""
    return bool((image[:, 0, 0] == image[:, 1, 1]).all() and image.std((1, 2)).any())


def test_a_random_control_never_fails_by_a_limit_nor_by_a_control(networks: Project) -> None:
    tests = (
        one_test("one", "{max_effect: 0}"),
        one_test("control", "{min_effect: 1.8}", control="positive"),
    )
    result = networks.judge_images(*tests, models=UNTRAINED, options=["-k", "untrained"])
    result.assert_outcomes(passed=2, deselected=2)
    for test in ("one", "control"):
        row = networks.row(test, "untrained")
        assert (row["role"], row["outcome"]) == ("random", "pass")
    row = networks.row("one", "untrained")
    assert row["trials"]["labels"] == ["seed 0", "seed 1"]
    # Random weights map all images close together, so near-duplicates mean nothing there.
    assert not any("near-duplicates" in one for one in row["warnings"])


def test_the_effect_of_several_runs_is_the_mean_of_theirs(networks: Project) -> None:
    networks.judge_images(one_test("one", "{max_effect: 1.8}"), models=RUNS)
    row = networks.row()
    assert row["trials"]["labels"] == ["before.safetensors", "after.safetensors"]
    assert row["effect_size"] == pytest.approx(statistics.mean(row["trials"]["effect_size"]))
    (model,) = networks.report()["models"]
    assert [one["label"] for one in model["trials"]] == row["trials"]["labels"]
    assert len({one["checkpoint"] for one in model["trials"]}) == 2
    # Squares on one ground are much alike to an untrained network, and that is named.
    assert [one for one in row["warnings"] if "near-duplicates" not in one] == []


def test_one_network_in_two_files_is_no_second_trial(
    networks: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gate warns whatever bytes it lies in, `check` where the files are the same."""
    weights = safetensors.numpy.load_file(networks.path / "after.safetensors")
    other = networks.path / "other.safetensors"
    safetensors.numpy.save_file(weights, other, metadata={"epoch": "9"})
    shutil.copy(other, networks.path / "same.safetensors")
    runs = RUNS.replace("after.safetensors]", "after.safetensors, ../other.safetensors, SAME]")
    place = "bias_specs/x.bias.yaml:3:3: models.after: "
    files = "after.safetensors and other.safetensors and same.safetensors"
    networks.judge_images(one_test("one", "{}"), models=runs.replace("SAME", "../same.safetensors"))
    warnings = networks.row()["warnings"]
    (warning,) = [one for one in warnings if "near-duplicates" not in one]
    assert warning.startswith(f"{place}{files} ")
    assert "3 times" in warning
    capsys.readouterr()
    assert main(["check", "bias_specs/x.bias.yaml"]) == 0
    shown = capsys.readouterr().out
    assert f"warning: {place}other.safetensors and same.safetensors " in shown


def test_long_work_gives_signs_of_life_in_plain_lines(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "images embedded" not in sentences(networks.gate("--visualbias-no-cache"))
    monkeypatch.setattr("pytest_visualbias.plugin.reporting.FIRST_AFTER", 0.0)
    monkeypatch.setattr("pytest_visualbias.plugin.reporting.EVERY", 0.0)
    result = networks.gate("--visualbias-batch-size=8")
    lines = [line for line in result.outlines if "images embedded" in line]
    shown = [f"{model}: {n} of 20" for model in ("before", "after") for n in (8, 16, 20)]
    assert [one in line for one, line in zip(shown, lines, strict=True)] == [True] * 6


def test_the_batch_size_moves_no_verdict(networks: Project) -> None:
    effects = []
    for size in (1, 7, 64):
        networks.gate("--visualbias-no-cache", f"--visualbias-batch-size={size}")
        effects.append(networks.row()["effect_size"])
    assert effects == pytest.approx([effects[0]] * 3, abs=1e-5)


def test_an_image_whose_name_is_not_text_is_measured_all_the_same(networks: Project) -> None:
    image = networks.path / "stimuli/x/0.png"
    image.rename(image.with_name(os.fsdecode(b"\xff.png")))
    assert networks.gate().ret == 0
    stimuli = networks.row()["sets"]["X"]
    assert "x/\\xff.png" in stimuli["names"]
    assert stimuli["folder"] == "stimuli"


def test_a_report_says_where_its_images_are(
    networks: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Relative to the project inside it, so that another checkout finds them; else absolute."""
    networks.gate()
    assert {one["folder"] for one in networks.row()["sets"].values()} == {"stimuli"}
    outside = tmp_path_factory.mktemp("outside") / "images"
    shutil.copytree(networks.path / "stimuli", outside)
    networks.gate(f"--visualbias-stimuli={outside}")
    stimuli = networks.row()["sets"]["A"]
    assert stimuli["folder"] == outside.as_posix()
    assert all((outside / name).is_file() for name in stimuli["names"])


class TestSeveralSpecs:
    """A network that several specs mean sees every image once, and is built once for its layers."""

    SECOND = """visualbias: 1
models:
  gated: {{source: timm, name: test_resnet, checkpoint: ../after.safetensors}}
stimuli: ../stimuli
layers: [{layer}]
concepts: {{x: x, y: y, a: a, more: more}}
tests:
  - name: two
    kind: ieat
    targets: {{X: x, Y: more}}
    attributes: {{A: a, B: y}}
    limits: {{max_effect: 1.89}}
"""

    @pytest.fixture
    def seen(self) -> Counter[str]:
        """Count the drawn images that passed through the network of each checkpoint."""
        return Counter()

    @pytest.fixture
    def loaded(self, seen: Counter[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the checkpoints that were opened."""
        from pytest_visualbias.models import timm as source

        opened: list[str] = []
        original = source.open_timm

        def noted(entry: TimmModel, identity: Identity, context: Context) -> TorchEncoder:
            opened.append(identity.label)
            encoder = original(entry, identity, context)
            encode = encoder.encode

            def counted(inputs: Any, layers: Any) -> Any:  # noqa: ANN401
                seen[identity.label] += sum(map(is_drawn, inputs))
                return encode(inputs, layers)

            monkeypatch.setattr(encoder, "encode", counted)
            return encoder

        monkeypatch.setattr(source, "open_timm", noted)
        return opened

    def add(self, project: Project, layer: str = "layer1") -> None:
        project.images("more", ground=(10, 200, 10))
        path = project.path / "bias_specs" / "y.bias.yaml"
        path.write_text(self.SECOND.format(layer=layer), encoding="utf-8")

    @pytest.mark.parametrize(("layer", "built"), [("layer1", 2), ("pooled", 1)])
    def test_share_one_pass(
        self, networks: Project, loaded: list[str], seen: Counter[str], layer: str, built: int
    ) -> None:
        """Before the first image, what each spec reads of `after` is tried, once for a layer."""
        self.add(networks, layer=layer)
        networks.gate()
        assert len(networks.outcomes()) == 3
        assert seen == {"before.safetensors": 20, "after.safetensors": 25}
        assert Counter(loaded) == {"before.safetensors": 1, "after.safetensors": built + 1}

    def test_give_the_numbers_that_each_gives_alone(
        self, networks: Project, loaded: list[str], seen: Counter[str]
    ) -> None:
        self.add(networks)
        networks.gate()
        together = networks.report()["results"]
        alone = []
        for spec in ("x", "y"):
            networks.gate("--visualbias-no-cache", f"bias_specs/{spec}.bias.yaml")
            alone += networks.report()["results"]
        for one, other in zip(together, alone, strict=True):
            assert one["nodeid"] == other["nodeid"]
            assert one["effect_size"] == pytest.approx(other["effect_size"], abs=1e-4)
            assert one["p_value"] == other["p_value"]
        assert seen == {"before.safetensors": 2 * 20, "after.safetensors": 25 + 20 + 20}
        assert len(loaded) == (1 + 3) + (1 + 2) + 1

    def test_do_not_suffer_from_each_others_mistakes(
        self, networks: Project, loaded: list[str]
    ) -> None:
        self.add(networks, layer="no_such_layer")
        result = networks.gate()
        result.assert_outcomes(passed=2, errors=1)
        assert "'no_such_layer'" in sentences(result)

    def test_that_are_deselected_are_not_embedded(
        self, networks: Project, loaded: list[str]
    ) -> None:
        self.add(networks)
        networks.gate("-k", "two")
        assert loaded == ["after.safetensors"]
        networks.gate("-k", "after and one")
        assert loaded == ["after.safetensors", "after.safetensors", "before.safetensors"]


def test_one_more_image_costs_one_image(networks: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.gate()
    monkeypatch.setattr("pytest_visualbias.plugin.reporting.FIRST_AFTER", 0.0)
    monkeypatch.setattr("pytest_visualbias.plugin.reporting.EVERY", 0.0)
    Image.new("RGB", (40, 40), (1, 2, 3)).save(networks.path / "stimuli" / "x" / "new.png")
    lines = [line for line in networks.gate().outlines if "images embedded" in line]
    assert ["1 of 1 images" in line for line in lines] == [True, True]


def test_maps_too_large_to_be_kept_are_compared_all_the_same(networks: Project) -> None:
    """The first convolution gives 16 x 80 x 80 values; by blocks, and from the cache afterwards."""
    spec = (networks.path / "bias_specs" / "x.bias.yaml").read_text(encoding="utf-8")
    path = networks.path / "bias_specs" / "x.bias.yaml"
    path.write_text(spec + "layers: ['conv1.0:flatten']\n", encoding="utf-8")
    networks.gate()
    first = networks.report()["results"]
    assert all(row["effect_size"] is not None for row in first), first
    kept = [*(networks.path / ".pytest_cache" / "d" / "visualbias").rglob("*.safetensors")]
    assert kept
    assert max(path.stat().st_size for path in kept) < 100_000
    networks.gate("--visualbias-offline")
    assert networks.report()["results"] == first


def test_a_cache_over_its_limit_loses_the_least_recently_used(networks: Project) -> None:
    cache = networks.path / "cache"
    networks.gate(f"--visualbias-cache={cache}")
    assert [*cache.rglob("*.safetensors")]
    (networks.path / "pytest.ini").write_text("[pytest]\nvisualbias_cache_limit = 1kB\n")
    networks.gate(f"--visualbias-cache={cache}").assert_outcomes(passed=2)
    assert [*cache.rglob("*.safetensors")] == []


class TestChangedDuringTheRun:
    """What was digested and what is read must be the same, or the cache is wrong for good."""

    def test_a_checkpoint_is_refused_and_nothing_of_it_kept(
        self, networks: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pytest_visualbias.models import timm as source

        original = source.open_timm
        path = networks.path / "after.safetensors"
        content = path.read_bytes()

        def late(entry: TimmModel, identity: Identity, context: Context) -> TorchEncoder:
            path.write_bytes((networks.path / "before.safetensors").read_bytes())
            return original(entry, identity, context)

        with monkeypatch.context() as patched:
            patched.setattr(source, "open_timm", late)
            result = networks.gate("-k", "after")
        assert networks.row()["outcome"] == "error"
        assert "after.safetensors" in sentences(result)
        path.write_bytes(content)
        networks.gate()
        expected = networks.row()["effect_size"]
        networks.gate("--visualbias-no-cache")
        assert networks.row()["effect_size"] == pytest.approx(expected, abs=1e-9)

    def test_a_network_that_cannot_be_loaded_is_one_sentence(
        self, networks: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pytest_visualbias.models import timm as source

        def fail(*_: object) -> None:
            raise RuntimeError("CUDA error: out of memory\nmore")

        monkeypatch.setattr(source, "open_timm", fail)
        networks.refuses(1, "'after.safetensors'", "(CUDA error: out of memory)")


def test_the_preprocessing_of_a_folder_that_holds_its_own_is_part_of_the_key(
    networks: Project,
) -> None:
    """`local-dir:` and `hf-hub:` name a file that may change below the same name."""
    folder = networks.path / "model"
    folder.mkdir()
    shutil.copy(networks.path / "after.safetensors", folder / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 1000}
    found = []
    for mean in (0.5, 0.1):
        config["pretrained_cfg"] = {
            "input_size": [3, 160, 160],
            "mean": [mean] * 3,
            "std": [0.5] * 3,
        }
        (folder / "config.json").write_text(json.dumps(config))
        models = f"\n  after: {{source: timm, name: 'local-dir:{folder}'}}\n"
        networks.judge_images(one_test("one", "{max_effect: 1.8}"), models=models)
        found.append(networks.row()["gap"])
        networks.gate("--visualbias-no-cache")
        assert networks.row()["gap"] == pytest.approx(found[-1], abs=1e-6)
    assert found[0] != pytest.approx(found[1], abs=1e-5)
