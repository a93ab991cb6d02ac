"""iEAT's published effects and exact p-values from its stored embeddings (Steed and Caliskan 2021).

Published numbers, recomputed: `ieat/published.csv` has them with the published code's own d, and
p by full enumeration where that was feasible.
"""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.statistics.association import association_from_scores
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.statistics.scores import Scores

Row = dict[str, str]


@pytest.fixture(scope="module")
def published(reference_data: Path) -> list[tuple[Row, Scores]]:
    """Each published row with our scores of its four sets."""
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = safetensors.load_file(reference_data / "ieat" / "embeddings.safetensors")
    with (reference_data / "ieat" / "published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (row, association_scores(*(tensors[f"{row['model']}/{row[k]}"] for k in "XYAB")))
        for row in rows
    ]


def test_every_effect_is_within_a_millionth(published: list[tuple[Row, Scores]]) -> None:
    assert len(published) == 117
    for row, scores in published:
        assert scores.targets.difference == pytest.approx(float(row["d"]), abs=1e-6), row
        assert (len(scores.x), len(scores.b)) == (int(row["n_x"]), int(row["n_b"]))


@pytest.mark.parametrize(
    ("column", "alternative"),
    [("p_exact_greater", "greater"), ("p_exact_two_sided", "two-sided")],
)
def test_every_exact_p_is_equal(
    published: list[tuple[Row, Scores]], column: str, alternative: str
) -> None:
    counted = [(row, scores) for row, scores in published if row[column]]
    assert len(counted) == 48
    for row, scores in counted:
        got = permutation_test(scores.targets, alternative=alternative)  # type: ignore[arg-type]
        assert got.method == "exact"
        assert got.p_value == float(row[column]), row


def test_every_p_agrees_with_a_million_draws(published: list[tuple[Row, Scores]]) -> None:
    """The published code's sampling error at a million draws, five of them, is all there is."""
    methods = set()
    for row, scores in published[::3]:
        for column, alternative in (("greater", "greater"), ("two_sided", "two-sided")):
            got = permutation_test(scores.targets, alternative=alternative)  # type: ignore[arg-type]
            drawn = float(row[f"p_mc1e6_{column}"])
            error = 5 * math.sqrt(max(drawn, 1e-6) / 1e6)
            assert got.p_low - error <= drawn <= got.p_high + error, row
            methods.add(got.method)
    assert methods == {"exact", "bounded"}


def test_the_headline_anchor(published: list[tuple[Row, Scores]]) -> None:
    """Insects and flowers, the positive control, is not significant for iGPT."""
    (scores,) = (
        scores
        for row, scores in published
        if (row["model"], row["test"]) == ("igpt_l_32", "Insect-Flower")
    )
    got = association_from_scores(scores, sides="targets")
    assert got.effect_judged == pytest.approx(0.344033, abs=1e-6)
    assert got.p_verdict == pytest.approx(0.152, abs=0.005)
    assert (got.n_x, got.n_y, got.n_a, got.n_b) == (35, 35, 55, 55)
    low, high = got.interval(0.95)
    assert low < 0 < high
