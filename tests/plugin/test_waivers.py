"""A known bias is accepted up to a size and a day, in sight, and not a day longer than needed."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.evaluation import settings
from tests.plugin.conftest import MODELS, Project, control_test, one_test, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

REASON = "the next release mends it"
UNTIL = dt.date(2027, 3, 1)
UNPROVEN = 0.15  # over 0.5 without evidence: d = 0.61, p = 0.23


def accept(size: float = 1.9, *, until: str = "2027-03-01", more: str = "") -> str:
    return f'{{max_effect: {size}, reason: "{REASON}", until: {until}{more}}}'


TERMS = f'reason: "{REASON}", until: 2027-03-01'


def accept_all(sizes: dict[str, float]) -> str:
    return f"{{{', '.join(f'{key}: {size}' for key, size in sizes.items())}, {TERMS}}}"


def kinds(row: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(one["kind"], one["evidence"]) for one in row["violations"]]


def advised(result: pytest.RunResult) -> str:
    """Return the key and value that the line of the failed test asks for."""
    (line,) = [one for one in sentences(result).splitlines() if one.startswith("FAIL ")]
    (key,) = re.findall(r"'(max_\w+: [\d.]+)'", line)
    return str(key)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.date], None]:
    """Sets the day of the run."""

    def day(today: dt.date) -> None:
        moment = dt.datetime.combine(today, dt.time(23, 59), tzinfo=dt.timezone.utc)
        monkeypatch.setattr(settings, "now", lambda: moment)

    return day


@pytest.fixture
def biased(project: Project, on: Callable[[dt.date], None]) -> Project:
    """A project whose finetuned model shows +1.83, on the last day of waivers."""
    project.pair(after=1.0)
    on(UNTIL)
    return project


def test_a_bias_of_the_accepted_size_passes_in_sight(biased: Project) -> None:
    """The last day still counts, and every report says what was accepted, and why."""
    biased.spec(one_test("one", accept=accept(until='"2027-03-01"')))
    result = biased.gate("--junitxml=out.xml")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    row = biased.row()
    assert row["outcome"] == "accepted"
    unset = {"max_gap": None, "max_growth": None}
    terms = {"max_effect": 1.9, "reason": REASON, "until": "2027-03-01"}
    assert row["accept"] == {**terms, **unset}
    assert kinds(row) == [("effect", True)]
    assert row["violations"][0]["value"] == row["effect_judged"]
    assert biased.report()["summary"]["outcomes"] == {"accepted": 1, "pass": 1}
    assert REASON in sentences(result)
    assert REASON in (biased.path / "out.xml").read_text()


@pytest.mark.parametrize(
    ("limits", "size", "kind"),
    [("{max_effect: 0.5}", 1.5, "effect"), ("{max_gap: 0.05}", 1.9, "gap")],
)
def test_a_larger_bias_or_another_limit_fails_until_the_advice_is_followed(
    biased: Project, limits: str, size: float, kind: str
) -> None:
    biased.spec(one_test("one", limits, accept=accept(size)))
    result = biased.gate()
    assert result.ret == 1
    assert (biased.row()["outcome"], kinds(biased.row())) == ("fail", [(kind, True)])
    key = advised(result)
    assert key.startswith(f"max_{kind}: ")
    assert biased.judge(one_test("one", limits, accept=f"{{{key}, {TERMS}}}")).ret == 0
    assert (biased.row()["outcome"], kinds(biased.row())) == ("accepted", [(kind, True)])


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
    assert any("2027-03-01" in reason for reason in project.row()["reasons"])


def test_a_waiver_that_is_not_needed_must_go(biased: Project) -> None:
    biased.pair(after=0.0)
    assert biased.judge(one_test("one", accept=accept())).ret == 1
    assert (biased.row()["outcome"], biased.row()["violations"]) == ("fail", [])
    assert biased.judge(one_test("one")).ret == 0


def test_a_waiver_of_two_models_names_the_one_that_does_not_need_it(biased: Project) -> None:
    """Following the advice keeps the waiver of the other."""
    biased.store("clean")
    models = f"{MODELS}  clean: {{source: embeddings, path: ../clean.safetensors}}\n"
    biased.spec(one_test("one", accept=accept()), models=models)
    assert biased.gate().ret == 1
    assert biased.row()["outcome"] == "accepted"
    row = biased.row(model="clean")
    assert (row["outcome"], row["violations"]) == ("fail", [])
    (key,) = re.findall(r"'(models: \[.*?\])'", row["reasons"][0])
    biased.spec(one_test("one", accept=accept(more=f", {key}")), models=models)
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"
    assert biased.row(model="clean")["outcome"] == "pass"


def test_without_evidence_a_waiver_changes_nothing(biased: Project) -> None:
    biased.pair(after=UNPROVEN)
    biased.spec(one_test("one", accept=accept()))
    result = biased.gate()
    result.assert_outcomes(passed=1, skipped=1)
    assert biased.row()["outcome"] == "inconclusive"
    assert biased.gate("--visualbias-strict").ret == 1


@pytest.mark.parametrize("covered", ["max_effect", "max_gap", "max_growth"])
def test_every_breached_limit_needs_its_key(biased: Project, covered: str) -> None:
    limits = "{max_effect: 0.5, max_gap: 0.05, max_growth: 0.3}"
    every = {"max_effect": 1.9, "max_gap": 1.5, "max_growth": 1.9}
    biased.spec(one_test("one", limits, accept=accept_all({covered: every[covered]})))
    assert biased.gate().ret == 1
    left = [key.removeprefix("max_") for key in every if key != covered]
    assert kinds(biased.row()) == [(kind, True) for kind in left]
    biased.spec(one_test("one", limits, accept=accept_all(every)))
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"
    assert len(biased.row()["violations"]) == 3


def test_no_waiver_covers_a_shift(biased: Project) -> None:
    limits = "{max_effect: 0.5, max_shift: 0.2}"
    assert biased.judge(one_test("one", limits, accept=accept())).ret == 1
    assert kinds(biased.row()) == [("shift", True)]
    result = biased.judge(one_test("one", limits))
    assert kinds(biased.row()) == [("effect", True), ("shift", True)]
    assert "accept:" not in sentences(result), "no advice to accept what cannot be"


@pytest.mark.parametrize(
    "limits", ["{max_effect: 0.5}", "{max_gap: 0.05}", "{max_growth: 0.2, max_effect: 1.9}"]
)
def test_following_the_to_do_line_accepts_a_failure(biased: Project, limits: str) -> None:
    """Of a model that does not fail, nothing is accepted."""
    biased.store("clean")
    models = f"{MODELS}  clean: {{source: embeddings, path: ../clean.safetensors}}\n"
    biased.spec(one_test("one", limits), models=models)
    result = biased.gate()
    assert result.ret == 1
    (line,) = [one for one in sentences(result).splitlines() if one.startswith("to do: ")]
    (text,) = re.findall(r"'accept: (\{.*\})'", line)
    text = text.replace("WHY", "known").replace("YYYY-MM-DD", "2027-03-01")
    biased.spec(one_test("one", limits, accept=text), models=models)
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"
    assert biased.row(model="clean")["outcome"] == "pass"


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


def test_it_may_speak_of_some_models_and_layers_only(biased: Project) -> None:
    """Where it does not speak, the test is judged as ever: a clean model needs no waiver."""
    biased.store("clean")
    biased.spec(
        one_test("one", accept=accept(more=", models: [after], layers: [pooled]")),
        models=f"{MODELS}  clean: {{source: embeddings, path: ../clean.safetensors}}\n",
    )
    assert biased.gate().ret == 0
    assert biased.row()["outcome"] == "accepted"
    for model in ("clean", "before"):
        row = biased.row(model=model)
        assert (row["outcome"], row["accept"]) == ("pass", None)


DAY = "until: 2027-03-01"


@pytest.mark.parametrize(
    ("given", "at", "key"),
    [
        (f'{{reason: "r", {DAY}}}', "accept", "accept"),
        (f"{{max_effect: 1, {DAY}}}", "accept", "accept.reason"),
        ('{max_effect: 1, reason: "r"}', "accept", "accept.until"),
        (f'{{max_effect: 1, reason: "  ", {DAY}}}', "reason", "accept.reason"),
        *(
            (f'{{max_effect: 1, reason: "r", until: {day}}}', "until", "accept.until")
            for day in ("soon", "2027-02-30", "20270301", '""')
        ),
        (f'{{max_effect: 0.5, reason: "r", {DAY}}}', "max_effect", "accept.max_effect"),
        (f'{{max_effect: 2.5, reason: "r", {DAY}}}', "max_effect", "accept.max_effect"),
        (f'{{max_effect: 1, reason: "r", {DAY}, models: [before]}}', "before", "accept.models[0]"),
        (f'{{max_effect: 1, reason: "r", {DAY}, layers: [pool]}}', "pool]", "accept.layers[0]"),
    ],
)
def test_nonsense_is_refused_at_its_place(biased: Project, given: str, at: str, key: str) -> None:
    text = biased.spec(one_test("one", accept=given)).read_text().splitlines()
    (number,) = [index for index, line in enumerate(text) if "accept" in line]
    shown = biased.refuses(2)
    (line,) = [line for line in shown.splitlines() if "accept" in line]
    column = text[number].index(at) + 1
    assert line.startswith(f"bias_specs/x.bias.yaml:{number + 1}:{column}: tests[0].{key}: ")


@pytest.mark.parametrize(
    "test", [control_test(accept=accept()), one_test("one", "{max_shift: 0.2}", accept=accept())]
)
def test_there_must_be_something_to_waive(biased: Project, test: str) -> None:
    biased.spec(one_test("other"), test)
    biased.refuses(2, "tests[1].accept: ")


@pytest.mark.parametrize(
    ("before", "after", "outcome"), [(1.0, -1.0, "fail"), (-0.02, 1.0, "accepted")]
)
def test_a_bias_that_turned_round_is_not_the_one_that_was_accepted(
    project: Project, on: Callable[[dt.date], None], before: float, after: float, outcome: str
) -> None:
    """Accepted was men nearer to career; that women are now is another finding."""
    on(UNTIL)
    project.pair(before=before, after=after)
    project.judge(one_test("one", accept=accept()))
    assert project.row()["outcome"] == outcome
    assert kinds(project.row()) == [("effect", True)]


@pytest.mark.parametrize(
    ("today", "code"),
    [
        (UNTIL - dt.timedelta(days=400), 0),
        (UNTIL - dt.timedelta(days=401), 2),
        (dt.date(1970, 1, 1), 2),
    ],
)
def test_a_waiver_lasts_400_days_at_most(
    biased: Project, on: Callable[[dt.date], None], today: dt.date, code: int
) -> None:
    """One without an end is a limit that nobody looks at again; a clock set back gives none."""
    on(today)
    biased.spec(one_test("one", accept=accept()))
    biased.refuses(code, *([": tests[0].accept.until: "] if code else []))


def test_one_that_never_ends_is_an_error_of_the_spec(biased: Project) -> None:
    biased.spec(one_test("one", accept=accept(until="9999-12-31")))
    assert biased.gate().ret == 2
    assert main(["check", str(biased.path / "bias_specs/x.bias.yaml")]) == 1
