"""What docs/limits.md says about numbers is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_visualbias.cli.limit_measurements import Basis
from pytest_visualbias.cli.limit_proposals import propose
from pytest_visualbias.evaluation.detectable import detectable_before_data
from pytest_visualbias.spec.parser import parse_spec

DOCUMENT = Path(__file__).parents[2] / "docs" / "limits.md"

SPEC = """\
visualbias: 1
models: {after: {source: timm, name: r, checkpoint: a.pt}}
concepts: {x: x, y: y, a: a, b: b}
tests: [{name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}]
"""


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
def test_the_table_of_what_sets_can_show_is_what_the_code_gives(
    n: int, count: int, cell: str
) -> None:
    """A growth is compared as it is proposed, rounded up: the table has what it is rounded from."""
    spec = parse_spec(SPEC, file="s", folder=Path()).spec
    found = detectable_before_data(spec, spec.tests[0], dict.fromkeys("XYAB", n), count)
    basis = Basis(
        model="before",
        layer="pooled",
        level=0.05 / count,
        count=count,
        sides=((n, n), (n, n)),
        spreads=(0.4, 0.4),
        other="after",
    )
    growth = propose(basis, can_grow=True).limits.get("max_growth")
    if cell == "none":
        assert (found, growth) == (None, None)
        return
    detectable, grown = (float(number) for number in cell.split(", "))
    assert found == pytest.approx(detectable, abs=0.006)
    assert growth is not None
    assert -0.0051 < growth.value - grown < 0.0551


def test_the_table_is_whole() -> None:
    assert len(rows()) == 7 * 3
