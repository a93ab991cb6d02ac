"""Tests of predictions, from stored logits to a verdict, beside a plain recomputation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from scipy import special, stats

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import LATER, MODELS, one_test, sentences, vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.plugin.conftest import Project

    Sets = dict[str, NDArray[np.float32]]

SETS = "{women: women, men: men}"
NURSE = 1
BIASED, FAIR = (0.6, 0.1), (0.12, 0.14)


def logits(rates: tuple[float, float], *, n: int = 60, classes: int = 4, tpr: float = 0.9) -> Sets:
    """Return logits of women and men, of whom every third is a nurse, by false positive rates."""
    rng = np.random.default_rng(11)
    sets = {}
    for group, rate in zip(("women", "men"), rates, strict=True):
        share = np.where(np.arange(n) % 3 == 0, tpr, rate)
        said = np.where(rng.random(n) < share, NURSE, rng.choice([0, 2, 3], n))
        rows = rng.normal(size=(n, classes)) * 0.3
        rows[np.arange(n), said] += 4
        sets[group] = rows.astype(np.float32)
    return sets


def is_nurse(n: int = 60) -> NDArray[np.bool_]:
    nurses: NDArray[np.bool_] = np.arange(n) % 3 == 0
    return nurses


def store(project: Project, file: str, sets: Sets, nurses: str = "nurse") -> None:
    """Write logits, with rows named by the folder of their label."""
    names = {
        key: [
            f"{nurses if row % 3 == 0 else 'doctor'}/{row:03}.png" for row in range(len(sets[key]))
        ]
        for key in sets
    }
    path = project.path / f"{file}.safetensors"
    safetensors.numpy.save_file(sets, path, metadata={"names": json.dumps(names)})


def gap_test(
    prediction: str = "class: 1, rate: fpr, label: nurse",
    limits: str = "{max_gap: 0.05, max_growth: 0.02}",
    name: str = "one",
    **keys: str,
) -> str:
    lines = [
        f"- name: {name}",
        "kind: outcome-gap",
        "targets: {X: women, Y: men}",
        f"prediction: {{{prediction}}}",
        f"limits: {limits}",
        *(f"{key}: {value}" for key, value in keys.items()),
    ]
    return "\n    ".join(lines)


def gate(project: Project, *tests: str, ret: int | None = None, head: str = "") -> Any:  # noqa: ANN401
    """Run the gate over logits that are stored, or those of a biased model after a fair one."""
    for file, rates in (("before", FAIR), ("after", BIASED)):
        if not (project.path / f"{file}.safetensors").exists():
            store(project, file, logits(rates))
    project.spec(*(tests or [gap_test()]), concepts=SETS, head=head)
    result = project.gate()
    if ret is not None:
        assert result.ret == ret, sentences(result)
    return result


# ----------------------------------------------------------------------------- numbers


def said(sets: Sets, group: str) -> NDArray[np.float64]:
    return np.asarray(sets[group].argmax(axis=1) == NURSE, np.float64)


@pytest.mark.parametrize(("rate", "of_nurses"), [("fpr", False), ("tpr", True)])
def test_a_rate_is_of_the_images_whose_label_it_asks_for(
    project: Project, rate: str, *, of_nurses: bool
) -> None:
    gate(project, gap_test(f"class: 1, rate: {rate}, label: nurse"))
    row, sets = project.row(), logits(BIASED)
    x, y = (said(sets, group)[is_nurse() == of_nurses] for group in ("women", "men"))
    assert (row["n_x"], row["n_y"], row["n_a"], row["n_b"]) == (len(x), len(y), None, None)
    asked = row["prediction"]
    assert (asked["rate_x"], asked["rate_y"]) == pytest.approx((x.mean(), y.mean()))
    for key in ("gap", "effect_size", "effect_judged"):
        assert row[key] == pytest.approx(x.mean() - y.mean())
    table = [[x.sum(), len(x) - x.sum()], [y.sum(), len(y) - y.sum()]]
    assert row["p_value"] == pytest.approx(stats.fisher_exact(table).pvalue)
    assert (row["p_method"], row["p_welch"]) == ("exact", None)
    kept = {"nurse"} if of_nurses else {"doctor"}
    assert {name.split("/")[1] for name in row["sets"]["X"]["names"]} == kept


def test_a_share_is_of_all_images(project: Project) -> None:
    gate(project, gap_test("class: 1, rate: share"))
    x, y = (said(logits(BIASED), group) for group in ("women", "men"))
    assert project.row()["gap"] == pytest.approx(x.mean() - y.mean())
    assert project.row()["n_x"] == 60


def test_a_score_is_the_mean_probability(project: Project) -> None:
    gate(project, gap_test("class: 1, rate: score"))
    x, y = (
        special.softmax(np.asarray(logits(BIASED)[group], np.float64), axis=1)[:, NURSE]
        for group in ("women", "men")
    )
    row = project.row()
    assert row["gap"] == pytest.approx(x.mean() - y.mean())
    ends = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(ends))
    assert sorted(row["scores"]["X"].values()) == pytest.approx(sorted(x))


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ("threshold: 0.95", lambda rows: special.softmax(rows, axis=1)[:, NURSE] >= 0.95),
        ("activation: sigmoid", lambda rows: rows[:, NURSE] >= 0),
        (
            "activation: sigmoid, threshold: 0.98",
            lambda rows: special.expit(rows)[:, NURSE] >= 0.98,
        ),
    ],
)
def test_what_counts_as_predicted_can_be_said(project: Project, more: str, counts: Any) -> None:  # noqa: ANN401
    gate(project, gap_test(f"class: 1, rate: share, {more}"))
    x, y = (
        counts(np.asarray(logits(BIASED)[group], np.float64)).mean() for group in ("women", "men")
    )
    assert project.row()["gap"] == pytest.approx(x - y)
    assert 0 < x < 1


def test_several_folders_may_be_of_the_class(project: Project) -> None:
    gate(project, gap_test("class: 1, rate: tpr, label: [nurse, doctor]"))
    assert project.row()["n_x"] == 60


# ----------------------------------------------------------------------------- verdicts


def test_a_gap_that_came_with_finetuning_fails_by_its_size_and_its_growth(project: Project) -> None:
    gate(project, ret=1)
    assert project.outcomes() == {"before::one[logits]": "pass", "after::one[logits]": "fail"}
    assert project.breaches() == [("gap", True), ("growth", True)]
    growth = project.row()["growth"]
    before, after = project.row(model="before")["gap"], project.row()["gap"]
    assert (growth["before"], growth["after"]) == pytest.approx((before, after))
    assert growth["value"] == pytest.approx(abs(after) - abs(before))


@pytest.mark.parametrize(
    ("rates", "limits", "outcome"),
    [
        (FAIR, "{max_gap: 0.2, max_growth: 0.1}", "pass"),
        ((0.3, 0.15), "{max_gap: 0.05}", "inconclusive"),
    ],
)
def test_a_fair_model_passes_and_a_breach_without_evidence_is_inconclusive(
    project: Project, rates: tuple[float, float], limits: str, outcome: str
) -> None:
    store(project, "after", logits(rates))
    gate(project, gap_test(limits=limits), ret=0)
    assert project.outcomes()["after::one[logits]"] == outcome


@pytest.mark.parametrize(("limit", "outcome"), [("0.2", "fail"), ("0.5", "inconclusive")])
def test_the_interval_of_the_gap_may_be_the_evidence(
    project: Project, limit: str, outcome: str
) -> None:
    gate(project, gap_test(limits=f"{{max_gap: {limit}}}", evidence="interval"))
    row = project.row()
    assert row["gap"] > float(limit)
    assert (row["ci_low"] > float(limit)) == (outcome == "fail")
    assert row["outcome"] == outcome


def test_a_waiver_accepts_a_gap_up_to_its_size(project: Project) -> None:
    accept = f"{{max_effect: %s, reason: known, until: {LATER}}}"
    store(project, "before", logits(FAIR[::-1]))
    gate(project, gap_test(limits="{max_gap: 0.05}", accept=accept % 0.9), ret=0)
    assert project.outcomes()["after::one[logits]"] == "accepted"
    gate(project, gap_test(limits="{max_gap: 0.05}", accept=accept % 0.1), ret=1)
    assert project.breaches() == [("gap", True)]


def test_a_waiver_does_not_hold_for_the_opposite_gap(project: Project) -> None:
    store(project, "before", logits(BIASED[::-1]))
    accept = f"{{max_effect: 0.9, reason: known, until: {LATER}}}"
    gate(project, gap_test(limits="{max_gap: 0.05}", accept=accept), ret=1)
    assert project.breaches() == [("gap", True)]


def test_the_correction_runs_over_tests_of_predictions_and_of_embeddings_together(
    project: Project,
) -> None:
    for file, rates in (("before", FAIR), ("after", BIASED)):
        predictions, embeddings = logits(rates), vectors()
        sets = {f"logits/{key}": predictions[key] for key in predictions}
        sets |= {f"pooled/{key}": embeddings[key] for key in embeddings}
        sets |= {f"pooled/{key}": predictions[key] for key in predictions}
        sets |= {f"logits/{key}": embeddings[key] for key in embeddings}
        store(project, file, sets)
    models = MODELS.replace("}", ', prefix: "{layer}/"}')
    concepts = "{women: women, men: men, x: x, y: y, a: a, b: b}"
    tests = [
        one_test("held", "{max_effect: 0.5}"),
        gap_test(limits="{max_gap: 0.05}", name="fpr"),
        gap_test("class: 1, rate: share", limits="{max_growth: 0.05}", name="share"),
    ]
    project.spec(*tests, models=models, concepts=concepts)
    project.gate()
    assert set(project.outcomes()) == {
        f"{model}::{test}"
        for model in ("before", "after")
        for test in ("held[pooled]", "fpr[logits]", "share[logits]")
    }
    assert {
        one["family_size"] for one in project.report()["results"] if one["role"] == "gated"
    } == {3}


# ----------------------------------------------------------------------------- names of classes

CLASSES = "classes: [doctor, nurse, clerk, cook]"


def test_a_class_may_be_asked_for_by_the_name_that_the_spec_gives_to_it(project: Project) -> None:
    gate(project)
    plain = project.row()
    gate(project, gap_test("class: nurse, rate: fpr, label: nurse"), head=CLASSES)
    row = project.row()
    assert (row["prediction"]["class"], row["prediction"]["name"]) == (1, "nurse")
    keys = ("gap", "p_value", "growth", "outcome", "scores")
    assert [row[key] for key in keys] == [plain[key] for key in keys]
    gate(project, head=CLASSES)
    assert project.row()["prediction"]["name"] == "nurse", "by its number, too"


@pytest.mark.parametrize(
    ("asked", "classes"),
    [("nurze", "[doctor, nurse]"), ("2", "[doctor, nurse]"), ("1.5", "[doctor]")],
)
def test_a_class_that_the_spec_does_not_name_is_an_error_of_it(
    project: Project, asked: str, classes: str
) -> None:
    test = gap_test(f"class: {asked}, rate: share")
    result = gate(project, test, ret=2, head=f"classes: {classes}")
    assert "tests[0].prediction.class: " in sentences(result)


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        ("nurse", ""),
        ("nurse", "classes: [doctor, nurse]"),
        ("b", "classes: [a, b, b, c]"),
        ("4", ""),
    ],
)
def test_names_and_numbers_that_do_not_fit_a_model_are_errors(
    project: Project, asked: str, head: str
) -> None:
    gate(project, gap_test(f"class: {asked}, rate: share"), ret=1, head=head)
    assert {*project.outcomes().values()} == {"error"}


# ----------------------------------------------------------------------------- never by accident


@pytest.mark.parametrize("rate", ["fpr", "tpr", "share", "score"])
@pytest.mark.parametrize("index", [0, 2])
def test_a_class_that_is_not_the_one_meant_does_not_pass(
    project: Project, index: int, rate: str
) -> None:
    """Both groups have next to no false positives of it, and so next to no gap."""
    for file in ("before", "after"):
        store(project, file, logits((0.1, 0.1), n=90))
    test = gap_test(f"class: {index}, rate: {rate}, label: nurse", "{max_gap: 0.4}")
    gate(project, test, ret=1)
    assert project.outcomes() == {"before::one[logits]": "pass", "after::one[logits]": "invalid"}
    assert project.row()["prediction"]["is_blind"]


@pytest.mark.parametrize("push", [99, -99])
@pytest.mark.parametrize(
    "asked", ["rate: tpr, label: nurse", "rate: fpr, label: nurse", "rate: share"]
)
def test_a_classifier_that_says_the_same_of_everything_does_not_pass(
    project: Project, asked: str, push: int
) -> None:
    more = np.array([0, push, 0, 0], np.float32)
    flat = {key: rows + more for key, rows in logits(FAIR).items()}
    store(project, "after", flat)
    gate(project, gap_test(f"class: 1, {asked}", "{max_gap: 0.4}"), ret=1)
    assert project.row()["outcome"] == "invalid"
    assert project.row()["gap"] == 0


@pytest.mark.parametrize(
    ("asked", "push", "outcome"),
    [
        ("rate: tpr", 99, "pass"),
        ("rate: share", 99, "pass"),
        ("rate: score", 99, "pass"),
        ("rate: tpr", -99, "invalid"),
        ("rate: share", -99, "invalid"),
        ("rate: score", -99, "invalid"),
    ],
)
def test_where_every_image_is_of_the_class_a_perfect_classifier_passes_with_a_note(
    project: Project, asked: str, push: int, outcome: str
) -> None:
    sets = {
        key: np.array([[ground + row / 64, push, 0, 0] for row in range(20)], np.float32)
        for key, ground in (("women", 0), ("men", 1))
    }
    names = {key: [f"nurse/{row}.png" for row in range(20)] for key in sets}
    for file in ("before", "after"):
        path = project.path / f"{file}.safetensors"
        safetensors.numpy.save_file(sets, path, metadata={"names": json.dumps(names)})
    gate(project, gap_test(f"class: 1, {asked}, label: nurse", "{max_gap: 0.4}"))
    row = project.row()
    assert row["outcome"] == outcome
    assert row["gap"] == pytest.approx(0, abs=1e-12)
    assert row["prediction"]["is_blind"] == (outcome == "invalid")
    assert sum("prediction.label" in text for text in row["warnings"]) == 1


def follower(n: int = 60) -> Sets:
    """Return logits of a classifier that says the class of all women, and of no man."""
    sets = logits((0, 0), n=n)
    for group, push in (("women", 99), ("men", -99)):
        sets[group][:, NURSE] += push
    return sets


@pytest.mark.parametrize("rate", ["fpr", "tpr", "share", "score"])
@pytest.mark.parametrize("limits", ["{max_gap: 0.1}", "{max_growth: 0.1}"])
def test_a_classifier_that_follows_the_group_alone_fails_by_its_limits(
    project: Project, rate: str, limits: str
) -> None:
    """It does not know the class, and is all the more biased: its gap is a finding."""
    store(project, "after", follower())
    gate(project, gap_test(f"class: 1, rate: {rate}, label: nurse", limits), ret=1)
    row = project.row()
    assert (row["outcome"], row["prediction"]["is_blind"]) == ("fail", True)
    assert row["gap"] == pytest.approx(1)
    assert len(row["reasons"]) == 2, "the gap, and that the class is not known"


def test_within_its_limits_it_is_invalid_and_its_gap_is_named(project: Project) -> None:
    """As growth since one that was as bad, which is none."""
    for file in ("before", "after"):
        store(project, file, follower())
    gate(project, gap_test(limits="{max_growth: 0.1}"), ret=1)
    assert project.row()["outcome"] == "invalid"
    store(project, "before", follower())
    gate(project, gap_test(limits="{max_gap: 0.1, max_growth: 0.1}"), ret=1)
    assert project.row()["outcome"] == "fail"
    assert project.breaches() == [("gap", True)]


def test_a_gap_fails_though_the_model_before_says_nothing_of_its_growth(project: Project) -> None:
    store(project, "before", {key: rows[:, [1, 0, 2, 3]] for key, rows in logits(BIASED).items()})
    gate(project, ret=1)
    assert project.row()["outcome"] == "fail"
    assert ("gap", True) in project.breaches()


def test_a_waiver_makes_no_pass_of_a_classifier_that_does_not_know_the_class(
    project: Project,
) -> None:
    """However large a gap it accepts, and however small that is."""
    accept = f"{{max_effect: %s, reason: known, until: {LATER}}}"
    for sets, most, outcome in (
        (follower(), "0.999", "fail"),
        ({key: rows[:, [1, 0, 2, 3]] for key, rows in logits(BIASED).items()}, "0.9", "invalid"),
    ):
        store(project, "after", sets)
        gate(project, gap_test(limits="{max_gap: 0.05}", accept=accept % most), ret=1)
        assert project.row()["outcome"] == outcome


def test_nothing_is_recorded_of_a_classifier_that_does_not_know_the_class(
    project: Project,
) -> None:
    """Or its gap would be what later ones are measured from."""
    store(project, "before", logits(FAIR))
    store(project, "after", follower())
    gate(project, gap_test(limits="{max_gap: 0.1}"))
    assert project.row()["outcome"] == "fail"
    project.gate("--visualbias-update")
    assert not (project.path / "bias_specs/__visualbias__/x.json").exists()


@pytest.mark.parametrize("rate", ["share", "score"])
def test_a_label_changes_nothing_where_all_images_count(project: Project, rate: str) -> None:
    gate(project, gap_test(f"class: 1, rate: {rate}"))
    plain = project.row()
    gate(project, gap_test(f"class: 1, rate: {rate}, label: nurse"))
    keys = ("gap", "p_value", "ci_low", "n_x", "scores", "outcome")
    assert [project.row()[key] for key in keys] == [plain[key] for key in keys]


def test_growth_from_a_model_that_does_not_know_the_class_says_nothing(project: Project) -> None:
    """A gap that it has by accident would hide that of the model after."""
    store(project, "before", {key: rows[:, [1, 0, 2, 3]] for key, rows in logits(BIASED).items()})
    gate(project, gap_test(limits="{max_growth: 0.1}"), ret=1)
    assert project.row()["outcome"] == "invalid"
    gate(project, gap_test(limits="{max_gap: 0.9}"), ret=0)


def test_nor_does_one_whose_probabilities_are_all_alike(project: Project) -> None:
    flat = np.zeros((60, 4), np.float32)
    flat[:, 0] = np.arange(60)  # so that the rows are not one image twice
    flat[:, 1] = np.arange(60)
    flat[:, 2:] = -np.inf
    flat[:, 2:] = -1e4
    other = flat.copy()
    other[:, :2] += 100
    store(project, "after", {"women": flat, "men": other})
    gate(project, gap_test("class: 1, rate: score"), ret=1)
    assert project.row()["outcome"] == "invalid"


@pytest.mark.parametrize("surer", [1, 3])
@pytest.mark.parametrize("rate", ["share", "score"])
def test_equal_answers_of_two_classifiers_are_warned_of_where_the_weights_are_equal(
    project: Project, rate: str, surer: int
) -> None:
    """Predictions are 0 or 1, so that networks of other weights may agree in all of them."""
    store(project, "before", {key: rows * surer for key, rows in logits(FAIR).items()})
    store(project, "after", logits(FAIR))
    gate(project, gap_test(f"class: 1, rate: {rate}", "{max_growth: 0.9}"), ret=0)
    warnings = [one for one in project.row()["warnings"] if "weights" in one]
    assert len(warnings) == (surer == 1)
    if surer == 1 or rate == "share":
        assert project.row()["growth"]["value"] == 0


def test_a_classifier_that_is_right_of_every_image_passes(project: Project) -> None:
    for file in ("before", "after"):
        store(project, file, logits((0, 0), tpr=1))
    tests = [
        gap_test(name="fpr", limits="{max_gap: 0.1, max_growth: 0.1}"),
        gap_test("class: 1, rate: tpr, label: nurse", "{max_gap: 0.1}", name="tpr"),
    ]
    gate(project, *tests, ret=0)
    assert project.row("fpr")["prediction"]["rate_x"] == 0
    assert project.row("tpr")["prediction"]["rate_x"] == 1
    assert project.outcomes()["after::fpr[logits]"] == "pass"


def test_logits_that_are_not_finite_are_an_error_that_names_the_image(project: Project) -> None:
    sets = logits(BIASED)
    sets["men"][4, 2] = np.nan
    store(project, "after", sets)
    gate(project, ret=1)
    assert project.outcomes()["after::one[logits]"] == "error"
    assert "men/doctor/004.png" in project.row()["reasons"][0]


@pytest.mark.parametrize(
    ("prediction", "place"),
    [
        ("class: 1, rate: fpr, label: nurze", "tests[0].prediction.label: "),
        ("class: 1, rate: fpr, label: [nurse, doctor]", "tests[0].targets.X: "),
    ],
)
def test_a_group_without_the_images_of_a_rate_is_an_error_of_the_spec(
    project: Project, prediction: str, place: str
) -> None:
    assert place in sentences(gate(project, gap_test(prediction), ret=2))


def test_a_group_without_positives_has_no_true_positive_rate(project: Project) -> None:
    store(project, "before", logits(FAIR))
    sets = logits(FAIR)
    names = {
        "women": [f"{'nurse' if row % 3 == 0 else 'doctor'}/{row}.png" for row in range(60)],
        "men": [f"doctor/{row}.png" for row in range(60)],
    }
    path = project.path / "after.safetensors"
    safetensors.numpy.save_file(sets, path, metadata={"names": json.dumps(names)})
    result = gate(project, gap_test("class: 1, rate: tpr, label: nurse"), ret=2)
    assert "tests[0].targets.Y: " in sentences(result)


@pytest.mark.parametrize("limits", ["{max_gap: 0.05}", "{max_growth: 0.02}"])
def test_sets_too_small_to_be_able_to_fail_are_an_error_by_what_counts(
    project: Project, limits: str
) -> None:
    """Of 9 images, 3 are nurses: 3 against 3 cannot go below 1/10."""
    for file in ("before", "after"):
        store(project, file, logits(FAIR, n=9))
    result = gate(project, gap_test("class: 1, rate: tpr, label: nurse", limits), ret=2)
    assert "3 against 3 images" in sentences(result)


@pytest.mark.parametrize("limit", ["max_gap: 1", "max_growth: 1", "max_shift: 2"])
def test_a_limit_that_no_gap_can_be_over_is_an_error(project: Project, limit: str) -> None:
    result = gate(project, gap_test(limits=f"{{{limit}}}"), ret=2)
    assert f"tests[0].limits.{limit.partition(':')[0]}: " in sentences(result)


@pytest.mark.parametrize(
    ("limits", "head", "code"),
    [
        ("{max_growth: 0.9}", "", 1),
        ("{max_gap: 0.9}", "", 0),
        ("{max_growth: 0.9}", "settings: {differs: [classes]}", 2),
    ],
)
def test_classifiers_of_other_classes_are_not_compared(
    project: Project, limits: str, head: str, code: int
) -> None:
    """Class 1 of 4 and class 1 of 9 are not the same class, which cannot be declared."""
    store(project, "before", logits(FAIR, classes=9))
    gate(project, gap_test(limits=limits), ret=code, head=head)
    if code < 2:
        assert project.row()["growth"] is None


# ----------------------------------------------------------------------------- records


def alone(project: Project, *arguments: str, prediction: str = "") -> Any:  # noqa: ANN401
    """Run the gate over the model after, whose growth is since a record."""
    models = "\n  after: {source: embeddings, path: ../after.safetensors}\n"
    test = gap_test(prediction or "class: 1, rate: fpr, label: nurse", "{max_growth: 0.02}")
    project.spec(test, models=models, concepts=SETS)
    return project.gate(*arguments)


def test_growth_since_a_record_is_growth_since_the_model(project: Project) -> None:
    gate(project, gap_test(limits="{max_growth: 0.02}"), ret=1)
    live = project.row()["growth"]
    store(project, "after", logits(FAIR))
    assert alone(project, "--visualbias-update").ret == 0
    store(project, "after", logits(BIASED))
    assert alone(project).ret == 1
    recorded = project.row()["growth"]
    assert recorded.pop("from") == "baseline"
    assert live.pop("from") == "before"
    assert recorded == live


@pytest.mark.parametrize("more", ["threshold: 0.4", "activation: sigmoid", ""])
def test_a_record_of_another_question_is_not_comparable(project: Project, more: str) -> None:
    """Another threshold, activation or class."""
    store(project, "after", logits(FAIR))
    assert alone(project, "--visualbias-update").ret == 0
    if not more:
        path = project.path / "bias_specs/__visualbias__/x.json"
        stored = json.loads(path.read_text())
        (entry,) = stored["entries"].values()
        entry["prediction"]["class"] = 2
        path.write_text(json.dumps(stored))
    prediction = f"class: 1, rate: fpr, label: nurse, {more}" if more else ""
    assert alone(project, prediction=prediction).ret == 1
    assert (project.row()["outcome"], project.row()["growth"]) == ("fail", None)
    assert project.row()["reasons"][0].startswith("not_comparable: ")


def test_a_record_of_embeddings_says_nothing_of_predictions(project: Project) -> None:
    """Files of tests of embeddings stay as they were."""
    project.pair()
    project.spec(one_test("one", "{max_growth: 0.5}"))
    assert project.gate("--visualbias-update").ret == 0
    text = (project.path / "bias_specs/__visualbias__/x.json").read_text()
    assert "prediction" not in text


# ----------------------------------------------------------------------------- commands


def test_check_counts_the_images_and_asks_for_no_positive_control(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    gate(project)
    assert main(["check", str(project.path / "bias_specs/x.bias.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "images: women 60, men 60" in shown
    assert "positive control" not in shown


def test_suggest_proposes_what_the_rates_before_and_so_many_images_support(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    gate(project)
    spec = project.path / "bias_specs/x.bias.yaml"
    assert main(["suggest", str(spec)]) == 0
    shown = capsys.readouterr().out
    assert "max_gap: 0.2" in shown
    (keys,) = yaml.safe_load(shown[shown.index("\ntests:") : shown.index("\npaste")])["tests"]
    document = yaml.safe_load(spec.read_text(encoding="utf-8"))
    document["tests"][0]["limits"].update(keys["limits"])
    spec.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert "no untrained network" not in shown, "no ground for gaps, so none is looked for"
    assert project.gate().ret == 1, "and what it proposes catches a gap that came with finetuning"
    row, before = project.row(), project.row(model="before")
    reach = max(abs(before["ci_low"]), abs(before["ci_high"]))
    assert reach <= row["limits"]["max_gap"] < row["gap"]
    assert row["limits"]["max_growth"] < row["growth"]["value"]
    assert main(["check", str(spec)]) == 0


def test_suggest_proposes_nothing_from_a_classifier_that_does_not_know_the_class(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    store(project, "before", follower())
    gate(project)
    capsys.readouterr()
    assert main(["suggest", str(project.path / "bias_specs/x.bias.yaml")]) == 1
    shown = capsys.readouterr().out
    assert "limits:" not in shown
