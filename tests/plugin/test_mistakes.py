"""A user's mistakes: each a sentence that says where, what and what to do, and no traceback."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"


def mistaken(project: Project, code: int, *said: str) -> str:
    """Run the gate, and make sure of its exit code and of what it said."""
    result = project.gate()
    assert result.ret == code
    text = sentences(result)
    for words in said:
        assert words in text, text
    return text


def test_an_unknown_key_with_its_place_and_the_nearest_key(project: Project) -> None:
    project.pair()
    project.spec(one_test("one", "{max_efect: 0.5}"))
    place = f"{SPEC}:12:14: tests[0].limits.max_efect: "
    mistaken(project, 2, f"{place}unknown key; did you mean 'max_effect'?")


def test_a_duplicate_key_with_both_lines(project: Project) -> None:
    project.pair()
    project.spec(one_test("one", "{max_effect: 0.5, max_effect: 5}"))
    mistaken(project, 2, f"{SPEC}:12:31: ", "the key stands twice, first in line 12; remove one")


def test_an_unknown_concept_with_the_nearest(project: Project) -> None:
    project.pair()
    project.spec(one_test("one", X="flowr"))
    said = "tests[0].targets.X: unknown concept 'flowr'; did you mean 'flower'?"
    mistaken(project, 2, f"{SPEC}:10:15: {said}")


def test_all_mistakes_of_a_spec_at_once(project: Project) -> None:
    project.pair()
    project.spec(one_test("one", "{max_efect: 0.5}", X="flowr"), head="titel: mine")
    mistaken(project, 2, "titel: unknown key", "max_efect: unknown key", "unknown concept 'flowr'")


def test_no_spec_at_all(project: Project) -> None:
    folder = project.path / "bias_specs"
    mistaken(project, 5, f"no item of a spec ran; put *.bias.yaml into {folder}, or name a spec")


def test_text_that_is_not_yaml(project: Project) -> None:
    project.spec().write_text("visualbias: [1\n")
    mistaken(project, 2, f"{SPEC}:2:1: this is not YAML")


def test_an_empty_file(project: Project) -> None:
    project.spec().write_text("")
    mistaken(project, 2, f"{SPEC}:1:1: ")


def test_bytes_that_are_not_utf_8(project: Project) -> None:
    project.spec().write_bytes(b"visualbias: \xff\n")
    mistaken(project, 2, f"{SPEC}:1:1: is not UTF-8 (byte 12); save it as UTF-8")


def test_a_missing_folder_of_stimuli(networks: Project) -> None:
    (networks.path / "stimuli/x").rename(networks.path / "stimuli/moved")
    text = mistaken(networks, 1, f"{SPEC}:5:12: concepts.x: the folder ")
    assert "stimuli/x does not exist; correct the path or fetch the stimuli" in text


def test_a_folder_without_images(networks: Project) -> None:
    for path in (networks.path / "stimuli/x").iterdir():
        path.unlink()
    mistaken(
        networks, 2, f"{SPEC}:5:12: concepts.x: no image was found; put images into its folder"
    )


def test_an_image_that_is_not_one(networks: Project) -> None:
    path = networks.path / "stimuli/x/2.png"
    path.write_text("<html>404</html>")
    mistaken(networks, 1, "stimuli/x/2.png is not an image; remove it from the set or replace it")


def test_an_image_that_breaks_off(networks: Project) -> None:
    path = networks.path / "stimuli/x/2.png"
    path.write_bytes(path.read_bytes()[:-40])
    mistaken(networks, 1, "stimuli/x/2.png cannot be decoded", "replace the file")


def test_the_checkpoint_of_another_architecture(networks: Project, weights: Path) -> None:
    shutil.copy(weights / "vit.safetensors", networks.path / "after.safetensors")
    said = "after.safetensors does not fit the network: "
    mistaken(networks, 1, said, "conv1", "name the architecture")
    assert networks.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "error"}


def test_a_checkpoint_that_is_not_there(networks: Project) -> None:
    (networks.path / "after.safetensors").unlink()
    text = mistaken(
        networks, 1, "after.safetensors cannot be read (No such file", "correct the path"
    )
    assert f"\n{SPEC}:4:3: models.after: the checkpoint after.safetensors cannot be read" in text


def test_stimuli_that_are_not_there_at_all_are_told_once(networks: Project) -> None:
    (networks.path / "stimuli").rename(networks.path / "moved")
    said = f"{SPEC}:6:1: stimuli: the folder stimuli does not exist; correct 'stimuli'"
    text = mistaken(networks, 1, said)
    assert f"ERROR 2 tests of 'before', 'after': {said}" in text


def test_a_checkpoint_that_is_none(networks: Project) -> None:
    (networks.path / "after.safetensors").write_text("not weights")
    mistaken(networks, 1, "after.safetensors is a text file and holds no weights; name the")


def test_a_layer_that_the_network_does_not_have(networks: Project) -> None:
    path = networks.path / SPEC
    path.write_text(
        path.read_text().replace("stimuli: ../stimuli", "stimuli: ../stimuli\nlayers: [layr3]")
    )
    mistaken(networks, 1, "there is no layer 'layr3'; did you mean 'layer3'?")


def test_a_model_that_timm_does_not_have(networks: Project) -> None:
    path = networks.path / SPEC
    path.write_text(path.read_text().replace("name: test_resnet", "name: tst_resnet"))
    mistaken(networks, 1, "timm has no model 'tst_resnet'; did you mean 'test_resnet'?")


def test_a_device_that_is_not_here_is_an_error_whether_or_not_all_is_cached(
    networks: Project,
) -> None:
    said = "--visualbias-device: there is no device 'cuda:99' here; choose another, or 'auto'"
    for _ in ("cold", "warm"):
        result = networks.gate("--visualbias-device=cuda:99")
        assert result.ret == 4
        assert said in str(result.stderr)
        assert networks.gate().ret == 0


def test_a_mistake_says_the_same_in_the_summary_as_above(project: Project) -> None:
    """The short summary begins with the sentence, not with the name of an exception."""
    project.pair()
    (project.path / "after.safetensors").unlink()
    project.spec()
    result = project.gate()
    start = "ERROR bias_specs/x.bias.yaml::after::one?pooled? - bias_specs/x.bias.yaml:4:*"
    result.stdout.fnmatch_lines([start])


@pytest.mark.parametrize("kind", ["npz", "bin"])
def test_vectors_of_another_kind(project: Project, kind: str) -> None:
    project.pair()
    (project.path / f"after.{kind}").write_bytes(b"PK nothing")
    models = MODELS_OF.replace("KIND", kind)
    project.spec(models=models)
    said = {"npz": "is damaged", "bin": "is neither .safetensors nor .npz; convert it"}
    mistaken(project, 1, f"after.{kind} ", said[kind])


MODELS_OF = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../after.KIND}
"""


def test_a_collapsed_model_is_an_error_and_no_effect_of_its_rounding(project: Project) -> None:
    """All images one vector but for the last bit of a float32: what is left is noise."""
    random = np.random.default_rng(0)
    one = random.normal(size=16).astype(np.float32)
    sets = {}
    for name in "xyab":
        rows = np.repeat(one[None], 8, axis=0)
        up = random.random(rows.shape) < 0.5
        sets[name] = np.where(up, np.nextafter(rows, np.float32(9)), rows)
    for file in ("before", "after"):
        project.store(file, sets)
    project.spec()
    result = project.gate()
    assert project.row()["outcome"] == "error"
    assert "have the same association" in project.row()["reasons"][0]
    assert result.ret == pytest.ExitCode.TESTS_FAILED
