"""What the parts of a spec must be to each other: a test for every message."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.consistency import RESERVED_TAGS, SOURCES_GROUP
from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.spec.schema import BiasSpec

    Spoilt = Callable[..., list[str]]
    Accepted = Callable[..., BiasSpec]

AFTER = "{source: timm, name: test_resnet, checkpoint: after.safetensors}"
BEFORE = "{source: timm, name: test_resnet}\n"
LIMITS = "{max_effect: 0.5, max_growth: 0.2}"


@pytest.fixture
def accepted(valid: str) -> Accepted:
    """Spec after replacing texts of the valid one, without a fault."""

    def spec(*changes: tuple[str, str]) -> BiasSpec:
        text = valid
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        return parse_spec(text, file="s.yaml", folder=Path()).spec

    return spec


class TestModels:
    def test_a_checkpoint_and_untrained_weights_exclude_each_other(self, spoilt: Spoilt) -> None:
        assert spoilt(("after.safetensors}", "a.pt, random_init: 2}")) == [
            ("s.yaml:5:62: models.after.random_init: a checkpoint is given too; keep one of them"),
        ]

    def test_so_they_do_for_a_factory(self, spoilt: Spoilt) -> None:
        new = "{source: factory, call: a:b, transform: {size: 8}, checkpoint: a, random_init: 1}"
        (fault,) = spoilt((AFTER, new))
        assert "models.after.random_init: a checkpoint is given too" in fault

    @pytest.mark.parametrize("key", ["container: model", "prefix: module."])
    def test_a_place_in_no_checkpoint(self, spoilt: Spoilt, key: str) -> None:
        (fault,) = spoilt(("checkpoint: after.safetensors}", f"{key}}}"))
        name, _, _ = key.partition(":")
        assert fault.endswith(
            f"models.after.{name}: there is no checkpoint to read it in; add 'checkpoint' or "
            "remove this"
        )

    @pytest.mark.parametrize("other", ["checkpoint: a.pt", "random_init: 3"])
    def test_published_weights_exclude_others(self, spoilt: Spoilt, other: str) -> None:
        (fault,) = spoilt((AFTER, f"{{source: timm, name: r, pretrained: true, {other}}}"))
        key = other.partition(":")[0]
        assert fault.endswith(f"models.after.pretrained: {key} is given too; keep one of them")

    @pytest.mark.parametrize("other", ["checkpoint: a.pt", "random_init: 3"])
    def test_no_published_weights_go_with_either(self, accepted: Accepted, other: str) -> None:
        changes = ((BEFORE, f"{{source: timm, name: r, pretrained: false, {other}}}\n"),)
        assert accepted(*changes).models["before"].source == "timm"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (
                "{source: open_clip, name: ViT-B-32}",
                (
                    "models.after.name: nothing says which weights; add 'pretrained: TAG', a "
                    "'checkpoint', or 'pretrained: false' for untrained weights"
                ),
            ),
            (
                '{source: open_clip, name: "hf-hub:o/c", pretrained: openai}',
                "models.after.pretrained: this name brings its own weights; remove it",
            ),
            (
                "{source: open_clip, name: x, checkpoint: a.pt, arguments: {load_weights: true}}",
                (
                    "models.after.arguments.load_weights: says which weights are loaded; say it "
                    "with the keys of the model"
                ),
            ),
            (
                "{source: transformers}",
                (
                    "models.after: give either the 'name' of a repository on the hub or the 'path' "
                    "of a folder"
                ),
            ),
            (
                "{source: transformers, name: o/v, path: v}",
                (
                    "models.after: give either the 'name' of a repository on the hub or the 'path' "
                    "of a folder"
                ),
            ),
            (
                "{source: transformers, path: v, revision: main}",
                "models.after.revision: a folder has none; remove it",
            ),
            (
                "{source: transformers, path: [v, w], checkpoint: a.pt}",
                "models.after.path: name the one folder whose architecture is meant",
            ),
            (
                "{source: torchvision, name: r, pretrained: true, checkpoint: a.pth}",
                "models.after.pretrained: checkpoint is given too; keep one of them",
            ),
            ("{source: onnx, path: a.onnx}", "models.after.transform: is missing; add it"),
            (
                "{source: export, path: a.pt2, preprocess: ieat, transform: {size: 8, crop: 0.5}}",
                "models.after.transform.crop: 'preprocess: ieat' says it already; remove it",
            ),
        ],
    )
    def test_what_an_entry_of_a_library_or_a_program_contradicts(
        self, spoilt: Spoilt, entry: str, message: str
    ) -> None:
        (fault,) = spoilt((AFTER, entry))
        assert fault.partition(": ")[2] == message

    def test_an_unknown_source_is_told_with_the_nearest(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt((AFTER, "{source: embedings, path: a.npz}"))
        assert fault == (
            "s.yaml:5:11: models.after.source: unknown source 'embedings'; "
            "did you mean 'embeddings'?"
        )

    def test_a_source_of_an_installed_package_is_known_with_its_own_keys(
        self, accepted: Accepted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def entry_points(*, group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
            assert group == SOURCES_GROUP
            return (importlib.metadata.EntryPoint("coreml", "theirs:Source", group),)

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
        entry = accepted((AFTER, "{source: coreml, anything: [1, 2]}")).models["after"]
        assert entry.model_extra == {"anything": [1, 2]}


class TestLayers:
    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            (
                "['layer3:avg']",
                "layers[0]: 'avg' is not a pooling; choose one of mean, cls, flatten, max",
            ),
            (
                "[pooled, pooled]",
                "layers: the layer 'pooled' stands 2 times; remove all but one",
            ),
            (
                "['blocks.{0..2}', blocks.1]",
                "layers: the layer 'blocks.1' stands 2 times; remove all but one",
            ),
            ("[':mean']", "layers[0]: ':mean' names no module; write module:pooling"),
            (
                "['blocks.{3..1}']",
                ("layers[0]: names no layer, or more than 1000; write a range as {first..last}"),
            ),
            (
                "['a.{0..9999}.{0..9999}.{0..9999}']",
                ("layers[0]: names no layer, or more than 1000; write a range as {first..last}"),
            ),
        ],
    )
    def test_a_layer_that_is_none(self, spoilt: Spoilt, layers: str, expected: str) -> None:
        (fault,) = spoilt(("[pooled]", layers))
        assert fault.endswith(f": {expected}")

    def test_a_model_renames_layers_of_the_spec_only(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt(
            ("[pooled]", "[pooled, {name: mid, module: layer2}]"),
            ("after.safetensors", "a.pt, layers: {mdi: layer3}"),
        )
        assert fault.endswith("models.after.layers.mdi: no layer of this name; did you mean 'mid'?")

    @pytest.mark.parametrize(
        ("module", "expected"),
        [
            ("layer3:avg", "'avg' is not a pooling; choose one of mean, cls, flatten, max"),
            (":cls", "':cls' names no module; write module:pooling"),
        ],
    )
    def test_a_models_own_layer_must_be_one(
        self, spoilt: Spoilt, module: str, expected: str
    ) -> None:
        (fault,) = spoilt(
            ("[pooled]", "[{name: mid, module: layer2}]"),
            ("after.safetensors", f"a.pt, layers: {{mid: '{module}'}}"),
        )
        assert fault.endswith(f"models.after.layers.mid: {expected}")

    @pytest.mark.parametrize("prefix", ["", ", prefix: igpt/"])
    def test_stored_vectors_of_several_layers_need_the_layer_in_their_prefix(
        self, spoilt: Spoilt, prefix: str
    ) -> None:
        """Otherwise every layer would be answered with the same vectors."""
        (fault,) = spoilt(
            ("[pooled]", "['l{1..2}']"), (AFTER, f"{{source: embeddings, path: a.npz{prefix}}}")
        )
        assert fault.endswith(
            ": models.after.prefix: the layers would all be the same vectors; "
            "write '{layer}' where they differ"
        )

    def test_one_layer_needs_none(self, accepted: Accepted) -> None:
        assert accepted((AFTER, "{source: embeddings, path: a.npz}")).layers == ("pooled",)

    def test_a_prefix_with_the_layer_serves_several(self, accepted: Accepted) -> None:
        accepted(
            ("[pooled]", "[l1, l2]"),
            (AFTER, "{source: embeddings, path: a.npz, prefix: 'm_{layer}/'}"),
        )


class TestConcepts:
    def test_an_unknown_concept_is_told_with_the_nearest(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt(("X: male", "X: mael"))
        assert fault.endswith(
            ":17:15: tests[0].targets.X: unknown concept 'mael'; did you mean 'male'?"
        )

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("Y: female", "Y: male", "tests[0].targets: X and Y"),
            ("B: family", "B: career", "tests[0].attributes: A and B"),
        ],
    )
    def test_a_side_needs_two_concepts(
        self, spoilt: Spoilt, old: str, new: str, expected: str
    ) -> None:
        (fault,) = spoilt((old, new))
        assert fault.endswith(f": {expected} are the same concept; name two different ones")

    def test_two_tests_of_one_name_are_told_apart_by_their_places(
        self, spoilt: Spoilt, valid: str
    ) -> None:
        again = valid.partition("tests:\n")[2]
        (fault,) = spoilt(("    tags: [gender]\n", f"    tags: [gender]\n{again}"))
        assert fault == (
            "s.yaml:21:5: tests[1].name: 'gender-career' is also the name of tests[0]; rename one"
        )


class TestLimits:
    @pytest.mark.parametrize("key", ["max_growth", "max_shift"])
    def test_growth_needs_a_model_to_measure_from(self, spoilt: Spoilt, key: str) -> None:
        (fault,) = spoilt(("  before:", "  base:"), (LIMITS, f"{{{key}: 0.2}}"))
        assert fault.startswith(f"s.yaml:19:14: tests[0].limits.{key}: there is nothing to measure")
        assert (
            "`pytest --visualbias --visualbias-after=CHECKPOINT --visualbias-update-new`" in fault
        )

    def test_growth_from_names_a_model(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt(("    tags:", "    growth_from: befor\n    tags:"))
        assert fault.endswith("tests[0].growth_from: unknown model 'befor'; did you mean 'before'?")

    def test_growth_may_be_measured_from_another_model(self, accepted: Accepted) -> None:
        accepted(("  before:", "  base:"), ("    tags:", "    growth_from: base\n    tags:"))

    @pytest.mark.parametrize("evidence", ["interval", "equivalence"])
    @pytest.mark.parametrize("place", ["settings", "test"])
    def test_a_gap_may_be_judged_by_its_interval(
        self, accepted: Accepted, place: str, evidence: str
    ) -> None:
        old = "{alpha: 0.05}" if place == "settings" else "    tags:"
        new = f"{{evidence: {evidence}}}"
        if place == "test":
            new = f"    evidence: {evidence}\n    tags:"
        accepted((LIMITS, "{max_gap: 0.1}"), (old, new))

    @pytest.mark.parametrize("key", ["max_growth", "max_shift"])
    def test_no_change_is_judged_by_equivalence(self, spoilt: Spoilt, key: str) -> None:
        limits = f"{{max_effect: 0.5, {key}: 0.1}}"
        (fault,) = spoilt((LIMITS, limits), ("{alpha: 0.05}", "{evidence: equivalence}"))
        assert f"tests[0].limits.{key}: " in fault
        assert "evidence: significant" in fault

    def test_a_test_may_ask_a_gap_for_other_evidence_than_the_spec(
        self, accepted: Accepted
    ) -> None:
        accepted(
            (LIMITS, "{max_gap: 0.1}"),
            ("{alpha: 0.05}", "{evidence: interval}"),
            ("    tags:", "    evidence: point\n    tags:"),
        )

    @pytest.mark.parametrize(
        "models",
        [
            f"before: {AFTER}",
            "random: {source: timm, name: r, pretrained: false}",
            f"before: {AFTER}\n  random: {{source: timm, name: r, random_init: 3}}",
        ],
    )
    def test_limits_need_a_model_that_they_gate(self, spoilt: Spoilt, models: str) -> None:
        (fault,) = spoilt(
            (f"before: {BEFORE}  after: {AFTER}", models), (LIMITS, "{max_effect: 0.5}")
        )
        assert fault == (
            f"s.yaml:{18 + models.count(chr(10))}:5: tests[0].limits: there is no model that they "
            "gate; add one besides the references"
        )

    def test_a_model_gated_by_another_test_does_not_count(self, spoilt: Spoilt, valid: str) -> None:
        """The first test's limits could never fail: its only model is what growth starts from."""
        again = valid.partition("tests:\n")[2].replace("gender-career", "other")
        again = again.replace(LIMITS, "{}").replace("[gender]", "[]")
        (fault,) = spoilt(
            (f"before: {BEFORE}  after: {AFTER}", f"base: {AFTER}"),
            (LIMITS, "{max_effect: 0.5}\n    growth_from: base"),
            ("    tags: [gender]\n", f"    tags: [gender]\n{again}"),
        )
        assert "tests[0].limits: there is no model that they gate" in fault

    def test_without_limits_a_reference_alone_is_enough(self, accepted: Accepted) -> None:
        accepted((f"before: {BEFORE}  after: {AFTER}", f"before: {AFTER}"), (LIMITS, "{}"))


class TestControls:
    def test_min_effect_is_for_controls(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt((LIMITS, "{min_effect: 0.5}"))
        assert fault.endswith(
            "tests[0].limits.min_effect: is for a control; add 'control: positive' or remove it"
        )

    def test_scope_is_for_controls(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt(("    tags:", "    scope: model\n    tags:"))
        assert fault.endswith(
            "tests[0].scope: is for a control; add 'control: positive' or remove it"
        )

    def test_a_control_needs_what_it_must_show(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt((LIMITS, "{}\n    control: positive"))
        assert fault.endswith("tests[0].limits: a positive control needs 'min_effect'; add it")

    @pytest.mark.parametrize("key", ["max_effect", "max_gap", "max_growth", "max_shift"])
    def test_a_control_has_no_other_limit(self, spoilt: Spoilt, key: str) -> None:
        (fault,) = spoilt((LIMITS, f"{{min_effect: 0.5, {key}: 1}}\n    control: positive"))
        assert fault.endswith(
            "tests[0].limits: a positive control has 'min_effect' only; remove the other limits"
        )

    def test_a_control_with_what_it_must_show(self, accepted: Accepted) -> None:
        accepted((LIMITS, "{min_effect: 0.5}\n    control: positive\n    scope: model"))


class TestTags:
    @pytest.mark.parametrize("tag", sorted(RESERVED_TAGS))
    def test_a_mark_of_pytest_is_no_tag(self, spoilt: Spoilt, tag: str) -> None:
        (fault,) = spoilt(("[gender]", f"[gender, {tag}]"))
        assert fault == (
            f"s.yaml:20:20: tests[0].tags[1]: '{tag}' has a meaning of its own in pytest; "
            "choose another tag"
        )

    @pytest.mark.parametrize("tag", ["skip", "xfail", "skipif", "flaky", "visualbias"])
    def test_those_that_hide_a_test_are_among_them(self, tag: str) -> None:
        assert tag in RESERVED_TAGS


def test_everything_is_told_in_one_run(valid: str) -> None:
    text = (
        valid.replace("X: male", "X: mael")
        .replace("[gender]", "[skip]")
        .replace("[pooled]", "['layer3:avg']")
        .replace("after.safetensors}", "a.pt, random_init: 2}")
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text, file="s.yaml", folder=Path())
    assert [fault.place for fault in caught.value.faults] == [
        "models.after.random_init",
        "layers[0]",
        "tests[0].targets.X",
        "tests[0].tags[0]",
    ]
