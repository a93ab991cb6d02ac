"""Networks of several runs or of none, and signs of life while they embed."""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

UNTRAINED = """
  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}
  untrained: {source: timm, name: test_resnet, random_init: 2}
"""
RUNS = """
  after:
    source: timm
    name: test_resnet
    checkpoint: [../before.safetensors, ../after.safetensors]
"""
SETS = "{x: x, y: y, a: a, b: b}"


def respecify(project: Project, models: str, *tests: str) -> None:
    project.spec(*tests, head="stimuli: ../stimuli", models=models, concepts=SETS)


def test_a_random_control_never_fails_by_a_limit_nor_by_a_control(networks: Project) -> None:
    respecify(
        networks,
        UNTRAINED,
        one_test("one", "{max_effect: 0}"),
        one_test("control", "{min_effect: 1.8}", control="positive"),
    )
    networks.gate("-k", "untrained").assert_outcomes(passed=2, deselected=2)
    for test in ("one", "control"):
        row = networks.row(test, "untrained")
        assert (row["role"], row["outcome"]) == ("random", "pass")
        assert row["reasons"] == ["random control, reported only"]
    assert networks.row("one", "untrained")["trials"]["labels"] == ["seed 0", "seed 1"]


def test_the_effect_of_several_runs_is_the_mean_of_theirs(networks: Project) -> None:
    respecify(networks, RUNS, one_test("one", "{max_effect: 1.8}"))
    networks.gate()
    row = networks.row()
    assert row["trials"]["labels"] == ["before.safetensors", "after.safetensors"]
    assert row["effect_size"] == pytest.approx(statistics.mean(row["trials"]["effect_size"]))
    (model,) = networks.report()["models"]
    assert [one["label"] for one in model["trials"]] == row["trials"]["labels"]
    assert len({one["checkpoint"] for one in model["trials"]}) == 2


def test_long_work_gives_signs_of_life_in_plain_lines(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_visualbias.progress.FIRST_AFTER", 0.0)
    monkeypatch.setattr("pytest_visualbias.progress.EVERY", 0.0)
    result = networks.gate("--visualbias-batch-size=8")
    lines = [line for line in result.outlines if "images embedded" in line]
    assert lines == [
        f"visualbias: {model}: {done} of 20 images embedded"
        for model in ("before", "after")
        for done in (8, 16, 20)
    ]


def test_short_work_gives_none(networks: Project) -> None:
    assert "images embedded" not in sentences(networks.gate())


@pytest.mark.slow
def test_networks_bear_warnings_as_errors(networks: Project) -> None:
    result = networks.process("--visualbias", "-Werror", "--visualbias-json=out.json")
    assert result.ret == 0, sentences(result)
    result.assert_outcomes(passed=2)


def test_the_batch_size_moves_no_verdict(networks: Project) -> None:
    effects = []
    for size in (1, 7, 64):
        networks.gate("--visualbias-no-cache", f"--visualbias-batch-size={size}")
        effects.append(networks.row()["effect_size"])
    assert effects == pytest.approx([effects[0]] * 3, abs=1e-5)


def test_an_image_whose_name_is_not_text_is_measured_all_the_same(networks: Project) -> None:
    image = networks.path / "stimuli/x/0.png"
    image.rename(image.with_name(os.fsdecode(b"\xff.png")))
    assert networks.gate().ret == 0
    assert "x/\\xff.png" in networks.row()["sets"]["X"]["names"]
