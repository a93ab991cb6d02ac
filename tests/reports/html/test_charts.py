"""Charts of training runs."""

from __future__ import annotations

from pytest_visualbias.reports.html.curves import segments


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), None, (3.0, 4.0), None, (5.0, 6.0), (7.0, 8.5)]
    assert segments(points) == ("0,1 1,2", "5,6 7,8.5")
