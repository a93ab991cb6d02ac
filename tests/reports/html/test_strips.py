"""Forest and dumbbell plots: what lies where."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_visualbias.reports.html.scales import Scale
from pytest_visualbias.reports.html.strips import forest_panels, growth_panels, strip
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import record

PERCENT = Scale(low=-2.0, high=2.0, start=0.0, end=100.0)


def test_an_effect_lies_on_its_interval_and_in_the_part_where_its_limit_is_exceeded() -> None:
    drawn = strip(PERCENT, record(effect_judged=1.0, ci_low=0.2, ci_high=1.5))
    assert (drawn.zero, drawn.dot) == (50.0, 75.0)
    assert drawn.range == (55.0, 32.5)
    assert drawn.bands == ((0.0, 37.5), (62.5, 37.5))


@pytest.mark.parametrize(
    ("keys", "bands"),
    [
        ({"alternative": "greater"}, ((62.5, 37.5),)),
        ({"alternative": "less"}, ((0.0, 37.5),)),
        ({"limits": {}}, ()),
        ({"role": "reference"}, ()),
        ({"limits": {"max_effect": 2.5}}, ()),
        ({"limits": {"min_effect": 1.0}, "control": "positive"}, ((25.0, 50.0),)),
        (
            {"limits": {"min_effect": 1.0}, "control": "positive", "alternative": "less"},
            ((25.0, 75.0),),
        ),
    ],
)
def test_only_what_can_fail_is_shaded(
    keys: dict[str, Any], bands: tuple[tuple[float, float], ...]
) -> None:
    """A control fails where its effect is too small; a reference and a limit out of reach never."""
    assert strip(PERCENT, record(**keys)).bands == bands


def test_a_forest_has_a_panel_for_each_model_and_layer_with_the_largest_effect_first() -> None:
    records = [
        record("small", effect_judged=0.1),
        record("large", effect_judged=-1.2),
        record("other", model="before", role="reference", effect_judged=0.5, growth=None),
        record("none", effect_judged=None),
    ]
    after, before = forest_panels(records)
    assert [row.test for row in after.rows] == ["large", "small"]
    assert [row.index for row in after.rows] == [1, 0]
    assert after.rows[0].cells == ("-1.20", "+0.20 to +1.50")
    assert (before.model, before.role) == ("before", "reference")
    assert [one.is_open for one in (after, before)] == [True, False]


def test_the_panel_in_which_most_is_amiss_is_open() -> None:
    records = [record(model="one", outcome="pass"), record(model="two", outcome="inconclusive")]
    assert [(one.model, one.bad, one.is_open) for one in forest_panels(records)] == [
        ("one", 0, False),
        ("two", 1, True),
    ]


def test_mean_cosines_have_an_axis_of_their_own() -> None:
    within = record(kind="intra-similarity", effect_judged=0.3, ci_low=0.25, ci_high=0.35)
    effects, cosines = forest_panels([record(), within])
    assert (effects.of, cosines.of) == ("effect size d", "mean cosine")
    assert [tick.text for tick in effects.ticks] == ["-2", "-1", "0", "1", "2"]
    assert [tick.text for tick in cosines.ticks] != ["-2", "-1", "0", "1", "2"]


def test_a_dumbbell_goes_from_before_to_after_the_largest_growth_first() -> None:
    grown = {**GROWTH, "before": 0.5, "after": 1.5, "value": 1.0}
    shrunk = {**GROWTH, "before": -1.0, "after": 0.2, "value": -0.8}
    (panel,) = growth_panels([record("b", growth=shrunk), record("a", growth=grown)])
    assert [row.test for row in panel.rows] == ["a", "b"]
    assert panel.base == "before"
    first = panel.rows[0].strip
    assert first.ghost == 62.0  # 0.5 of -2 to 2, drawn from 2 to 98 percent
    assert first.dot == 86.0
    assert first.range == (62.0, 24.0)
    assert panel.rows[1].cells == ("-1.00", "+0.20", "-0.80")


def test_a_limit_on_growth_is_counted_from_the_effect_before() -> None:
    growth = {**GROWTH, "before": -0.5, "after": 1.0}
    (panel,) = growth_panels([record(growth=growth, limits={"max_growth": 0.5, "max_effect": 0.1})])
    assert panel.rows[0].strip.bands == ((2.0, 24.0), (74.0, 24.0))
