"""Results of several runs in the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.figures.gathering import group_by_layer, is_effect, merge_reports
from tests.reports.figures.conftest import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    Reported = Callable[..., Report]


def names(*reports: Report) -> list[str]:
    return list(dict.fromkeys(one.model for one in merge_reports(reports).records))


def test_models_of_one_run_keep_their_names(make: Make, report: Reported) -> None:
    assert names(report([make(), make(model="before")], after="1", before="2")) == [
        "after",
        "before",
    ]


def test_different_models_of_one_name_are_told_apart_by_their_checkpoint(
    make: Make, report: Reported
) -> None:
    runs = [report([make(), make(model="before")], after=one, before="0") for one in "12"]
    assert names(*runs) == ["after (1.pt)", "before", "after (2.pt)"]
    study = merge_reports(runs)
    assert study.names[SPEC, "after (2.pt)"] == ("after", ("2",))


def test_a_model_measured_again_counts_once_by_its_last_run(make: Make, report: Reported) -> None:
    runs = [report([make(effect_judged=d)], after="1") for d in (0.1, 0.2)]
    (only,) = merge_reports(runs).records
    assert (only.model, only.effect_judged) == ("after", 0.2)


def test_models_without_fingerprints_are_those_of_their_run(make: Make, report: Reported) -> None:
    assert names(report([make()]), report([make()])) == ["after #1", "after #2"]


def test_places_are_specs_and_layers(make: Make) -> None:
    records = [make(layer="early"), make(layer="late"), make("other", layer="early")]
    assert [(spec, layer, len(own)) for spec, layer, own in group_by_layer(records)] == [
        (SPEC, "early", 2),
        (SPEC, "late", 1),
    ]


def test_similarities_and_what_was_not_measured_are_no_effects(make: Make) -> None:
    assert is_effect(make())
    assert not is_effect(make(kind="intra-similarity"))
    assert not is_effect(make(measured=False, outcome="error"))
