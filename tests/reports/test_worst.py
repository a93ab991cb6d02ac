"""A training run that is judged whole: what is shown is what failed, wherever that was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.reports.comparison import compare, render_comparison
from pytest_visualbias.reports.html.headline import headline_of
from pytest_visualbias.reports.html.rows import choices_of, rows_of
from pytest_visualbias.reports.model_card import bias_section, card_entries
from pytest_visualbias.reports.sentences import remedies
from pytest_visualbias.reports.series_notes import (
    earlier_violation_notes,
    with_judged_numbers,
    worst_other_checkpoint,
)
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from tests.reports.test_series import point, series

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

SCREEN = Screen(width=120, has_colour=False, has_unicode=True)
OVER = {"max_effect": True}
# Over the limit at epochs 3 and 4, and hardly anything at the last.
COURSE: tuple[tuple[str, float, dict[str, bool]], ...] = (
    ("1", 0.1, {}),
    ("3", 1.2, OVER),
    ("4", -1.4, OVER),
    ("10", -0.1, {}),
)
LAST = {"effect_judged": -0.1, "ci_low": -0.4, "ci_high": 0.2, "limits": {"max_effect": 0.5}}


def course(gate: str, worst: float = -1.4) -> dict[str, Any]:
    points = [
        point(
            label,
            worst if label == "4" else effect,
            over=over,
            outcome="fail" if over else "pass",
        )
        for label, effect, over in COURSE
    ]
    return {**series(), "gate": gate, "points": points}


@pytest.fixture
def whole(make_measured: Make) -> Callable[..., ResultRecord]:
    """Make a result of a run whose checkpoints are all judged, which fails by the third."""

    def one(worst: float = -1.4, gate: str = "all", **keys: object) -> ResultRecord:
        outcome = "fail" if gate == "all" else "pass"
        found: dict[str, Any] = {"outcome": outcome, "series": course(gate, worst), **LAST, **keys}
        return make_measured(**found)

    return one


def test_the_worst_checkpoint_is_the_one_that_is_furthest_over_its_limit(whole: Make) -> None:
    found = whole()
    worst = worst_other_checkpoint(found)
    assert worst is not None
    assert worst.label == "4"
    shown = with_judged_numbers(found)
    assert shown.effect_judged == -1.4
    assert shown.ci_low == pytest.approx(-1.7)
    assert shown.outcome == found.outcome
    alone = whole(gate="last")
    assert with_judged_numbers(alone) is alone, "of a run that is judged at its end, it is the end"


def test_of_a_control_it_is_the_one_that_shows_the_least(whole: Make) -> None:
    found = whole(control="positive", alternative="greater", limits={"min_effect": 0.5})
    worst = worst_other_checkpoint(found)
    assert worst is not None
    assert worst.label == "4"


def test_a_comparison_is_of_the_worst_of_those_judged(whole: Make, make_report: MakeReport) -> None:
    """Whatever the last checkpoint is, of which both results have the numbers."""
    found = compare(make_report(whole()), make_report(whole(-1.6)))
    (change,) = found.changes
    assert (change.how, change.effects, change.is_worse) == ("grew", (-1.4, -1.6), True)
    assert change.gates is None


@pytest.mark.parametrize("gates", [("all", "last"), ("last", "all")])
def test_another_gate_is_said_and_counts(
    whole: Make, make_report: MakeReport, gates: tuple[str, str]
) -> None:
    """To judge fewer checkpoints hides some; to judge more finds what was hidden."""
    old, new = (make_report(whole(gate=gate)) for gate in gates)
    found = compare(old, new)
    (change,) = found.changes
    names = {"all": "all checkpoints", "last": "the last checkpoint"}
    assert change.gates == (names[gates[0]], names[gates[1]])
    assert change.effects == (-0.1, -0.1)
    assert change.is_worse
    said = render_comparison(found, SCREEN, shows_all=False)
    assert f"judged is {names[gates[1]]}, and was {names[gates[0]]}" in said


def test_the_page_draws_the_worst_and_says_which_it_is(
    whole: Make, make_report: MakeReport
) -> None:
    report = make_report(whole(reasons=["effect over 0.5 at epoch 3, 4"]))
    rows = rows_of(report.results, choices_of(report.results))
    (story,) = headline_of(report, rows).told
    assert story.shown[0] == "-1.40"
    assert "epoch 4, the worst" in story.about
    assert "--visualbias-after=FOLDER/epoch_4.pt" in story.row.advice


def test_what_to_do_is_not_to_look_at_images_of_another_checkpoint(whole: Make) -> None:
    over = [{"kind": "effect", "value": -1.4, "limit": 0.5, "evidence": True}]
    (said,) = remedies([whole(violations=over)], shows_images=True)
    assert "epoch 10" in said
    assert "--visualbias-after=FOLDER/epoch_4.pt" in said
    (said,) = remedies([whole(violations=over), whole(violations=over, series=None)])
    assert "-vv" in said


def test_a_model_card_has_the_worst_value_with_its_checkpoint(
    whole: Make, make_report: MakeReport
) -> None:
    (entry,) = card_entries(make_report(whole()))["after"]
    (metric,) = entry["metrics"]
    assert metric["value"] == -1.4
    assert metric["args"]["checkpoint"] == "epoch 4"


def test_what_only_earlier_checkpoints_showed_is_said_where_they_are_not_judged(
    whole: Make, make_report: MakeReport
) -> None:
    found = whole(gate="last")
    note = "'after' was over a limit at epoch 3, 4, though not at the last"
    assert [*earlier_violation_notes([found])] == [note]
    assert f"note: {note}: see -v\n" in render([found], [], SCREEN)
    assert f"note: {note}\n" in render([found], [], SCREEN, verbosity=1)
    report = make_report(found)
    assert f"{note}." in headline_of(report, rows_of([found], choices_of([found]))).notes
    assert "epoch 3, 4, though not at the last" in bias_section(report)
    assert not [*earlier_violation_notes([whole()])], "judged as it is"
