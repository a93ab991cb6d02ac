"""The JSON document of a run: strict, complete, and the same after a round trip."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from pytest_visualbias.results import (
    GrowthRecord,
    ModelRecord,
    Report,
    ResultRecord,
    SetRecord,
    to_json,
)

GROWTH: dict[str, Any] = {
    "from": "before",
    "value": 0.1 + 0.2,
    "shift": -0.3,
    "before": 0.5,
    "after": 0.8,
    "p_value": 0.01,
    "p_attributes": None,
    "p_welch": None,
    "p_verdict": 0.01,
    "p_adjusted": 0.02,
    "p_method": "exact",
    "ci_low": -1e-300,
    "ci_high": 1.0,
    "shift_ci_low": -1.0,
    "shift_ci_high": 0.0,
    "flipped": False,
}
# The columns that the contract names.
CONTRACT = (
    "nodeid spec test kind model layer control n_x n_y n_a n_b effect_size effect_size_attributes "
    "effect_judged gap ci_low ci_high p_value p_low p_high p_method p_attributes p_welch "
    "p_adjusted alpha limits growth trials outcome reasons"
)
CONTRACT_OF_GROWTH = "from value shift p_value p_attributes p_adjusted ci_low ci_high flipped"


def error_row() -> ResultRecord:
    return ResultRecord(
        nodeid="specs/a.bias.yaml::after::t[pooled]",
        spec="specs/a.bias.yaml",
        spec_digest="0" * 64,
        line=3,
        test="t",
        kind="ieat",
        model="after",
        layer="pooled",
        pooling="",
        role="gated",
        control=None,
        tags=["gender"],
        concepts={"X": "male", "Y": "female", "A": "career", "B": "family"},
        alpha=0.05,
        alternative="two-sided",
        sides="both",
        evidence="significant",
        correction="holm",
        limits={"max_effect": 0.5},
        outcome="error",
        reasons=["größer | <b>\n"],
    )


def full_row() -> ResultRecord:
    images = SetRecord(concept="male", n=2, digest="0" * 64, images=["1", "2"], names=["a", "b"])
    numbers = dict.fromkeys(("effect_size", "effect_judged", "gap", "p_value", "p_adjusted"), 0.25)
    return ResultRecord.model_validate(
        {
            **error_row().model_dump(),
            **numbers,
            "outcome": "pass",
            "growth": GROWTH,
            "trials": {"labels": ["seed 0", "seed 1"], "effect_size": [0.1, 0.2]},
            "sets": {"X": images},
            "scores": {"X": {"1": 1 / 3, "2": -1e-17}},
        }
    )


def report(**changes: Any) -> Report:  # noqa: ANN401 - plain data
    model = ModelRecord(
        spec="specs/a.bias.yaml",
        model="after",
        source="timm",
        role="gated",
        trials=[{"label": "a.pt", "checkpoint": "0" * 64}],
        preprocessing={"input_size": [3, 32, 32]},
        description={"parameters": 3},
    )
    whole: dict[str, Any] = {
        "tool": {"name": "pytest-visualbias", "version": "0"},
        "environment": {"python": "3", "git": {"commit": None}},
        "models": [model],
        "results": [error_row(), full_row()],
        "summary": {"outcomes": {"error": 1, "pass": 1}},
    }
    return Report(**{**whole, **changes})


def test_a_report_is_the_same_after_a_round_trip() -> None:
    """Floats included, to the last bit."""
    again = Report.model_validate(json.loads(to_json(report())))
    assert again == report()
    assert to_json(again) == to_json(report())
    growth = again.results[1].growth
    assert growth is not None
    assert (growth.value, growth.ci_low) == (0.1 + 0.2, -1e-300)
    assert again.results[1].scores["X"] == {"1": 1 / 3, "2": -1e-17}


def test_the_keys_of_the_contract_are_there_errors_included() -> None:
    document = json.loads(to_json(report()))
    assert [*document] == [
        "schema_version",
        "tool",
        "environment",
        "models",
        "results",
        "summary",
    ]
    assert document["schema_version"] == 2
    for row in document["results"]:
        assert {*CONTRACT.split()} <= row.keys()
    error, passed = document["results"]
    assert error["effect_size"] is error["growth"] is error["p_value"] is None
    assert {*CONTRACT_OF_GROWTH.split()} <= passed["growth"].keys()


def test_growth_is_from_a_model_by_that_word() -> None:
    growth = json.loads(to_json(report()))["results"][1]["growth"]
    assert growth["from"] == "before"
    assert "base" not in growth


def test_growth_of_a_kind_without_a_p_has_nulls(schema: dict[str, Any]) -> None:
    keys = ("p_value", "p_attributes", "p_verdict", "p_adjusted", "p_method")
    row = {**full_row().model_dump(), "sides": None, "growth": GROWTH | dict.fromkeys(keys)}
    document = json.loads(to_json(report(results=[ResultRecord.model_validate(row)])))
    growth = document["results"][0]["growth"]
    assert {key: growth[key] for key in keys} == dict.fromkeys(keys)
    jsonschema.validate(document, schema)


def test_growth_is_read_by_either_name() -> None:
    by_name = GrowthRecord.model_validate(
        {("base" if key == "from" else key): value for key, value in GROWTH.items()}
    )
    assert by_name == GrowthRecord.model_validate(GROWTH)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
class TestStrictness:
    @pytest.mark.parametrize("key", ["effect_size", "p_value", "ci_high", "alpha"])
    def test_a_result_has_finite_numbers_only(self, value: float, key: str) -> None:
        with pytest.raises(ValidationError, match="finite"):
            ResultRecord.model_validate({**error_row().model_dump(), key: value})

    @pytest.mark.parametrize(
        "part",
        [
            lambda value: {"limits": {"max_effect": value}},
            lambda value: {"scores": {"X": {"1": value}}},
            lambda value: {"trials": {"effect_size": [value]}},
            lambda value: {"growth": {**GROWTH, "shift": value}},
        ],
    )
    def test_so_have_all_of_its_parts(self, value: float, part: Any) -> None:  # noqa: ANN401
        with pytest.raises(ValidationError, match="finite"):
            ResultRecord.model_validate({**error_row().model_dump(), **part(value)})

    @pytest.mark.parametrize("key", ["environment", "summary"])
    def test_in_free_parts_they_are_written_as_null(self, value: float, key: str) -> None:
        text = to_json(report(**{key: {"x": [value]}}))
        document = json.loads(text, parse_constant=pytest.fail)
        assert document[key] == {"x": [None]}


@pytest.mark.parametrize("kind", [ResultRecord, GrowthRecord, SetRecord, ModelRecord, Report])
def test_unknown_keys_are_refused(kind: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({"surprise": 1})
    assert ("extra_forbidden", ("surprise",)) in {
        (one["type"], one["loc"]) for one in caught.value.errors()
    }


@pytest.mark.parametrize(("key", "value"), [("outcome", "passed"), ("role", "main")])
def test_words_are_those_of_the_vocabulary(key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        ResultRecord.model_validate({**error_row().model_dump(), key: value})


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        error_row().outcome = "pass"


def test_the_text_is_readable_unicode_and_ends_with_a_line_break() -> None:
    text = to_json(report())
    assert "größer | <b>\\n" in text
    assert text.endswith("}\n")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """What editors and other tools validate a report with."""
    found = Report.model_json_schema(mode="serialization", by_alias=True)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


class TestSchema:
    def test_holds_for_a_document(self, schema: dict[str, Any]) -> None:
        editor = jsonschema.Draft202012Validator(schema)
        editor.validate(json.loads(to_json(report())))
        editor.validate(json.loads(to_json(report(results=[], models=[]))))

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda document: document.pop("results"),
            lambda document: document.update(surprise=1),
            lambda document: document["results"][0].update(outcome="passed"),
            lambda document: document["results"][0].update(p_value="0.05"),
            lambda document: document["results"][1]["growth"].pop("from"),
            lambda document: document.update(schema_version=3),
        ],
    )
    def test_does_not_hold_for_another(self, schema: dict[str, Any], spoil: Any) -> None:  # noqa: ANN401
        document = json.loads(to_json(report()))
        spoil(document)
        assert not jsonschema.Draft202012Validator(schema).is_valid(document)
