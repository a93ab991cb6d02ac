"""Numbers that the pages quote are those that are published, and those that come out here."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import pytest
import safetensors.numpy

from pytest_visualbias.statistics.association import AssociationResult, association_test
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.power import smallest_detectable_effect, smallest_p
from tests.docs.pages import text_of

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = {"sports": "Surfb", "car": "Car", "fashion": "Fashion", "mammal": "Mammal"}
THEIRS = {"their ResNet-18": "resnet18", "their ResNet-50": "resnet50"}
THEIRS |= {"their BiT": "bit_resnet50", "their CLIP": "clip"}


def table(page: str, head: str) -> list[dict[str, str]]:
    """Return the rows of the table of a page whose header begins with `head`."""
    (found,) = re.findall(rf"^\| {re.escape(head)} .*\n(?:\|.*\n)+", text_of(page), re.MULTILINE)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def shows(cell: str, value: float) -> bool:
    """Whether a cell shows a value, to as many places as it has."""
    plain = cell.replace("−", "-")
    if "e" in plain or abs(value) < 1e-4:
        return bool(float(plain) == pytest.approx(value, rel=0.05))
    places = len(plain.partition(".")[2])
    return abs(float(plain) - value) <= 0.5000001 * 10.0**-places


def test_what_small_sets_can_show_is_computed() -> None:
    rows = table("docs/explanation/small-sets.md", "n | smallest p")
    assert len(rows) == 9
    for row in rows:
        n, p, *levels, largest = row.values()
        size = int(n)
        assert float(p) == pytest.approx(smallest_p(size, size, "two-sided"), rel=0.05)
        for cell, alpha in zip(levels, (0.05, 0.05 / 6, 0.05 / 20), strict=True):
            found = smallest_detectable_effect(size, size, alpha, "two-sided")
            assert (cell == "–") if found is None else shows(cell, found), (n, alpha)
        assert shows(largest, largest_effect(size, size))


@pytest.fixture
def published(reference_data: Path) -> dict[str, dict[str, str]]:
    """The published rows of one model by test."""
    with (reference_data / "ieat" / "published.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] == "igpt_l_32"]
    return {row["test"]: row for row in rows}


def test_the_replication_of_ieat_quotes_them_and_us(
    reference_data: Path, published: dict[str, dict[str, str]]
) -> None:
    rows = table("docs/replication.md", "test | n")
    assert len(rows) == 9
    path = reference_data / "ieat" / "embeddings.safetensors"
    with safetensors.safe_open(path, framework="numpy") as stored:
        for row in rows:
            theirs = published[row["test"]]
            sets = [stored.get_tensor(f"igpt_l_32/{theirs[role]}") for role in "XYAB"]
            ours = association_test(*sets, alternative="greater", sides="targets")
            assert row["n"] == theirs["n_x"]
            assert shows(row["*d* theirs"], float(theirs["d_published"])), row
            assert shows(row["p theirs"], float(theirs["p_published"])), row
            _assert_ours(row, ours)


def _assert_ours(row: dict[str, str], ours: AssociationResult) -> None:
    assert shows(row["*d* ours"], ours.effect_size), row
    assert shows(row["p ours"], ours.p_value), row
    how, _, low = row["how"].partition(", from ")
    assert how == ours.p_method, row
    assert shows(low, ours.p_low) if low else ours.p_low == ours.p_value, row


def test_the_table_of_ranjit_et_al_quotes_them(reference_data: Path) -> None:
    with (reference_data / "ranjit" / "ieat_table2_notebook.csv").open(newline="") as stream:
        kept = [r for r in csv.DictReader(stream) if r["analysis_and_finetune_set"] == "openimages"]
    published = {(row["A"], row["B"], row["model"]): row["d_pretrained"] for row in kept}
    rows = table("docs/replication.md", "objects")
    assert len(rows) == 6
    for row in rows:
        first, second = (OBJECTS[name] for name in row["objects"].split(", "))
        for column, model in THEIRS.items():
            assert shows(row[column], float(published[first, second, model])), (row, column)
