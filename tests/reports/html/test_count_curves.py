"""The table below the curves has the numbers that the report counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.counts import bias_counts
from pytest_visualbias.reports.html.count_curves import TOLD, count_curves

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.record import ResultRecord

P = (0.0004, 0.004, 0.02, 0.04, 0.3, 0.8)


def test_the_numbers_are_those_of_the_report(make: Callable[..., ResultRecord]) -> None:
    """Raw, corrected, and what no untrained network shows; an untrained one has no last row."""
    records = [
        make(f"t{index}", model=model, role=role, p_verdict=p * scale)
        for model, role, scale in (("after", "gated", 1.0), ("blank", "random", 1.2))
        for index, p in enumerate(P)
    ]
    (chart,) = count_curves(records, {"after": 0, "blank": 1})
    after, blank = bias_counts(records, TOLD, p="p_verdict")
    expected = [
        ("after, raw", *(str(one.raw) for one in after.counts)),
        ("after, corrected", *(str(one.holm) for one in after.counts)),
        ("after, beyond untrained networks", *(str(one.beyond_random) for one in after.counts)),
        ("blank, raw", *(str(one.raw) for one in blank.counts)),
        ("blank, corrected", *(str(one.holm) for one in blank.counts)),
    ]
    assert chart.table is not None
    assert list(chart.table.rows) == expected
    assert [row[1:] for row in expected[:2]] == [("1", "2", "4", "4"), ("0", "1", "2", "3")]
