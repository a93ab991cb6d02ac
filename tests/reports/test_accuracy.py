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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", ""),
        ("{", ""),
        ("{}", "accuracies: "),
        ('{"accuracies": [{"model": "a"}]}', "accuracies.0.accuracy: "),
        ('{"accuracies": [{"model": "a", "accuracy": 71.6}]}', "accuracies.0.accuracy: "),
        (
            '{"accuracies": [{"model": "a", "accuracy": 0.7, "layers": "x"}]}',
            "accuracies.0.layers: ",
        ),
    ],
)
def test_a_file_of_another_shape_is_refused_with_the_place(
    tmp_path: Path, text: str, place: str
) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text(text)
    with pytest.raises(ReportError) as refused:
        read_accuracies(path)
    assert str(refused.value).startswith(f"{path}: {place}")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read"):
        read_accuracies(tmp_path / "none.json")
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(ReportError, match="UTF-8"):
        read_accuracies(tmp_path / "x")
