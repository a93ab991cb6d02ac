"""Files of accuracies, measured or written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.document import Accuracy, read_accuracies

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_written_by_hand_needs_a_model_and_its_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text('{"accuracies": [{"model": "byol", "accuracy": 0.716}]}')
    assert read_accuracies(path) == (Accuracy(model="byol", accuracy=0.716),)


SHAPE = 'the file is {"accuracies": [{"model": NAME, "layer": LAYER, "accuracy": 0 to 1}, ...]}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "PATH: must be a mapping, but a list was read; "),
        ("{", "PATH: must be JSON, but "),
        ("{}", "PATH: accuracies: is missing; "),
        ('{"accuracies": [{"model": "a"}]}', "PATH: accuracies.0.accuracy: is missing; "),
        (
            '{"accuracies": [{"model": "a", "accuracy": 71.6}]}',
            "PATH: accuracies.0.accuracy: must be at most 1, but 71.6 was read; ",
        ),
        (
            '{"accuracies": [{"model": "a", "accuracy": 0.7, "layers": "x"}]}',
            "PATH: accuracies.0.layers: is an unknown key; ",
        ),
    ],
)
def test_a_file_of_another_shape_is_refused_with_the_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text(text)
    with pytest.raises(ReportError) as refused:
        read_accuracies(path)
    assert str(refused.value).startswith(said.replace("PATH", str(path)))
    assert str(refused.value).endswith(SHAPE)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot be read \(No such file"):
        read_accuracies(tmp_path / "none.json")
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(ReportError, match="is no text of UTF-8"):
        read_accuracies(tmp_path / "x")
