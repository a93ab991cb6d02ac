"""What is said first: whether the run failed, of what, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_visualbias.reports.html.headline import Headline, headline_of
from pytest_visualbias.reports.html.rows import choices_of, rows_of
from pytest_visualbias.reports.html.wording import advice
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import record, report

REPORTED = {"limits": {}, "reasons": ["reported only"]}


def over(kind: str) -> dict[str, object]:
    return {"kind": kind, "value": 1.0, "limit": 0.5, "evidence": True}


def said(*outcomes: str, **keys: Any) -> Headline:  # noqa: ANN401 - of a report
    """Return the headline of results with these outcomes."""
    results = [
        record(f"t{index}", outcome="pass", **REPORTED)
        if outcome == "reported"
        else record(f"t{index}", outcome=outcome, growth=None)
        for index, outcome in enumerate(outcomes)
    ]
    whole = report(results, **keys)
    return headline_of(whole, rows_of(results, choices_of(results)))


def summary(**keys: object) -> dict[str, object]:
    return {"deselected": 0, "collection_errors": [], "exit_status": 0, **keys}


@pytest.mark.parametrize(
    ("outcomes", "state", "sentence"),
    [
        (["fail", "pass"], "failed", "Failed: 1 of 2 results is over a limit."),
        (["fail", "fail"], "failed", "Failed: 2 of 2 results are over a limit."),
        (
            ["fail", "invalid", "error", "pass"],
            "failed",
            "Failed: 3 of 4 results are over a limit or invalid or not measured.",
        ),
        (["error"], "failed", "Failed: 1 of 1 result is not measured."),
        (
            ["inconclusive", "pass"],
            "inconclusive",
            "Inconclusive: 1 of 2 results is over a limit, but chance is not excluded.",
        ),
        (
            ["pass", "accepted", "reported"],
            "passed",
            "Passed: 2 judged results, and none fails.",
        ),
        (
            ["reported"],
            "nothing",
            "Nothing was gated: no limit judged what was measured.",
        ),
        ([], "nothing", "Nothing was gated: nothing was measured."),
    ],
)
def test_the_verdict_is_one_sentence(outcomes: list[str], state: str, sentence: str) -> None:
    found = said(*outcomes, summary=summary())
    assert (found.state, found.sentence) == (state, sentence)


def test_a_spec_that_could_not_be_read_is_a_failure_whatever_else_passed() -> None:
    found = said("pass", summary=summary(collection_errors=["x:1:1: wrong"], exit_status=2))
    assert (found.state, found.sentence) == ("failed", "Failed: 1 spec could not be read.")
    assert found.collection_errors == ("x:1:1: wrong",)
    both = said("fail", summary=summary(collection_errors=["x:1:1: wrong"]))
    assert both.notes == ("1 spec could not be read.",)


def test_what_is_inconclusive_fails_a_strict_run_and_that_is_said() -> None:
    found = said("inconclusive", environment={"strict": True}, summary=summary(exit_status=1))
    assert found.state == "failed"
    assert found.sentence.startswith("Failed: 1 of 1 result is over a limit, but chance")
    assert found.notes == ("This run is strict: what is inconclusive fails, too.",)


def test_a_run_that_failed_of_something_else_is_no_green_page() -> None:
    found = said("pass", summary=summary(exit_status=1))
    assert (found.state, found.sentence) == ("failed", "Failed, though no result did.")
    assert found.notes == ("pytest's exit status was 1, for something else: see its output.",)


def test_what_was_deselected_is_said() -> None:
    assert said("pass", summary=summary(deselected=3)).notes == (
        "3 results deselected: not in this report.",
    )


def test_a_report_without_a_summary_of_pytest_still_has_a_verdict() -> None:
    assert said("pass", summary={}).state == "passed"


def test_counts_are_of_all_outcomes_the_worst_first() -> None:
    found = said("pass", "reported", "fail", "pass", "inconclusive")
    assert found.counts == (("fail", 1), ("inconclusive", 1), ("pass", 2), ("reported", 1))


def test_the_farthest_over_its_limit_comes_first_and_layers_of_a_test_stand_together() -> None:
    results = [
        record("small", effect_judged=0.6, growth=None),
        record("large", effect_judged=0.9, growth=None, layer="early"),
        record("large", effect_judged=-1.9, growth=None, layer="late"),
        record("open", effect_judged=1.9, outcome="inconclusive"),
        record("grown", effect_judged=0.1, growth=GROWTH, limits={"max_growth": 0.1}),
        record("fine", outcome="pass"),
    ]
    found = headline_of(report(results), rows_of(results, choices_of(results)))
    tests = [story.row.record.test for story in (*found.told, *found.rest)]
    assert tests == ["grown", "large", "small", "open"]
    large = found.told[1]
    assert large.row.record.layer == "late"
    assert [row.record.layer for row in large.also] == ["early"]


@pytest.mark.parametrize(
    ("keys", "about"),
    [
        ({}, "effect size d with its interval, and shaded where the limit is exceeded"),
        (
            {"control": "positive", "limits": {"min_effect": 0.5}},
            "effect size d with its interval, and shaded where the limit is not reached",
        ),
        (
            {"kind": "outcome-gap", "limits": {"max_gap": 0.05}},
            "difference of rates with its interval, and shaded where the limit is exceeded",
        ),
        (
            {"kind": "intra-similarity", "limits": {"max_growth": 0.1}},
            "mean cosine with its interval",
        ),
    ],
)
def test_what_is_amiss_is_drawn_on_an_axis_of_its_unit(keys: dict[str, Any], about: str) -> None:
    results = [record("one", **keys)]
    (story,) = headline_of(report(results), rows_of(results, choices_of(results))).told
    assert story.strip is not None
    assert story.about == about


def test_of_many_failures_some_are_told_at_length_and_none_is_lost() -> None:
    found = said(*["fail"] * 12)
    assert (len(found.told), len(found.rest)) == (5, 7)


def test_waivers_are_shown_whatever_became_of_them() -> None:
    accept = {"max_effect": 1.5, "reason": "known", "until": "2099-01-01"}
    results = [record("a", outcome="accepted", accept=accept), record("b", accept=accept)]
    found = headline_of(report(results), rows_of(results, choices_of(results)))
    assert [row.record.test for row in found.waived] == ["b", "a"]


@pytest.mark.parametrize(
    ("keys", "start"),
    [
        ({"outcome": "error"}, "Mend what the sentence names"),
        ({"outcome": "invalid"}, "Mend the positive control"),
        ({"outcome": "inconclusive"}, "Add images"),
        ({"outcome": "accepted"}, "Nothing now"),
        ({"control": "positive"}, "Check the checkpoint"),
        ({"accept": {"reason": "known", "until": "2099-01-01"}}, "Edit the waiver"),
        ({"violations": [over("growth")]}, "Open the test for the images that its effect"),
        ({"violations": [over("effect")]}, "Open the test for the images that its effect"),
        ({"outcome": "pass"}, ""),
    ],
)
def test_there_is_something_to_do_about_whatever_is_amiss(keys: dict[str, Any], start: str) -> None:
    found = advice(record(**keys))
    assert found.startswith(start)
    assert bool(found) is bool(start)


def test_a_waiver_is_advised_where_one_could_help_only() -> None:
    """No waiver covers an excess, which is over its limit all the same."""
    for kind, is_waivable in (("effect", True), ("growth", True), ("excess", False)):
        assert ("accept the bias" in advice(record(violations=[over(kind)]))) is is_waivable
    unclear = record(outcome="inconclusive", violations=[over("excess")])
    assert "a change of this size can be told from chance." in advice(unclear)
