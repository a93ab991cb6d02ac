"""What Ranjit et al. (2023) measured; defects that changed their numbers are impossible here."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_visualbias.errors import EncoderError, SpecError
from pytest_visualbias.evaluation.verdict import CorrectedP, DecisionRule, Numbers, judge
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.load_weights import WeightSelection, fit_weights
from pytest_visualbias.models.loaded_network import LoadedNetwork
from pytest_visualbias.models.preprocessing import make_transform, transform_facts
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import Transform
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.test_kinds import Limits
from pytest_visualbias.statistics.association import association_test, similarity_gap_test
from pytest_visualbias.statistics.growth import growth_test
from pytest_visualbias.stimuli.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.torch
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture"
TRANSFORM = Transform(size=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
POOLED = [parse_layer_point("pooled", "pooled")]


@pytest.fixture
def module(reference_data: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A real network with BatchNorm, still in training mode as it was made."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    network: torch.nn.Module = importlib.import_module("cifar_resnet").resnet20()
    path = reference_data / "checkpoints" / "cifar10_resnet20.th"
    fit_weights(network, read_checkpoint(path), WeightSelection(path=path, ignore=("linear.",)))
    return network.train()


@pytest.fixture
def encoder(module: torch.nn.Module) -> TorchEncoder:
    """The network as the gate runs it."""
    return encoder_of(module)


def encoder_of(module: torch.nn.Module) -> TorchEncoder:
    network = LoadedNetwork(
        module=module,
        pooled=module.__call__,
        prepare=make_transform(TRANSFORM),
        preprocessing=transform_facts(TRANSFORM),
        notes={},
    )
    return TorchEncoder(network, device="cpu")


def inputs_of(data: Path, concept: str, count: int) -> list[np.ndarray]:
    paths = sorted((data / "openimages_canonical" / concept).iterdir())[:count]
    return [make_transform(TRANSFORM)(decode(path)) for path in paths]


class TestDefects:
    def test_1_batch_statistics_never_reach_an_embedding(
        self, encoder: TorchEncoder, reference_data: Path
    ) -> None:
        """Theirs took the "before" features in training mode, in batches of one class.

        Here an image alone, in a batch of its own class, and among others has the same vector; in
        training mode the three differ widely, so the test can fail.
        """
        images = [
            one for concept in ("sports", "car") for one in inputs_of(reference_data, concept, 16)
        ]
        mixed = encoder.encode(images, POOLED)["pooled"]
        by_class = [encoder.encode(images[i : i + 16], POOLED)["pooled"] for i in (0, 16)]
        alone = [encoder.encode([image], POOLED)["pooled"] for image in images]
        np.testing.assert_allclose(np.concatenate(by_class), mixed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.concatenate(alone), mixed, rtol=1e-4, atol=1e-5)

    def test_1_and_in_training_mode_they_would(
        self, module: torch.nn.Module, reference_data: Path
    ) -> None:
        images = torch.from_numpy(np.stack(inputs_of(reference_data, "sports", 16)))
        with torch.no_grad():
            batch, half = module.train()(images), module(images[:8])
        cosine = torch.nn.functional.cosine_similarity(batch[:8], half)
        assert float(cosine.min()) < 0.99

    def test_1_a_network_put_back_into_training_is_refused(
        self, module: torch.nn.Module, reference_data: Path
    ) -> None:
        encoder = encoder_of(module)
        module.get_submodule("bn1").train()
        with pytest.raises(EncoderError, match="evaluation mode"):
            encoder.encode(inputs_of(reference_data, "car", 2), POOLED)

    def test_2_a_wrong_set_cannot_stand_under_an_abbreviation(self) -> None:
        """Theirs compared 'sa' (sports) where 'ma' (mammal) was meant: names are said once here."""
        text = """visualbias: 1
models: {after: {source: embeddings, path: a.npz}}
concepts: {mammal: mammal, mammal_man: mammal_man, man: man, woman: woman}
tests:
  - name: mammal
    kind: similarity-gap
    targets: {X: man, Y: woman}
    attributes: {A: mamal}
"""
        with pytest.raises(SpecError, match="unknown concept 'mamal'; did you mean 'mammal'"):
            parse_spec(text, file="x.bias.yaml", folder=Path())

    def test_3_preprocessing_that_differs_is_not_compared(
        self, pytester: pytest.Pytester, reference_data: Path
    ) -> None:
        """Theirs normalised with other statistics in training than at extraction."""
        row = gate(
            pytester,
            reference_data,
            before="transform: {size: 32}",
            after="transform: {size: 32, mean: [0.5, 0.5, 0.5]}",
        )
        assert row["outcome"] == "fail"
        assert row["reasons"][0].startswith("not_comparable: before and after differ in prepro")
        assert "mean" in row["reasons"][0]

    def test_4_raw_pixels_are_no_features(self) -> None:
        """Theirs once saved the images themselves, (12, 3, 224, 224)."""
        encoder = encoder_of(torch.nn.Identity())
        with pytest.raises(EncoderError, match=r"gives \(\d+, 3, 32, 32\) where \(n, dim\)"):
            encoder.encode([np.zeros((3, 32, 32), dtype=np.float32)] * 2, POOLED)

    def test_5_bad_stimuli_are_reported_before_a_model_is_loaded(
        self, pytester: pytest.Pytester, reference_data: Path
    ) -> None:
        """Theirs held empty files, one URL twice, and images of one set in another."""

        def spoil(stimuli: Path) -> None:
            first = min((stimuli / "man").iterdir())
            shutil.copy(first, stimuli / "woman" / "same.jpg")
            (stimuli / "car" / "empty.png").write_bytes(b"")

        result = pytester_run(pytester, reference_data, "transform: {size: 32}", spoil=spoil)
        text = result.stdout.str()
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert "same.jpg" in text
        assert "Traceback" not in text
        checked = pytester.run(
            sys.executable, "-m", "pytest_visualbias", "check", "bias_specs/x.bias.yaml"
        )
        assert checked.ret != 0
        assert "same.jpg" in checked.stdout.str()


SPEC = """visualbias: 1
models:
  before: {{source: factory, call: "cifar_resnet:resnet20", checkpoint: {data}/cifar10_resnet20.th,
           ignore: [linear.], {before}}}
  after: {{source: factory, call: "cifar_resnet:resnet20", checkpoint: {data}/cifar10_resnet20.th,
          ignore: [linear.], {after}}}
stimuli: ../stimuli
concepts: {{man: man, woman: woman, car: car, fashion: fashion}}
tests:
  - name: one
    kind: ieat
    targets: {{X: man, Y: woman}}
    attributes: {{A: car, B: fashion}}
    limits: {{max_growth: 0.2}}
"""


def pytester_run(
    pytester: pytest.Pytester,
    data: Path,
    before: str,
    after: str = "",
    spoil: Callable[[Path], None] = lambda _: None,
) -> pytest.RunResult:
    """Run the gate on a few images of four sets."""
    for concept in ("man", "woman", "car", "fashion"):
        folder = pytester.path / "stimuli" / concept
        folder.mkdir(parents=True)
        for path in sorted((data / "openimages_canonical" / concept).iterdir())[:8]:
            shutil.copy(path, folder)
    spoil(pytester.path / "stimuli")
    pytester.copy_example(str(EXAMPLE / "cifar_resnet.py"))
    text = SPEC.format(data=data / "checkpoints", before=before, after=after or before)
    (pytester.mkdir("bias_specs") / "x.bias.yaml").write_text(text, encoding="utf-8")
    return pytester.runpytest_subprocess(
        "-p", "no:hypothesispytest", "--visualbias", "--visualbias-json=out.json"
    )


def gate(pytester: pytest.Pytester, data: Path, before: str, after: str) -> Mapping[str, Any]:
    pytester_run(pytester, data, before, after)
    rows = json.loads((pytester.path / "out.json").read_text("utf-8"))["results"]
    found: Mapping[str, Any] = next(row for row in rows if row["model"] == "after")
    return found


def test_an_association_is_the_difference_of_two_similarity_gaps(
    encoder: TorchEncoder, reference_data: Path
) -> None:
    """``gap(A) - gap(B)`` is the numerator of d, on real photographs and sets of unequal size."""
    sets = {
        "X": ("sports_man", 40),
        "Y": ("sports_woman", 32),
        "A": ("car", 30),
        "B": ("mammal", 25),
    }
    rows = {
        role: encoder.encode(inputs_of(reference_data, *which), POOLED)["pooled"]
        for role, which in sets.items()
    }
    whole = association_test(rows["X"], rows["Y"], rows["A"], rows["B"])
    gaps = [similarity_gap_test(rows[role], rows["X"], rows["Y"]).gap for role in "AB"]
    assert whole.gap == pytest.approx(gaps[0] - gaps[1], abs=1e-12)


@pytest.fixture
def table(reference_data: Path) -> list[dict[str, str]]:
    """Their 45 published rows."""
    path = reference_data / "ranjit" / "ieat_table2_notebook.csv"
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("end", ["pretrained", "finetuned"])
def test_published_p_follow_from_published_d(table: list[dict[str, str]], end: str) -> None:
    """One-sided p of 150 against 150 is nearly normal in d: their tables are ours in form."""
    large = [row for row in table if row["n_per_target"] == "150"]
    assert len(large) == 24
    for row in large:
        d, p = float(row[f"d_{end}"]), float(row[f"p_{end}"])
        assert p == pytest.approx(stats.norm.sf(d / math.sqrt(2 / 150)), abs=0.008)


@pytest.mark.parametrize(
    ("images", "model", "grown"),
    [("openimages", "resnet50", 6), ("coco", "bit_resnet50", 0), ("coco", "resnet50", 1)],
)
def test_a_replay_of_the_published_effects_flags_those_that_grew(
    table: list[dict[str, str]], images: str, model: str, grown: int
) -> None:
    rows = [r for r in table if (r["analysis_and_finetune_set"], r["model"]) == (images, model)]
    outcomes = [replayed(row, Limits(max_growth=0)) for row in rows]
    assert outcomes.count("fail") == grown
    assert outcomes.count("pass") == len(rows) - grown


def test_an_effect_that_turned_round_is_a_shift_where_it_is_no_growth(
    table: list[dict[str, str]],
) -> None:
    """CLIP on Open Images, mammal against fashion: from +0.84 to -0.25."""
    (row,) = [row for row in table if row["model"] == "clip" and _turned(row) > 1]
    assert replayed(row, Limits(max_growth=0)) == "pass"
    assert replayed(row, Limits(max_shift=1)) == "fail"


def _turned(row: Mapping[str, str]) -> float:
    before, after = float(row["d_pretrained"]), float(row["d_finetuned"])
    return abs(after - before) if before * after < 0 else 0.0


def replayed(row: Mapping[str, str], limits: Limits) -> str:
    """Judge a published pair of effects by the point: the scores are not published."""
    before, after = float(row["d_pretrained"]), float(row["d_finetuned"])
    random = np.random.default_rng(0)
    model = growth_test(*random.normal(size=(2, 4, 6, 8)))
    effect = association_test(*random.normal(size=(4, 6, 8)))
    growth = dataclasses.replace(
        model, growth=abs(after) - abs(before), shift=after - before, before=before, after=after
    )
    rule = DecisionRule(limits=limits, evidence="point", alternative="two-sided", alpha=0.05)
    return judge(Numbers(effect=effect, growth=growth), rule, CorrectedP()).outcome
