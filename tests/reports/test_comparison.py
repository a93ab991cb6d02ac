"""Two reports beside each other: what is worse, and what cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.comparison import compare, render_comparison
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.tables import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.reports.comparison import Change
    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

SCREEN = Screen(width=120, has_colour=False, has_unicode=True)


@pytest.fixture
def change(make_measured: Make, make_report: MakeReport) -> Callable[..., Change]:
    """Return the change of one test, from some keys to others."""

    def one(old: dict[str, Any], new: dict[str, Any], tolerance: float = 1e-6) -> Change:
        reports = [make_report(make_measured(**{"outcome": "pass", **keys})) for keys in (old, new)]
        (found,) = compare(reports[0], reports[1], tolerance).changes
        return found

    return one


@pytest.mark.parametrize(
    ("old", "new", "how", "is_worse"),
    [
        (0.5, 0.5, "same", False),
        (0.5, 0.5 + 5e-7, "same", False),
        (0.5, 0.5 + 5e-6, "grew", True),
        (-0.5, -0.6, "grew", True),
        (-0.2, 0.6, "grew", True),
        (0.5, 0.4, "shrank", False),
        (0.5, -0.4, "shrank", False),
        (0.5, -0.5, "turned", False),
        (0.0, 0.0, "same", False),
    ],
)
def test_the_size_of_the_judged_effect_counts(
    change: Callable[..., Change], old: float, new: float, how: str, is_worse: bool
) -> None:
    found = change({"effect_judged": old}, {"effect_judged": new})
    assert (found.how, found.is_worse) == (how, is_worse)
    assert found.effects == (old, new)


def test_a_larger_tolerance_takes_more_for_the_same(change: Callable[..., Change]) -> None:
    keys = {"effect_judged": 0.5}, {"effect_judged": 0.59}
    assert change(*keys).is_worse
    assert change(*keys, 0.1).how == "same"


@pytest.mark.parametrize(
    "keys", [{"role": "reference"}, {"role": "random"}, {"control": "positive"}]
)
def test_the_effect_of_what_is_no_gated_bias_may_rise(
    change: Callable[..., Change], keys: dict[str, str]
) -> None:
    found = change({"effect_judged": 0.5, **keys}, {"effect_judged": 0.9, **keys})
    assert (found.how, found.is_worse) == ("grew", False)


@pytest.mark.parametrize(
    ("old", "new", "is_worse"),
    [
        ("pass", "fail", True),
        ("pass", "invalid", True),
        ("inconclusive", "fail", True),
        ("pass", "inconclusive", True),
        ("pass", "accepted", True),
        ("accepted", "fail", True),
        ("fail", "fail", False),
        ("fail", "pass", False),
        ("inconclusive", "pass", False),
        ("fail", "invalid", False),
    ],
)
def test_a_verdict_that_got_worse_is_worse_whatever_the_effect(
    change: Callable[..., Change], old: str, new: str, is_worse: bool
) -> None:
    found = change({"outcome": old}, {"outcome": new})
    assert found.is_worse is is_worse
    assert found.how == ("same" if old == new else "verdict")
    assert found.verdicts == (old, new)


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"digest": "other"}, "stimuli"),
        ({"module": "n"}, "module"),
        ({"pooling": "max"}, "pooling"),
        ({"kind": "sc-eat"}, "kind"),
    ],
)
def test_what_was_measured_on_something_else_is_not_compared(
    change: Callable[..., Change], keys: dict[str, str], part: str
) -> None:
    """And worse: that it is no step back cannot be told."""
    found = change({"effect_judged": 0.9}, {"effect_judged": 0.1, **keys})
    assert (found.how, found.is_worse) == ("not comparable", True)
    assert (found.unlike or "").startswith(part)


def test_nor_is_what_was_prepared_in_another_way(
    make_measured: Make, make_report: MakeReport
) -> None:
    record = make_measured()
    old, new = make_report(record), make_report(record)
    (model,) = new.models
    other = model.model_copy(update={"preprocessing": {"input_size": [3, 64, 64]}})
    (found,) = compare(old, new.model_copy(update={"models": [other]})).changes
    assert (found.unlike or "").startswith("preprocessing (input_size")


def test_other_weights_are_what_a_comparison_is_for(
    make_measured: Make, make_report: MakeReport
) -> None:
    old, new = make_report(make_measured()), make_report(make_measured())
    (model,) = new.models
    other = model.model_copy(update={"trials": [{"label": "b", "fingerprint": "e"}]})
    found = compare(old, new.model_copy(update={"models": [other]}))
    assert not found.is_worse


ERROR = {"outcome": "error", "measured": False, "sets": {}, "scores": {}}


@pytest.mark.parametrize(
    ("old", "new", "unlike", "is_worse"),
    [
        ({}, ERROR, "not measured now", True),
        (ERROR, {}, "not measured then", False),
        (ERROR, {"outcome": "fail"}, "not measured then", False),
        (ERROR, ERROR, "not measured then", False),
        ({"outcome": "fail"}, ERROR, "not measured now", True),
    ],
)
def test_what_was_not_measured_cannot_be_compared(
    change: Callable[..., Change],
    old: dict[str, Any],
    new: dict[str, Any],
    unlike: str,
    is_worse: bool,
) -> None:
    found = change(old, new)
    assert (found.how, found.unlike, found.is_worse) == ("not comparable", unlike, is_worse)


@pytest.mark.parametrize(
    ("outcome", "is_worse"),
    [("pass", False), ("inconclusive", False), ("fail", True), ("error", True)],
)
def test_what_appears_is_worse_only_where_it_fails(
    make_measured: Make, make_report: MakeReport, outcome: str, is_worse: bool
) -> None:
    both, new = make_measured("a"), make_measured("b", outcome=outcome)
    found = compare(make_report(both), make_report(new, both))
    assert [(one.test, one.how) for one in found.changes] == [("b", "appeared"), ("a", "same")]
    assert found.is_worse is is_worse


@pytest.mark.parametrize("outcome", ["pass", "fail", "error"])
def test_what_vanishes_is_worse(make_measured: Make, make_report: MakeReport, outcome: str) -> None:
    """Nobody knows any longer how it stands: a test left out must not look like a repair."""
    old, both = make_measured("a", outcome=outcome), make_measured("b")
    found = compare(make_report(old, both), make_report(both))
    assert [(one.test, one.how) for one in found.changes] == [("b", "same"), ("a", "vanished")]
    assert found.is_worse
    assert found.counts() == {"same": 1, "vanished": 1}


def test_tests_of_several_specs_models_and_layers_are_kept_apart(
    make_measured: Make, make_report: MakeReport
) -> None:
    places = [(s, m, lay) for s in ("s", "t") for m in ("m", "n") for lay in ("k", "l")]
    rows = [
        make_measured(spec=s, model=m, layer=lay, effect_judged=0.1 * n)
        for n, (s, m, lay) in enumerate(places, 1)
    ]
    found = compare(make_report(*rows), make_report(*reversed(rows)))
    assert found.counts() == {"same": 8}
    assert not found.is_worse


def test_a_report_that_does_not_say_what_was_measured_is_refused(
    make_measured: Make, make_report: MakeReport
) -> None:
    report = make_report(make_measured(), models=[])
    with pytest.raises(ReportError, match="'after'"):
        compare(report, report)


def test_the_table_has_what_changed_and_the_worst_first(
    make_measured: Make, make_report: MakeReport
) -> None:
    old = [make_measured(name, outcome="pass") for name in ("same", "better", "worse", "other")]
    new = [
        old[0],
        make_measured("better", outcome="pass", effect_judged=0.5),
        make_measured("worse", outcome="fail", effect_judged=-1.25),
        make_measured("other", outcome="pass", pooling="max"),
    ]
    found = compare(make_report(*old), make_report(*new))
    lines = render_comparison(found, SCREEN, shows_all=False).splitlines()
    rows = [line.partition("::after::")[2].split() for line in lines[2:5]]
    assert [row[:5] for row in rows] == [
        ["worse[pooled]", "+1.00", "→", "-1.25", "+0.25"],
        ["other[pooled]", "+1.00", "→", "+1.00", "-"],
        ["better[pooled]", "+1.00", "→", "+0.50", "-0.50"],
    ]
    assert found.counts() == {"same": 1, "shrank": 1, "grew": 1, "not comparable": 1}
    assert "same[pooled]" in render_comparison(found, SCREEN, shows_all=True)


def test_a_small_rise_is_not_shown_as_none(make_measured: Make, make_report: MakeReport) -> None:
    old, new = (make_report(make_measured(effect_judged=d)) for d in (0.5, 0.5001))
    assert " +1.0e-04 " in render_comparison(compare(old, new), SCREEN, shows_all=False)


def test_names_stay_in_their_line(
    make_measured: Make, make_report: MakeReport, hostile: str
) -> None:
    old, new = (make_report(make_measured(hostile, pooling=one)) for one in ("mean", "max"))
    screen = Screen(width=2000, has_colour=False, has_unicode=True)
    lines = render_comparison(compare(old, new), screen, shows_all=False).splitlines()
    assert len(lines) == 5
    # It stands in the middle of a node id.
    assert visible(f"x{hostile}")[1:].strip() in lines[2]
    assert all(line.isprintable() or "\u200d" in line for line in lines)
