"""Reasons of many checkpoints: each limit once, with where it is exceeded and the most by which."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.evaluation.judging import RECORDED, JudgedTest
from pytest_visualbias.evaluation.measurement import Measurement
from pytest_visualbias.evaluation.training_run import Joint, joined
from pytest_visualbias.evaluation.verdict import CorrectedP, Verdict, Violation
from pytest_visualbias.spec.test_kinds import BiasTest

if TYPE_CHECKING:
    from pytest_visualbias.evaluation.verdict import Kind, Outcome

TEST = BiasTest.model_validate(
    {"name": "one", "kind": "ieat", "targets": {"X": "x", "Y": "y"}}
    | {"attributes": {"A": "a", "B": "b"}, "limits": {"max_effect": 0.5}}
)
PASS = Verdict(outcome="pass")


def over(value: float, kind: Kind = "effect", *, holds: bool = True) -> Violation:
    detail = f"adjusted p = {0.01 if holds else 0.2:g}"
    return Violation(kind=kind, value=value, limit=0.5, evidence=holds, detail=detail)


def verdict(outcome: Outcome, *found: Violation, notes: tuple[str, ...] = ()) -> Verdict:
    return Verdict(outcome=outcome, violations=found, notes=notes)


def judged(found: Verdict) -> tuple[JudgedTest, ...]:
    one = JudgedTest(
        test=TEST,
        numbers=Measurement(sets={}),
        verdict=found,
        base=None,
        accept=None,
        p=CorrectedP(),
    )
    return (one,)


def told(*verdicts: Verdict) -> tuple[str, ...]:
    """Return the reasons of a series with these verdicts at epochs 1, 2, ..."""
    labels = tuple(str(number) for number, _ in enumerate(verdicts, 1))
    both = [(judged(one), judged(one)) for one in verdicts]
    _, (found,) = joined(Joint(axis="epoch", labels=labels), both)
    return found.verdict.reasons


def test_a_limit_is_one_reason_with_its_worst_checkpoint() -> None:
    found = [verdict("fail", over(value)) for value in (0.6, -0.9, 0.7, 0.8)]
    assert told(*found) == (
        "effect over 0.5 at epoch 1 to 4, worst -0.90 at 2 (adjusted p = 0.01)",
    )


def test_those_within_it_are_left_out_of_the_range() -> None:
    bad = verdict("fail", over(0.6))
    assert told(bad, PASS, bad, bad, bad) == (
        "effect over 0.5 at epoch 1, 3 to 5, worst +0.60 at 1 (adjusted p = 0.01)",
    )
    assert told(PASS, bad) == ("effect +0.60 is over 0.5 (adjusted p = 0.01) at epoch 2",)


def test_each_limit_is_told_by_itself() -> None:
    """In the order of a single verdict, whichever was exceeded first."""
    both = verdict("fail", over(0.6), over(0.8, "growth"))
    assert told(verdict("fail", over(0.9, "growth")), both) == (
        "effect +0.60 is over 0.5 (adjusted p = 0.01) at epoch 2",
        "growth over 0.5 at epoch 1, 2, worst +0.90 at 1 (adjusted p = 0.01)",
    )


def test_what_lacks_evidence_says_so() -> None:
    found = [verdict("inconclusive", over(value, holds=False)) for value in (0.6, 0.7)]
    assert told(*found) == (
        "effect over 0.5 at epoch 1, 2, worst +0.70 at 2, but without evidence (adjusted p = 0.2)",
    )


def test_a_sentence_that_all_share_stands_once_and_the_record_last() -> None:
    found = verdict("accepted", over(0.6), notes=("accepted up to 1", RECORDED))
    assert told(found, found, found) == (
        "effect over 0.5 at epoch 1 to 3, worst +0.60 at 1 (adjusted p = 0.01)",
        "accepted up to 1 at epoch 1 to 3",
        RECORDED,
    )


@pytest.mark.parametrize("count", [5, 9])
def test_of_many_sentences_that_differ_the_first_and_the_last_are_told(count: int) -> None:
    found = [verdict("fail", notes=(f"d = {number}",)) for number in range(count)]
    reasons = told(*found)
    if count == 5:
        assert reasons == tuple(f"d = {number} at epoch {number + 1}" for number in range(5))
        return
    assert reasons == (
        "d = 0 at epoch 1",
        "d = 1 at epoch 2",
        "d = 8 at epoch 9",
        "and so at 6 checkpoints between",
    )


def test_a_result_keeps_the_numbers_of_the_last_checkpoint() -> None:
    bad = judged(verdict("fail", over(0.6)))
    last = tuple(dataclasses.replace(one, p=CorrectedP(effect=0.3)) for one in judged(PASS))
    _, (found,) = joined(Joint(axis="step", labels=("10", "20")), [(bad, bad), (last, last)])
    assert (found.verdict.outcome, found.p.effect) == ("fail", 0.3)
