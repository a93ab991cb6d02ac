"""How far trials are apart, and which of them the mean of all may hide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.reports.sentences import failure_text
from pytest_visualbias.reports.series_notes import single_trial_note, trials_text
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

TWO = ("a", "b")
SCREEN = Screen(width=100, has_colour=False, has_unicode=True)


def trials(*effects: float, labels: tuple[str, ...] = ("a", "b\x1b", "c")) -> dict[str, Any]:
    zeros = [0.0] * len(effects)
    found = {"effect_judged": list(effects), "effect_size": zeros, "labels": list(labels)}
    return {"trials": found}


def test_the_spread_and_the_largest_are_said(make: Make) -> None:
    one = make(**trials(0.5, -1.5, 0.2))
    said = "3 trials from -1.50 to +0.50, largest -1.50: b\\x1b"
    assert trials_text(one) == said
    assert f"  {said}" in failure_text(one).splitlines()
    assert said in render([one], [], SCREEN, verbosity=1)
    assert said not in render([one], [], SCREEN)


def test_of_untrained_networks_they_are_seeds(make: Make) -> None:
    one = make(role="random", **trials(0.5, 0.1, 0.2))
    assert trials_text(one) == "3 seeds from +0.10 to +0.50, largest +0.50: a"


@pytest.mark.parametrize("found", [{"trials": None}, trials(0.5, labels=("a",))])
def test_a_single_network_has_no_spread(make: Make, found: dict[str, Any]) -> None:
    assert trials_text(make(**found)) is None
    assert single_trial_note([make(outcome="pass", limits={"max_effect": 0.1}, **found)]) is None


def test_a_trial_that_is_over_the_limit_alone_is_named_where_the_mean_is_not(make: Make) -> None:
    some = [
        make("mild", outcome="pass", **trials(0.6, 0.0, 0.0)),
        make("wild", outcome="inconclusive", **trials(0.1, -1.5, 0.2)),
        make("within", outcome="pass", **trials(0.5, -0.5, 0.2)),
        make("failed", outcome="fail", **trials(0.5, -1.9, 0.2)),
        make("reference", outcome="pass", role="reference", **trials(0.5, -1.9, 0.2)),
        make("unjudged", outcome="pass", limits={}, **trials(0.5, -1.9, 0.2)),
    ]
    said = single_trial_note(some)
    assert said is not None
    assert said.startswith("2 tests ")
    assert said.endswith(f"{some[1].nodeid}: -1.50: b\\x1b")
    assert f"note: {said}" in render(some, [], SCREEN)
    assert single_trial_note(some[2:]) is None


def test_a_trial_counts_in_the_direction_that_the_test_counts(make: Make) -> None:
    assert (
        single_trial_note(
            [make(outcome="pass", alternative="greater", **trials(0.1, -1.5, labels=TWO))]
        )
        is None
    )
    less = make(outcome="pass", alternative="less", **trials(0.1, -1.5, labels=TWO))
    assert single_trial_note([less]) is not None
