"""Growth against recorded results: recording them, gating against them, and never by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.plugin.conftest import (
    KIND_SETS,
    control_test,
    kind_test,
    one_test,
    sentences,
    strict_json,
    vectors,
)

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

ALONE = "\n  after: {source: embeddings, path: ../after.safetensors}\n"
GROWTH = "{max_growth: 0.2}"
FILE = "bias_specs/__visualbias__/x.json"
UPDATE, NEW, PRUNE = (f"--visualbias-{name}" for name in ("update", "update-new", "prune"))


def stored(project: Project, file: str = FILE) -> dict[str, Any]:
    """Return the entries of a baseline file."""
    found = strict_json((project.path / file).read_text(encoding="utf-8"))
    assert found["visualbias_baseline"] == 1
    entries: dict[str, Any] = found["entries"]
    return entries


def text(project: Project) -> str:
    return (project.path / FILE).read_text(encoding="utf-8")


@pytest.fixture
def recorded(project: Project) -> Project:
    """One model without a bias, recorded, with a limit on its growth."""
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    assert project.gate(UPDATE).ret == 0
    return project


# ---------------------------------------------------------------------------- recording


def test_what_a_run_records_is_judged_as_without_growth_and_said(project: Project) -> None:
    project.store("after", bias=1.0)
    project.spec(one_test("one", GROWTH), models=ALONE)
    result = project.gate(UPDATE)
    assert result.ret == 0
    row = project.row()
    assert (row["outcome"], row["reasons"]) == ("pass", ["recorded"])
    assert row["growth"]["from"] == "baseline"
    assert (row["growth"]["value"], row["growth"]["ci_low"], row["growth"]["ci_high"]) == (0, 0, 0)
    assert f"{FILE}: 1 recorded; commit it" in sentences(result)
    entry = stored(project)["after::one[pooled]"]
    assert entry["scores"] == row["scores"]
    for name in ("kind", "effect_size", "effect_size_attributes", "effect_judged", "gap"):
        assert entry[name] == row[name]


def test_an_absolute_limit_still_fails_what_is_recorded(project: Project) -> None:
    project.store("after", bias=1.0)
    project.spec(one_test("one", "{max_effect: 0.5, max_growth: 0.2}"), models=ALONE)
    assert project.gate(UPDATE).ret == 1
    reasons = project.row()["reasons"]
    assert reasons[0].startswith("effect +1.83 is over 0.5")
    assert reasons[1:] == ["recorded"]
    assert set(stored(project)) == {"after::one[pooled]"}


def test_recording_again_changes_no_byte_and_differences_are_lines(recorded: Project) -> None:
    first = text(recorded)
    lines = first.splitlines()
    assert first.endswith("}\n")
    assert sum('.png": ' in line for line in lines) == 4 * 8  # a score per line
    result = recorded.gate(UPDATE)
    assert "nothing to record or to prune" in sentences(result)
    assert recorded.row()["reasons"] == []
    assert text(recorded) == first
    (recorded.path / FILE).unlink()
    recorded.gate(NEW, "--cache-clear")
    assert text(recorded) == first


def test_update_new_leaves_what_has_changed_and_judges_by_it(recorded: Project) -> None:
    first = stored(recorded)
    recorded.store("after", bias=1.0)
    recorded.spec(one_test("one", GROWTH), one_test("two", GROWTH, A="c", B="d"), models=ALONE)
    assert recorded.gate(NEW).ret == 1
    assert recorded.outcomes() == {"after::one[pooled]": "fail", "after::two[pooled]": "pass"}
    assert stored(recorded)["after::one[pooled]"] == first["after::one[pooled]"]
    assert "after::two[pooled]" in stored(recorded)
    result = recorded.gate(UPDATE)
    assert result.ret == 0
    assert f"{FILE}: 1 changed; commit it" in sentences(result)
    assert stored(recorded)["after::one[pooled]"]["effect_size"] > 1
    assert recorded.report()["summary"]["baselines"] == [
        {"file": FILE, "recorded": 0, "changed": 1, "pruned": 0, "unclaimed": []}
    ]


def test_scores_within_a_millionth_are_not_changed(recorded: Project) -> None:
    first = text(recorded)
    sets = {name: rows.astype(np.float64) for name, rows in vectors().items()}
    sets["x"][0, 5] += 1e-9
    recorded.store("after", sets)
    recorded.gate(UPDATE)
    assert recorded.row()["scores"] != stored(recorded)["after::one[pooled]"]["scores"]
    assert text(recorded) == first


def test_errors_and_invalid_results_are_never_recorded(project: Project) -> None:
    project.store("after", control=0.0)
    project.spec(
        control_test(),
        one_test("invalid", GROWTH),
        one_test("missing", GROWTH, X="gone"),
        one_test("well", GROWTH, A="c", B="d"),
        models=ALONE,
        concepts=(
            "{x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect, gone: gone}"
        ),
    )
    assert project.gate(UPDATE).ret == 1
    assert project.row("invalid")["outcome"] == "invalid"
    assert "recorded" not in project.row("invalid")["reasons"]
    assert set(stored(project)) == {"after::control[pooled]", "after::well[pooled]"}


def test_only_what_ran_is_recorded(project: Project) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), one_test("two", GROWTH), models=ALONE)
    project.gate(UPDATE, "-k", "two")
    assert set(stored(project)) == {"after::two[pooled]"}
    project.gate(NEW, "-k", "one")
    assert set(stored(project)) == {"after::one[pooled]", "after::two[pooled]"}


def test_an_interrupted_run_records_what_it_finished(project: Project) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), one_test("two", GROWTH), models=ALONE)
    project.pytester.makeconftest(
        "def pytest_runtest_call(item):\n    if 'two' in item.name: raise KeyboardInterrupt\n"
    )
    result = project.process("--visualbias", UPDATE)
    assert result.ret == 2
    assert set(stored(project)) == {"after::one[pooled]"}


def test_collecting_records_nothing(project: Project) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    assert project.gate(UPDATE, "--collect-only").ret == 0
    assert not (project.path / FILE).exists()


@pytest.mark.parametrize("option", [UPDATE, NEW, PRUNE])
def test_on_ci_nothing_is_written(
    recorded: Project, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    first = text(recorded)
    monkeypatch.setenv("CI", "true")
    result = recorded.gate(option)
    assert result.ret == 4
    assert f"{option}: refused on CI" in sentences(result)
    assert text(recorded) == first
    for value in ("0", "false", ""):
        monkeypatch.setenv("CI", value)
        assert recorded.gate(option).ret == 0


def test_a_file_that_cannot_be_written_fails_the_run(project: Project) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    (project.path / "bias_specs/__visualbias__").write_text("in the way")
    result = project.gate(UPDATE)
    assert result.ret == 1
    assert f"{FILE} cannot be written (" in sentences(result)


def test_writing_options_do_nothing_alone(project: Project) -> None:
    for option in (UPDATE, NEW, PRUNE):
        result = project.run(option)
        assert result.ret == 4
        assert f"{option} does nothing without --visualbias" in sentences(result)


# ------------------------------------------------------------------------------- gating


def test_growth_since_a_record_fails(recorded: Project) -> None:
    recorded.store("after", bias=1.0)
    result = recorded.gate()
    assert result.ret == 1
    (reason,) = recorded.row()["reasons"]
    assert reason.startswith("growth +1.83 is over 0.2 (adjusted p = ")
    assert recorded.row()["growth"]["from"] == "baseline"
    assert reason in sentences(result)


def test_without_growth_there_is_a_pass(recorded: Project) -> None:
    result = recorded.gate()
    assert result.ret == 0
    assert recorded.row()["growth"]["value"] == 0
    assert recorded.row()["reasons"] == []
    assert "same weights" not in sentences(result)


@pytest.mark.parametrize("kind", list(KIND_SETS))
def test_growth_since_a_record_is_that_since_the_model_that_was_recorded(
    project: Project, kind: str
) -> None:
    """To the last bit of p and intervals, whatever the images are called now."""
    project.pair(before=0.2, after=0.9)
    project.spec(kind_test(kind))
    project.gate()
    live = project.row(kind)["growth"]
    project.spec(kind_test(kind), models=ALONE)
    project.gate(UPDATE, "--visualbias-after=before.safetensors")
    project.gate()
    recorded = project.row(kind)["growth"]
    assert live.pop("from") == "before"
    assert recorded.pop("from") == "baseline"
    assert recorded == live
    assert live["value"] != 0


def test_images_that_were_renamed_are_found_by_their_content(networks: Project) -> None:
    before = "\n  after: {source: timm, name: test_resnet, checkpoint: ../before.safetensors}\n"
    concepts = "{x: x, y: y, a: a, b: b}"
    head = "stimuli: ../stimuli"
    test = one_test("one", "{max_effect: 1.8, max_growth: 0.5}")
    networks.spec(test, head=head, concepts=concepts, models=before)
    networks.gate(UPDATE)
    folder = networks.path / "stimuli/x"
    for old, new in (("0", "z"), ("3", "a")):
        (folder / f"{old}.png").rename(folder / f"{new}.png")
    after = before.replace("before.safetensors", "after.safetensors")
    networks.spec(test, head=head, concepts=concepts, models=after)
    networks.gate()
    recorded = networks.row()["growth"]
    assert recorded is not None
    live = "\n  before: {source: timm, name: test_resnet, checkpoint: ../before.safetensors}"
    networks.spec(test, head=head, concepts=concepts, models=live + after)
    networks.gate()
    expected = networks.row()["growth"]
    assert {**recorded, "from": "before"} == expected


@pytest.mark.parametrize("limits", ["{max_growth: 0.2}", "{max_shift: 0.2}"])
def test_a_missing_entry_fails_and_names_what_mends_it(recorded: Project, limits: str) -> None:
    recorded.spec(one_test("renamed", limits), models=ALONE)
    result = recorded.gate()
    assert result.ret == 1
    (reason,) = recorded.row("renamed")["reasons"]
    assert reason == (
        f"{FILE} has no entry 'after::renamed[pooled]'; record it with "
        "`pytest --visualbias --visualbias-update-new` and commit"
    )
    assert f"{FILE}: no test claims after::one[pooled]; drop what is gone" in sentences(result)


def test_a_missing_entry_is_nothing_to_a_test_without_limits_on_growth(recorded: Project) -> None:
    recorded.spec(one_test("other", "{max_effect: 0.9}"), models=ALONE)
    assert recorded.gate().ret == 0
    assert recorded.row("other")["growth"] is None


def test_growth_is_reported_where_there_is_an_entry_and_no_limit_on_it(recorded: Project) -> None:
    recorded.store("after", bias=0.3)
    recorded.spec(one_test("one", "{max_effect: 1.9}"), models=ALONE)
    assert recorded.gate().ret == 0
    assert recorded.row()["growth"]["value"] > 0.2


def test_without_model_or_baseline_a_limit_on_growth_is_a_mistake_in_the_spec(
    project: Project,
) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    result = project.gate()
    assert result.ret == 2
    said = (
        "there is nothing to measure growth from; add a model 'before' or 'growth_from', or "
        "record a baseline with `pytest --visualbias --visualbias-update-new` and commit it"
    )
    assert said in sentences(result)
