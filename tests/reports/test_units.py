"""Gaps of a classifier's rates are shown in their own unit, apart from standardised effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.reports.bias_counts import bias_counts, label_summaries, rank_correlations
from pytest_visualbias.reports.formatting import describe_rates, judged_limit, unit_of
from pytest_visualbias.reports.image_examples import image_influences, is_exact
from pytest_visualbias.reports.sentences import failure_text, weak_pass_note
from pytest_visualbias.reports.tables import Glyphs, Screen, bar_axis, bar_legend, format_bar
from pytest_visualbias.reports.terminal import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

PLAIN = Glyphs.for_screen(has_unicode=False)
ASKED = {
    "class": 3,
    "rate": "fpr",
    "label": ["nurse"],
    "threshold": None,
    "activation": "softmax",
    "classes": 10,
    "rate_x": 0.32,
    "rate_y": 0.1,
}


def a_gap(make: Make, gap: float = 0.22, **keys: object) -> ResultRecord:
    """Return the record of a test of predictions."""
    keys_of_gap: dict[str, object] = {
        "kind": "outcome-gap",
        "layer": "logits",
        "prediction": ASKED,
        "sides": None,
        "gap": gap,
        "effect_size": gap,
        "effect_judged": gap,
        "effect_size_attributes": None,
        "ci_low": gap - 0.1,
        "ci_high": gap + 0.1,
        "limits": {"max_gap": 0.05},
        "concepts": {"X": "women", "Y": "men"},
        "n_a": None,
        "n_b": None,
    }
    return make(**(keys_of_gap | keys))


def test_a_bar_of_gaps_ends_at_one_half_and_shows_the_limit_on_the_gap(make: Make) -> None:
    """With 21 characters one is a twentieth: limits at 9 and 11, the gap at 16."""
    drawn = format_bar(a_gap(make, 0.3), PLAIN, width=21)
    assert [index for index, mark in enumerate(drawn) if mark == ":"] == [9, 11]
    assert drawn.index("o") == 16
    assert format_bar(a_gap(make, 0.9), PLAIN, width=21)[-1] == "o"


def test_the_head_of_bars_is_of_their_unit_and_of_none_where_they_differ(make: Make) -> None:
    """A bar of a gap that ends at one half must not stand below a 2."""
    assert bar_axis([a_gap(make), a_gap(make, 0.1)]).split() == ["-0.5", "0", "+0.5"]
    assert bar_axis([a_gap(make), make()]).split() == ["-", "0", "+"]
    assert len(bar_axis([a_gap(make), make()])) == len(format_bar(make(), PLAIN))


@pytest.mark.parametrize("width", [80, 100, 140, 160])
def test_a_gap_of_a_classifier_is_shown_once(make: Make, width: int) -> None:
    """It is the effect itself; of what is scaled, the gap in cosines stands beside it."""
    on = Screen(width=width, has_colour=False, has_unicode=False)
    gap, scaled = a_gap(make, 0.22, test="a"), make("b", limits={"max_gap": 0.02})
    alone = render([gap], [], on)
    assert " gap " not in alone
    assert alone.count("0.22") == 1
    head, _, first, second, *_ = render([gap, scaled], [], on).partition("test ")[2].splitlines()
    assert " gap " in head
    assert (first.count("0.22"), second.count("+0.031")) == (1, 1)


def test_rates_stand_in_one_line_a_test_with_those_of_the_reference(make: Make) -> None:
    both = [a_gap(make, model="before", role="reference"), a_gap(make), a_gap(make, role="random")]
    on = Screen(width=80, has_colour=False, has_unicode=False)
    said = "fpr of class 3: before X 0.32 of 8, Y 0.1 of 8; after X 0.32 of 8, Y 0.1 of 8"
    text = render(both, [], on)
    assert f"gender-career: {said}" in " ".join(text.split())
    assert max(map(len, text[text.index("gender-career: ") :].splitlines())) <= 80


def test_columns_of_two_sides_stand_where_a_test_has_two(make: Make) -> None:
    on = Screen(width=140, has_colour=False, has_unicode=False)
    assert "targets" in render([make(), a_gap(make)], [], on)
    assert "targets" not in render([a_gap(make)], [], on)


def test_the_legend_names_every_unit_that_is_shown(make: Make) -> None:
    records = [make(), make(kind="intra-similarity"), a_gap(make)]
    shown = bar_legend(PLAIN, map(unit_of, records))
    assert [unit for unit in ("-2 to +2", "-1 to +1", "-0.5 to +0.5") if unit not in shown] == []
    assert "-2" not in bar_legend(PLAIN, ["gaps"])


def test_the_limit_on_what_is_judged_is_that_of_the_kind(make: Make) -> None:
    assert judged_limit(a_gap(make)) == 0.05
    assert judged_limit(make(limits={"max_effect": 0.5, "max_gap": 0.05})) == 0.5


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ("fpr", "false positive rate of class 3: 0.320 of X, 0.100 of Y"),
        ("tpr", "true positive rate of class 3: 0.320 of X, 0.100 of Y"),
        ("share", "share predicted as class 3: 0.320 of X, 0.100 of Y"),
        ("score", "mean probability of class 3: 0.320 of X, 0.100 of Y"),
    ],
)
def test_a_failure_says_both_rates_and_the_gap(make: Make, rate: str, said: str) -> None:
    record = a_gap(make, prediction=ASKED | {"rate": rate}, detectable=0.21)
    assert describe_rates(record) == said
    text = failure_text(record)
    assert f"  {said}; gap +0.2200 (95% interval +0.12 to +0.32)" in text
    assert "smallest detectable gap: 0.21" in text
    assert "d = " not in text


def test_a_pass_of_too_few_images_is_told_by_the_limit_on_the_gap(make: Make) -> None:
    few = a_gap(make, 0.0, outcome="pass", detectable=0.21)
    assert weak_pass_note([few]) is not None
    assert weak_pass_note([few.model_copy(update={"limits": {"max_gap": 0.3}})]) is None


def test_gaps_are_not_mixed_with_standardised_effects(make: Make) -> None:
    labels = {"run": "a"}
    records = [make(labels=labels), a_gap(make, labels=labels)]
    assert [row.effect for row in label_summaries(records)] == [1.0]
    assert [counts.tests for counts in bias_counts(records)] == [1]
    many = [make(test=f"t{i}", layer="logits") for i in range(5)]
    many += [a_gap(make, test=f"g{i}") for i in range(5)]
    growth = many[0].growth
    assert growth is not None
    moved = [
        one.model_copy(update={"growth": growth.model_copy(update={"after": i, "before": i})})
        for i, one in enumerate(many)
    ]
    assert [(one.of, one.k) for one in rank_correlations(moved)] == [("effects", 5), ("gaps", 5)]


@pytest.mark.parametrize("trials", [None, {"labels": ["a", "b"], "effect_judged": [0.2, 0.3]}])
def test_what_a_gap_would_be_without_an_image_is_exact(
    make: Make, trials: dict[str, object] | None
) -> None:
    """It is not standardised, so that the others stay as they are, in trials too."""
    scores = {"X": [1.0, 1.0, 0.0, 0.5], "Y": [0.0, 1.0, 0.0]}
    names = {role: [f"{role}{i}" for i in range(len(one))] for role, one in scores.items()}
    sets = {
        role: {"concept": role, "n": len(one), "digest": "0", "images": one, "names": one}
        for role, one in names.items()
    }
    by_image = {role: dict(zip(names[role], one, strict=True)) for role, one in scores.items()}
    gap = float(np.mean(scores["X"]) - np.mean(scores["Y"]))
    record = a_gap(make, gap, sets=sets, scores=by_image, trials=trials)
    assert is_exact(record)
    found = {one.name: one.without for one in image_influences(record)}
    assert found["X0"] == pytest.approx(np.mean(scores["X"][1:]) - np.mean(scores["Y"]))
    assert found["Y1"] == pytest.approx(np.mean(scores["X"]) - 0.0)
    assert len(found) == 7
