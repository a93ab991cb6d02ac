"""Model cards: what others wrote stays, our section and our results are replaced."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.model_card import BEGIN, END, model_card

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

OTHER = {
    "task": {"type": "image-classification"},
    "dataset": {"name": "ImageNet", "type": "imagenet-1k"},
    "metrics": [{"type": "accuracy", "value": 76.1}],
}
INDEX = yaml.safe_dump({"model-index": [{"name": "mine", "results": [OTHER]}]}, sort_keys=False)
CARD = f"""---
# chosen with the lawyers
license: apache-2.0   # do not change
tags: [vision, "é"]
{INDEX}
# who made the data
datasets:
- imagenet-1k
---
# Mine

Some words, and a rule:

---

More words.
"""


def metadata(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def results(card: str) -> list[dict[str, Any]]:
    return [result for entry in metadata(card)["model-index"] for result in entry["results"]]


def data_of(card: str) -> ModelCardData:
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData)
    return data


def test_a_new_card_is_read_by_the_hubs_own_library(make: Make, make_report: MakeReport) -> None:
    card = model_card(make_report(make(), make("kept", outcome="pass")), "")
    data = data_of(card)
    assert data.model_name == "after"
    found = data.eval_results
    assert found is not None
    assert [(one.metric_name, one.metric_value) for one in found] == [
        ("gender-career[pooled]", 1.0),
        ("kept[pooled]", 1.0),
    ]
    assert found[0].dataset_type == "pytest-visualbias"
    assert (found[0].metric_args or {})["verdict"] == "fail"
    assert ModelCard(card).text.lstrip().startswith("# Model card")


def test_only_gated_models_are_the_cards(make: Make, make_report: MakeReport) -> None:
    card = model_card(make_report(make(), make(model="before")), "")
    assert [one["name"] for one in metadata(card)["model-index"]] == ["after"]
    assert "### Results of `before`" not in card
    assert "+0.90 since `before`" in card


def test_every_line_that_was_there_stays(make_report: MakeReport) -> None:
    card = model_card(make_report(), CARD)
    changes = list(difflib.ndiff(CARD.splitlines(), card.splitlines()))
    assert [line for line in changes if line.startswith("- ")] == []
    after = card.splitlines()
    for line in ("license: apache-2.0   # do not change", "# who made the data", "More words."):
        assert line in after
    ours = {"model-index"}
    old, new = metadata(CARD), metadata(card)
    assert {key: new[key] for key in new if key not in ours} == {
        key: old[key] for key in old if key not in ours
    }
    assert results(card)[0] == OTHER
    assert [entry["name"] for entry in new["model-index"]] == ["mine"]


def test_a_second_run_replaces_what_the_first_wrote_and_nothing_else(
    make: Make, make_report: MakeReport
) -> None:
    first = model_card(make_report(), CARD)
    assert model_card(make_report(), first) == first
    edited = first.replace("# Mine", "# Mine, edited") + "\nAdded after it.\n"
    second = model_card(make_report(make("other", outcome="pass")), edited)
    assert "# Mine, edited" in second
    assert second.endswith("\nAdded after it.\n")
    assert second.count(BEGIN) == second.count(END) == 1
    assert "gender-career" not in second
    assert [one["metrics"][0].get("name") for one in results(second)] == [None, "other[pooled]"]


def test_results_that_are_there_already_keep_their_lines(make_report: MakeReport) -> None:
    """They may have been written in another style than ours, or with comments."""
    first = model_card(make_report(), "")
    index = yaml.safe_dump(metadata(first)["model-index"], default_flow_style=True, width=1000)
    mine = first.replace(first.split("---\n")[1], f"model-index: {index}  # mine\n")
    assert metadata(mine) == metadata(first)
    assert model_card(make_report(), mine) == mine


def test_each_way_of_judging_names_its_tests_where_there_are_several(
    make: Make, make_report: MakeReport
) -> None:
    card = model_card(make_report(make(), make("kept", outcome="pass")), "")
    (line,) = [line for line in card.splitlines() if line.startswith("- judged by ")]
    assert line.endswith("alternative two-sided")
    control = make("seen", control="positive", alternative="greater", outcome="pass")
    told = make("told", evidence="point", outcome="pass", limits={})
    point = make("point", evidence="point")
    card = model_card(make_report(make(), control, told, point), "")
    usual = "evidence significant, alpha 0.05, correction holm, alternative two-sided"
    assert [line for line in card.splitlines() if line.startswith("- judged by ")] == [
        f"- judged by {usual}: `gender-career`",
        "- judged by alpha 0.05, alternative greater, as positive control: `seen`",
        f"- judged by {usual.replace('significant', 'point')}: `point`",
    ]


@pytest.mark.parametrize(
    "there",
    ["# Only words\n", "no line break at the end", "---\n---\n# Empty metadata\n", "\n\n"],
)
def test_a_file_without_metadata_gets_them_and_keeps_its_words(
    make_report: MakeReport, there: str
) -> None:
    card = model_card(make_report(), there)
    assert there.replace("---\n", "").strip() in card
    assert results(card)[0]["metrics"][0]["value"] == 1.0
    assert model_card(make_report(), card) == card


def test_line_breaks_of_windows_stay(make_report: MakeReport) -> None:
    card = model_card(make_report(), CARD.replace("\n", "\r\n"))
    assert card.count("\n") == card.count("\r\n") > 20
    assert card.replace("\r\n", "\n") == model_card(make_report(), CARD)


@pytest.mark.parametrize(
    ("there", "what"),
    [
        ("---\nlicense: [\n---\n", "is not YAML"),
        ("---\nday: 2020-99-99\n---\n", "is not YAML"),
        ("---\n- a list\n---\n", "is no list of 'key: value' lines"),
        ("---\n{license: mit}\n---\n", "is no list of 'key: value' lines"),
        ("---\nmodel-index: []\nmodel-index: []\n---\n", "has 'model-index' twice"),
        ("---\nmodel-index: 3\n---\n", "is no list of models with a name and results"),
        ("---\nmodel-index: [{name: a}]\n---\n", "is no list of models with a name and results"),
        ("---\nmodel-index: &a []\nb: *a\n---\n", "cannot be added to without changing it"),
        (f"---\na: 1\n---\n{BEGIN}\nmine\n", "do not stand there once each in this order"),
        (f"---\na: 1\n---\n{END}\n{BEGIN}\n", "do not stand there once each in this order"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", "do not stand there once each in this order"),
    ],
)
def test_a_card_that_could_lose_something_is_refused(
    make_report: MakeReport, there: str, what: str
) -> None:
    with pytest.raises(ReportError, match=what):
        model_card(make_report(), there)


def test_several_gated_models_are_entries_of_their_own(make: Make, make_report: MakeReport) -> None:
    report = make_report(make(model="a", role="gated"), make(model="b", role="gated"))
    card = model_card(report, CARD)
    assert [one["name"] for one in metadata(card)["model-index"]] == ["mine", "a", "b"]
    again = model_card(make_report(make(model="b", role="gated")), card)
    assert [one["name"] for one in metadata(again)["model-index"]] == ["mine", "b"]


def test_results_of_an_earlier_run_go_where_nothing_was_measured(
    make: Make, make_report: MakeReport
) -> None:
    """What is no longer so must not stay in the metadata, whatever else is there."""
    gone = make_report(make(outcome="error", measured=False))
    for there in ("", "---\nlicense: mit\n---\n"):
        first = model_card(make_report(), there)
        second = model_card(gone, first)
        assert "model-index" in first
        assert "model-index" not in second
        assert ("license: mit" in second) == bool(there)


def test_what_was_not_measured_has_no_number_and_is_told(
    make: Make, make_report: MakeReport
) -> None:
    report = make_report(make(outcome="error", measured=False, reasons=["no image"]))
    card = model_card(report, "")
    assert "model-index" not in card.split("---\n")[1]
    assert "- **error** `after::gender-career[pooled]`: no image" in card


def test_the_card_says_what_was_not_run_and_what_a_pass_is_not(
    make: Make, make_report: MakeReport
) -> None:
    report = make_report(make(outcome="pass"), summary={"deselected": 3})
    card = model_card(report, "")
    assert "**Not all tests were run:** 3 were deselected." in card
    assert "A pass is no proof that the model is fair." in card
    assert "tested no model" in model_card(make_report(make(role="reference")), "")


def test_names_stay_names(make: Make, make_report: MakeReport, hostile: str) -> None:
    record = make(hostile, spec=hostile, model=hostile, role="gated", reasons=[hostile])
    report = make_report(record, summary={"title": hostile})
    card = model_card(report, CARD)
    assert metadata(card)["license"] == "apache-2.0"
    assert results(card)[1]["metrics"][0]["name"] == f"{visible(hostile)}[pooled]"
    assert [line for line in card.splitlines() if line in (BEGIN, END)] == [BEGIN, END]
    assert model_card(report, card) == card
    assert len(data_of(model_card(report, "")).eval_results or []) == 1
