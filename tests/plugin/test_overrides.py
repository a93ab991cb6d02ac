"""Models, stimuli and the cache, chosen on the command line; embedding is never done twice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.models import encoder
from tests.plugin.conftest import one_test

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Encoder, Identity
    from tests.plugin.conftest import Project

# Of two networks without vectors, the second is built first, to see whether it can be, and freed.
BUILT = ["after.safetensors"]
EMBEDDED = ["before.safetensors", "after.safetensors"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checkpoints of the networks that were loaded since the list was last cleared."""
    loaded: list[str] = []
    source = type(encoder.find_source("timm"))
    load = source.open

    def noted(self: object, entry: object, identity: Identity, context: Context) -> Encoder:
        loaded.append(identity.label)
        return load(self, entry, identity, context)  # type: ignore[arg-type]

    monkeypatch.setattr(source, "open", noted)
    return loaded


def models(project: Project) -> dict[str, str]:
    """Return the digest or checkpoint of every model in the report."""
    found = {}
    for model in project.report()["models"]:
        facts = model["trials"][0]
        found[model["model"]] = facts.get("checkpoint", facts.get("digest", facts["label"]))
    return found


def test_a_bare_path_replaces_the_vectors_of_a_model(project: Project) -> None:
    project.pair()
    project.store("biased", bias=1.0)
    project.spec()
    assert project.gate().ret == 0
    kept = models(project)
    assert project.gate("--visualbias-after=biased.safetensors").ret == 1
    assert models(project)["before"] == kept["before"]
    assert models(project)["after"] != kept["after"]
    assert project.gate("--visualbias-model", "after=biased.safetensors").ret == 1
    assert project.gate("--visualbias-before=biased.safetensors").ret == 0
    assert project.row()["growth"]["value"] < -1


def test_a_bare_path_is_relative_to_the_working_directory(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.pytester.makeini("[pytest]")
    project.pair()
    project.store("biased", bias=1.0)
    project.spec()
    monkeypatch.chdir(project.pytester.mkdir("below"))
    result = project.gate("--visualbias-after=../biased.safetensors")
    result.assert_outcomes(passed=1, failed=1)


def test_the_ini_file_can_name_a_model(project: Project) -> None:
    project.pytester.makeini("[pytest]\nvisualbias_after = biased.safetensors")
    project.pair()
    project.store("biased", bias=1.0)
    project.spec()
    assert project.gate().ret == 1


def test_a_missing_before_is_a_copy_of_after_with_other_weights(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(models="\n  after: {source: embeddings, path: ../after.safetensors}\n")
    project.gate("--visualbias-before=before.safetensors")
    assert project.row()["growth"]["from"] == "before"
    assert project.row(model="before")["role"] == "reference"


def test_a_source_replaces_the_whole_entry(networks: Project) -> None:
    sets = networks.store("vectors")
    result = networks.gate(f"--visualbias-after=embeddings:{sets.name}", "-k", "after")
    assert result.ret == 0
    assert networks.row()["n_x"] == 8
    assert networks.report()["models"][-1]["source"] == "embeddings"


def test_a_checkpoint_can_be_replaced_for_every_spec(networks: Project, opened: list[str]) -> None:
    shutil.copy(networks.path / "before.safetensors", networks.path / "release.safetensors")
    networks.gate("--visualbias-after=release.safetensors")
    assert models(networks)["after"] == models(networks)["before"]
    assert opened == ["before.safetensors"], "the same weights are built and embedded once"
    assert any("'before' and 'after'" in one for one in networks.row()["warnings"])


def test_stimuli_can_lie_elsewhere(networks: Project) -> None:
    (networks.path / "stimuli").rename(networks.path / "moved")
    assert networks.gate().ret == 1
    assert networks.gate("--visualbias-stimuli=moved").ret == 0


def test_a_network_goes_from_files_to_a_verdict(networks: Project) -> None:
    result = networks.gate()
    assert result.ret == 0
    row = networks.row()
    assert (row["n_x"], row["n_y"], row["n_a"], row["n_b"]) == (5, 5, 5, 5)
    assert row["p_method"] == "exact"
    assert row["growth"]["from"] == "before"
    assert row["sets"]["X"]["names"] == [f"x/{index}.png" for index in range(5)]
    model = networks.report()["models"][-1]
    assert model["preprocessing"]["input_size"] == [3, 160, 160]
    assert model["description"]["parameters"] > 0


def test_a_second_run_loads_and_embeds_nothing(networks: Project, opened: list[str]) -> None:
    networks.gate()
    assert opened == [*BUILT, *EMBEDDED]
    first = networks.report()
    opened.clear()
    networks.gate()
    assert opened == []
    assert networks.report() == first


def test_an_image_that_joins_is_the_only_one_embedded(
    networks: Project, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.gate()
    shutil.copy(networks.path / "stimuli/y/4.png", networks.path / "stimuli/x/4.png")
    (networks.path / "stimuli/y/4.png").unlink()
    opened.clear()
    assert networks.gate().ret == 0
    assert opened == [], "the image moved, its content is known"
    networks.images("z", ground=(9, 9, 9), n=1)
    shutil.move(networks.path / "stimuli/z/0.png", networks.path / "stimuli/y/9.png")
    networks.gate()
    assert opened == [*BUILT, *EMBEDDED]


def test_a_changed_checkpoint_is_embedded_again(
    networks: Project, opened: list[str], weights: Path
) -> None:
    networks.gate()
    first = networks.row()
    opened.clear()
    shutil.copy(weights / "before.safetensors", networks.path / "after.safetensors")
    networks.gate()
    assert networks.row()["effect_size"] != first["effect_size"]
    assert networks.row()["effect_size"] == networks.row(model="before")["effect_size"]
    assert opened == [], "these weights were embedded under another name"


def test_no_cache_keeps_nothing(networks: Project, opened: list[str]) -> None:
    for _ in range(2):
        networks.gate("--visualbias-no-cache")
    assert opened == [*BUILT, *EMBEDDED] * 2
    assert not list(networks.path.rglob("1/*.lock"))


def test_the_cache_is_the_option_else_the_environment_else_pytests_own(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(folder: str) -> bool:
        return bool(list((networks.path / folder).rglob("*.safetensors")))

    networks.gate()
    assert kept(".pytest_cache/d/visualbias")
    monkeypatch.setenv("VISUALBIAS_CACHE", "from-environment")
    networks.gate()
    assert kept("from-environment")
    networks.gate("--visualbias-cache=from-option")
    assert kept("from-option")


def test_clearing_pytests_cache_clears_it(networks: Project, opened: list[str]) -> None:
    networks.gate()
    opened.clear()
    networks.gate("--cache-clear")
    assert opened == [*BUILT, *EMBEDDED]


def test_a_selection_embeds_what_the_whole_spec_would(networks: Project) -> None:
    """Which tests are asked for changes no number: the batches are those of the spec."""
    networks.judge_images(
        one_test("one", "{max_effect: 1.8}"),
        one_test("two", "{max_effect: 1.8}", X="a", Y="b", A="x", B="y"),
        models="\n  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}\n",
        options=["--visualbias-no-cache"],
    )
    whole = networks.row("two")
    networks.gate("--visualbias-no-cache", "-k", "two")
    assert networks.row("two") == whole


def test_a_cache_that_cannot_be_made_costs_time_and_no_result(networks: Project) -> None:
    assert networks.gate("--visualbias-cache=after.safetensors/cache").ret == 0
    said = networks.report()["models"][0]["description"]["cache"]
    assert said.startswith("not written: ")
