"""Where embeddings are read: of networks of a project, in the report, in caches and in records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pytest_visualbias.api import audit
from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache import FORMAT
from pytest_visualbias.embeddings.extraction import extract
from tests.plugin.conftest import ALONE, SETS, one_test, sentences
from tests.plugin.test_outcome_gap import gap_test, store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

GROWTH = "{max_growth: 1.7}"
NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, width=6):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, width, 5)
        self.fc = nn.Linear(width, classes)

    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))

class Centred(Net):
    def forward(self, images):
        found = super().forward(images)
        return self.fc(self.conv(images).mean((2, 3)) - self.conv(images).mean((0, 2, 3)))

def ten(): return Net(10)
def two(): return Net(2)
def wide(): return Net(2, width=7)
def headless():
    net = Net(2)
    net.fc = nn.Identity()
    return net
def shares(): return nn.Sequential(Net(4), nn.Softmax(1))
def centred(): return Centred(3)
def fails(): raise ValueError("no such width")
"""


def gate(
    project: Project,
    before: str,
    after: str,
    *arguments: str,
    limits: str = GROWTH,
    keys: str = "",
    head: str = "",
    transform: str = "size: 16",
) -> str:
    """Run the gate over two functions of the project; return what was shown."""
    (project.path / "nets_of_test.py").write_text(NETS)
    entry = (
        "{{source: factory, call: 'nets_of_test:{}', transform: {{TRANSFORM}}, random_init: 1{}}}"
    ).replace("TRANSFORM", transform)
    lines = (
        f"  before: {entry.format(before, keys)}\n",
        f"  after: {entry.format(after, f'{keys}, growth_from: before')}\n",
    )
    models = "\n" + "".join(lines).replace(", random_init: 1", "")
    project.spec(
        one_test("one", limits),
        models=models,
        concepts=SETS,
        head=f"stimuli: ../stimuli\n{head}",
    )
    if not (project.path / "stimuli").exists():
        grounds = [(200, 30, 30), (30, 30, 200), (180, 120, 0), (0, 120, 180)]
        for name, ground in zip("xyab", grounds, strict=True):
            project.images(name, ground=ground)
    return sentences(project.gate("--visualbias-cache=cache", *arguments))


def vectors_of(
    project: Project, name: str, *, size: int = 16, order: int = 1
) -> dict[str, np.ndarray]:
    """Return what torch gives before the classifier, prepared by hand."""
    import torch

    scope: dict[str, Any] = {}
    exec(NETS, scope)
    net = scope[name]().eval()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = {}
    for key in "xyab":
        rows = []
        for path in sorted((project.path / "stimuli" / key).iterdir()):
            image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            rows.append(((np.asarray(image) / 255 - mean) / std).transpose(2, 0, 1)[::order])
        batch = torch.from_numpy(np.stack(rows).astype(np.float32))
        with torch.inference_mode():
            found[key] = net.conv(batch).relu().mean((2, 3)).double().numpy()
    return found


def saved(project: Project) -> str:
    """Save the weights of a network; return the key that names them."""
    import safetensors.torch

    scope: dict[str, Any] = {}
    exec(NETS, scope)
    safetensors.torch.save_file(scope["two"]().state_dict(), project.path / "two.safetensors")
    return ", checkpoint: ../two.safetensors"


def effect(sets: dict[str, np.ndarray]) -> float:
    """Return the effect size d of Caliskan (2017)."""
    units = {key: rows / np.linalg.norm(rows, axis=1, keepdims=True) for key, rows in sets.items()}
    scores = {
        key: (units[key] @ units["a"].T).mean(1) - (units[key] @ units["b"].T).mean(1)
        for key in "xy"
    }
    spread = np.concatenate([scores["x"], scores["y"]]).std(ddof=1)
    return float((scores["x"].mean() - scores["y"].mean()) / spread)


@pytest.mark.torch
class TestFactories:
    @pytest.fixture(autouse=True)
    def loaded(self, weights: Path) -> None:
        """Torch is loaded before pytester forgets what is imported after it."""

    def test_features_are_compared_whatever_the_number_of_classes(self, project: Project) -> None:
        shown = gate(project, "ten", "two", limits="{max_growth: 1.7, max_effect: 1.8}")
        row = project.row()
        assert row["read_out"] == {"module": "fc", "side": "input", "length": 6}
        assert shown.count("pooled: input of fc, 6 ") == 2, "once for each model"
        assert row["effect_size"] == pytest.approx(effect(vectors_of(project, "two")), abs=1e-4)
        assert row["growth"]["before"] is not None

    @pytest.mark.parametrize(
        ("before", "after", "name"), [("wide", "two", "dimension"), ("headless", "two", "read_out")]
    )
    def test_other_read_outs_are_not_comparable_unless_declared(
        self, project: Project, before: str, after: str, name: str
    ) -> None:
        gate(project, before, after)
        assert project.row()["outcome"] == "fail"
        assert project.row()["reasons"][0].startswith("not_comparable")
        gate(project, before, after, head=f"settings: {{differs: [{name}]}}")
        assert project.row()["outcome"] == "pass"

    def test_probabilities_are_an_error_unless_stated(self, project: Project) -> None:
        gate(project, "shares", "shares")
        assert project.row()["outcome"] == "error"
        gate(project, "shares", "shares", keys=", layers: {pooled: output}")
        assert project.row()["outcome"] != "error"
        assert project.row()["read_out"] == {"module": "output", "side": "output", "length": 4}

    def test_vectors_that_depend_on_the_batch_are_errors(self, project: Project) -> None:
        gate(project, "two", "centred")
        assert project.row()["outcome"] == "error"
        found = audit("bias_specs/x.bias.yaml")
        assert found.result("one", model="after").outcome == "error"

    def test_an_older_cache_is_not_read(self, project: Project) -> None:
        keys = saved(project)
        gate(project, "two", "two", keys=keys)
        cache = project.path / "cache"
        before = project.row()["effect_size"]
        assert list((cache / FORMAT).glob("*/*.safetensors"))
        (cache / FORMAT).rename(cache / "3")
        files = {path: path.stat().st_mtime_ns for path in (cache / "3").rglob("*.safetensors")}
        gate(project, "two", "two", keys=keys)
        assert project.row()["effect_size"] == before
        assert list((cache / FORMAT).glob("*/*.safetensors")), "embedded again"
        assert all(path.stat().st_mtime_ns == was for path, was in files.items())

    @pytest.mark.parametrize(
        ("transform", "keys"),
        [("size: 16, channels: bgr", {"order": -1}), ("size: 24", {"size": 24})],
    )
    def test_other_images_are_embedded_anew(
        self, project: Project, transform: str, keys: dict[str, int]
    ) -> None:
        weights = saved(project)
        gate(project, "two", "two", keys=weights)
        was = project.row()["effect_size"]
        assert was == pytest.approx(effect(vectors_of(project, "two")), abs=1e-4)
        gate(project, "two", "two", keys=weights, transform=transform)
        expected = effect(vectors_of(project, "two", **keys))
        assert abs(expected - was) > 1e-3
        assert project.row()["effect_size"] == pytest.approx(expected, abs=1e-4)

    def test_another_read_out_of_the_same_weights_is_embedded_anew(self, project: Project) -> None:
        """Only the code of the network changes, and with it the layer that is final."""
        weights = saved(project)
        gate(project, "two", "two", keys=weights)
        features = vectors_of(project, "two")
        nets = project.path / "nets_of_test.py"
        nets.write_text(
            NETS.replace("return self.fc(self.", "return (self.fc.weight.sum() + self.")
        )
        assert project.gate("--visualbias-cache=cache").ret is not None
        row = project.row()
        assert row["read_out"] == {"module": "output", "side": "output", "length": 6}
        import safetensors.torch

        total = safetensors.torch.load_file(project.path / "two.safetensors")["fc.weight"].sum()
        shifted = {key: rows + float(total) for key, rows in features.items()}
        assert row["effect_size"] == pytest.approx(effect(shifted), abs=1e-4)

    def test_a_wrong_network_is_found_before_any_image_of_the_others(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pytest_visualbias.embeddings.request import EmbeddingJob

        passed: list[str] = []

        def recorded(*arguments: Any, **keys: Any) -> Any:  # noqa: ANN401
            passed.append("images")
            return extract(*arguments, **keys)

        opened = EmbeddingJob.open

        def open_recorded(job: EmbeddingJob) -> Any:  # noqa: ANN401
            passed.append(str(getattr(job.entry, "call", "")))
            return opened(job)

        monkeypatch.setattr("pytest_visualbias.embeddings.embed_model.extract", recorded)
        monkeypatch.setattr(EmbeddingJob, "open", open_recorded)
        keys = saved(project)
        gate(project, "two", "wide", keys=keys)
        assert project.row()["outcome"] == "error"
        assert project.row(model="before")["outcome"] != "error"
        assert passed.index("nets_of_test:wide") < passed.index("images")
        gate(project, "two", "two", keys=keys)
        passed.clear()
        gate(project, "two", "two", keys=keys)
        assert passed == [], "a cached run builds nothing"
        gate(project, "two", "fails")
        assert project.row()["outcome"] == "error"
        assert passed.index("nets_of_test:fails") < passed.index("images"), "without weights, too"

    def test_check_builds_models_and_prints_lengths(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate(project, "ten", "two", head="layers: [pooled, conv, output]")
        capsys.readouterr()
        assert main(["check", "--models", "bias_specs/x.bias.yaml"]) == 0
        shown = capsys.readouterr().out
        assert "before: pooled 6, conv 6, output 10" in shown
        assert "after: pooled 6, conv 6, output 2" in shown
        gate(project, "ten", "fails", head="layers: [pooled, cnov]")
        capsys.readouterr()
        assert main(["check", "bias_specs/x.bias.yaml"]) == 0
        capsys.readouterr()
        assert main(["check", "--models", "bias_specs/x.bias.yaml"]) == 1
        shown = capsys.readouterr().out
        assert "'cnov'" in shown
        assert "no such width" in shown


def seen_by_timm(project: Project, **keys: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    """Return what timm gives for the images of a project at `pooled`."""
    import timm
    import torch
    from safetensors.torch import load_model

    size = keys.pop("size")
    weights = keys.pop("weights", None)
    mean = keys.pop("mean", None)
    torch.manual_seed(0)
    model: Any = timm.create_model(keys.pop("name"), pretrained=False, **keys).eval()
    if weights is not None:
        load_model(model, str(weights))
    config = timm.data.resolve_model_data_config(model) | {"input_size": (3, size, size)}
    steps = timm.data.create_transform(**config | ({"mean": mean} if mean else {}))
    found = {}
    for key in "xyab":
        paths = sorted((project.path / "stimuli" / key).iterdir())
        batch = torch.stack([steps(Image.open(path).convert("RGB")) for path in paths])
        with torch.inference_mode():
            features = model.forward_features(batch)
            found[key] = model.forward_head(features, pre_logits=True).double().numpy()
    return found


@pytest.mark.torch
class TestStaleSettings:
    """What timm prepares images by, changed while the vectors of before are in the cache."""

    def effect(self, project: Project, keys: str) -> float:
        entry = f"{{source: timm, {keys}}}"
        project.spec(
            one_test("one", "{}"),
            models=f"\n  after: {entry}\n",
            concepts=SETS,
            head="stimuli: ../stimuli",
        )
        project.gate("--visualbias-cache=cache")
        found: float = project.row()["effect_size"]
        return found

    def test_saved_beside_a_checkpoint(self, networks: Project) -> None:
        keys = "name: test_resnet, checkpoint: ../after.safetensors"
        was = self.effect(networks, keys)
        others = ("std", "interpolation", "crop_pct", "img_size", "input_size")
        lines = ["model: test_resnet", "mean: [0.1, 0.5, 0.9]", *(f"{one}: null" for one in others)]
        (networks.path / "args.yaml").write_text("\n".join(lines))
        found = self.effect(networks, keys)
        plain: dict[str, Any] = {
            "name": "test_resnet",
            "size": 160,
            "weights": networks.path / "after.safetensors",
        }
        mean = (0.1, 0.5, 0.9)
        assert was == pytest.approx(effect(seen_by_timm(networks, **plain)), abs=1e-4)
        assert found == pytest.approx(effect(seen_by_timm(networks, **plain, mean=mean)), abs=1e-4)
        assert abs(found - was) > 1e-3

    def test_the_size_of_a_network(self, networks: Project) -> None:
        keys = "name: test_vit, random_init: 1"
        was = self.effect(networks, keys)
        found = self.effect(networks, f"{keys}, arguments: {{img_size: 96}}")
        plain = {"name": "test_vit", "size": 96, "img_size": 96}
        assert found == pytest.approx(effect(seen_by_timm(networks, **plain)), abs=1e-4)
        assert abs(found - was) > 1e-3


class TestRecords:
    def test_an_older_record_is_not_comparable_until_recorded_again(self, project: Project) -> None:
        project.store("after")
        project.spec(one_test("one", "{max_growth: 0.2}"), models=ALONE)
        assert project.gate("--visualbias-update").ret == 0
        path = project.path / "bias_specs/__visualbias__/x.json"
        stored = json.loads(path.read_text())
        (entry,) = stored["entries"].values()
        assert entry["read_out"]["length"] > 0
        del entry["read_out"]
        path.write_text(json.dumps({**stored, "visualbias_baseline": 1}))
        assert project.gate().ret == 1
        assert project.row()["outcome"] == "fail"
        assert project.row()["growth"] is None
        assert "--visualbias-update" in project.row()["reasons"][0]
        assert project.gate("--visualbias-update").ret == 0
        assert project.gate().ret == 0
        assert project.row()["growth"]["value"] == 0

    def test_vectors_of_another_length_are_not_comparable(self, project: Project) -> None:
        project.pair()
        short = {key: rows[:, :-1].copy() for key, rows in stored_vectors(project, "after").items()}
        project.store("after", short)
        project.spec(one_test("one", "{max_growth: 1.7}"))
        assert project.gate().ret == 1
        assert project.row()["reasons"][0].startswith("not_comparable")


def stored_vectors(project: Project, file: str) -> dict[str, np.ndarray]:
    import safetensors.numpy

    found: dict[str, np.ndarray] = safetensors.numpy.load_file(project.path / f"{file}.safetensors")
    return found


class TestProbabilities:
    """Stored probabilities of a classifier, whose softmax was done before."""

    LIMITS = "{max_gap: 0.05}"

    def stored(self, project: Project, *, one_hot: bool = False) -> float:
        """Store shares of four classes; return the gap of class 1 by plain numpy."""
        rng = np.random.default_rng(2)
        sets = {}
        for group, share in (("women", 0.9), ("men", 0.2)):
            rows = np.full((12, 4), 0.02)
            rows[:, 1] = np.clip(share + 0.05 * rng.normal(size=12), 0.03, 0.94)
            rows[:, 0] = 1 - rows[:, 1] - rows[:, 2] - rows[:, 3]
            if one_hot:
                rows = np.eye(4)[rows.argmax(1)]
            sets[group] = rows.astype(np.float32)
        for file in ("before", "after"):
            store(project, file, sets)
        return float(sets["women"][:, 1].mean() - sets["men"][:, 1].mean())

    def run(self, project: Project, prediction: str) -> dict[str, Any]:
        test = gap_test(prediction, self.LIMITS)
        project.spec(test, concepts="{women: women, men: men}")
        sentences(project.gate())
        return project.row()

    @pytest.mark.parametrize("asked", ["rate: score", "rate: share, threshold: 0.5"])
    def test_softmax_is_not_applied_twice(self, project: Project, asked: str) -> None:
        gap = self.stored(project)
        assert self.run(project, f"class: 1, {asked}")["outcome"] == "error"
        row = self.run(project, f"class: 1, {asked}, activation: none")
        assert row["outcome"] == "fail"
        expected = gap if "score" in asked else 1.0
        assert row["gap"] == pytest.approx(expected, abs=1e-6)
        assert row["prediction"]["activation"] == "none"

    def test_nor_is_sigmoid(self, project: Project) -> None:
        self.stored(project)
        row = self.run(project, "class: 1, rate: score, activation: sigmoid")
        assert row["outcome"] == "error"

    def test_the_largest_is_the_largest_of_either(self, project: Project) -> None:
        self.stored(project)
        assert self.run(project, "class: 1, rate: share")["gap"] == 1.0
        assert self.run(project, "class: 1, rate: share, activation: none")["gap"] == 1.0

    def test_equal_predictions_are_not_the_same_image(self, project: Project) -> None:
        self.stored(project, one_hot=True)
        row = self.run(project, "class: 1, rate: share")
        assert row["gap"] == 1.0
        assert not [text for text in row["warnings"] if "twice" in text]

    def test_what_is_stated_must_be_probabilities(self, project: Project) -> None:
        for file in ("before", "after"):
            store(
                project, file, {key: np.full((6, 3), 2.0, np.float32) for key in ("women", "men")}
            )
        row = self.run(project, "class: 1, rate: score, activation: none")
        assert row["outcome"] == "error"


@pytest.mark.parametrize(
    "layer", ["_blocks.{2,10}", "blocks.{2-10}", "blocks.{a..c}", "blocks.{2..5", "blocks.{}"]
)
def test_braces_that_are_no_range_are_errors_of_the_spec(project: Project, layer: str) -> None:
    project.pair()
    project.spec(one_test("one"), head=f'layers: ["{layer}"]')
    assert project.gate().ret == 2
    project.spec(one_test("one"), head=f'layers: [{{name: mid, module: "{layer}"}}]')
    assert project.gate().ret == 2
