"""Words as attributes: a tiny open_clip model, compared with the library and scipy themselves."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from .conftest import sentences

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

pytest.importorskip("open_clip", reason="an extra")

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
CONFIG = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}
SEEN = {"size": 32, "mode": "RGB", "mean": [0.5] * 3, "std": [0.4] * 3, "resize_mode": "squash"}
A, B = ["scientist", "engineer", "mathematics", "physics"], ["poet", "dance", "novel"]
TEMPLATES = ["a photo of a {}", "an image of {}, today"]
MODELS = """
  before: {source: open_clip, name: "local-dir:../clip-0"}
  after: {source: open_clip, name: "local-dir:../clip-1"}
"""
WORDS = f"""
  x: x
  y: y
  science: {{text: {json.dumps(A)}, templates: {json.dumps(TEMPLATES)}}}
  art: {{text: {json.dumps(B)}, templates: {json.dumps(TEMPLATES)}}}
"""
TEST = """- name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: science, B: art}
    evidence: point
    limits: {}"""


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """Two folders as open_clip pushes them to a hub, of random weights.

    Of the session, and so set up before any pytester, which forgets what is imported after it.
    """
    import open_clip  # only where a network is wanted
    import safetensors.torch
    import torch

    import pytest_visualbias.models.open_clip  # noqa: F401 - see above

    root = tmp_path_factory.mktemp("clips")
    for seed in range(2):
        folder = root / f"clip-{seed}"
        folder.mkdir()
        config = {"model_cfg": CONFIG, "preprocess_cfg": SEEN}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        torch.manual_seed(seed)
        model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))
        safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return root


@pytest.fixture
def clip(clips: Path, project: Project) -> Project:
    """A project with both, images of x and y, and a spec with words."""
    shutil.copytree(clips, project.path, dirs_exist_ok=True)
    for name, ground in zip("xy", [(200, 30, 30), (30, 30, 200)], strict=True):
        project.images(name, ground=ground, n=4)
    project.spec(TEST, head="stimuli: ../stimuli", models=MODELS, concepts=WORDS)
    return project


def by_hand(project: Project, folder: str) -> dict[str, np.ndarray]:
    """Unit vectors of all sets, by open_clip alone."""
    import open_clip
    import torch

    model, _, steps = open_clip.create_model_and_transforms(f"local-dir:{project.path / folder}")
    read = open_clip.get_tokenizer(f"local-dir:{project.path / folder}")
    found = {}
    with torch.inference_mode():
        for role in "xy":
            paths = sorted((project.path / "stimuli" / role).iterdir())
            images = torch.stack([steps(Image.open(path).convert("RGB")) for path in paths])
            found[role] = model.eval().encode_image(images, normalize=True).double().numpy()
        for role, words in zip("ab", (A, B), strict=True):
            rows = []
            for word in words:
                prompts = read([template.replace("{}", word) for template in TEMPLATES])
                row = model.encode_text(prompts, normalize=True).double().mean(dim=0).numpy()
                rows.append(row / np.linalg.norm(row))
            found[role] = np.stack(rows)
    return found


def effect(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Caliskan's d, and its p by scipy over every relabelling."""
    s, t = ((one @ a.T).mean(axis=1) - (one @ b.T).mean(axis=1) for one in (x, y))

    def apart(first: Any, second: Any, axis: int = -1) -> Any:  # noqa: ANN401
        return np.abs(first.mean(axis=axis) - second.mean(axis=axis))

    d = (s.mean() - t.mean()) / np.std(np.concatenate([s, t]), ddof=1)
    found = stats.permutation_test(
        (s, t), apart, vectorized=True, n_resamples=10**6, alternative="greater"
    )
    return float(d), float(found.pvalue)


def test_d_and_p_are_those_of_a_direct_computation(clip: Project) -> None:
    """From both sides, in both models, with templates averaged as is usual."""
    assert clip.gate().ret == 0
    for model, folder in (("before", "clip-0"), ("after", "clip-1")):
        row, sets = clip.row(model=model), by_hand(clip, folder)
        d, p = effect(*(sets[role] for role in "xyab"))
        other, p_other = effect(*(sets[role] for role in "abxy"))
        assert row["effect_size"] == pytest.approx(d, abs=1e-4)
        assert row["effect_size_attributes"] == pytest.approx(other, abs=1e-4)
        assert row["p_value"] == pytest.approx(p, abs=1e-9)
        assert row["p_method"] == "exact"
        assert row["p_attributes"] == pytest.approx(p_other, abs=1e-9)
    assert clip.row()["growth"]["from"] == "before"


def test_words_and_templates_stand_in_the_report_as_they_are_written(clip: Project) -> None:
    clip.gate()
    sets = clip.row()["sets"]
    assert sets["A"]["names"] == A
    assert sets["A"]["templates"] == TEMPLATES
    assert sets["A"]["folder"] == ""
    assert sets["X"]["templates"] == []


def test_a_warm_cache_needs_no_torch(clip: Project) -> None:
    assert clip.gate().ret == 0
    first = clip.row()
    code = "import sys\ndef pytest_sessionfinish():\n    assert 'torch' not in sys.modules\n"
    (clip.path / "conftest.py").write_text(code)
    result = clip.process("--visualbias", "--visualbias-json=out.json")
    assert result.ret == 0, sentences(result)
    assert clip.row()["effect_size"] == first["effect_size"]


def test_another_template_is_another_stimulus(clip: Project) -> None:
    clip.gate()
    first = clip.row()
    concepts = WORDS.replace("a photo of a", "a drawing of a")
    clip.spec(TEST, head="stimuli: ../stimuli", models=MODELS, concepts=concepts)
    clip.gate()
    assert clip.row()["sets"]["A"]["digest"] != first["sets"]["A"]["digest"]
    assert clip.row()["sets"]["X"]["digest"] == first["sets"]["X"]["digest"]
    assert clip.row()["effect_size"] != first["effect_size"]


def test_both_sides_may_be_words_and_stand_in_the_test(clip: Project) -> None:
    test = TEST.replace("X: x, Y: y", "X: {text: [she, woman, her]}, Y: {text: [he, man, his]}")
    clip.spec(test, models=MODELS, concepts=WORDS)
    assert clip.gate().ret == 0
    row = clip.row()
    assert row["concepts"] == {"X": "one.X", "Y": "one.Y", "A": "science", "B": "art"}
    assert row["sets"]["X"]["names"] == ["she", "woman", "her"]
    assert abs(row["effect_size"]) < 2


def test_words_are_read_by_every_checkpoint_of_a_series(clip: Project) -> None:
    """Each point is what that checkpoint alone gives, its own text tower included."""
    (clip.path / "run").mkdir()
    for step, folder in enumerate(("clip-1", "clip-0"), 1):
        source = clip.path / folder / "open_clip_model.safetensors"
        shutil.copy(source, clip.path / f"run/step_{step}.safetensors")
    entry = '{source: open_clip, name: "local-dir:../clip-0", '
    for more in (
        "checkpoints: ../run/step_*, series: step",
        "checkpoint: ../run/step_1.safetensors",
    ):
        models = f"\n  after: {entry}{more}}}\n"
        clip.spec(TEST, head="stimuli: ../stimuli", models=models, concepts=WORDS)
        assert clip.gate().ret == 0
        if "series" in more:
            first, last = clip.row()["series"]["points"]
            assert clip.row()["effect_size"] == last["effect_size"] != first["effect_size"]
    assert clip.row()["effect_size"] == pytest.approx(first["effect_size"], abs=1e-6)


def test_names_of_words_are_escaped(clip: Project) -> None:
    """They are anybody's text, and nothing in a page."""
    concepts = WORDS.replace('"novel"', '"<script>alert(1)</script>"')
    test = TEST.replace("limits: {}", "limits: {max_effect: 0}")
    clip.spec(test, head="stimuli: ../stimuli", models=MODELS, concepts=concepts)
    result = clip.gate("-vv", "--visualbias-html=out.html", "--visualbias-md=out.md")
    assert result.ret == 1
    page = (clip.path / "out.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in (clip.path / "out.md").read_text()


def test_a_model_without_texts_is_refused_where_it_stands(clip: Project) -> None:
    models = "\n  after: {source: timm, name: test_resnet, pretrained: false}\n"
    clip.spec(TEST, models=models, concepts=WORDS)
    clip.refuses(2, "models.after: ", "'timm'")


def test_another_layer_is_refused(clip: Project) -> None:
    head = 'stimuli: ../stimuli\nlayers: [pooled, "transformer.resblocks.0:cls"]'
    clip.spec(TEST, head=head, models=MODELS, concepts=WORDS)
    clip.refuses(2, "'transformer.resblocks.0'")


def test_what_the_model_would_cut_is_an_error_of_its_tests_alone(clip: Project) -> None:
    """It is named with its line, and neither are its neighbours nor tests of other words."""
    long = " ".join(["word"] * 20)
    images = TEST.replace("one", "seen").replace("{A: science, B: art}", "{A: p, B: q}")
    for name, ground in zip("pq", [(30, 200, 30), (130, 30, 200)], strict=True):
        clip.images(name, ground=ground, n=4)
    short = TEST.replace("one", "short").replace("B: art", "B: {text: [poet, dance]}")
    concepts = WORDS.replace('"novel"', f'"{long}"') + "  p: p\n  q: q\n"
    spec = clip.spec(
        TEST, images, short, head="stimuli: ../stimuli", models=MODELS, concepts=concepts
    )
    result = clip.gate()
    assert clip.outcomes() == {
        f"{model}::{test}[pooled]": "error" if test == "one" else "pass"
        for model in ("before", "after")
        for test in ("one", "seen", "short")
    }
    (line,) = (n for n, text in enumerate(spec.read_text().splitlines(), 1) if long in text)
    (reason,) = clip.row()["reasons"]
    assert reason.startswith(f"bias_specs/x.bias.yaml:{line}:")
    assert ": concepts.art.text[2]: 'a photo of a word word" in reason
    assert "16 tokens" in reason
    assert reason in sentences(result)


def test_stored_vectors_of_words_are_found_by_the_name_of_their_concept(project: Project) -> None:
    random = np.random.default_rng(0)
    rows = {
        key: random.normal(size=(n, 8)).astype("f4")
        for key, n in zip("xyab", (4, 4, 5, 3), strict=True)
    }
    import safetensors.numpy

    names = {"a": [*A, "unused"], "b": B}
    for model in ("before", "after"):
        safetensors.numpy.save_file(
            rows, project.path / f"{model}.safetensors", metadata={"names": json.dumps(names)}
        )
    words = f"a: {{text: {json.dumps(A[::-1])}}}, b: {{text: {json.dumps(B)}}}"
    project.spec(
        TEST.replace("science", "a").replace("art", "b"), concepts=f"{{x: x, y: y, {words}}}"
    )
    result = project.gate()
    assert result.ret == 0, sentences(result)
    row = project.row()
    assert row["sets"]["A"]["names"] == [f"a/{word}" for word in A[::-1]]
    d, _ = effect(
        *(
            one / np.linalg.norm(one, axis=1, keepdims=True)
            for one in (rows["x"], rows["y"], rows["a"][:4], rows["b"])
        )
    )
    assert row["effect_size"] == pytest.approx(d, abs=1e-6)
