"""The results as comma-separated values: whole, stable, and no formulas."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.escaping import csv_text, visible
from pytest_visualbias.reports.files import columns, csv_rows
from pytest_visualbias.results import ResultRecord
from tests.reports.test_document import CONTRACT, CONTRACT_OF_GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

TRIALS = {"labels": ["seed 0", "seed 1"], "effect_size": [0.1, -0.2]}
PARTED = {"limits", "growth", "concepts", "accept", "excess", "sets", "scores"}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def rows(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_rows(report), newline=""), strict=True))


def test_columns_are_the_keys_of_results_in_their_order() -> None:
    names = columns()
    assert len(names) == len(set(names))
    heads = list(dict.fromkeys(name.partition(".")[0] for name in names))
    assert heads == [
        name
        for name in ResultRecord.model_fields
        if name not in ("scores", "series", "basis", "fault")
    ]
    assert {*names} >= ({*CONTRACT.split()} - PARTED)
    assert {*names} >= {f"growth.{name}" for name in CONTRACT_OF_GROWTH.split()}
    assert {*names} >= {"limits.max_effect", "limits.max_excess", "sets.B.digest", "concepts.X"}


def test_every_value_is_there_again_after_reading(
    make_measured: Make, make_report: MakeReport
) -> None:
    """Numbers to the last bit, and nothing for what is null."""
    record = make_measured(
        effect_size=1 / 3,
        gap=-1e-17,
        tags=["one", "two"],
        reasons=['a "reason", quoted', "another"],
        trials=TRIALS,
        labels={"size": "large"},
    )
    (row,) = rows(make_report(record))
    assert list(row) == columns()
    assert (float(row["effect_size"]), float(row["gap"])) == (1 / 3, -1e-17)
    assert (row["n_x"], row["line"], row["p_welch"], row["excess.value"]) == ("8", "9", "", "")
    assert (row["tags"], row["reasons"]) == ("one; two", 'a "reason", quoted; another')
    assert (row["growth.from"], row["growth.flipped"]) == ("before", "true")
    assert row["trials"] == '{"labels": ["seed 0", "seed 1"], "effect_size": [0.1, -0.2]}'
    assert (row["labels"], row["limits.max_effect"]) == ('{"size": "large"}', "0.5")
    assert (row["sets.X.concept"], row["sets.X.n"], row["sets.Y.digest"]) == ("set X", "1", "d")


def test_columns_are_the_same_where_nothing_was_measured(
    make: Make, make_report: MakeReport
) -> None:
    (row,) = rows(make_report(make(outcome="error", measured=False)))
    assert list(row) == columns()
    assert row["effect_judged"] == row["growth.value"] == row["sets.X.n"] == ""
    assert csv_rows(make_report(results=[])) == ",".join(columns()) + "\r\n"


def test_lines_end_as_the_standard_has_it(make: Make, make_report: MakeReport) -> None:
    text = csv_rows(make_report(make(), make("other")))
    assert text.count("\r\n") == text.count("\n") == 3
    assert text.endswith("\r\n")


def test_no_text_is_a_formula_and_none_is_lost(
    make: Make, make_report: MakeReport, hostile: str
) -> None:
    record = make(
        hostile, model=hostile, reasons=[hostile], tags=[hostile], labels={hostile: hostile}
    )
    found = rows(make_report(record))
    assert len(found) == 1
    for name, text in found[0].items():
        if name not in ("ci_low", "growth.before", "growth.ci_low"):  # numbers may be negative
            assert not text.startswith(FORMULA), name
        assert "\n" not in text
        assert "\x00" not in text
    assert found[0]["test"].removeprefix("'") == visible(hostile)


def test_a_negative_number_stays_a_number(make: Make, make_report: MakeReport) -> None:
    (row,) = rows(make_report(make(effect_judged=-0.5)))
    assert float(row["effect_judged"]) == -0.5


@pytest.mark.parametrize("text", ["=1", "'=1", "''", "'", "a'", "", "-", "+x", "plain", "\uff1d1"])
def test_one_apostrophe_less_is_the_text_again(text: str) -> None:
    assert csv_text(text).removeprefix("'") == text


def test_the_documentation_lists_the_columns_in_their_order() -> None:
    text = (Path(__file__).parents[2] / "docs/reports.md").read_text("utf-8")
    block = next(part for part in text.split("```") if part.startswith("text\nnodeid "))
    assert block.split()[1:] == columns()
