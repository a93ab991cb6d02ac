"""Growth against recorded results: recording them, gating against them, and never by accident."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_visualbias.evaluation import baseline as recording
from pytest_visualbias.evaluation.baseline_file import (
    locked,
    read_baseline,
    write_baseline,
)
from tests.plugin.conftest import (
    ALONE,
    CONCEPTS,
    KIND_SETS,
    control_test,
    kind_test,
    one_test,
    sentences,
    strict_json,
    vectors,
)
from tests.plugin.test_xdist import spread, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.plugin.conftest import Project

GROWTH = "{max_growth: 0.2}"
OTHERS = (("two", "c", "d"), ("three", "d", "c"))
FILE = "bias_specs/__visualbias__/x.json"
MEANWHILE = "meanwhile"
UPDATE, NEW, PRUNE = (f"--visualbias-{name}" for name in ("update", "update-new", "prune"))


def stored(project: Project, file: str = FILE) -> dict[str, Any]:
    """Return the entries of a baseline file."""
    found = strict_json((project.path / file).read_text(encoding="utf-8"))
    assert found["visualbias_baseline"] == 2
    entries: dict[str, Any] = found["entries"]
    return entries


def text(project: Project) -> str:
    return (project.path / FILE).read_text(encoding="utf-8")


def summary(project: Project) -> dict[str, Any]:
    """Return what the report says of the only baseline file."""
    (one,) = project.report()["summary"]["baselines"]
    return dict(one)


@pytest.fixture
def recorded(project: Project) -> Project:
    """One model without a bias, recorded, with a limit on its growth."""
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    assert project.gate(UPDATE).ret == 0
    return project


# ---------------------------------------------------------------------------- recording


def test_recording_a_larger_effect_says_how_much_larger(recorded: Project) -> None:
    """Whoever commits the file agrees to the larger effect, and should see it."""
    old = stored(recorded)["after::one[pooled]"]["effect_judged"]
    recorded.store("after", bias=1.0)
    recorded.gate(UPDATE)
    rise = abs(stored(recorded)["after::one[pooled]"]["effect_judged"]) - abs(old)
    assert rise > 1
    assert summary(recorded)["risen"] == {"after::one[pooled]": pytest.approx(rise)}
    recorded.store("after")
    recorded.gate(UPDATE)
    assert not summary(recorded)["risen"]


def test_what_another_run_recorded_meanwhile_stays(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that record at once read the same file; the later one adds to the earlier's."""
    recorded.spec(one_test("one", GROWTH), one_test("two", GROWTH), models=ALONE)
    monkeypatch.setattr(recording, "locked", _meanwhile)
    assert recorded.gate(UPDATE).ret == 0
    assert {"after::one[pooled]", "after::two[pooled]", "meanwhile"} <= stored(recorded).keys()


def test_what_another_run_recorded_meanwhile_is_not_new(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With update-new the first one stays; with update, the last one is what was asked for."""
    recorded.spec(one_test("one", GROWTH), one_test("meanwhile", A="c", B="d"), models=ALONE)
    monkeypatch.setattr(recording, "locked", _meanwhile)
    key = "after::meanwhile[pooled]"
    monkeypatch.setattr("tests.plugin.test_baseline.MEANWHILE", key)
    assert recorded.gate(NEW).ret == 0
    assert stored(recorded)[key] == stored(recorded)["after::one[pooled]"]
    assert recorded.gate(UPDATE).ret == 0
    assert stored(recorded)[key]["scores"] == recorded.row("meanwhile")["scores"]


@contextlib.contextmanager
def _meanwhile(path: Path) -> Iterator[None]:
    entries = read_baseline(path, "it").of("")
    write_baseline(path, {**entries, MEANWHILE: entries["after::one[pooled]"]})
    with locked(path):
        yield


def test_what_a_run_records_is_judged_as_without_growth_and_said(project: Project) -> None:
    project.store("after", bias=1.0)
    project.spec(one_test("one", GROWTH), models=ALONE)
    assert project.gate(UPDATE).ret == 0
    row = project.row()
    assert (row["outcome"], row["reasons"]) == ("pass", ["recorded"])
    assert row["growth"]["from"] == "baseline"
    assert (row["growth"]["value"], row["growth"]["ci_low"], row["growth"]["ci_high"]) == (0, 0, 0)
    assert summary(project)["recorded"] == 1
    entry = stored(project)["after::one[pooled]"]
    assert entry["scores"] == row["scores"]
    for name in ("kind", "effect_size", "effect_size_attributes", "effect_judged", "gap"):
        assert entry[name] == row[name]


def test_an_absolute_limit_still_fails_what_is_recorded(project: Project) -> None:
    project.store("after", bias=1.0)
    project.spec(one_test("one", "{max_effect: 0.5, max_growth: 0.2}"), models=ALONE)
    assert project.gate(UPDATE).ret == 1
    assert project.breaches() == [("effect", True)]
    assert set(stored(project)) == {"after::one[pooled]"}


def test_recording_again_changes_no_byte_and_differences_are_lines(recorded: Project) -> None:
    first = text(recorded)
    lines = first.splitlines()
    assert first.endswith("}\n")
    # A score per line, and the effect of both sides without the image.
    of_images = [line.strip().rstrip(",") for line in lines if '.png": ' in line]
    assert len(of_images) == 2 * 4 * 8
    lists = [strict_json(f"{{{line}}}") for line in of_images if "[" in line]
    assert [len(value) for one in lists for value in one.values()] == [2] * 4 * 8
    recorded.gate(UPDATE)
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
    assert recorded.gate(UPDATE).ret == 0
    assert stored(recorded)["after::one[pooled]"]["effect_size"] > 1
    said = summary(recorded)
    assert said.pop("risen").keys() == {"after::one[pooled]"}
    assert said == {"file": FILE, "recorded": 0, "changed": 1, "pruned": 0, "unclaimed": []}


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
        concepts=CONCEPTS.replace("}", ", gone: gone}"),
    )
    assert project.gate(UPDATE).ret == 1
    assert project.row("invalid")["outcome"] == "invalid"
    assert "recorded" not in project.row("invalid")["reasons"]
    assert set(stored(project)) == {"after::control[pooled]", "after::well[pooled]"}


def test_references_are_not_recorded(project: Project) -> None:
    project.pair()
    project.spec(one_test("one", GROWTH), one_test("two", GROWTH, growth_from="after"))
    project.gate(UPDATE)
    assert set(stored(project)) == {"after::one[pooled]", "before::two[pooled]"}
    assert project.row()["growth"]["from"] == "before"
    assert project.row()["reasons"] == ["recorded"]


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
    recorded.refuses(4, option, options=[option])
    assert text(recorded) == first
    for value in ("0", "false", ""):
        monkeypatch.setenv("CI", value)
        assert recorded.gate(option).ret == 0


def test_a_file_that_cannot_be_written_fails_the_run(project: Project) -> None:
    project.store("after")
    project.spec(one_test("one", GROWTH), models=ALONE)
    (project.path / "bias_specs/__visualbias__").write_text("in the way")
    project.refuses(1, FILE, options=[UPDATE])


def test_writing_options_do_nothing_alone(project: Project) -> None:
    for option in (UPDATE, NEW, PRUNE):
        assert project.run(option).ret == 4


# ------------------------------------------------------------------------------- gating


@pytest.mark.parametrize(("bias", "code"), [(0.0, 0), (1.0, 1)])
def test_growth_since_a_record_fails_and_without_growth_there_is_a_pass(
    recorded: Project, bias: float, code: int
) -> None:
    recorded.store("after", bias=bias)
    assert recorded.gate().ret == code
    assert recorded.row()["growth"]["from"] == "baseline"
    assert recorded.breaches() == ([("growth", True)] if code else [])
    if not code:
        assert recorded.row()["growth"]["value"] == 0
        (warning,) = recorded.row()["warnings"]
        assert "'baseline' and 'after'" in warning, "the very checkpoint can show no growth"


@pytest.mark.parametrize("kind", list(KIND_SETS))
def test_growth_since_a_record_is_that_since_the_model_that_was_recorded(
    project: Project, kind: str
) -> None:
    """But for the crossed p, which is larger: what both sides share is not recorded."""
    project.pair(before=0.2, after=0.9)
    project.spec(kind_test(kind))
    project.gate()
    live = project.row(kind)["growth"]
    project.spec(kind_test(kind), models=ALONE)
    project.gate(UPDATE, "--visualbias-after=before.safetensors")
    project.gate()
    recorded = project.row(kind)["growth"]
    assert_since_record(recorded, live)
    assert live["value"] != 0


def assert_since_record(recorded: dict[str, Any], live: dict[str, Any]) -> None:
    """Compare growth since a record with that since the model that was recorded."""
    assert (recorded["from"], live["from"]) == ("baseline", "before")
    if live["p_crossed"] is not None and live["value"] > 0:
        assert recorded["p_crossed"] >= live["p_crossed"]
    larger = {"from", "p_crossed", "p_verdict", "p_adjusted", "shift_p_verdict", "shift_p_adjusted"}
    assert {key: value for key, value in recorded.items() if key not in larger} == {
        key: value for key, value in live.items() if key not in larger
    }


def test_growth_since_recorded_trials_is_that_since_the_trials(networks: Project) -> None:
    """Of several checkpoints the averaged scores are recorded, which is what growth is since."""
    pair, one = "[../before.safetensors, ../after.safetensors]", "../after.safetensors"

    def gate(*models: tuple[str, str], options: tuple[str, ...] = ()) -> dict[str, Any]:
        lines = (
            f"  {name}: {{source: timm, name: test_resnet, checkpoint: {weights}}}\n"
            for name, weights in models
        )
        networks.spec(
            one_test("one", "{max_growth: 1.8}"),
            head="stimuli: ../stimuli",
            concepts="{x: x, y: y, a: a, b: b}",
            models="\n" + "".join(lines),
        )
        assert networks.gate(*options).ret == 0
        return networks.row()

    live = gate(("before", pair), ("after", one))["growth"]
    trials = gate(("after", pair), options=(UPDATE,))["trials"]
    assert len(trials["labels"]) == 2
    assert len(stored(networks)["after::one[pooled]"]["fingerprints"]) == 2
    recorded = gate(("after", one))["growth"]
    assert_since_record(recorded, live)
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
    assert_since_record(recorded, expected)


@pytest.mark.parametrize("limit", ["growth", "shift"])
def test_a_missing_entry_fails_and_names_what_mends_it(recorded: Project, limit: str) -> None:
    recorded.store("after", bias=1.0)
    tests = one_test("renamed", f"{{max_effect: 0.5, max_{limit}: 0.2}}"), one_test("none", "{}")
    assert recorded.judge(*tests, models=ALONE).ret == 1
    assert recorded.breaches("renamed") == [("effect", True), (limit, False)]
    reason = recorded.row("renamed")["reasons"][1]
    command = "`pytest --visualbias --visualbias-after=CHECKPOINT --visualbias-update-new`"
    assert command in reason
    assert "'after::renamed[pooled]'" in reason
    assert summary(recorded)["unclaimed"] == ["after::one[pooled]"]
    assert (recorded.row("none")["growth"], recorded.row("none")["warnings"]) == (None, [])


def test_growth_that_a_stale_entry_keeps_from_being_shown_is_a_warning(recorded: Project) -> None:
    recorded.store("after", n=6)
    assert recorded.judge(one_test("one", "{max_effect: 1.9}"), models=ALONE).ret == 0
    assert recorded.row()["growth"] is None
    (warning,) = recorded.row()["warnings"]
    assert "models.after: " in warning
    assert "(8 images then, 6 now)" in warning


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
    project.refuses(2, "tests[0].limits.max_growth: ", "--visualbias-update-new")


# -------------------------------------------------------------------- never by accident


def test_stimuli_that_differ_from_the_record_are_not_compared(recorded: Project) -> None:
    """A folder that lost half its images since, or holds others now."""
    recorded.store("after", {name: rows[:4] for name, rows in vectors(bias=1.0).items()})
    recorded.spec(one_test("one", GROWTH), models=ALONE, head="settings: {alpha: 0.2}")
    result = recorded.gate()
    assert result.ret == 1
    (reason,) = recorded.row()["reasons"]
    assert reason.startswith("not_comparable: ")
    assert reason.count("(8 images then, 4 now)") == 4
    assert "--visualbias-update`" in reason
    assert recorded.gate(NEW).ret == 1  # it is there, and not new
    assert recorded.gate(UPDATE).ret == 0
    assert recorded.gate().ret == 0


def test_as_many_other_stimuli_are_not_compared(recorded: Project) -> None:
    recorded.store("after", label="other-")
    assert recorded.gate().ret == 1
    assert recorded.row()["reasons"][0].startswith("not_comparable: ")


def test_another_kind_of_the_same_name_is_not_compared(recorded: Project) -> None:
    recorded.spec(kind_test("sc-eat", GROWTH, name="one"), models=ALONE)
    assert recorded.gate().ret == 1
    assert recorded.row()["reasons"][0].startswith("not_comparable: ")


MID = "{name: mid, module: layer2}"


@pytest.mark.parametrize(
    ("layer", "keys", "options", "name"),
    [
        ("{name: mid, module: layer3}", "transform: {size: 64}", [], ""),
        ("{name: mid, module: layer2, pooling: max}", "transform: {size: 64}", [], "pooling"),
        (MID, "transform: {size: 96}", [], "preprocessing.input_size"),
        (MID, "transform: {size: 64}, preprocess: ieat", [], ""),
        (MID, "transform: {size: 64}", ["--visualbias-precision=bf16"], "precision"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared_unless_declared(
    networks: Project, layer: str, keys: str, options: list[str], name: str
) -> None:
    def judged(layer: str, keys: str, head: str = "", options: list[str] | None = None) -> int:
        entry = f"{{source: timm, name: test_resnet, checkpoint: ../after.safetensors, {keys}}}"
        networks.judge_images(
            one_test("one", "{max_growth: 1.8}"),
            models=f"\n  after: {entry}\n",
            head=f"layers: [{layer}]\n{head}",
            options=options or (),
        )
        return int(networks.row()["outcome"] == "fail")

    assert judged(MID, "transform: {size: 64}", options=[UPDATE]) == 0
    assert judged(layer, keys, options=options) == 1
    assert networks.row()["reasons"][0].startswith("not_comparable: ")
    if name:
        declared = f"settings: {{differs: [{name}]}}"
        assert declared in networks.row()["reasons"][0]
        assert judged(layer, keys, declared, options) == 0
        assert networks.row()["growth"]["from"] == "baseline"


@pytest.mark.parametrize(
    "content",
    [
        *("", "<<<<<<< HEAD\n{}", "[]", "{}", '{"schema_version": 1}', "[" * 100_000),
        '{"visualbias_baseline": 3, "entries": {}}',
        '{"visualbias_baseline": 1, "entries": []}',
        '{"visualbias_baseline": 1, "entries": {}, "more": 1}',
        '{"visualbias_baseline": 1, "entries": {"after::one[pooled]": {}}}',
        '{"visualbias_baseline": 1, "visualbias_baseline": 1}',
    ],
)
def test_a_damaged_file_is_an_error_of_the_tests_that_need_it(
    recorded: Project, content: str
) -> None:
    (recorded.path / FILE).write_text(content)
    recorded.spec(one_test("one", GROWTH), one_test("two", "{max_effect: 0.9}"), models=ALONE)
    result = recorded.gate()
    assert result.ret == 1
    assert recorded.outcomes() == {"after::one[pooled]": "error", "after::two[pooled]": "pass"}
    assert FILE in recorded.row()["reasons"][0]
    assert FILE in sentences(result)
    assert recorded.gate(UPDATE).ret == 1  # nothing is written over it
    assert (recorded.path / FILE).read_text() == content


@pytest.mark.parametrize("number", ["NaN", "Infinity", '"0.5"', "null"])
def test_what_is_no_number_is_no_score(recorded: Project, number: str) -> None:
    lines = text(recorded).splitlines()
    place = next(index for index, line in enumerate(lines) if '"x/000.png"' in line)
    lines[place] = f'     "x/000.png": {number},'
    (recorded.path / FILE).write_text("\n".join(lines))
    assert recorded.gate().ret == 1
    assert recorded.row()["outcome"] == "error"


@pytest.mark.parametrize("part", ["scores", "without", "within", "trials"])
def test_a_number_that_is_gone_from_the_record_is_an_error(recorded: Project, part: str) -> None:
    contents = strict_json(text(recorded))
    entry = contents["entries"]["after::one[pooled]"]
    if part in ("within", "trials"):
        entry["basis"][part].pop()
    else:
        scores = entry["scores"] if part == "scores" else entry["basis"]["without"]
        scores["X"].pop("x/000.png")
    (recorded.path / FILE).write_text(json.dumps(contents))
    assert recorded.gate().ret == 1
    assert recorded.row()["outcome"] == "error"
    assert FILE in recorded.row()["reasons"][0]


def test_an_entry_of_an_older_version_is_not_comparable_until_it_is_recorded_again(
    recorded: Project,
) -> None:
    contents = strict_json(text(recorded))
    for entry in contents["entries"].values():
        del entry["basis"]
    (recorded.path / FILE).write_text(json.dumps({**contents, "visualbias_baseline": 1}))
    result = recorded.gate()
    assert result.ret == 1
    row = recorded.row()
    assert (row["outcome"], row["growth"]) == ("fail", None)
    assert [(one["kind"], one["value"]) for one in row["violations"]] == [("growth", None)]
    assert "--visualbias-update`" in sentences(result)
    assert recorded.gate(UPDATE).ret == 0
    assert stored(recorded)["after::one[pooled]"]["basis"]["within"]
    assert recorded.gate().ret == 0


def test_growth_is_not_measured_from_a_record_whose_control_failed(recorded: Project) -> None:
    recorded.store("after", control=0.0)
    control, test = control_test(), one_test("one", GROWTH)
    recorded.spec(control, test, models=ALONE)
    recorded.gate(UPDATE)
    recorded.store("after")
    assert recorded.gate().ret == 1
    assert recorded.row("control")["outcome"] == "pass"
    assert recorded.row()["outcome"] == "invalid"


def test_a_control_that_held_in_the_record_is_lost(project: Project) -> None:
    project.store("after")
    project.spec(control_test(), models=ALONE)
    project.gate(UPDATE)
    project.store("after", control=0.0)
    assert project.gate().ret == 1
    assert project.breaches("control") == [("min_effect", False)]


# ----------------------------------------------------------------------- what is chosen


def test_a_model_before_goes_before_the_file_beside_the_spec(recorded: Project) -> None:
    recorded.store("before", bias=1.0)
    recorded.store("after", bias=1.0)
    recorded.spec(one_test("one", GROWTH))
    assert recorded.gate().ret == 0
    assert recorded.row()["growth"]["from"] == "before"


def test_the_option_goes_before_a_model(recorded: Project) -> None:
    """The model before stays a reference."""
    recorded.store("before", bias=1.0)
    recorded.store("after", bias=1.0)
    recorded.spec(one_test("one", "{max_effect: 1.9, max_growth: 0.2}"))
    for path in ("bias_specs/__visualbias__", FILE):
        assert recorded.gate(f"--visualbias-baseline={path}").ret == 1
        assert recorded.row()["growth"]["from"] == "baseline"
        assert recorded.breaches() == [("growth", True)]
        assert recorded.row(model="before")["role"] == "reference"


def test_the_option_has_an_ini_key_and_the_writing_ones_have_none(recorded: Project) -> None:
    (recorded.path / FILE).rename(recorded.path / "kept.json")
    recorded.pytester.makeini("[pytest]\nvisualbias_baseline = kept.json\n")
    assert recorded.gate().ret == 0
    assert recorded.row()["growth"]["from"] == "baseline"
    for option in ("update", "update_new", "prune"):
        recorded.pytester.makeini(f"[pytest]\nvisualbias_{option} = true\n")
        result = recorded.run("--visualbias")
        result.stdout.fnmatch_lines([f"*Unknown config option: visualbias_{option}*"])


def test_an_option_that_names_nothing_is_4_unless_it_is_about_to_be_made(
    recorded: Project,
) -> None:
    recorded.refuses(4, "elsewhere", options=["--visualbias-baseline=elsewhere"])
    assert recorded.gate("--visualbias-baseline=elsewhere", UPDATE).ret == 0
    assert stored(recorded, "elsewhere/x.json") == stored(recorded)
    assert recorded.gate("--visualbias-baseline=elsewhere").ret == 0


def test_a_folder_without_the_file_of_a_spec_fails_its_growth(recorded: Project) -> None:
    (recorded.path / "elsewhere").mkdir()
    assert recorded.gate("--visualbias-baseline=elsewhere").ret == 1
    (reason,) = recorded.row()["reasons"]
    assert "elsewhere/x.json" in reason
    assert "--visualbias-baseline=elsewhere --visualbias-after=CHECKPOINT" in reason


def test_two_specs_cannot_share_a_file(recorded: Project) -> None:
    recorded.spec(one_test("one", GROWTH), models=ALONE, file="bias_specs/y.bias.yaml")
    specs = "bias_specs/x.bias.yaml", "bias_specs/y.bias.yaml"
    recorded.refuses(4, FILE, *specs, options=[f"--visualbias-baseline={FILE}"])


def test_a_report_of_an_earlier_run_is_a_baseline(recorded: Project) -> None:
    """Of several specs at once, and never written to."""
    for name in ("x", "y"):
        recorded.spec(one_test("one", GROWTH), models=ALONE, file=f"bias_specs/{name}.bias.yaml")
    (recorded.path / FILE).unlink()
    assert recorded.gate(UPDATE).ret == 0
    (recorded.path / "out.json").rename(recorded.path / "earlier.json")
    earlier = "--visualbias-baseline=earlier.json"
    assert recorded.gate(earlier).ret == 0
    rows = recorded.report()["results"]
    assert [(row["spec"], row["growth"]["from"]) for row in rows] == [
        (f"bias_specs/{name}.bias.yaml", "baseline") for name in ("x", "y")
    ]
    recorded.store("after", bias=1.0)
    assert recorded.gate(earlier).ret == 1
    by_report = recorded.row()["growth"]
    recorded.gate()
    assert recorded.row()["growth"] == by_report
    for option in (UPDATE, NEW, PRUNE):
        recorded.refuses(4, option, "earlier.json", options=[earlier, option])


def test_a_report_in_the_place_of_a_baseline_is_an_error(recorded: Project) -> None:
    """It would be written over, or seem to be recorded to and not be."""
    report = (recorded.path / "out.json").read_bytes()
    (recorded.path / FILE).write_bytes(report)
    for option in ([], [UPDATE], ["--visualbias-baseline=bias_specs/__visualbias__", UPDATE]):
        recorded.refuses(1, FILE, options=option)
        assert recorded.row()["outcome"] == "error"
        assert (recorded.path / FILE).read_bytes() == report


def test_what_a_report_lacks_fails(recorded: Project) -> None:
    (recorded.path / "out.json").rename(recorded.path / "earlier.json")
    recorded.spec(one_test("other", GROWTH), models=ALONE)
    assert recorded.gate("--visualbias-baseline=earlier.json").ret == 1
    assert recorded.row("other")["outcome"] == "fail"
    assert "earlier.json" in recorded.row("other")["reasons"][0]


# ------------------------------------------------------------------- what nobody claims


def test_what_no_test_claims_is_named_and_fails_when_strict(recorded: Project) -> None:
    recorded.spec(one_test("two", "{max_effect: 0.9}"), models=ALONE)
    recorded.refuses(0, FILE, "--visualbias-prune")
    assert recorded.report()["summary"]["baselines"][0]["unclaimed"] == ["after::one[pooled]"]
    assert recorded.gate("--visualbias-strict").ret == 1
    assert recorded.report()["summary"]["exit_status"] == 1


def test_pruning_drops_what_no_test_claims_and_nothing_else(recorded: Project) -> None:
    """Deselected tests claim theirs, and so do those whose numbers could not be had."""
    recorded.spec(one_test("two", GROWTH), one_test("three", GROWTH, A="c", B="d"), models=ALONE)
    recorded.gate(NEW)
    kept = {key: one for key, one in stored(recorded).items() if "one" not in key}
    assert len(kept) == 2
    (recorded.path / "after.safetensors").unlink()
    recorded.gate(PRUNE, "-k", "two")
    assert summary(recorded)["pruned"] == 1
    assert stored(recorded) == kept


def test_pruning_leaves_the_entries_of_a_faulty_spec(recorded: Project) -> None:
    first = text(recorded)
    recorded.spec(one_test("two", GROWTH), models=ALONE, head="setings: {}")
    assert recorded.gate(PRUNE).ret == 2
    assert text(recorded) == first


# ------------------------------------------------------------------------ with workers


@pytest.mark.slow
def test_with_workers_the_controller_writes_the_same_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording, gating, pruning and naming what is unclaimed, as in a serial run."""
    project.store("after")
    tests = [one_test(name, GROWTH, A=a, B=b) for name, a, b in (("one", "a", "b"), *OTHERS)]
    project.spec(*tests, models=ALONE)
    project.gate(UPDATE)
    serial, report = text(project), told(project.report())
    (project.path / FILE).unlink()
    result = spread(project, monkeypatch, "-n2", "--dist=load", UPDATE)
    assert result.ret == 0
    assert text(project) == serial
    assert told(project.report()) == report
    assert summary(project)["recorded"] == 3
    assert sentences(result).count(FILE) == 1, "said once"
    project.store("after", bias=1.0)
    assert spread(project, monkeypatch, "-n2").ret == 1
    assert project.row()["growth"]["from"] == "baseline"
    project.spec(*tests[1:], models=ALONE)
    spread(project, monkeypatch, "-n2", "-k", "two", PRUNE)
    assert (summary(project)["pruned"], summary(project)["unclaimed"]) == (1, [])
    assert set(stored(project)) == {"after::two[pooled]", "after::three[pooled]"}


@pytest.mark.slow
def test_with_workers_options_are_refused_once(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = spread(recorded, monkeypatch, "-n2", "--visualbias-baseline=elsewhere")
    assert result.ret == 4
    assert sentences(result).count("elsewhere") == 1
    monkeypatch.setenv("CI", "1")
    assert spread(recorded, monkeypatch, "-n2", UPDATE).ret == 4
