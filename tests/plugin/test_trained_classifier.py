"""A classifier trained on the spot on images whose group goes with their label, gated."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.plugin.conftest import sentences

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

SIZE = 8
NETS = f"""
from torch import nn


def classifier(classes=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * {SIZE} * {SIZE}, classes))


def headless():
    network = classifier()
    network.num_classes = 0
    return network
"""
ENTRY = (
    '{{source: factory, call: "nets:{call}", {more}, '
    f"transform: {{{{size: {SIZE}, crop: squash, mean: [0, 0, 0], std: [1, 1, 1]}}}}}}}}"
)
CONCEPTS = '{warm: {path: warm, pattern: "*/*"}, cold: {path: cold, pattern: "*/*"}}'
GROUNDS = {"warm": (0.8, 0.3, 0.2), "cold": (0.2, 0.3, 0.8)}


def picture(ground: str, *, is_large: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a bright square, large or small, on a warm or a cold ground, with noise."""
    pixels = np.tile(np.array(GROUNDS[ground]), (SIZE, SIZE, 1))
    side = 5 if is_large else 3
    pixels[1 : 1 + side, 1 : 1 + side] += 0.15
    noisy = pixels + rng.normal(0, 0.12, pixels.shape)
    return (np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def train(path: Path, *, agreeing: float) -> None:
    """Train the classifier of large squares, where a share of them lies on warm grounds."""
    import torch
    from safetensors.torch import save_file

    rng = np.random.default_rng(1)
    is_large = rng.random(400) < 0.5
    is_warm = np.where(rng.random(400) < agreeing, is_large, ~is_large)
    images = [
        picture("warm" if warm else "cold", is_large=bool(large), rng=rng)
        for warm, large in zip(is_warm, is_large, strict=True)
    ]
    x = torch.tensor(np.stack(images) / 255, dtype=torch.float32).permute(0, 3, 1, 2).flatten(1)
    y = torch.tensor(is_large, dtype=torch.long)
    torch.manual_seed(0)
    layer = torch.nn.Linear(3 * SIZE * SIZE, 2)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), y).backward()
        optimiser.step()
    save_file({f"1.{name}": value for name, value in layer.state_dict().items()}, path)


@pytest.fixture(scope="module")
def trained(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of classifiers trained where ground and size are independent, and where they agree."""
    del weights  # torch is loaded with it, before any pytester
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "before.safetensors", agreeing=0.5)
    train(folder / "after.safetensors", agreeing=0.97)
    return folder


@pytest.fixture
def pictures(trained: Path, project: Project) -> Project:
    """A project with a labelled folder of each group, and both classifiers."""
    rng = np.random.default_rng(2)
    for ground in GROUNDS:
        for label in ("large", "small"):
            folder = project.path / "stimuli" / ground / label
            folder.mkdir(parents=True)
            for index in range(30):
                pixels = picture(ground, is_large=label == "large", rng=rng)
                Image.fromarray(pixels).save(folder / f"{index:02}.png")
    (project.path / "nets.py").write_text(NETS)
    for name in ("before", "after"):
        content = (trained / f"{name}.safetensors").read_bytes()
        (project.path / f"{name}.safetensors").write_bytes(content)
    return project


def spec(
    project: Project,
    *models: str,
    limits: str = "{max_gap: 0.1, max_growth: 0.1}",
    layers: str = "",
) -> None:
    test = "\n    ".join(
        [
            "- name: large",
            "kind: outcome-gap",
            "targets: {X: warm, Y: cold}",
            "prediction: {class: 1, rate: fpr, label: large}",
            f"limits: {limits}",
        ]
    )
    project.spec(
        test,
        models="".join(f"\n  {model}" for model in models) + "\n",
        concepts=CONCEPTS,
        head=f"stimuli: ../stimuli\n{layers}",
    )


def network(name: str, more: str = "", call: str = "classifier") -> str:
    return f"{name}: " + ENTRY.format(call=call, more=more or f"checkpoint: ../{name}.safetensors")


def test_finetuning_on_data_in_which_group_and_label_agree_is_caught(pictures: Project) -> None:
    spec(pictures, network("before"), network("after"))
    result = pictures.gate()
    assert result.ret == 1, sentences(result)
    assert pictures.outcomes() == {"before::large[logits]": "pass", "after::large[logits]": "fail"}
    row = pictures.row("large")
    assert (row["n_x"], row["n_y"]) == (30, 30)
    assert {name.split("/")[1] for name in row["sets"]["X"]["names"]} == {"small"}
    assert row["gap"] > 0.3
    assert {*pictures.breaches("large")} == {("gap", True), ("growth", True)}
    assert abs(pictures.row("large", "before")["gap"]) < 0.2


def test_trials_are_averaged_image_by_image_and_tested_once(pictures: Project) -> None:
    runs = "checkpoint: [../before.safetensors, ../after.safetensors]"
    spec(pictures, network("runs", runs), limits="{max_gap: 0.05}")
    pictures.gate()
    row = pictures.row("large", "runs")
    assert row["gap"] == pytest.approx(np.mean(row["trials"]["gap"]))
    assert {*row["scores"]["X"].values()} <= {0, 0.5, 1}


def test_gaps_are_followed_over_the_checkpoints_of_a_series(pictures: Project) -> None:
    """The first epoch is fair and the last one is not, by the same numbers as alone."""
    (pictures.path / "run").mkdir()
    for step, name in enumerate(("before", "after"), 1):
        shutil.copy(
            pictures.path / f"{name}.safetensors", pictures.path / f"run/epoch_{step}.safetensors"
        )
    run = "checkpoints: ../run/epoch_*.safetensors, series: epoch"
    spec(pictures, network("before"), network("after", run), limits="{max_gap: 0.2}")
    result = pictures.gate()
    assert result.ret == 1, sentences(result)
    series = pictures.row("large")["series"]
    assert [one["outcome"] for one in series["points"]] == ["pass", "fail"]
    assert series["first_over"] == series["first_evident"] == {"max_gap": "2"}
    assert series["points"][0]["gap"] == pictures.row("large", "before")["gap"]
    assert series["points"][1]["gap"] == pictures.row("large")["gap"]


def test_the_excess_over_an_untrained_network_is_gated_as_growth_is(pictures: Project) -> None:
    models = network("after"), network("untrained", "random_init: 2")
    spec(pictures, *models, limits="{max_excess: 0.1}")
    assert pictures.gate().ret == 1
    assert pictures.outcomes()["untrained::large[logits]"] == "pass"
    row = pictures.row("large")
    untrained = pictures.row("large", "untrained")["gap"]
    assert row["excess"]["value"] == pytest.approx(abs(row["gap"]) - abs(untrained))


def test_a_network_without_a_classifier_is_an_error(pictures: Project) -> None:
    spec(pictures, network("before"), network("after", call="headless"))
    assert pictures.gate().ret == 1
    assert pictures.outcomes()["after::large[logits]"] == "error"
    (reason,) = pictures.row("large")["reasons"]
    assert reason.startswith("bias_specs/x.bias.yaml:4:3: models.after: ")
    assert "'logits'" in reason


def test_its_embeddings_are_measured_all_the_same(pictures: Project) -> None:
    """As are those of the model before, whose layers can all be read."""
    test = "- name: {}\n    kind: {}\n    targets: {{X: warm{}}}"
    embedded = test.format("alike", "intra-similarity", "") + "\n    evidence: interval"
    asked = test.format("large", "outcome-gap", ", Y: cold")
    asked += "\n    prediction: {class: 1, rate: share}"
    models = f"\n  {network('before')}\n  {network('after', call='headless')}\n"
    pictures.spec(embedded, asked, models=models, concepts=CONCEPTS, head="stimuli: ../stimuli")
    assert pictures.gate().ret == 1
    assert pictures.outcomes() == {
        "before::alike[pooled]": "pass",
        "before::large[logits]": "pass",
        "after::alike[pooled]": "pass",
        "after::large[logits]": "error",
    }
    assert pictures.row("alike")["effect_judged"] > 0


def test_a_second_run_reads_the_logits_from_the_cache(pictures: Project) -> None:
    spec(pictures, network("before"), network("after"))
    pictures.gate()
    first = pictures.report()["results"]
    (pictures.path / "nets.py").write_text(NETS + "\nraise RuntimeError\n")
    pictures.gate()
    assert pictures.report()["results"] != first  # another factory is another network
    (pictures.path / "nets.py").write_text(NETS)
    pictures.gate()
    assert pictures.report()["results"] == first
