"""Every source of networks from a spec to a verdict, on the command line and in the report."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.plugin.conftest import SETS, one_test, sentences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

pytestmark = pytest.mark.torch

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
CLIP = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1},
}
VISION = "{source: torchvision, name: shufflenet_v2_x0_5"
ENTRIES = {
    "torchvision": (
        f"{VISION}, checkpoint: ../before.pth}}",
        f"{VISION}, checkpoint: ../after.pth}}",
    ),
    "open_clip": (
        '{source: open_clip, name: "local-dir:../clip"}',
        '{source: open_clip, name: "local-dir:../clip", checkpoint: ../tuned.safetensors}',
    ),
    "transformers": (
        "{source: transformers, path: ../vit}",
        "{source: transformers, path: ../vit, checkpoint: ../tuned}",
    ),
    "torchscript": tuple(
        f"{{source: torchscript, path: ../{name}.ts, transform: {{size: 16}}}}"
        for name in ("before", "after")
    ),
    "export": tuple(
        f"{{source: export, path: ../{name}.pt2, transform: {{size: 16}}}}"
        for name in ("before", "after")
    ),
    "onnx": tuple(
        f"{{source: onnx, path: ../{name}.onnx, transform: {{size: 16}}}}"
        for name in ("before", "after")
    ),
}


NAMES = ("features", "whole")
NETS = """
from torch import nn

def features():
    body = nn.Conv2d(3, 8, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*body)

def whole():
    return nn.Sequential(*features(), nn.Linear(8, 6))
"""


@pytest.fixture(scope="session")
def families(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of tiny untrained networks of every source; their libraries are loaded.

    Of the session, and so set up before any pytester, which forgets what is imported after it.
    """
    for package in ("torchvision", "open_clip", "transformers", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="an extra")
    import pytest_visualbias.models.compiled
    import pytest_visualbias.models.onnx
    import pytest_visualbias.models.open_clip
    import pytest_visualbias.models.torchvision
    import pytest_visualbias.models.transformers  # noqa: F401 - see above

    folder = tmp_path_factory.mktemp("families")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _save_libraries(folder)
        _save_programs(folder)
    return folder


def _save_libraries(folder: Path) -> None:
    import open_clip
    import safetensors.torch
    import torch
    import torchvision
    import transformers

    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        model = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None)
        torch.save(model.state_dict(), folder / f"{name}.pth")
        clip = open_clip.CLIP(**json.loads(json.dumps(CLIP)))
        place = "clip/open_clip_model.safetensors" if name == "before" else "tuned.safetensors"
        (folder / "clip").mkdir(exist_ok=True)
        safetensors.torch.save_file(clip.state_dict(), folder / place)
        vit = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY))
        place = "vit" if name == "before" else "tuned"
        vit.save_pretrained(folder / place)
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(
            folder / place
        )
    config = {"model_cfg": CLIP, "preprocess_cfg": {"size": 32}}
    (folder / "clip/open_clip_config.json").write_text(json.dumps(config))


def _save_programs(folder: Path) -> None:
    import torch

    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            *(torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)),
            *(torch.nn.Flatten(), torch.nn.Linear(8, 6)),
        ).eval()
        batch = torch.rand(1, 3, 16, 16)
        torch.jit.save(torch.jit.trace(net, batch), folder / f"{name}.ts")
        torch.export.save(torch.export.export(net, (batch,)), folder / f"{name}.pt2")
        torch.onnx.export(
            net, (batch,), folder / f"{name}.onnx", dynamo=True, verbose=False, external_data=False
        )


@pytest.fixture
def gallery(families: Path, project: Project) -> Project:
    """A project with the networks of every source and drawn images."""
    shutil.copytree(families, project.path, dirs_exist_ok=True)
    project.drawn()
    return project


def respecify(project: Project, before: str, after: str, head: str = "") -> None:
    project.spec(
        one_test("one", "{max_growth: 1.8}"),
        head=f"stimuli: ../stimuli\n{head}",
        models=f"\n  before: {before}\n  after: {after}\n",
        concepts=SETS,
    )


@pytest.mark.parametrize("source", ENTRIES)
def test_a_source_is_gated_from_spec_to_report(
    gallery: Project, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Growth is measured, the second run embeds nothing, and its digests are in the report."""
    respecify(gallery, *ENTRIES[source])
    result = gallery.gate()
    text = sentences(result)
    assert result.ret == 0, text
    row = gallery.row()
    assert row["outcome"] == "pass"
    assert row["growth"]["from"] == "before"
    assert row["effect_judged"] != gallery.row(model="before")["effect_judged"]
    models = gallery.report()["models"]
    assert {one["source"] for one in models} == {source}
    assert len({one["trials"][0]["fingerprint"] for one in models}) == 2
    monkeypatch.setattr("pytest_visualbias.models.encoder._Shipped.open", None)
    assert gallery.gate().ret == 0, "the cache has it all, and nothing is loaded again"
    assert gallery.row()["scores"] == row["scores"]


@pytest.mark.parametrize("way", ["dynamic", "QDQ", "QOperator"])
def test_quantised_weights_are_gated_against_their_parent(gallery: Project, way: str) -> None:
    """At the features of both, whatever nodes the final linear layer is quantised to."""
    import onnx
    from onnxruntime import quantization

    class Noise(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            random = np.random.default_rng(0)
            images = random.normal(size=(4, 1, 3, 16, 16)).astype(np.float32)
            self._inputs = iter([{name: image} for image in images])

        def get_next(self) -> Any:  # noqa: ANN401
            return next(self._inputs, None)

    small = gallery.path / "int8.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parent = onnx.load(gallery.path / "before.onnx")
        del parent.graph.value_info[:]  # the exporter's shapes are of weights turned round
        if way == "dynamic":
            quint8 = quantization.QuantType.QUInt8
            quantization.quantize_dynamic(parent, small, weight_type=quint8)
        else:
            quantization.quantize_static(
                parent,
                small,
                Noise(parent.graph.input[0].name),
                quant_format=quantization.QuantFormat[way],
            )
    entry = "{source: onnx, path: ../int8.onnx, transform: {size: 16}}"
    respecify(gallery, ENTRIES["onnx"][0], entry)
    result = gallery.gate()
    assert result.ret == 0, sentences(result)
    row = gallery.row()
    assert row["read_out"] == gallery.row(model="before")["read_out"]
    assert (row["read_out"]["side"], row["read_out"]["length"]) == ("input", 8)
    assert 0 < abs(row["growth"]["value"]) < 0.5
    assert [one["precision"] for one in gallery.report()["models"]] == ["program", "program"]


def test_nobody_has_to_say_that_a_program_differs_in_precision_and_anybody_may(
    gallery: Project,
) -> None:
    """What it computes in shows from nowhere: neither a failure nor an idle declaration."""
    for head in ("", "settings: {differs: [precision]}\n"):
        respecify(gallery, ENTRIES["export"][0], ENTRIES["onnx"][1], head=head)
        result = gallery.gate()
        assert result.ret == 0, sentences(result)
        assert gallery.row()["growth"]["from"] == "before"
        assert gallery.row()["warnings"] == []


def test_a_program_that_gives_logits_is_compared_where_both_are_read_at_one_place(
    gallery: Project,
) -> None:
    """Its features are what its final linear layer is given, as those of a classifier."""
    gallery.path.joinpath("nets.py").write_text(NETS)
    nets = [f"{{source: factory, call: nets:{name}, transform: {{size: 16}}}}" for name in NAMES]
    program = ENTRIES["torchscript"][0]
    for before, after, layer, difference in (
        (nets[0], program, "pooled", "read_out"),
        (nets[0], program, "logits", "dimension"),
        (nets[0], program, "output", "dimension"),
        (nets[0], nets[1], "pooled", "read_out"),
        (nets[1], program, "pooled", ""),
        (nets[1], program, "logits", ""),
        (nets[1], program, "output", ""),
    ):
        respecify(gallery, before, after, head=f"layers: [{layer}]")
        gallery.gate()
        row = gallery.row()
        assert (row["outcome"], row["growth"] is None) == (
            ("fail", True) if difference else ("pass", False)
        )
        assert row["read_out"]["length"] == (8 if layer == "pooled" else 6)
        for reason in row["reasons"]:
            assert reason.startswith("not_comparable: ")
            assert f"differs: [{difference}]" in reason
    for declared, is_compared in (("read_out", True), ("dimension", False)):
        respecify(gallery, nets[0], program, head=f"settings: {{differs: [{declared}]}}")
        gallery.gate()
        row = gallery.row()
        assert (row["growth"] is not None, row["warnings"] == []) == (is_compared, is_compared)


def test_a_record_from_before_programs_had_a_precision_is_compared(gallery: Project) -> None:
    respecify(gallery, *ENTRIES["onnx"])
    gallery.gate()
    old = (
        (gallery.path / "out.json")
        .read_text()
        .replace('"precision": "program"', '"precision": "fp32"')
    )
    (gallery.path / "old.json").write_text(old)
    assert gallery.gate("--visualbias-baseline=old.json").ret == 0
    assert gallery.row()["growth"]["from"] == "baseline"


def test_a_precision_of_a_program_is_refused(gallery: Project) -> None:
    before, after = ENTRIES["onnx"]
    respecify(gallery, before, after.replace("source", "precision: fp32, source"))
    gallery.refuses(2, "models.after.precision: ")


def test_a_class_has_the_name_that_a_model_gives_to_it(
    gallery: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its logits come from the cache, and whatever its place before and after."""
    for folder, names in (("vit", ["doctor", "nurse"]), ("tuned", ["nurse", "doctor"])):
        path = gallery.path / folder / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "id2label": dict(enumerate(names))}))
    test = "- name: one\n    kind: outcome-gap\n    targets: {X: x, Y: y}\n"
    test += "    prediction: {class: nurse, rate: score}\n    limits: {max_growth: 0.9}"
    models = "\n  before: {source: transformers, path: ../vit}"
    models += "\n  after: {source: transformers, path: ../tuned}\n"
    gallery.spec(test, head="stimuli: ../stimuli", models=models, concepts="{x: x, y: y}")
    for _ in range(2):
        result = gallery.gate()
        assert result.ret == 0, sentences(result)
        rows = gallery.report()["results"]
        assert [one["prediction"]["class"] for one in rows] == [1, 0]
        assert {one["prediction"]["name"] for one in rows} == {"nurse"}
        monkeypatch.setattr("pytest_visualbias.models.encoder._Shipped.open", None)


@pytest.mark.parametrize("source", ENTRIES)
def test_a_wrong_file_is_an_error_in_one_sentence(gallery: Project, source: str) -> None:
    respecify(gallery, *ENTRIES[source])
    places = {
        "torchvision": "after.pth",
        "open_clip": "tuned.safetensors",
        "transformers": "tuned/model.safetensors",
        "torchscript": "after.ts",
        "export": "after.pt2",
        "onnx": "after.onnx",
    }
    path = gallery.path / places[source]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = gallery.gate("-k", "after")
    text = sentences(result)
    assert result.ret == 1, text
    result.assert_outcomes(errors=1, deselected=1)
    assert gallery.row()["outcome"] == "error"
    (reason,) = gallery.row()["reasons"]
    assert path.name in reason or path.parent.name in reason


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("torchscript:after.ts", {"source": "torchscript"}),
        ("export:after.pt2", {"source": "export"}),
        ("onnx:after.onnx", {"source": "onnx"}),
        ("after.ts", {"source": "torchscript"}),
    ],
)
def test_a_reference_on_the_command_line_takes_the_place_of_a_program(
    gallery: Project, reference: str, expected: dict[str, str]
) -> None:
    """What the spec says of images holds for the program put in its place, too."""
    respecify(gallery, *[ENTRIES["torchscript"][0]] * 2)
    result = gallery.gate(f"--visualbias-after={reference}")
    assert result.ret == 0, sentences(result)
    (model,) = (one for one in gallery.report()["models"] if one["model"] == "after")
    assert model["source"] == expected["source"]
    assert model["trials"][0]["label"] == reference.rpartition(":")[2]


def test_a_folder_on_the_command_line_takes_the_place_of_a_folder(gallery: Project) -> None:
    respecify(gallery, *[ENTRIES["transformers"][0]] * 2)
    for reference in ("tuned", "transformers:./tuned"):
        result = gallery.gate(f"--visualbias-after={reference}")
        assert result.ret == 0, sentences(result)
        (model,) = (one for one in gallery.report()["models"] if one["model"] == "after")
        assert model["trials"][0]["label"] == "tuned"


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    gallery: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import sys

    original = builtins.__import__

    def without(name: str, *rest: Any, **keys: Any) -> Any:  # noqa: ANN401
        if name.partition(".")[0] == "open_clip":
            raise ModuleNotFoundError(f"No module named '{name}'", name="open_clip")
        return original(name, *rest, **keys)

    monkeypatch.delitem(sys.modules, "pytest_visualbias.models.open_clip")
    monkeypatch.setattr(builtins, "__import__", without)
    respecify(gallery, *ENTRIES["open_clip"])
    command = "pip install 'pytest-visualbias[open-clip]'"
    gallery.refuses(1, "'open_clip'", command, options=["-k", "after"])


def test_stored_vectors_and_a_program_are_told_apart_by_their_images(gallery: Project) -> None:
    """The images of stored vectors are others than those of files, whatever their lengths."""
    gallery.store("stored")
    respecify(
        gallery, "{source: embeddings, path: ../stored.safetensors}", ENTRIES["torchscript"][0]
    )
    assert gallery.gate().ret == 1
    row = gallery.row()
    assert row["outcome"] == "fail"
    assert row["reasons"][0].startswith("not_comparable: ")
