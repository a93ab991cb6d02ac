"""The table below the curves has the numbers that the report counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.bias_counts import bias_counts
from pytest_visualbias.reports.html.number_tables import THRESHOLDS, count_tables, label_tables
from tests.reports.html.samples import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.reports.bias_counts import BiasCount
    from pytest_visualbias.reports.html.number_tables import Table
    from pytest_visualbias.results import ResultRecord

SAID: dict[str, Callable[[BiasCount], str]] = {
    "raw": lambda one: str(one.raw),
    "effect above / below zero": lambda one: f"{one.positive} / {one.negative}",
    "corrected": lambda one: str(one.holm),
    "beyond untrained networks": lambda one: str(one.beyond_random),
    "sum of |effect|": lambda one: f"{one.strength:.2f}",
}
P = (0.0004, 0.004, 0.02, 0.04, 0.3, 0.8)


def rows_of(table: Table) -> dict[str, list[str]]:
    return {name: numbers for name, *numbers in table.rows}


def test_the_numbers_are_those_of_the_report(make: Callable[..., ResultRecord]) -> None:
    """In all and by direction, corrected, what no untrained network shows, and the strength."""
    records = [
        make(f"t{index}", model=model, role=role, p_verdict=p * scale, effect_judged=d)
        for model, role, scale in (("after", "gated", 1.0), ("blank", "random", 1.2))
        for index, (p, d) in enumerate(zip(P, (0.9, -0.8, 0.7, 0.6, 0.5, -0.4), strict=True))
    ]
    (table,) = count_tables(records).values()
    after, blank = bias_counts(records, THRESHOLDS, p="p_verdict")
    expected = [
        (f"{one.model}, {what}", [said(count) for count in one.counts])
        for one in (after, blank)
        for what, said in SAID.items()
        if one is after or not what.startswith("beyond")
    ]
    assert list(rows_of(table).items()) == expected
    assert [numbers for _, numbers in expected[:3]] == [
        ["1", "2", "4", "4"],
        ["1 / 0", "1 / 1", "3 / 1", "3 / 1"],
        ["0", "1", "2", "3"],
    ]
    assert expected[4][1] == ["0.90", "1.70", "3.00", "3.00"]


@pytest.mark.parametrize(
    ("role", "outcome", "state"),
    [
        ("gated", "pass", "held"),
        ("gated", "fail", "failed"),
        ("random", "pass", "not applied"),
    ],
)
def test_the_state_of_the_positive_control_stands_beside_the_name(
    make: Callable[..., ResultRecord], role: str, outcome: str, state: str
) -> None:
    records = [make(f"t{index}", role=role, p_verdict=p) for index, p in enumerate(P)]
    records.append(make("c", role=role, control="positive", outcome=outcome))
    (table,) = count_tables(records).values()
    assert next(iter(rows_of(table))) == f"after (control {state}), raw"


def test_a_label_has_the_means_of_its_models() -> None:
    records = [record(effect_judged=d, labels={"depth": "20"}) for d in (-1.0, 0.5)]
    (table,) = label_tables(records).values()
    assert table.head[0] == "depth"
    assert table.rows == (("20", "0.75", "+0.90", "1", "2", "2"),)
