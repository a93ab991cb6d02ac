"""A path that leads nowhere is corrected by what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.fields import correction

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("afer.pt", "did you mean after.pt?"),
        ("run/epoch_1.pt", "did you mean runs?"),
        ("runs/epoch_2.pt", "did you mean epoch_1.pt?"),
        ("something.pt", "correct the path"),
        ("..\\\\checkpoints\\\\a.pt", "write / in paths: ../checkpoints/a.pt"),
        ("C:\\\\models\\\\a.pt", "write / in paths: C:/models/a.pt"),
    ],
)
def test_the_nearest_name_is_offered(name: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "after.pt").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/epoch_1.pt").touch()
    path = tmp_path / name.replace("\\\\", "\\")
    assert correction(path) == hint
