"""The numbers of biases that SB-SSL published, counted again from its results."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.bias_counts import THRESHOLDS, BiasCounts, bias_counts
from pytest_visualbias.reports.published import sb_ssl_report

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.results import Report

# With p < 0.1 at the last layer, from the figure of the paper.
FIGURE = {"byol": 18, "relative_loc": 19, "rotation": 6, "supervised": 13, "swav": 17}
# What is left there of each once the tests are gone that all three untrained networks show.
BEYOND_RANDOM = {
    "jigsaw": 4,
    "rotation": 4,
    "relative_loc": 6,
    "cluster_fit": 6,
    "odc": 4,
    "swav": 7,
    "npid": 3,
    "moco_v1": 3,
    "moco_v2": 5,
    "simclr_vissl_200": 4,
    "byol": 4,
    "supervised": 8,
}


@pytest.fixture(scope="module")
def published(reference_data: Path) -> Report:
    return sb_ssl_report(reference_data / "sb_ssl/results.csv")


@pytest.fixture(scope="module")
def counted(published: Report) -> dict[tuple[str, str], BiasCounts]:
    """Counts as theirs: one-sided, with the positive control, without correction."""
    found = bias_counts(published.results, with_controls=True)
    return {(one.layer, one.model): one for one in found}


def test_their_numbers_of_biases_at_all_layers_and_thresholds(
    counted: dict[tuple[str, str], BiasCounts], reference_data: Path
) -> None:
    with (reference_data / "sb_ssl/counts.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(counted) == 96
    for row in rows:
        own = counted[row["layer"], row["model"]]
        for count in own.counts:
            assert count.raw == int(row[f"n_p_lt_{count.threshold:g}"]), row
            assert count.opposite == int(row[f"n_rev_p_gt_{1 - count.threshold:g}"]), row
        assert own.counts[2].strength == pytest.approx(float(row["sum_d_p_lt_0.01"]), abs=1e-5)


def test_the_figure_of_the_paper(counted: dict[tuple[str, str], BiasCounts]) -> None:
    found = {model: counted["avg_pool", model].counts[0].raw for model in FIGURE}
    assert found == FIGURE


def test_most_of_them_an_untrained_network_shows_too(
    counted: dict[tuple[str, str], BiasCounts],
) -> None:
    found = {model: counted["avg_pool", model].counts[0] for model in BEYOND_RANDOM}
    assert {model: one.beyond_random for model, one in found.items()} == BEYOND_RANDOM
    assert all(one.random == pytest.approx(49 / 3) for one in found.values())


def test_few_are_left_after_correction(counted: dict[tuple[str, str], BiasCounts]) -> None:
    """Their p < 0.05 at the last layer, then corrected over the 39 tests (one-sided)."""
    at = {model: counted["avg_pool", model].counts[1] for _, model in counted}
    shown = {model: (at[model].raw, at[model].bh) for model in ("byol", "swav", "odc", "rotation")}
    assert shown == {"byol": (15, 12), "swav": (15, 6), "odc": (9, 1), "rotation": (4, 0)}


def test_the_positive_control_is_a_control_here_and_fails_where_it_is_reversed(
    published: Report,
) -> None:
    """Two networks whose control is reversed had 19 and 11 biases."""
    found = {one.model: one for one in bias_counts(published.results) if one.layer == "avg_pool"}
    assert {one.tests for one in found.values()} == {38}
    states = {model: one.control for model, one in found.items()}
    assert {model for model, state in states.items() if state == "failed"} == {
        "jigsaw",
        "relative_loc",
    }
    assert sum(state == "not applied" for state in states.values()) == 3


def test_nothing_is_claimed_that_was_not_published(published: Report) -> None:
    (one,) = (
        record
        for record in published.results
        if (record.model, record.layer, record.test) == ("byol", "avg_pool", "Weight")
    )
    known = one.model_dump(exclude_none=True)
    assert {"effect_size_attributes", "ci_low", "gap", "p_attributes", "n_b"}.isdisjoint(known)
    assert (one.n_x, one.n_y, one.n_a, one.alternative) == (10, 10, 55, "greater")
    assert len(published.results) == 96 * 39
    assert THRESHOLDS == (0.1, 0.05, 0.01, 0.001)
