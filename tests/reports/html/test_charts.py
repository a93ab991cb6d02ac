"""Curves over layers and thresholds, and effects after against effects before."""

from __future__ import annotations

import pytest

from pytest_visualbias.reports.html.count_curves import count_curves
from pytest_visualbias.reports.html.curves import assign_hues, segments
from pytest_visualbias.reports.html.layer_curves import layer_curves
from pytest_visualbias.reports.html.transfer_plots import transfer_plots
from pytest_visualbias.statistics.multiple_testing import adjust
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import record

HUES = {"before": 0, "after": 1}


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), None, (3.0, 4.0), None, (5.0, 6.0), (7.0, 8.5)]
    assert segments(points) == ("0,1 1,2", "5,6 7,8.5")


def test_a_model_has_one_colour_in_all_charts() -> None:
    assert assign_hues(["b", "a", "b", "c"]) == {"b": 0, "a": 1, "c": 2}
    assert max(assign_hues(map(str, range(50))).values()) == 6


class TestLayers:
    def test_a_test_at_several_layers_has_a_curve_for_every_model(self) -> None:
        records = [
            record(model=model, role=role, layer=layer, effect_judged=d, growth=None)
            for model, role in (("before", "reference"), ("after", "gated"))
            for layer, d in (("early", 0.2), ("late", 1.0))
        ]
        (chart,) = layer_curves([*records, record("once")], HUES)
        assert chart.title == ("bias_specs/x.bias.yaml", "gender-career")
        assert [tick.text for tick in chart.x_ticks] == ["early", "late"]
        assert [(line.name, line.hue, line.is_dashed) for line in chart.lines] == [
            ("before", 0, True),
            ("after", 1, False),
        ]
        first, last = chart.lines[1].points
        assert first.text == "after, early: +0.20"
        assert first.x < last.x
        assert first.y > last.y, "a larger effect stands higher"
        assert "after: +0.20, +1.00" in chart.about

    def test_what_was_recorded_before_has_a_curve_too(self) -> None:
        """A baseline has no results in the report, but the growth knows its effects."""
        growth = {**GROWTH, "base": "baseline", "before": 0.3}
        records = [record(layer=layer, growth=growth) for layer in ("early", "late")]
        (chart,) = layer_curves(records, HUES)
        assert [(line.name, line.is_dashed) for line in chart.lines] == [
            ("baseline", True),
            ("after", False),
        ]

    def test_limits_are_drawn_on_the_sides_that_count(self) -> None:
        def limits(alternative: str) -> int:
            records = [
                record(layer=layer, alternative=alternative, effect_judged=d)
                for layer, d in (("early", -0.9), ("late", 0.9))
            ]
            return len(layer_curves(records, HUES)[0].limits)

        assert [limits(way) for way in ("two-sided", "greater", "less")] == [2, 1, 1]

    def test_gaps_of_a_classifier_have_their_own_limit_and_axis(self) -> None:
        limits = {"max_gap": 0.05}
        records = [
            record(kind="outcome-gap", layer=layer, effect_judged=d, limits=limits)
            for layer, d in (("a", -0.1), ("b", 0.2))
        ]
        (chart,) = layer_curves(records, HUES)
        assert len(chart.limits) == 2
        assert chart.y_name == "difference of rates"

    def test_tests_that_failed_come_first(self) -> None:
        records = [
            record(test, layer=layer, outcome=outcome)
            for test, outcome in (("kept", "pass"), ("broken", "fail"))
            for layer in ("early", "late")
        ]
        assert [one.title[1] for one in layer_curves(records, HUES)] == ["broken", "kept"]

    def test_names_of_many_layers_do_not_touch(self) -> None:
        records = [record(layer=f"encoder.blocks.{index}") for index in range(24)]
        (chart,) = layer_curves(records, HUES)
        assert len(chart.x_ticks) <= 6
        assert chart.x_ticks[0].text == "…blocks.0"
        assert len(chart.lines[-1].points) == 24

    def test_a_layer_without_a_number_leaves_a_gap(self) -> None:
        records = [
            record(layer=layer, effect_judged=d, growth=None)
            for layer, d in (("a", 0.1), ("b", None), ("c", 0.3), ("d", 0.4))
        ]
        (chart,) = layer_curves(records, HUES)
        assert [len(path.split()) for path in chart.lines[0].paths] == [2]
        assert len(chart.lines[0].points) == 3


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


class TestTransfer:
    def test_every_rank_correlation_has_its_points(self) -> None:
        changes = [(0.1, 0.2), (0.2, 0.1), (0.3, 0.5), (0.4, 0.6), (0.5, 0.7)]
        records = [
            record(f"t{index}", growth={**GROWTH, "before": before, "after": after})
            for index, (before, after) in enumerate(changes)
        ]
        invalid = record("no", outcome="invalid")
        (chart,) = transfer_plots([*records, invalid], HUES)
        (line,) = chart.lines
        assert line.points[0].text == "t0: +0.10 before, +0.20 after"
        assert len(line.points) == 5
        assert line.name == "after: rank correlation +0.90, 5 tests"
        assert line.points[0].x < line.points[4].x
        assert line.points[0].y > line.points[4].y

    def test_what_is_in_one_unit_stands_in_one_plot(self) -> None:
        """Gaps of a classifier are neither drawn among effects nor left out of their own."""
        records = [
            record(f"{kind} {n}", kind=kind, growth={**GROWTH, "before": n / 10, "after": n / 5})
            for kind in ("ieat", "outcome-gap")
            for n in range(5)
        ]
        effects, gaps = transfer_plots(records, HUES)
        for chart, kind in ((effects, "ieat"), (gaps, "outcome-gap")):
            names = [point.text.split(":")[0] for point in chart.lines[0].points]
            assert names == [f"{kind} {n}" for n in range(5)]
        assert (effects.x_name, gaps.x_name) == (
            "effect size d in before",
            "difference of rates in before",
        )

    def test_of_four_tests_there_is_none(self) -> None:
        assert transfer_plots([record(f"t{index}") for index in range(4)], HUES) == []


def test_nothing_is_drawn_of_nothing() -> None:
    assert [drawn([], {}) for drawn in (layer_curves, count_curves, transfer_plots)] == [[]] * 3


@pytest.mark.parametrize("d", [0.0, 1e-9, 2.0])
def test_equal_effects_at_all_layers_have_an_axis(d: float) -> None:
    (chart,) = layer_curves([record(layer=one, effect_judged=d) for one in "ab"], HUES)
    assert len(chart.y_ticks) >= 2
