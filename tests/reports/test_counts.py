"""The number of biases over thresholds of p."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.reports.bias_counts import BiasCount, BiasCounts, bias_counts
from pytest_visualbias.reports.document import build_report
from pytest_visualbias.results import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_visualbias.reports.bias_counts import PName
    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

# p and d of five tests; the third is exactly at a threshold.
TESTS = [(0.001, 1.5), (0.02, -0.9), (0.05, 0.6), (0.2, 0.3), (0.99, -0.1)]


def rows(make: Make, tests: Iterable[tuple[float, float]], **keys: object) -> list[ResultRecord]:
    """Return a record for each pair of a p and an effect; the verdict's p and effect differ."""
    return [
        make(
            f"test {index}",
            **{"p_value": p, "effect_size": d, "p_verdict": 1.0, "effect_judged": 0.0, **keys},
        )
        for index, (p, d) in enumerate(tests)
    ]


def only(
    records: Iterable[ResultRecord], *, p: PName = "p_value", with_controls: bool = False
) -> BiasCounts:
    (found,) = bias_counts(records, [0.05], p=p, with_controls=with_controls)
    return found


def count(
    records: Iterable[ResultRecord], *, p: PName = "p_value", with_controls: bool = False
) -> BiasCount:
    return only(records, p=p, with_controls=with_controls).counts[0]


def test_a_test_counts_where_its_p_is_below_the_threshold_whatever_its_sign(make: Make) -> None:
    assert count(rows(make, TESTS)) == BiasCount(
        threshold=0.05,
        raw=2,
        positive=1,
        negative=1,
        opposite=None,
        holm=1,
        bh=1,
        random=None,
        beyond_random=None,
        strength=1.5 + 0.9,
    )


def test_the_curve_has_a_count_for_each_threshold_in_their_order(make: Make) -> None:
    (found,) = bias_counts(rows(make, TESTS), [0.001, 0.3, 0.051, 1.0])
    assert [one.raw for one in found.counts] == [0, 4, 3, 5]
    assert found.tests == 5


def test_corrections_run_over_all_tests_of_the_cell_and_over_no_other_cell(make: Make) -> None:
    """Bonferroni's first step: 0.012 * 4 = 0.048 is below 0.05, 0.012 * 5 is not."""
    four = rows(make, [(0.012, 1.0), *[(0.5, 0.1)] * 3])
    others = [*rows(make, TESTS, layer="early"), *rows(make, TESTS, spec="other.bias.yaml")]
    alone = next(one for one in bias_counts([*four, *others], [0.05]) if one.tests == 4)
    assert (alone.counts[0].holm, alone.counts[0].bh) == (1, 1)
    assert count(rows(make, [(0.012, 1.0), *[(0.5, 0.1)] * 4])).holm == 0
    assert count(rows(make, [(0.02, 1.0), (0.025, 1.0), (0.9, 0.1)])).bh == 2


def test_what_could_not_be_done_keeps_its_place_in_the_correction(make: Make) -> None:
    tests = rows(make, [(0.012, 1.0), *[(0.5, 0.1)] * 3])
    failed = make("failed", outcome="error", measured=False)
    found = only([*tests, failed])
    assert (found.tests, found.unmeasured, found.counts[0].holm) == (4, 1, 0)


def test_the_verdicts_p_counts_with_the_effect_that_is_judged(make: Make) -> None:
    records = rows(make, TESTS, p_verdict=0.04, effect_judged=-0.5)
    found = count(records, p="p_verdict")
    assert (found.raw, found.positive, found.negative, found.strength) == (5, 0, 5, 2.5)


def test_controls_are_no_biases_unless_asked_for_and_those_of_old_reports_never(make: Make) -> None:

    positive = make("flowers", control="positive", outcome="pass", p_value=0.001, effect_size=1.9)
    drift = make("drift", control="drift", p_value=0.001, effect_size=1.9)
    records = [*rows(make, TESTS), positive, drift]
    assert only(records).tests == 5
    assert only(records, with_controls=True).tests == 6
    assert count(records, with_controls=True).raw == 3


@pytest.mark.parametrize(
    ("outcomes", "role", "state"),
    [
        ([], "gated", "none"),
        (["pass", "pass"], "gated", "held"),
        (["pass", "fail"], "reference", "failed"),
        (["error"], "gated", "failed"),
        (["pass"], "random", "not applied"),
    ],
)
def test_the_state_of_the_positive_control_stands_beside(
    make: Make, outcomes: list[str], role: str, state: str
) -> None:
    controls = [
        make(f"control {index}", control="positive", outcome=outcome, role=role)
        for index, outcome in enumerate(outcomes)
    ]
    assert only([*controls, *rows(make, TESTS, role=role)]).control == state


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        ({"effect_size": 0.4, "p_value": 0.05}, "held"),
        ({"effect_size": 0.4, "p_value": 0.051}, "failed"),
        ({"effect_size": -0.4, "p_value": 0.01}, "failed"),
        ({"outcome": "error", "effect_size": None, "p_value": None}, "failed"),
        ({"effect_size": -0.4, "p_value": 0.01, "role": "random"}, "not applied"),
    ],
)
def test_a_control_of_which_nothing_is_asked_is_no_bias_and_has_a_state(
    make: Make, numbers: dict[str, Any], state: str
) -> None:
    """As in `suite: ieat`: above zero, with p of at most alpha."""
    idle = make("flowers", control="idle", **{"outcome": "pass", **numbers})
    records = [idle, *rows(make, TESTS, role=numbers.get("role", "gated"))]
    found = only(records)
    assert (found.tests, found.control) == (5, state)


def test_similarities_within_a_set_have_no_p_and_are_left_out(make: Make) -> None:
    nothing = dict.fromkeys(("p_value", "p_verdict"))
    within = make("within", kind="intra-similarity", **nothing)
    assert bias_counts([within]) == []
    found = only([within, *rows(make, TESTS)])
    assert (found.tests, found.unmeasured) == (5, 0)


def test_what_all_untrained_networks_show_in_the_same_direction_can_be_taken_off(
    make: Make,
) -> None:
    trained = rows(make, [(0.01, 1.0), (0.01, -1.0), (0.01, 1.0), (0.01, 1.0)])
    first = [(0.01, 0.8), (0.01, 0.8), (0.01, 0.8), (0.3, 0.8)]
    second = [(0.01, 0.8), (0.01, 0.8), (0.3, 0.2), (0.3, 0.8)]
    networks = [
        one
        for name, tests in (("random a", first), ("random b", second))
        for one in rows(make, tests, model=name, role="random")
    ]
    own, *untrained = bias_counts([*trained, *networks], [0.05])
    assert (own.counts[0].raw, own.counts[0].random, own.counts[0].beyond_random) == (4, 2.5, 3)
    assert [(one.counts[0].random, one.counts[0].beyond_random) for one in untrained] == [
        (None, None)
    ] * 2
    alone, _ = bias_counts([*trained, *networks[:4]], [0.05])
    assert (alone.counts[0].random, alone.counts[0].beyond_random) == (3.0, 2)


def test_an_untrained_network_speaks_for_its_own_spec_and_layer_only(make: Make) -> None:
    trained = rows(make, TESTS)
    for place in ({"layer": "early"}, {"spec": "other.bias.yaml"}):
        other = rows(make, TESTS, model="random", role="random", **place)
        assert bias_counts([*trained, *other], [0.05])[0].counts[0].random is None


def test_one_sided_tests_that_lie_far_out_on_the_other_side_are_counted_apart(make: Make) -> None:
    found = count(rows(make, TESTS, alternative="greater"))
    assert (found.raw, found.opposite) == (2, 1)
    of_the_verdict = count(rows(make, TESTS, alternative="greater"), p="p_verdict")
    assert of_the_verdict.opposite is None


def test_the_plain_form_is_a_list_over_thresholds_for_each_number(make: Make) -> None:
    (found,) = bias_counts(rows(make, TESTS), [0.1, 0.001])
    plain = found.plain()
    assert plain["thresholds"] == [0.1, 0.001]
    assert plain["raw"] == [3, 0]
    assert plain["strength"] == [pytest.approx(3.0), 0]
    assert plain["model"] == "after"
    assert "counts" not in plain


def test_the_json_summary_has_the_counts_by_ieats_p_and_by_the_verdicts(
    make: Make, tmp_path: Path
) -> None:
    report = build_report(rows(make, TESTS), [], {}, root=tmp_path, settings={})
    entries = json.loads(to_json(report))["summary"]["bias_counts"]
    assert [(one["p"], one["raw"]) for one in entries] == [
        ("p_value", [3, 2, 1, 0]),
        ("p_verdict", [0, 0, 0, 0]),
    ]
