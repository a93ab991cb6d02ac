"""The bar of an effect: each mark where its value lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.tables import Glyphs, format_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

PLAIN = Glyphs.for_screen(has_unicode=False)


@pytest.mark.parametrize(
    ("effect", "low", "high"),
    [(0, 0, 0), (2, 1, 2), (-2, -2, -1.5), (0.5, -0.5, 1), (3, -3, 3)],
)
def test_marks_lie_where_their_values_do(
    make: Make, effect: float, low: float, high: float
) -> None:
    """With 17 characters one is a quarter; what lies beyond the ends is drawn at them."""
    record = make(effect_judged=effect, ci_low=low, ci_high=high, limits={"max_effect": 0.25})
    drawn = format_bar(record, PLAIN, width=17)
    assert len(drawn) == 17
    position = round((min(max(effect, -2), 2) + 2) * 4)
    assert drawn[position] == "o"
    span = range(round((max(low, -2) + 2) * 4), round((min(high, 2) + 2) * 4) + 1)
    # A limit is seen even where the interval reaches over it.
    marks = {position: "o"} | {at: ":" for at in (7, 9) if at != position}
    assert all(drawn[index] == marks.get(index, "-") for index in span)
    rest = [index for index in range(17) if index not in span and index != position]
    assert all(drawn[index] == {7: ":", 8: "|", 9: ":"}.get(index, " ") for index in rest)


@pytest.mark.parametrize(
    ("alternative", "where"), [("two-sided", [4, 12]), ("greater", [12]), ("less", [4])]
)
def test_a_limit_is_drawn_on_the_sides_that_it_judges(
    make: Make, alternative: str, where: list[int]
) -> None:
    record = make(
        alternative=alternative,
        effect_judged=0.0,
        ci_low=0.0,
        ci_high=0.0,
        limits={"max_effect": 1},
    )
    drawn = format_bar(record, PLAIN, width=17)
    assert [index for index, mark in enumerate(drawn) if mark == ":"] == where


def test_a_reference_has_no_limit_and_an_error_no_bar(make: Make) -> None:
    assert ":" not in format_bar(make(model="before"), PLAIN)
    assert format_bar(make(outcome="error", measured=False), PLAIN).strip() == "-"


def test_mean_similarities_end_at_one(make: Make) -> None:
    drawn = format_bar(make(kind="intra-similarity", effect_judged=1.0, limits={}), PLAIN, width=17)
    assert drawn[-1] == "o"
