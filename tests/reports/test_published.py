"""Published tables that cannot be read are refused in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.published import sb_ssl_report

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "validation,layer,model,test,X,Y,A,B,effect_size,p_value,n_target,n_attribute\n"


def row(*, repetition: int = 0, test: str = "Age", d: str = "0.5", p: str = "0.02") -> str:
    return f"{repetition},GAP,byol,{test},x,y,a,b,{d},{p},8,21\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "PATH has no column 'layer'"),
        (HEADER, "PATH has no rows"),
        (HEADER + row(d="much"), "PATH:2: effect_size is 'much'"),
        (HEADER + row(p="nan"), "PATH:2: p_value is 'nan'"),
        (HEADER + row() + "0,GAP\n", "PATH:3: effect_size is None"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReportError) as refused:
        sb_ssl_report(path)
    assert str(refused.value).startswith(said.replace("PATH", str(path)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read"):
        sb_ssl_report(tmp_path / "none.csv")


def test_p_is_averaged_over_repetitions_and_the_line_is_that_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(
        HEADER + row(test="Race") + row(p="0.02") + row(repetition=1, p="0.04"), encoding="utf-8"
    )
    race, age = sb_ssl_report(path).results
    assert (race.line, age.line) == (2, 3)
    assert age.p_value == pytest.approx(0.03)
    assert (age.p_method, age.role) == ("sampled", "reference")
