"""Curves over thresholds."""

from __future__ import annotations

from pytest_visualbias.reports.html.count_curves import count_curves
from pytest_visualbias.reports.html.curves import assign_hues, segments
from pytest_visualbias.statistics.multiple_testing import adjust
from tests.reports.html.samples import record

HUES = {"before": 0, "after": 1}


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), None, (3.0, 4.0), None, (5.0, 6.0), (7.0, 8.5)]
    assert segments(points) == ("0,1 1,2", "5,6 7,8.5")


def test_a_model_has_one_colour_in_all_charts() -> None:
    assert assign_hues(["b", "a", "b", "c"]) == {"b": 0, "a": 1, "c": 2}
    assert max(assign_hues(map(str, range(50))).values()) == 6


class TestCounts:
    PS = (0.0005, 0.02, 0.04, 0.2, 0.9)

    def test_every_model_has_the_numbers_of_tests_below_thresholds_raw_and_corrected(self) -> None:
        records = [record(f"t{index}", p_verdict=p) for index, p in enumerate(self.PS)]
        (chart,) = count_curves(records, HUES)
        assert chart.table is not None
        assert chart.table.head == ("", "p < 0.001", "p < 0.01", "p < 0.05", "p < 0.1")
        corrected = adjust(self.PS, "holm")
        expected = [str(sum(p < t for p in corrected)) for t in (0.001, 0.01, 0.05, 0.1)]
        assert chart.table.rows[0] == ("after, raw", "1", "1", "3", "3")
        assert chart.table.rows[2] == ("after, corrected", *expected)
        assert [line.is_dashed for line in chart.lines] == [False, True]

    def test_a_curve_rises_by_one_at_every_p_and_ends_with_all_tests(self) -> None:
        records = [record(f"t{index}", p_verdict=p) for index, p in enumerate(self.PS)]
        (chart,) = count_curves(records, HUES)
        places = [tuple(map(float, one.split(","))) for one in chart.lines[0].paths[0].split()]
        heights = [up for _, up in places]
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        assert heights == sorted(heights, reverse=True)
        assert len(set(heights)) == 6
        assert heights[-1] == 12.0, "the top of the drawing, where all five tests are"

    def test_what_could_not_be_measured_keeps_its_place_in_the_correction(self) -> None:
        ps = (0.02, 0.02, 0.02, None)
        records = [record(f"t{index}", p_verdict=p) for index, p in enumerate(ps)]
        (chart,) = count_curves(records, HUES)
        assert chart.table is not None
        assert [row[3] for row in (chart.table.rows[0], chart.table.rows[2])] == ["3", "0"]

    def test_controls_and_similarities_do_not_count(self) -> None:
        plain = [record(f"t{index}", p_verdict=0.5) for index in range(3)]
        control = record("c", control="positive", p_verdict=0.001, outcome="pass")
        within = record("w", kind="intra-similarity", p_verdict=None)
        (chart,) = count_curves([*plain, control, within], HUES)
        assert chart.table is not None
        assert chart.table.rows[0] == ("after (control held), raw", "0", "0", "0", "0")
        assert "of 3" in chart.about

    def test_an_untrained_network_stands_beside_the_others(self) -> None:
        records = [
            record(f"t{index}", model=model, role=role, p_verdict=0.03)
            for model, role in (("after", "gated"), ("untrained", "random"))
            for index in range(3)
        ]
        (chart,) = count_curves(records, {**HUES, "untrained": 2})
        assert [line.name for line in chart.lines[::2]] == ["after, raw", "untrained, raw"]

    def test_of_two_tests_there_is_no_curve(self) -> None:
        assert count_curves([record("one"), record("two")], HUES) == []


def test_nothing_is_counted_of_nothing() -> None:
    assert count_curves([], {}) == []
