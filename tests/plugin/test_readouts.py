"""Preprocessing and read-outs of a model entry, from the spec to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SETS = "{x: x, y: y, a: a, b: b}"
DEPARTS = (
    "preprocess: iEAT's preprocessing is not the model's own: a square from the top left, not "
    "normalised; compare with published numbers by it, and gate without it"
)
FACTS = {
    "size": [224, 224],
    "crop": "top left",
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "interpolation": "area",
}


def spec(
    project: Project, before: str = "", after: str = "", *, layers: str = "pooled", limits: str = ""
) -> None:
    """Write a spec of the two networks, each with further keys."""
    entry = "{{source: timm, name: test_resnet, checkpoint: ../{0}.safetensors{1}}}"
    models = (
        f"\n  before: {entry.format('before', before)}\n  after: {entry.format('after', after)}"
    )
    project.spec(
        one_test("one", limits or "{max_growth: 1.5}"),
        head=f"stimuli: ../stimuli\nlayers: [{layers}]",
        models=f"{models}\n",
        concepts=SETS,
    )


def rows(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.report()["results"]
    return found


def test_a_layer_that_cannot_be_read_is_an_error_of_its_tests_alone(networks: Project) -> None:
    spec(networks, layers="pooled, layer9, layer1")
    result = networks.gate()
    assert result.ret == 1
    assert {(row["layer"], row["outcome"]) for row in rows(networks)} == {
        ("pooled", "pass"),
        ("layer1", "pass"),
        ("layer9", "error"),
    }
    (reason,) = next(row["reasons"] for row in rows(networks) if row["layer"] == "layer9")
    place = "bias_specs/x.bias.yaml:3:3: models.before: "
    assert reason.startswith(f"{place}there is no layer 'layer9'; did you mean 'layer")
    assert reason in sentences(result)
    # The others are in the cache, and are read from there while this one is asked for again.
    networks.gate("-k", "pooled")
    assert networks.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "pass"}


class TestPreprocess:
    def test_before_and_after_that_differ_in_it_are_not_comparable(self, networks: Project) -> None:
        spec(networks, before=", preprocess: ieat")
        assert networks.gate().ret == 1
        (reason,) = networks.row()["reasons"]
        assert reason.startswith("not_comparable: before and after differ in preprocessing.crop ")
        assert "preprocessing.interpolation (area and bilinear)" in reason
        assert "preprocessing.mean ([0.0, 0.0, 0.0] and [0.5, 0.5, 0.5])" in reason

    def test_alike_in_it_they_are_compared(self, networks: Project) -> None:
        spec(networks, ", preprocess: ieat", ", preprocess: ieat")
        assert networks.gate().ret == 0
        assert networks.row()["growth"]["from"] == "before"
        assert [model["preprocessing"] for model in networks.report()["models"]] == [FACTS] * 2

    def test_the_models_own_can_be_named(self, networks: Project) -> None:
        spec(networks)
        networks.gate("--visualbias-no-cache")
        unnamed = rows(networks)
        spec(networks, ", preprocess: own", ", preprocess: own")
        networks.gate("--visualbias-no-cache")
        keys = ("effect_size", "gap", "p_value", "warnings")
        assert [[row[key] for key in keys] for row in rows(networks)] == [
            [row[key] for key in keys] for row in unnamed
        ]

    def test_each_model_that_departs_from_its_own_is_warned_of_once(
        self, networks: Project
    ) -> None:
        spec(networks, ", preprocess: ieat", ", preprocess: ieat", layers="pooled, layer1")
        shown = sentences(networks.gate())
        for model in ("before", "after"):
            assert shown.count(f"models.{model}.{DEPARTS}") == 1
        assert all(row["warnings"][0].endswith(DEPARTS) for row in rows(networks))
        spec(networks)
        assert DEPARTS not in sentences(networks.gate())

    def test_it_is_part_of_the_key_of_the_cache(self, networks: Project) -> None:
        """Vectors of one preprocessing never answer for another, nor for another size of it."""
        gaps = []
        for keys in ("", ", preprocess: ieat", ", preprocess: ieat, transform: {size: 96}"):
            spec(networks, keys, keys)
            networks.gate()
            gaps.append(networks.row()["gap"])
            networks.gate("--visualbias-no-cache")
            assert networks.row()["gap"] == pytest.approx(gaps[-1], abs=1e-6)
        assert len({round(gap, 5) for gap in gaps}) == 3

    def test_recorded_results_of_another_one_are_not_compared(self, networks: Project) -> None:
        def alone(keys: str) -> None:
            entry = f"{{source: timm, name: test_resnet, checkpoint: ../after.safetensors{keys}}}"
            networks.spec(
                one_test("one", "{max_growth: 0.5}"),
                head="stimuli: ../stimuli",
                models=f"\n  after: {entry}\n",
                concepts=SETS,
            )

        alone(", preprocess: ieat")
        assert networks.gate("--visualbias-update").ret == 0
        alone("")
        assert networks.gate().ret == 1
        said = "was recorded with other preprocessing (crop: top left then, None now)"
        assert said in networks.row()["reasons"][0]

    def test_it_holds_for_a_model_from_the_command_line(self, networks: Project) -> None:
        spec(networks, ", preprocess: ieat", ", preprocess: ieat")
        networks.gate("--visualbias-after=timm:test_resnet", "--visualbias-offline", "-k", "before")
        assert [model["preprocessing"] for model in networks.report()["models"]] == [FACTS]


class TestReadOuts:
    def test_logits_and_probabilities_are_layers_like_others(self, networks: Project) -> None:
        spec(networks, layers="pooled, logits, probabilities")
        assert networks.gate().ret == 0
        after = [row for row in rows(networks) if row["model"] == "after"]
        assert [row["nodeid"].rpartition("::")[2] for row in after] == [
            "one[pooled]",
            "one[logits]",
            "one[probabilities]",
        ]
        assert len({row["effect_size"] for row in after}) == 3
        networks.gate()
        assert [row for row in rows(networks) if row["model"] == "after"] == after

    def test_of_a_checkpoint_without_a_classifier_they_err_and_the_rest_is_judged(
        self, networks: Project
    ) -> None:
        path = networks.path / "after.safetensors"
        weights = safetensors.torch.load_file(path)
        kept = {name: weights[name] for name in weights if not name.startswith("fc.")}
        safetensors.torch.save_file(kept, path)
        spec(networks, layers="logits")
        shown = sentences(networks.gate("-k", "after"))
        assert networks.outcomes() == {"after::one[logits]": "error"}
        assert "there is no layer 'logits': the checkpoint " in shown
        assert "(fc.weight, fc.bias)" in shown
        spec(networks)
        assert networks.gate().ret == 0

    def test_a_model_may_call_its_logits_by_the_name_of_another_layer(
        self, networks: Project
    ) -> None:
        spec(networks, after=", layers: {end: logits}", before="", layers="end")
        networks.gate("-k", "after")
        assert "there is no layer 'end'" in networks.row()["reasons"][0]  # of before
        spec(networks, ", layers: {end: logits}", ", layers: {end: logits}", layers="end")
        assert networks.gate().ret == 0
        assert networks.row()["module"] == "logits"

    def test_they_are_listed(
        self,
        networks: Project,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        spec(networks)
        monkeypatch.chdir(networks.path)
        assert main(["layers", "bias_specs/x.bias.yaml", "after"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:5] == ["pooled", "logits", "probabilities", "output", "conv1"]

    @pytest.mark.parametrize("layer", ["logits", "probabilities", "pooled"])
    def test_they_have_no_pooling(self, networks: Project, layer: str) -> None:
        spec(networks, layers=f"'{layer}:mean'")
        result = networks.gate()
        assert result.ret == 2
        said = f"'{layer}' is one vector of the network itself; write '{layer}' alone"
        assert said in sentences(result)
