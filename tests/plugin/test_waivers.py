"""A known bias is accepted up to a size and a day, in sight, and not a day longer than needed."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias import running
from pytest_visualbias.session import Session
from tests.plugin.conftest import MODELS, Project, control_test, one_test, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

REASON = "the next release mends it"
UNTIL = dt.date(2027, 3, 1)
UNPROVEN = 0.15  # over 0.5 without evidence: d = 0.61, p = 0.23


def accept(size: float = 1.9, *, until: str = "2027-03-01", more: str = "") -> str:
    return f'{{max_effect: {size}, reason: "{REASON}", until: {until}{more}}}'


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.date], None]:
    """Sets the day of the run."""

    def day(today: dt.date) -> None:
        monkeypatch.setattr(running, "Session", functools.partial(Session, today=today))

    return day


@pytest.fixture
def biased(project: Project, on: Callable[[dt.date], None]) -> Project:
    """A project whose finetuned model shows +1.83, on the last day of waivers."""
    project.pair(after=1.0)
    on(UNTIL)
    return project


def test_a_bias_of_the_accepted_size_passes_in_sight(biased: Project) -> None:
    """The last day still counts, and every report says what was accepted, and why."""
    biased.spec(one_test("one", accept=accept()))
    result = biased.gate("--junitxml=out.xml")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    row = biased.row()
    assert row["outcome"] == "accepted"
    assert row["accept"] == {"max_effect": 1.9, "reason": REASON, "until": "2027-03-01"}
    assert row["reasons"][0] == f"accepted up to 1.9 until 2027-03-01: {REASON}"
    assert row["reasons"][1].startswith("effect +1.83 is over 0.5 (adjusted p = ")
    assert biased.report()["summary"]["outcomes"] == {"accepted": 1, "pass": 1}
    lines = sentences(result).splitlines()
    assert "passed: 2 tests (1 accepted, 1 reported)" in lines
    node = "bias_specs/x.bias.yaml::after::one[pooled]"
    assert f"ACCEPTED {node}: {'; '.join(row['reasons'])}" in lines
    assert any(line.startswith("one ") and line.endswith("accepted") for line in lines)
    assert f"accepted up to 1.9 until 2027-03-01: {REASON}" in (biased.path / "out.xml").read_text()


def test_a_day_may_be_quoted(biased: Project) -> None:
    biased.spec(one_test("one", accept=accept(until='"2027-03-01"')))
    assert biased.gate().ret == 0


def test_a_larger_bias_fails(biased: Project) -> None:
    biased.spec(one_test("one", accept=accept(1.5)))
    result = biased.gate()
    assert result.ret == 1
    assert biased.row()["outcome"] == "fail"
    said = f"effect +1.83 is over what is accepted, 1.5 until 2027-03-01: {REASON}"
    assert biased.row()["reasons"][0] == said
    assert said in sentences(result)


@pytest.mark.parametrize("bias", [1.0, UNPROVEN, 0.0])
def test_the_day_after_the_last_one_it_fails_whatever_is_measured(
    project: Project, on: Callable[[dt.date], None], bias: float
) -> None:
    on(UNTIL + dt.timedelta(days=1))
    project.pair(after=bias)
    project.spec(one_test("one", accept=accept()))
    result = project.gate()
    assert result.ret == 1
    assert project.row()["outcome"] == "fail"
    said = "the waiver ended on 2027-03-01; remove 'accept', or decide anew and say until when"
    assert project.row()["reasons"][0] == said
    assert said in sentences(result)


def test_a_waiver_that_is_not_needed_must_go(biased: Project) -> None:
    biased.pair(after=0.0)
    biased.spec(one_test("one", accept=accept()))
    result = biased.gate()
    assert result.ret == 1
    said = "the waiver must go: effect +0.00 is within the limits; remove 'accept'"
    assert biased.row()["reasons"] == [said]
    assert said in sentences(result)


def test_without_evidence_a_waiver_changes_nothing(biased: Project) -> None:
    biased.pair(after=UNPROVEN)
    biased.spec(one_test("one", accept=accept()))
    result = biased.gate()
    result.assert_outcomes(passed=1, skipped=1)
    assert biased.row()["outcome"] == "inconclusive"
    assert biased.gate("--visualbias-strict").ret == 1


@pytest.mark.parametrize("limit", ["max_growth", "max_shift"])
def test_other_limits_fail_through_it(biased: Project, limit: str) -> None:
    biased.spec(one_test("one", f"{{max_effect: 0.5, {limit}: 0.2}}", accept=accept()))
    assert biased.gate().ret == 1
    (reason,) = biased.row()["reasons"]
    assert reason.startswith(f"{limit.removeprefix('max_')} +1.8")


def test_it_covers_a_limit_on_the_gap(biased: Project) -> None:
    biased.spec(one_test("one", "{max_gap: 0.3}", accept=accept()))
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"


def test_it_holds_where_the_effect_counts_one_way_only(biased: Project) -> None:
    biased.spec(
        one_test("upward", accept=accept(), alternative="greater"),
        one_test("downward", X="y", Y="x", accept=accept(), alternative="less"),
    )
    assert biased.gate().ret == 0
    assert biased.row("upward")["outcome"] == biased.row("downward")["outcome"] == "accepted"


def test_a_failed_control_is_not_waived(biased: Project) -> None:
    biased.pair(after=1.0, control=0.0)
    biased.spec(control_test(), one_test("one", accept=accept()))
    assert biased.gate().ret == 1
    assert biased.row()["outcome"] == "invalid"


def test_a_reference_has_no_waiver(biased: Project) -> None:
    biased.spec(one_test("one", accept=accept()))
    biased.gate()
    row = biased.row(model="before")
    assert (row["outcome"], row["accept"]) == ("pass", None)


def test_it_may_speak_of_some_models_and_layers_only(biased: Project) -> None:
    """Where it does not speak, the test is judged as ever: a clean model needs no waiver."""
    biased.store("clean")
    biased.spec(
        one_test("one", accept=accept(more=", models: [after], layers: [pooled]")),
        models=f"{MODELS}  clean: {{source: embeddings, path: ../clean.safetensors}}\n",
    )
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"
    assert (biased.row(model="clean")["outcome"], biased.row(model="clean")["accept"]) == (
        "pass",
        None,
    )


@pytest.mark.parametrize(
    ("given", "at", "said"),
    [
        ('{reason: "r", until: 2027-03-01}', "accept", "accept.max_effect: is missing; add it"),
        ("{max_effect: 1, until: 2027-03-01}", "accept", "accept.reason: is missing; add it"),
        ('{max_effect: 1, reason: "r"}', "accept", "accept.until: is missing; add it"),
        (
            '{max_effect: 1, reason: "  ", until: 2027-03-01}',
            "reason",
            "accept.reason: must say something, but '  ' was read; correct it",
        ),
        (
            '{max_effect: 1, reason: "r", until: soon}',
            "until",
            "accept.until: must be a day such as 2027-03-01, but 'soon' was read; correct it",
        ),
        (
            '{max_effect: 1, reason: "r", until: 2027-02-30}',
            "until",
            "accept.until: must be a day such as 2027-03-01, but '2027-02-30' was read; correct it",
        ),
        (
            '{max_effect: 1, reason: "r", until: 20270301}',
            "until",
            "accept.until: must be a day such as 2027-03-01, but 20270301 was read; correct it",
        ),
        (
            '{max_effect: 1, reason: "r", until: ""}',
            "until",
            "accept.until: must be a day such as 2027-03-01, but '' was read; correct it",
        ),
        (
            '{max_effect: 0.5, reason: "r", until: 2027-03-01}',
            "max_effect",
            "accept.max_effect: is within the limit of 0.5 anyway; remove the waiver",
        ),
        (
            '{max_effect: 2.5, reason: "r", until: 2027-03-01}',
            "max_effect",
            "accept.max_effect: with sets of these sizes no effect can be over 1.94; accept less",
        ),
        (
            '{max_effect: 1, reason: "r", until: 2027-03-01, models: [before]}',
            "before",
            "accept.models[0]: 'before' is no gated model; known: after",
        ),
        (
            '{max_effect: 1, reason: "r", until: 2027-03-01, layers: [pool]}',
            "pool]",
            "accept.layers[0]: 'pool' is no layer of the spec; did you mean 'pooled'?",
        ),
    ],
)
def test_nonsense_is_told_where_it_stands(biased: Project, given: str, at: str, said: str) -> None:
    text = biased.spec(one_test("one", accept=given)).read_text().splitlines()
    (number,) = [index for index, line in enumerate(text) if "accept" in line]
    result = biased.gate()
    assert result.ret == 2
    (line,) = [line for line in sentences(result).splitlines() if "accept" in line]
    column = text[number].index(at) + 1
    assert line == f"bias_specs/x.bias.yaml:{number + 1}:{column}: tests[0].{said}"


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (control_test(accept=accept()), "a control has no waiver; remove it"),
        (
            one_test("one", "{max_growth: 0.2}", accept=accept()),
            "there is no limit on the effect to waive; add 'max_effect' or remove it",
        ),
    ],
)
def test_there_must_be_something_to_waive(biased: Project, test: str, said: str) -> None:
    biased.spec(one_test("other"), test)
    result = biased.gate()
    assert result.ret == 2
    assert f"tests[1].accept: {said}" in sentences(result)


def test_the_day_of_a_run_is_that_of_utc() -> None:
    from pytest_visualbias.session import _today

    before = dt.datetime.now(tz=dt.timezone.utc).date()
    assert before <= _today() <= before + dt.timedelta(days=1)


def test_a_bias_that_turned_round_is_not_the_one_that_was_accepted(
    project: Project, on: Callable[[dt.date], None]
) -> None:
    """Accepted was men nearer to career; that women are now is another finding."""
    on(UNTIL)
    project.pair(before=1.0, after=-1.0)
    project.spec(one_test("one", accept=accept()))
    result = project.gate()
    assert result.ret == 1
    row = project.row()
    assert row["outcome"] == "fail"
    assert row["reasons"][0].startswith("the effect turned round since +1.8")
    assert "not the bias that was accepted" in row["reasons"][0]


def test_a_small_effect_the_other_way_before_is_no_turn(
    project: Project, on: Callable[[dt.date], None]
) -> None:
    on(UNTIL)
    project.pair(before=-0.02, after=1.0)
    project.spec(one_test("one", accept=accept()))
    project.gate()
    assert project.row()["outcome"] == "accepted"
