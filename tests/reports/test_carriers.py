"""Which images carry an effect, in the lines of the terminal."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.image_examples import image_influences, influential_image_lines
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]


@pytest.fixture
def carried(make: Make) -> ResultRecord:
    """A record in which the first image of X lies far out, and the last of Y works against."""
    raw = {"X": [1.4, 0.8, 0.7, 0.6, 0.1], "Y": [-0.9, -0.8, -0.7, -0.6, 1.0]}
    spread = statistics.stdev([*raw["X"], *raw["Y"]])
    scores = {role: [value / spread for value in values] for role, values in raw.items()}
    effect = statistics.mean(scores["X"]) - statistics.mean(scores["Y"])
    sets = {
        role: {
            "concept": role.lower(),
            "n": 5,
            "digest": "0",
            "images": [f"{role}{index}" for index in range(5)],
            "names": [f"{role}/{index}\n.png" for index in range(5)],
        }
        for role in scores
    }
    named = {
        role: {f"{role}{index}": value for index, value in enumerate(values)}
        for role, values in scores.items()
    }
    keys = {"sides": "targets", "effect_size": effect, "effect_judged": effect}
    return make(kind="ieat", scores=named, sets=sets, **keys)


def test_those_without_which_it_falls_most_come_first(carried: ResultRecord) -> None:
    head, *lines = influential_image_lines(carried)
    effect = carried.effect_judged
    assert effect is not None
    assert head == f"{carried.nodeid}: the effect {effect:+.2f} would be"
    without = sorted(one.without for one in image_influences(carried) if one.without < effect)
    assert 3 < len(without) < 10
    assert [line.split()[0] for line in lines] == [f"{value:+.2f}" for value in without[:5]]
    assert not any("Y/4" in line for line in lines), "without it the effect is larger"


def test_names_stay_on_one_line(carried: ResultRecord) -> None:
    assert all("\n" not in line for line in influential_image_lines(carried))
    assert any("\\n.png" in line for line in influential_image_lines(carried))


def test_nothing_is_said_of_what_was_not_measured(make: Make) -> None:
    assert not [*influential_image_lines(make(outcome="error", measured=False))]


@pytest.mark.parametrize(("verbosity", "is_shown"), [(0, False), (1, False), (2, True), (3, True)])
def test_they_are_shown_when_asked_for_twice(
    carried: ResultRecord, verbosity: int, is_shown: bool
) -> None:
    screen = Screen(width=80, has_colour=False, has_unicode=True)
    text = render([carried], [], screen, verbosity=verbosity)
    assert ("would be" in text) == is_shown
