"""Preprocessing and read-outs of a model entry, from the spec to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import SETS, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

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
    assert reason.startswith("bias_specs/x.bias.yaml:3:3: models.before: ")
    assert reason in sentences(result)
    # The others are in the cache, and are read from there while this one is asked for again.
    networks.gate("-k", "pooled")
    assert networks.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "pass"}


class TestPreprocess:
    def test_before_and_after_that_differ_in_it_are_not_comparable(self, networks: Project) -> None:
        spec(networks, before=", preprocess: ieat")
        assert networks.gate().ret == 1
        (reason,) = networks.row()["reasons"]
        assert reason.startswith("not_comparable: ")
        for key in ("crop", "interpolation", "mean"):
            assert f"preprocessing.{key}" in reason

    def test_alike_in_it_they_are_compared_and_each_is_warned_of_once(
        self, networks: Project
    ) -> None:
        spec(networks, ", preprocess: ieat", ", preprocess: ieat", layers="pooled, layer1")
        shown = sentences(networks.gate())
        assert networks.row()["growth"]["from"] == "before"
        assert [model["preprocessing"] for model in networks.report()["models"]] == [FACTS] * 2
        for model in ("before", "after"):
            assert shown.count(f"models.{model}.preprocess: ") == 1
        assert all(".preprocess: " in row["warnings"][0] for row in rows(networks))
        given = "--visualbias-after=timm:test_resnet", "--visualbias-offline", "-k", "before"
        networks.gate(*given)
        assert [model["preprocessing"] for model in networks.report()["models"]] == [FACTS]

    def test_the_models_own_can_be_named(self, networks: Project) -> None:
        found = []
        for keys in ("", ", preprocess: own"):
            spec(networks, keys, keys)
            networks.gate("--visualbias-no-cache")
            assert not any(".preprocess: " in one for one in networks.row()["warnings"])
            names = ("effect_size", "gap", "p_value", "warnings")
            found.append([[row[name] for name in names] for row in rows(networks)])
        assert found[0] == found[1]

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
        networks.refuses(1, "'logits'", "fc.weight, fc.bias", options=["-k", "after"])
        assert networks.outcomes() == {"after::one[logits]": "error"}
        spec(networks)
        assert networks.gate().ret == 0

    def test_a_model_may_call_its_logits_by_the_name_of_another_layer(
        self, networks: Project
    ) -> None:
        spec(networks, after=", layers: {end: logits}", before="", layers="end")
        networks.gate("-k", "after")
        assert networks.row()["growth"] is None, "before has no such layer"
        assert networks.row()["outcome"] != "pass"
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
        networks.refuses(2, f"'{layer}'")
