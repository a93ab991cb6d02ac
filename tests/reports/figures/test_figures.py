"""What is drawn are the numbers of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.reports.bias_counts import bias_counts
from pytest_visualbias.reports.document import Accuracy
from pytest_visualbias.reports.figures import counting, effects, layers, relations, tradeoff
from pytest_visualbias.reports.figures.gathering import merge_reports
from tests.reports.figures.conftest import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matplotlib.figure import Figure

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    Reported = Callable[..., Report]


def points(axes: Any, gid: str) -> list[tuple[float, float]]:  # noqa: ANN401 - artists hold anything
    """Return what the line of an id goes through, or those whose ids begin so, up to a dash."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if (own := line.get_gid() or "") == gid or (gid.endswith("-") and own.startswith(gid))
        for x, y in zip(*line.get_data(), strict=True)
    ]


def segments(axes: Any, colour: str) -> list[list[list[float]]]:  # noqa: ANN401 - see above
    """Return the ends of the free lines of a colour."""
    from matplotlib.colors import to_hex

    return [
        segment.tolist()
        for group in axes.collections
        if hasattr(group, "get_segments") and to_hex(group.get_edgecolor()[0]) == colour.lower()
        for segment in group.get_segments()
    ]


def shaded(axes: Any) -> list[tuple[float, float]]:  # noqa: ANN401 - see above
    """Return the extents of the shaded limits of rows."""
    extents = [
        band.get_datalim(axes.transData)
        for band in axes.collections
        if (band.get_gid() or "").startswith("limit")
    ]
    return [(round(float(box.x0), 6), round(float(box.x1), 6)) for box in extents]


def drawn(found: Iterable[tuple[str, str, Figure]]) -> dict[tuple[str, str], Any]:
    return {(spec, layer): figure for spec, layer, figure in found}


def only(found: Iterable[tuple[str, str, Figure]]) -> tuple[str, str, Any]:
    (one,) = found
    return one


def of(records: list[ResultRecord], model: str, layer: str) -> list[ResultRecord]:
    return [one for one in records if (one.model, one.layer) == (model, layer)]


def test_a_forest_has_each_effect_with_its_interval_and_limits(
    study: list[ResultRecord],
) -> None:
    figures = drawn(effects.forest_figures(study))
    assert list(figures) == [("bias_specs/x.bias.yaml", layer) for layer in ("early", "late")]
    panels = {axes.get_title(): axes for axes in figures["bias_specs/x.bias.yaml", "late"].axes}
    assert list(panels) == ["before", "after", "untrained"]
    own = of(study, "after", "late")
    after = panels["after"]
    assert points(after, "effect-") == [(one.effect_judged, row) for row, one in enumerate(own)]
    assert [label.get_text() for label in panels["before"].get_yticklabels()] == list(TESTS)
    from pytest_visualbias.reports.figures.style import outcome_colour

    lines = [
        line
        for colour in {outcome_colour(one.outcome) for one in own}
        for line in segments(after, colour)
    ]
    assert sorted(lines, key=lambda line: line[0][1]) == [
        [[-1.9, row], [1.9, row]] for row in range(6)
    ]
    reach = after.get_xlim()[1]
    assert shaded(after) == [(round(-reach, 6), -0.5), (0.5, round(reach, 6))] * 6
    assert shaded(panels["before"]) == [], "a reference has no limit"


def test_a_failing_effect_is_never_drawn_like_a_passing_one(make: Make) -> None:
    from matplotlib.colors import to_hex

    outcomes = ("fail", "pass", "inconclusive", "accepted", "invalid", "reported")
    records = [make(outcome, outcome=outcome) for outcome in outcomes[:-1]]
    records.append(make("reported", outcome="pass", limits={}))
    _, _, figure = only(effects.forest_figures(records))
    dots = [line for line in figure.axes[0].lines if (line.get_gid() or "").startswith("effect")]
    colours = dict(zip(outcomes, (to_hex(str(dot.get_color())) for dot in dots), strict=True))
    assert colours["invalid"] == colours["fail"]
    assert len({colours[outcome] for outcome in outcomes}) == 5
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(outcomes) <= set(names)


def test_a_forest_fills_what_is_significant(make: Make) -> None:
    records = [make("a", p_adjusted=0.05), make("b", p_adjusted=0.051), make("c", p_adjusted=None)]
    _, _, figure = only(effects.forest_figures(records))
    lines = [line for line in figure.axes[0].lines if line.get_gid()]
    assert [line.get_markerfacecolor() == "white" for line in lines] == [False, True, False]


@pytest.mark.parametrize(
    ("alternative", "control", "at"),
    [
        ("two-sided", None, [(-1.0, -0.5), (0.5, 1.0)]),
        ("greater", None, [(0.5, 1.0)]),
        ("less", None, [(-1.0, -0.5)]),
        ("greater", "positive", [(-1.0, 0.7)]),
        ("less", "positive", [(-0.7, 1.0)]),
    ],
)
def test_limits_are_shaded_on_the_side_that_fails(
    make: Make, alternative: str, control: str | None, at: list[tuple[float, float]]
) -> None:
    limits = {"min_effect": 0.7} if control else {"max_effect": 0.5}
    record = make(alternative=alternative, control=control, limits=limits)
    _, _, figure = only(effects.forest_figures([record]))
    axes = figure.axes[0]
    ends = [round(end, 6) for end in axes.get_xlim()]
    clipped = [
        tuple({ends[0]: -1.0, ends[1]: 1.0}.get(end, end) for end in band) for band in shaded(axes)
    ]
    assert clipped == at


def test_a_dumbbell_has_both_ends_and_the_growth_in_numbers(study: list[ResultRecord]) -> None:
    figure = drawn(effects.before_after_figures(study))["bias_specs/x.bias.yaml", "early"]
    (axes,) = figure.axes
    own = of(study, "after", "early")
    growths = [one.growth for one in own if one.growth is not None]
    assert axes.get_title() == "before → after"
    assert points(axes, "before-") == [(one.before, row) for row, one in enumerate(growths)]
    assert points(axes, "after-") == [(one.after, row) for row, one in enumerate(growths)]
    assert [text.get_text() for text in axes.texts] == [
        f"{one.value:+.2f} [+0.40, +1.30]" for one in growths
    ]


def test_a_sweep_has_a_panel_for_each_test_and_a_line_for_each_model(
    study: list[ResultRecord],
) -> None:
    _, layer, figure = only(layers.layer_figures(study))
    assert layer == ""
    assert [axes.get_title() for axes in figure.axes] == list(TESTS)
    for axes, test in zip(figure.axes, TESTS, strict=True):
        lines = [line for line in axes.lines if line.get_gid() == "line"]
        for line, model in zip(lines, ("before", "after", "untrained"), strict=True):
            own = [one for one in study if (one.model, one.test) == (model, test)]
            assert list(line.get_ydata()) == [one.effect_judged for one in own]
        assert len(axes.collections) == 3, "an interval for each model"
        assert [patch.get_gid() for patch in axes.patches] == ["limit", "limit"]


def test_a_sweep_has_a_line_of_what_was_recorded_before_where_no_model_stands_for_it(
    study: list[ResultRecord],
) -> None:
    alone = [one for one in study if one.model != "before"]
    _, _, figure = only(layers.layer_figures(alone))
    for axes, test in zip(figure.axes, TESTS, strict=True):
        growths = [one.growth for one in alone if one.test == test and one.growth is not None]
        assert [y for _, y in points(axes, "before")] == [one.before for one in growths]
        assert len(growths) == 2
    assert "before (recorded)" in [text.get_text() for text in figure.legends[0].get_texts()]
    _, _, both = only(layers.layer_figures(study))
    assert all(points(axes, "before") == [] for axes in both.axes), "the model itself is there"


def test_one_layer_has_no_sweep(make: Make) -> None:
    assert list(layers.layer_figures([make("a"), make("b")])) == []


def test_a_curve_is_the_number_of_biases_at_every_threshold(study: list[ResultRecord]) -> None:
    figure = drawn(counting.count_curve_figures(study))["bias_specs/x.bias.yaml", "late"]
    expected = {
        one.model: one
        for one in bias_counts(study, counting.thresholds(), p="p_verdict")
        if one.layer == "late"
    }
    raw, positive, negative, holm, beyond = figure.axes
    shown = {"raw": raw, "positive": positive, "negative": negative, "holm": holm}
    for name, axes in shown.items():
        for model, cell in expected.items():
            found = [y for _, y in points(axes, f"{name}-{model}")]
            assert found == [getattr(one, name) for one in cell.counts]
    assert points(beyond, "beyond_random-untrained") == []
    assert [y for _, y in points(raw, "raw-after")][-1] == 6
    ends = [points(shown[name], f"{name}-after")[-1][1] for name in ("positive", "negative")]
    assert ends == [4, 2], "four effects lie above zero"
    assert len(points(beyond, "beyond_random-after")) == len(counting.thresholds())


def test_tests_that_ask_in_one_direction_have_no_curve_of_the_other(
    study: list[ResultRecord],
) -> None:
    one_sided = [one.model_copy(update={"alternative": "greater"}) for one in study]
    figure = drawn(counting.count_curve_figures(one_sided))["bias_specs/x.bias.yaml", "late"]
    assert [axes.get_title() for axes in figure.axes] == [
        "tests with p below t",
        "after Holm's correction",
        "beyond the untrained network",
    ]


def test_a_map_has_the_number_and_the_strength_of_each_cell(study: list[ResultRecord]) -> None:
    _, _, figure = only(counting.count_map_figures(study))
    counts, strength = figure.axes[:2]
    assert counts.images[0].get_array().tolist() == [[4, 4], [4, 4], [0, 0]]
    assert [label.get_text() for label in counts.get_yticklabels()] == [
        "before",
        "after",
        "untrained (untrained)",
    ]
    late = sum(abs(one.effect_judged or 0) for one in of(study, "after", "late")[:4])
    assert strength.images[0].get_array()[1, 1] == pytest.approx(late)


def test_few_tests_are_not_counted(make: Make) -> None:
    records = [make(test) for test in "abcd"]
    assert list(counting.count_curve_figures(records)) == []
    assert list(counting.count_map_figures(records)) == []


def test_transfer_has_a_point_for_each_test_and_the_rank_correlation(
    study: list[ResultRecord],
) -> None:
    figure = drawn(relations.transfer_figures(study))["bias_specs/x.bias.yaml", "early"]
    (axes,) = figure.axes
    own = [one.growth for one in of(study, "after", "early") if one.growth is not None]
    assert points(axes, "point-") == [(one.before, one.after) for one in own]
    assert axes.get_title() == "before → after\nSpearman's ρ = +1.00 (k = 6)"


def test_of_four_tests_there_is_no_transfer(study: list[ResultRecord]) -> None:
    """Nor of five, one of which is invalid: what the report does not say, no figure does."""
    of_four = [one for one in study if one.test in TESTS[:4]]
    assert list(relations.transfer_figures(of_four)) == []
    of_five = [one for one in study if one.test in TESTS[:5]]
    assert len(list(relations.transfer_figures(of_five))) == 2
    spoilt = [
        one.model_copy(update={"outcome": "invalid"}) if one.test == TESTS[0] else one
        for one in of_five
    ]
    assert list(relations.transfer_figures(spoilt)) == []


def test_what_is_no_effect_has_figures_of_its_own_unit(study: list[ResultRecord]) -> None:
    """Mean cosines and gaps of rates stand on no axis of standard deviations."""
    gaps = [
        one.model_copy(update={"kind": "outcome-gap", "limits": {"max_gap": 0.05}}) for one in study
    ]
    mixed = [*study, *gaps]
    assert len(list(effects.forest_figures(mixed))) == len(list(effects.forest_figures(study))) == 2
    draws = (
        effects.forest_figures,
        effects.before_after_figures,
        layers.layer_figures,
        relations.transfer_figures,
    )
    for draw in draws:
        for _, _, figure in draw(mixed, "gaps"):
            said = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
            said.append(figure.get_supylabel())
            assert any("difference of rates" in one for one in said)
            assert not [one for one in said if "standard deviations" in one]
    (_, _, figure), *_ = effects.forest_figures(gaps, "gaps")
    after = next(axes for axes in figure.axes if axes.get_title() == "after")
    inner = {end for band in shaded(after) for end in band if abs(end) < after.get_xlim()[1] - 1e-3}
    assert inner == {-0.05, 0.05}


def test_similarities_are_points_without_a_p(make: Make) -> None:
    within = make("a", kind="intra-similarity", p_value=None, p_verdict=None, p_adjusted=None)
    _, _, figure = only(effects.forest_figures([within], "similarities"))
    (line,) = [line for line in figure.axes[0].lines if line.get_gid()]
    assert line.get_markerfacecolor() != "white"


def test_labels_have_their_mean_and_a_point_for_each_model(make: Make) -> None:
    sizes = {"m": ("10", 0.5), "l": ("9", 1.0), "n": ("9", 2.0)}
    records = [
        make("a", model=model, role="gated", labels={"size": size}, effect_judged=-d)
        for model, (size, d) in sizes.items()
    ]
    key, _, figure = only(relations.label_figures(records))
    assert key == "size"
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["9\n2 models", "10\n1 model"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(line.get_ydata()) for line in dots] == [[1.0, 2.0], [0.5]]
    assert [one[0][1] for one in segments(axes, "#000000")] == [1.5, 0.5]


def test_accuracy_stands_against_bias_with_the_front_of_those_none_beats(
    make: Make, report: Reported
) -> None:
    sizes = {"a": 0.2, "b": 0.4, "c": 0.5, "untrained": 0.1, "broken": 0.05, "unknown": 0.3}
    records = [
        make(
            test,
            model=model,
            role="random" if model == "untrained" else "gated",
            effect_judged=d,
        )
        for model, d in sizes.items()
        for test in TESTS
    ]
    records.append(make("control", model="broken", control="positive", outcome="fail"))
    known = {"a": 0.5, "b": 0.7, "c": 0.6, "untrained": 0.1, "broken": 0.9}
    accuracies = [
        Accuracy(model=model, accuracy=value, ci_low=value - 0.05, ci_high=value + 0.05)
        for model, value in known.items()
    ]
    _, _, figure = only(tradeoff.tradeoff_figures(merge_reports([report(records)]), accuracies))
    axes, number, strength = figure.axes
    for model, value in known.items():
        ((x, y),) = points(axes, f"model-{model}")
        assert [x, y] == pytest.approx([100 * value, sizes[model]])
    front = [number for point in points(axes, "front") for number in point]
    assert front == pytest.approx([50, 0.2, 70, 0.4])
    assert points(number, "model-b")[0] == pytest.approx((70, 6))
    assert points(strength, "model-b")[0] == pytest.approx((70, 6 * 0.4))
    front = [number for point in points(strength, "front") for number in point]
    assert front == pytest.approx([50, 6 * 0.2, 70, 6 * 0.4])


def test_an_accuracy_is_found_by_its_weights_rather_than_by_a_name(
    make: Make, report: Reported
) -> None:
    runs = [report([make(test) for test in TESTS], after=one) for one in "12"]
    accuracies = [
        Accuracy(model="after", fingerprint=one, accuracy=value, layer="pooled")
        for one, value in (("2", 0.9), ("1", 0.4))
    ]
    _, _, figure = only(tradeoff.tradeoff_figures(merge_reports(runs), accuracies))
    for model, percent in (("after (1.pt)", 40), ("after (2.pt)", 90)):
        assert points(figure.axes[0], f"model-{model}")[0][0] == pytest.approx(percent)


def test_one_accuracy_alone_is_not_drawn(make: Make, report: Reported) -> None:
    study = merge_reports([report([make(test) for test in TESTS])])
    assert list(tradeoff.tradeoff_figures(study, [Accuracy(model="after", accuracy=0.5)])) == []


def test_labels_of_results_without_effects_have_no_figure(make: Make) -> None:
    unmeasured = make(labels={"run": "a"}, effect_judged=None, growth=None, outcome="error")
    assert [*relations.label_figures([unmeasured])] == []
