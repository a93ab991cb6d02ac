"""A training run in every report: sentences, a line of bars, a curve with its band, a figure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_visualbias.reports.document import report_schema
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.field_descriptions import MEANINGS
from pytest_visualbias.reports.html.number_tables import series_table
from pytest_visualbias.reports.html.page import render as page
from pytest_visualbias.reports.markdown import markdown
from pytest_visualbias.reports.series_notes import (
    axis_positions,
    series_text,
    sparkline,
    training_run_lines,
)
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from pytest_visualbias.results import Report, SeriesRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

EFFECTS = (0.1, 0.4, 0.6, 0.9)
OVER: tuple[dict[str, bool], ...] = ({}, {}, {"max_effect": False}, {"max_effect": True})


def point(label: str, effect: float | None, **keys: Any) -> dict[str, Any]:  # noqa: ANN401
    ends = (None, None) if effect is None else (effect - 0.3, effect + 0.3)
    return {
        "label": label,
        "checkpoint": f"epoch_{label}.pt",
        "digest": "0" * 64,
        "fingerprint": "1" * 64,
        **dict.fromkeys(("effect_size", "effect_size_attributes", "effect_judged"), effect),
        **dict.fromkeys(("p_value", "p_attributes", "p_verdict"), 0.03),
        **dict(zip(("ci_low", "ci_high"), ends, strict=True)),
        **dict.fromkeys(("gap", "p_welch", "p_adjusted")),
        "growth": None,
        "over": {},
        "outcome": "pass",
        **keys,
    }


def series(
    effects: Sequence[float | None] = EFFECTS,
    over: Sequence[dict[str, bool]] = OVER,
    **keys: Any,  # noqa: ANN401
) -> dict[str, Any]:
    found = [
        point(str(index), effect, over=exceeded)
        for index, (effect, exceeded) in enumerate(zip(effects, over, strict=True), 1)
    ]
    plain = {"axis": "epoch", "gate": "last", "correction": "none", "points": found}
    return {**plain, "first_over": {}, "first_evident": {}, **keys}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ([0, 0, 0, 0], "never over a limit"),
        ([0, 1, 1, 1], "effect over 0.5 since epoch 2, without evidence"),
        ([0, 2, 2, 2], "effect over 0.5 since epoch 2, with evidence"),
        ([0, 1, 1, 2], "effect over 0.5 since epoch 2, with evidence since epoch 4"),
        ([0, 2, 0, 1], "effect over 0.5 at epoch 2, 4, with evidence at epoch 2"),
        ([2, 0, 0, 0], "effect over 0.5 at epoch 1, with evidence"),
        (
            [2, 1, 2, 2, 2, 0, 0],
            "effect over 0.5 at epoch 1 to 5, with evidence at epoch 1, 3 to 5",
        ),
        (
            [1, 0] * 6,
            "effect over 0.5 at 6 checkpoints from epoch 1 to 11, without evidence",
        ),
    ],
)
def test_a_sentence_says_since_when_a_limit_is_exceeded(
    make: Make, over: list[int], said: str
) -> None:
    """0 is within the limit, 1 over it, 2 over it with the evidence asked for."""
    found = [{} if one == 0 else {"max_effect": one == 2} for one in over]
    effects = [0.1] * len(over)
    record = make(limits={"max_effect": 0.5}, series=series(effects, found))
    own = "; each by its own p, uncorrected" if any(over) else ""
    assert series_text(record) == said + own
    judged = make(limits={"max_effect": 0.5}, series=series(effects, found, gate="all"))
    assert series_text(judged) == said
    bare = make(limits={"max_effect": 0.5}, series=series(effects, found), evidence="point")
    assert series_text(bare) == re.sub(r", with(out)? evidence.*", "", said)


def test_each_limit_has_its_own_part_and_what_is_no_verdict_is_named(make: Make) -> None:
    over = [{"max_growth": True}] * 4
    found = series(over=over)
    found["points"][0].update(outcome="invalid", over={})
    record = make(limits={"max_effect": 0.5, "max_growth": 0.2}, series=found)
    assert series_text(record) == (
        "growth over 0.2 since epoch 2, with evidence; invalid at epoch 1; each by its own p, "
        "uncorrected"
    )
    control = make(limits={"min_effect": 0.5}, control="positive", series=series())
    control = control.model_copy(update={"series": SeriesRecord.model_validate(
        {**series(over=[{}] * 4), "points": [point("1", 0.1, outcome="fail"), point("2", 1.0)]}
    )})  # fmt: skip
    assert series_text(control) == "the control does not hold at epoch 1"
    held = make(control="positive", limits={"min_effect": 0.5}, series=series(over=[{}] * 4))
    assert series_text(held) == "the control holds at all of them"


def test_bars_are_as_high_as_effects_and_chance_is_no_trend(make: Make) -> None:
    def bars(*effects: float | None, has_unicode: bool = True) -> str:
        found = series(effects, [{}] * len(effects))
        return sparkline(SeriesRecord.model_validate(found).points, has_unicode=has_unicode)

    assert bars(0.0, 0.5, 1.0, 1.5, 2.0) == "▁▃▅▇█"
    assert bars(0.0, -2.0) == "█▁"
    assert {*bars(0.0, 0.02, 0.01)} == {*"▄▅"}, "less than a standard deviation fills no line"
    assert bars(0.0, None, 2.0) == "▁?█"
    assert bars(0.0, 1.0, 2.0, has_unicode=False) == "_=#"
    many = bars(*(index / 100 for index in range(200)))
    assert (len(many), many[0], many[-1]) == (40, "▁", "█")


@pytest.mark.parametrize("has_unicode", [True, False])
def test_lines_fit_80_columns_without_colour(make: Make, has_unicode: bool) -> None:
    many = series([index / 60 for index in range(120)], [{"max_effect": True}] * 120)
    record = make("gender-career", limits={"max_effect": 0.5}, series=many)
    lines = [*training_run_lines([record], width=80, has_unicode=has_unicode)]
    assert all(len(line) <= 80 for line in lines)
    assert all(line.isascii() for line in lines) != has_unicode
    screen = Screen(width=80, has_colour=False, has_unicode=has_unicode)
    shown = render([record], [], screen, verbosity=1).splitlines()
    assert set(lines) <= set(shown)
    assert not set(lines) & set(render([record], [], screen, verbosity=0).splitlines())


def test_steps_stand_at_their_numbers_and_texts_one_after_the_other() -> None:
    found = series()
    for one, label in zip(found["points"], ("100", "200", "500", "1000"), strict=True):
        one["label"] = label
    assert axis_positions(SeriesRecord.model_validate(found)) == [100, 200, 500, 1000]
    found["points"][0]["label"] = "1_it100"
    assert axis_positions(SeriesRecord.model_validate(found)) == [0, 1, 2, 3]


class TestThePage:
    def test_a_result_has_its_checkpoints_as_a_table(self, make: Make) -> None:
        found = SeriesRecord.model_validate(series((0.1, None, 0.9), [{}] * 3))
        table = series_table(found)
        assert table is not None
        assert [row[:2] for row in table.rows] == [("1", "+0.10"), ("2", "–"), ("3", "+0.90")]
        assert series_table(make(series=series((None,), [{}])).series) is None
        assert series_table(None) is None

    def test_the_page_shows_it(self, make: Make, make_report: Callable[..., Report]) -> None:
        text = page(make_report(make(limits={"max_effect": 0.5}, series=series())))
        assert "4 +0.90, " in text, "the figure says its numbers"
        assert text.count('<g class="limit">') == 2
        assert "Training run" in text
        assert "effect over 0.5 since epoch 3, with evidence since epoch 4" in text


def test_names_that_mean_harm_do_none(
    make: Make, make_report: Callable[..., Report], hostile: str
) -> None:
    found = series(axis=hostile)
    for index, one in enumerate(found["points"]):
        one.update(label=f"{hostile}{index}", checkpoint=hostile)
    record = make(hostile, limits={"max_effect": 0.5}, series=found)
    report = make_report(record)
    screen = Screen(width=200, has_colour=False, has_unicode=True)
    shown = render([record], [], screen, verbosity=1)
    lines = [*training_run_lines([record], width=200, has_unicode=True)]
    assert lines == [visible(line) for line in lines]
    assert visible(hostile).split()[0] in shown
    assert "<script>alert" not in page(report) + markdown(report)


def test_markdown_has_the_sentence(make: Make, make_report: Callable[..., Report]) -> None:
    text = markdown(make_report(make(limits={"max_effect": 0.5}, series=series())))
    assert "Over a training run (1)" in text
    assert "epoch 1 to 4, 4 checkpoints: effect over 0.5 since epoch 3" in text


def test_a_report_without_the_key_is_read_and_an_empty_series_is_not(
    make: Make, make_report: Callable[..., Report]
) -> None:
    plain = make_report(make()).model_dump(mode="json", by_alias=True)
    assert plain["results"][0].pop("series") is None
    assert Report.model_validate(plain).results[0].series is None
    with pytest.raises(ValidationError):
        SeriesRecord.model_validate({**series(), "points": []})


def test_every_key_is_described() -> None:
    parts = report_schema()["$defs"]
    for name in ("SeriesRecord", "PointRecord"):
        assert parts[name]["properties"].keys() == MEANINGS[name].keys()


def test_a_figure_has_a_panel_for_every_test(make: Make) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from pytest_visualbias.reports.figures.series import training_run_figures

    records = [make(name, limits={"max_effect": 0.5}, series=series()) for name in ("one", "two")]
    ((spec, layer, figure),) = training_run_figures(records)
    assert (spec, layer) == (records[0].spec, "pooled")
    assert sum(bool(axes.get_lines()) for axes in figure.axes) == 2
    assert not list(training_run_figures([make("one", limits={"max_effect": 0.5})]))
