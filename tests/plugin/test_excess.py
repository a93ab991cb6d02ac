"""How far an effect may go beyond what an untrained network of the same architecture shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec import effective_settings
from tests.plugin.conftest import KIND_SETS, MODELS, kind_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

UNTRAINED = """
  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}
  untrained: {source: timm, name: test_resnet, random_init: 2}
"""
STORED = MODELS + "  untrained: {source: embeddings, path: ../untrained.safetensors}\n"
TWO = f"{STORED}  other: {{source: timm, name: a, random_init: 1}}\n"
# The modules that ask whether a model is untrained.
USERS = (
    "cli.explain",
    "cli.limit_measurements",
    "evaluation.build_result",
    "evaluation.controls",
    "evaluation.family",
    "evaluation.growth_references",
    "evaluation.judging",
    "evaluation.measure_tests",
    "evaluation.warnings",
    "plugin.items",
    "spec.consistency",
    "spec.consistency_rules",
    "spec.effective_settings",
)


@pytest.fixture
def stored(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which stored vectors stand for those of an untrained network."""
    real = effective_settings.is_random
    for module in USERS:
        monkeypatch.setattr(
            f"pytest_visualbias.{module}.is_random", lambda e: _untrained(e) or real(e)
        )
    project.pair(after=1.0)
    project.store("untrained")
    return project


def _untrained(entry: object) -> bool:
    return "untrained" in getattr(entry, "path", "")


def test_an_effect_beyond_that_of_the_untrained_network_fails(stored: Project) -> None:
    result = stored.judge(one_test("one", "{max_excess: 0.5}"), models=STORED)
    assert result.ret == 1
    assert stored.breaches() == [("excess", True)]
    assert "beyond 'untrained': " in sentences(result)
    assert stored.outcomes() == {
        "before::one[pooled]": "pass",
        "after::one[pooled]": "fail",
        "untrained::one[pooled]": "pass",
    }


def test_an_effect_that_the_untrained_network_shows_too_is_no_excess(stored: Project) -> None:
    """It goes by the size of the effect: the untrained one may well point the other way."""
    stored.store("untrained", bias=-1.0)
    stored.spec(one_test("one", "{max_excess: 0.5}"), models=STORED)
    assert stored.gate().ret == 0
    excess = stored.row()["excess"]
    assert excess["from"] == "untrained"
    assert excess["flipped"]
    assert excess["value"] == pytest.approx(abs(excess["after"]) - abs(excess["before"]))
    assert abs(excess["value"]) < 0.2


def test_it_has_the_numbers_of_growth_from_the_same_vectors(stored: Project) -> None:
    stored.spec(one_test("one", "{max_excess: 0.5, max_growth: 0.5}"), models=STORED)
    stored.gate()
    row = stored.row()
    differing = {key for key in row["growth"] if row["growth"][key] != row["excess"][key]}
    assert differing == {"from"}


def test_its_p_counts_in_the_family(stored: Project) -> None:
    tests = [one_test("one", "{max_excess: 0.5, max_growth: 0.5}"), one_test("two", A="c", B="d")]
    stored.spec(*tests, models=STORED)
    stored.gate()
    assert stored.row()["family_size"] == 3
    excess = stored.row()["excess"]
    assert excess["p_adjusted"] == pytest.approx(3 * excess["p_verdict"])
    assert stored.row("one", "untrained")["family_size"] == 2
    assert stored.row("one", "untrained")["excess"] is None


@pytest.mark.parametrize("kind", KIND_SETS)
def test_every_kind_has_one(stored: Project, kind: str) -> None:
    stored.spec(kind_test(kind, "{max_excess: 0.01}", evidence="point"), models=STORED)
    stored.gate()
    row = stored.row(kind)
    assert (row["outcome"] == "fail") == (row["excess"]["value"] > 0.01)


def test_without_evidence_it_is_inconclusive(stored: Project) -> None:
    stored.pair(after=0.15)
    stored.spec(one_test("one", "{max_excess: 0.6}", evidence="interval"), models=STORED)
    stored.gate()
    assert stored.row()["outcome"] == "inconclusive"
    assert stored.breaches() == [("excess", False)]


def test_other_images_are_not_compared_and_hide_no_other_breach(stored: Project) -> None:
    """What needs no untrained network is judged without it."""
    stored.store("untrained", label="other-")
    limits = "{max_effect: 0.5, max_growth: 0.2, max_excess: 0.5}"
    assert stored.judge(one_test("one", limits), one_test("two"), models=STORED).ret == 1
    kinds = [("effect", True), ("growth", True), ("excess", False)]
    assert stored.breaches() == kinds
    assert stored.row()["reasons"][2].startswith("not_comparable: 'untrained' and 'after' ")
    assert stored.row("two")["excess"] is None
    (warning,) = stored.row("two")["warnings"]
    assert "models.after: " in warning


def test_where_the_untrained_network_cannot_be_measured_it_is_an_error(stored: Project) -> None:
    (stored.path / "untrained.safetensors").unlink()
    stored.spec(one_test("one", "{max_excess: 0.5}"), one_test("two"), models=STORED)
    assert stored.gate().ret == 1
    assert stored.row()["outcome"] == "error"
    assert stored.row("two")["outcome"] == "fail"


@pytest.mark.parametrize(
    ("models", "over", "place", "names"),
    [
        (MODELS, None, "limits.max_excess", "'random_init: 3'"),
        (TWO, None, "limits.max_excess", "(untrained, other)"),
        (STORED, "before", "excess_over", "untrained"),
        (MODELS, "before", "excess_over", "'random_init: 3'"),
        (STORED, "untraind", "excess_over", "'untrained'"),
    ],
)
def test_it_must_be_clear_over_what(
    stored: Project, models: str, over: str | None, place: str, names: str
) -> None:
    keys = {"excess_over": over} if over else {}
    stored.spec(one_test("one", "{max_excess: 0.5}", **keys), models=models)
    stored.refuses(2, f"tests[0].{place}: ", names)


def test_of_several_untrained_networks_one_is_named(stored: Project) -> None:
    stored.store("untrained2", bias=1.0)
    stored.spec(
        one_test("one", "{max_excess: 0.5}", excess_over="second"),
        models=f"{STORED}  second: {{source: embeddings, path: ../untrained2.safetensors}}\n",
    )
    assert stored.gate().ret == 0
    assert stored.row()["excess"]["from"] == "second"
    assert stored.row()["excess"]["value"] == 0


def test_untrained_seeds_are_averaged_like_trials(networks: Project) -> None:
    """With networks: what the excess starts from is the effect that is reported of the seeds."""
    networks.judge_images(one_test("one", "{max_excess: 1.8}"), models=UNTRAINED)
    excess = networks.row()["excess"]
    untrained = networks.row("one", "untrained")
    assert len(untrained["trials"]["labels"]) == 2
    assert excess["before"] == pytest.approx(untrained["effect_judged"])
    assert excess["after"] == pytest.approx(networks.row()["effect_judged"])
    assert excess["untrained"] == untrained["trials"]["effect_judged"]
    assert min(excess["untrained"]) < excess["before"] < max(excess["untrained"])
