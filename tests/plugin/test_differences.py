"""Before and after are compared where they agree, or differ in what the spec declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import LATER, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

ACCEPT = f"{{max_effect: 1.9, reason: known, until: {LATER}}}"
LAYERS = "layers: [{name: mid, module: block, pooling: mean}]\n"
POOLED = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../after.safetensors, layers: {mid: "block:max"}}
"""


@pytest.fixture
def pooled(project: Project) -> Project:
    """A project whose models differ in pooling alone."""
    project.pair(after=1.0)
    return project


def declare(project: Project, *names: str) -> None:
    settings = f"settings: {{differs: [{', '.join(names)}]}}"
    project.spec(one_test("one", "{max_growth: 0.2}"), head=LAYERS + settings, models=POOLED)


def test_an_undeclared_difference_fails_and_says_how_to_declare_it(pooled: Project) -> None:
    declare(pooled)
    assert pooled.gate().ret == 1
    (reason,) = pooled.row()["reasons"]
    assert reason.startswith("not_comparable: ")
    assert "'settings: {differs: [pooling]}'" in reason


def test_an_effect_over_its_own_limit_is_told_where_its_growth_cannot_be(pooled: Project) -> None:
    """What could not be compared must not hide what needed no comparing."""
    tests = [
        one_test("one", "{max_effect: 0.5, max_growth: 0.2}"),
        one_test("within", "{max_effect: 1.9, max_growth: 0.2}"),
        one_test("weak", "{max_effect: 1.75, max_growth: 0.2}", evidence="interval"),
        one_test("known", "{max_effect: 0.5, max_growth: 0.2}", accept=ACCEPT),
        one_test(
            "idle", "{max_effect: 1.9, max_growth: 0.2}", accept=ACCEPT.replace("1.9", "1.91")
        ),
    ]
    pooled.spec(*tests, head=LAYERS, models=POOLED)
    assert pooled.gate().ret == 1
    rows = {name: pooled.row(name) for name in ("one", "within", "weak", "known", "idle")}
    assert {row["outcome"] for row in rows.values()} == {"fail"}
    for row in rows.values():
        assert sum(reason.startswith("not_comparable") for reason in row["reasons"]) == 1
        assert row["growth"] is None
    over = {
        name: {one["kind"]: one["evidence"] for one in row["violations"] if one["value"]}
        for name, row in rows.items()
    }
    assert over == {
        "one": {"effect": True},
        "within": {},
        "weak": {"effect": False},
        "known": {"effect": True},
        "idle": {},
    }


def test_a_growth_that_no_limit_is_on_is_said_to_be_missing(pooled: Project) -> None:
    """Once for all tests of the model, at its line."""
    tests = [one_test("one", "{max_effect: 1.9}"), one_test("two", "{}", A="c", B="d")]
    pooled.spec(*tests, head=LAYERS, models=POOLED)
    result = pooled.gate()
    assert result.ret == 0
    (warning,) = pooled.row()["warnings"]
    assert warning.startswith("bias_specs/x.bias.yaml:4:3: models.after: ")
    assert "'settings: {differs: [pooling]}'" in warning
    assert pooled.row()["growth"] is None
    assert pooled.row("two")["warnings"] == [warning]
    assert sentences(result).count(f"warning: {warning}") == 1


def test_a_declared_difference_is_compared(pooled: Project) -> None:
    declare(pooled, "pooling")
    result = pooled.gate()
    assert pooled.breaches() == [("growth", True)]
    assert "warning: " not in sentences(result)


def test_a_declared_difference_that_is_none_is_a_warning(pooled: Project) -> None:
    declare(pooled, "pooling", "preprocessing.size")
    result = pooled.gate()
    assert pooled.row()["growth"]["value"] > 1
    (warning,) = pooled.row()["warnings"]
    assert warning.startswith("bias_specs/x.bias.yaml:")
    assert ": settings.differs[1]: " in warning
    assert f"warning: {warning}" in sentences(result)


def test_other_stimuli_are_never_compared(pooled: Project) -> None:
    pooled.store("after", label="new-", bias=1.0)
    declare(pooled, "pooling")
    pooled.gate()
    (reason,) = pooled.row()["reasons"]
    assert reason.startswith("not_comparable: ")
    assert "differs:" not in reason


@pytest.mark.parametrize("name", ["stimuli", "size", "preprocessing.", "layer"])
def test_only_pooling_and_preprocessing_can_be_declared(pooled: Project, name: str) -> None:
    declare(pooled, name)
    pooled.refuses(2, "settings.differs[0]: ", f"'{name}'")


def test_networks_of_another_input_size_are_compared_where_that_is_declared(
    networks: Project,
) -> None:
    """Every difference is named at once, and the names that it gives are those to declare."""
    path = networks.path / "bias_specs/x.bias.yaml"
    text = path.read_text().replace(
        "after.safetensors}", "after.safetensors, transform: {size: 96}}"
    )
    text = text.replace("{max_effect: 1.8}", "{max_growth: 1.5}")
    path.write_text(text)
    assert networks.gate().ret == 1
    (reason,) = networks.row()["reasons"]
    declared = reason.partition("declare it with '")[2].rstrip("'")
    assert "preprocessing.input_size" in declared
    path.write_text(text + declared + "\n")
    networks.gate()
    assert networks.row()["growth"]["from"] == "before"
    assert not any("not_comparable" in reason for reason in networks.row()["reasons"])


HALF = """
  before: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}
  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors, precision: bf16}
"""


def test_a_copy_in_fewer_bits_is_gated_against_its_parent(networks: Project) -> None:
    """Declared, the same weights in another precision have a growth, which is not exactly zero."""
    for settings in ("", "settings: {differs: [precision]}\n"):
        networks.spec(
            one_test("one", "{max_growth: 1.5}"),
            head=f"stimuli: ../stimuli\n{settings}",
            models=HALF,
            concepts="{x: x, y: y, a: a, b: b}",
        )
        result = networks.gate()
        row = networks.row()
        if not settings:
            assert result.ret == 1
            assert "(fp32 and bf16)" in row["reasons"][0]
            continue
        assert result.ret == 0, sentences(result)
        assert 0 < abs(row["growth"]["value"]) < 0.3
        precisions = {one["model"]: one["precision"] for one in networks.report()["models"]}
        assert precisions == {"before": "fp32", "after": "bf16"}
