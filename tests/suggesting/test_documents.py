"""What docs/limits.md says about numbers is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_visualbias.suggesting.basis import Basis
from pytest_visualbias.suggesting.limits import propose

DOCUMENT = Path(__file__).parents[2] / "docs" / "limits.md"


def rows() -> list[tuple[int, int, str]]:
    """Return images in a set, p, and what stands in the cell, for every cell of the table."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("| images in each set |")[2]
    heads = [int(count) for count in re.findall(r"(\d+) p \|", text.partition("\n")[0])]
    found = []
    for line in re.findall(r"^\| (\d+ \|.*) \|$", text, flags=re.MULTILINE):
        size, *cells = [cell.strip() for cell in line.split("|")]
        found += [(int(size), count, cell) for count, cell in zip(heads, cells, strict=True)]
    return found


@pytest.mark.parametrize(("n", "count", "cell"), rows())
def test_the_table_of_what_sets_can_see_is_what_is_proposed(n: int, count: int, cell: str) -> None:
    """A growth is compared as it is proposed, rounded up: the table has what it is rounded from."""
    basis = Basis(
        model="before",
        layer="pooled",
        level=0.05 / count,
        count=count,
        sides=((n, n),),
        spreads=(0.4,),
        other="after",
    )
    found = propose(basis, can_grow=True)
    if cell == "none":
        assert found.visible is None
        return
    effect, growth = (float(number) for number in cell.split(", "))
    assert found.visible == pytest.approx(effect, abs=0.005)
    assert -0.0051 < found.limits["max_growth"].value - growth < 0.0551


def test_the_table_is_whole() -> None:
    assert len(rows()) == 7 * 3
