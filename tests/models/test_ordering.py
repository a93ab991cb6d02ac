"""The order of the checkpoints of a training run, by the numbers in their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.models.weight_files import checkpoint_steps, order_series


def ordered(*names: str, axis: str = "epoch") -> list[str]:
    found = [
        Identity(label=name, facts={"checkpoint": name}, checkpoint=Path("/run") / name)
        for name in names
    ]
    return [one.step for one in order_series(found, axis)]


def test_two_stands_before_ten_however_the_files_are_listed() -> None:
    assert ordered("epoch_10.pt", "epoch_2.pt", "epoch_1.pt") == ["1", "2", "10"]
    assert ordered("epoch_010.pt", "epoch_002.pt") == ["2", "10"]


@pytest.mark.parametrize(
    ("names", "axis", "labels"),
    [
        (("epoch=03-step=99.ckpt", "epoch=04-step=132.ckpt"), "epoch", ["3", "4"]),
        (("epoch=03-step=99.ckpt", "epoch=04-step=132.ckpt"), "step", ["99", "132"]),
        (("epoch=03-loss=0.25.ckpt", "epoch=12-loss=0.19.ckpt"), "epoch", ["3", "12"]),
        (("Epoch 7.pt", "epoch-8-best.pt"), "epoch", ["7", "8"]),
        (("checkpoint-1000/model.pt", "checkpoint-500/model.pt"), "step", ["500", "1000"]),
        (("resnet50_v2_3.pt", "resnet50_v2_4.pt"), "epoch", ["3", "4"]),
        (
            ("ep1_it200.pt", "ep1_it100.pt", "ep2_it50.pt"),
            "stage",
            ["1_it100", "1_it200", "2_it50"],
        ),
        (("model_7.pt",), "epoch", ["7"]),
    ],
)
def test_the_step_is_the_number_that_tells_the_files_apart(
    names: tuple[str, ...], axis: str, labels: list[str]
) -> None:
    assert ordered(*names, axis=axis) == labels


def test_the_axis_is_a_word_of_its_own_and_the_last_one_counts() -> None:
    """`step` is not read in `substep`, and the folder of the run is not its epoch."""
    assert checkpoint_steps(["/epoch_9/epoch_1.pt", "/epoch_9/epoch_2.pt"], "epoch") == ["1", "2"]
    assert checkpoint_steps(["/substep5/a1.pt", "/substep5/a2.pt"], "step") == ["1", "2"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("epoch_1.pt", "epoch_2.pt", "last.pt"), "/run/last.pt"),
        (("a.pt", "b.pt"), "/run/a.pt, /run/b.pt"),
        (("best1.pt", "last2.pt"), "/run/best1.pt, /run/last2.pt"),
        (("model.pt",), "/run/model.pt"),
    ],
)
def test_a_file_without_a_place_is_named(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(EncoderError) as found:
        ordered(*names)
    assert found.value.problem.endswith(f": {said}")


@pytest.mark.parametrize(
    "names", [("epoch_1.pt", "epoch_01.pt"), ("a1.pt", "a01.pt"), ("epoch_1.pt", "x/epoch_1.pt")]
)
def test_two_files_of_one_step_are_both_named(names: tuple[str, ...]) -> None:
    with pytest.raises(EncoderError) as found:
        ordered(*names)
    first, second = (f"/run/{name}" for name in names)
    assert str(found.value) == (
        f"{first} and {second} are both epoch 1; choose a pattern that matches one of them, or "
        "name what 'series' counts otherwise"
    )


def test_a_step_cannot_hold_the_codes_of_a_terminal() -> None:
    assert ordered("1\x1b[31m_1.pt", "2\x1b[31m_2.pt") == ["1\\x1b[31m_1", "2\\x1b[31m_2"]
