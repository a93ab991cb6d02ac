"""What is wrong with a spec is told at its place: tables of a change to a valid spec and places."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.consistency import RESERVED_TAGS
from pytest_visualbias.spec.error_messages import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.errors import LocatedFault

    Change = Callable[..., str]
    Places = Callable[[str], list[str]]

AFTER = "{source: timm, name: test_resnet, checkpoint: after.safetensors}"
BEFORE = "{source: timm, name: test_resnet}\n"
LIMITS = "{max_effect: 0.5, max_growth: 0.2}"
WEIGHTS = "checkpoint: after.safetensors}"
RUN = 'checkpoints: "run/epoch_*.pt", series: epoch'
MODELS = f"before: {BEFORE}  after: {AFTER}"

FORM = [
    ("visualbias: 1\n", "", "1:1 visualbias"),
    ("visualbias: 1", "visualbias: 2", "1:1 visualbias"),
    ("title: Before and after", "title: 2024", "2:1 title"),
    ("title: Before and after", "title:", "2:1 title"),
    ("title: Before and after", '"ti\\ntle": x', "2:1 ti\ntle"),
    ("title: Before and after", "visualbias: 1", "2:1 visualbias"),
    ("people/male", '""', "9:3 concepts.male"),
    ("people/male", "3", "9:3 concepts.male"),
    ("people/male", "{path: p, patern: x}", "9:19 concepts.male.patern"),
    ("  male: people/male", '  "m::f": people/male', "9:3 concepts.m::f"),
    ("layers: [pooled]", "layers: []", "6:1 layers"),
    ("layers: [pooled]", "layers: [3]", "6:10 layers[0]"),
    ("[pooled]", "[{name: mid}]", "6:10 layers[0].module"),
    ("0.05", "1.5", "13:12 settings.alpha"),
    ("alpha: 0.05", "correction: bonferroni", "13:12 settings.correction"),
    ("alpha: 0.05", "sides: no", "13:12 settings.sides"),
    ("kind: ieat", "kind: iaet", "16:5 tests[0].kind"),
    ("{X: male, Y: female}", "[male, female]", "17:5 tests[0].targets"),
    (", B: family", "", "18:5 tests[0].attributes.B"),
    ("0.5", "-1", "19:14 tests[0].limits.max_effect"),
    ("0.5", ".nan", "19:14 tests[0].limits.max_effect"),
    ("0.5", '"0.1"', "19:14 tests[0].limits.max_effect"),
    ("0.5", "1" * 400, "19:14 tests[0].limits.max_effect"),
    ("0.5", "0x" + "f" * 6000, "19:14 tests[0].limits.max_effect"),
    ("{max_effect", "{max_efect", "19:14 tests[0].limits.max_efect"),
    ("[gender]", "{a: b}", "20:5 tests[0].tags"),
    ("[gender]", "[a b]", "20:12 tests[0].tags[0]"),
]
# Of the model `after`, which stands in line 5.
ENTRIES = [
    ("{source: tim, name: r}", "source"),
    ("{source: embedings, path: a.npz}", "source"),
    ("{source: timm, name: r, pretraind: true}", "pretraind"),
    ("{source: timm, name: r, pretrained: no}", "pretrained"),
    ("{source: timm, name: r, random_init: 1.5}", "random_init"),
    # The member at fault is named, not the length of the list.
    ("{source: timm, name: r, checkpoint: [3]}", "checkpoint[0]"),
    ("{source: factory, call: nets.make, transform: {size: 8}}", "call"),
    ("{source: timm, name: r, transform: {size: [32]}}", "transform.size"),
    ("{source: timm, name: r, transform: {size: big}}", "transform.size"),
    ("{source: timm, name: r, transform: {size: 32, crop: 2}}", "transform.crop"),
    ("{source: timm, name: r, transform: {size: 32, mean: [0, 0, 0, 0]}}", "transform.mean"),
    ("{source: timm, name: r, transform: {size: 32, std: [1, 0, 1]}}", "transform.std[1]"),
    # One entry says once which weights it has.
    ("{source: timm, name: r, checkpoint: a.pt, random_init: 2}", "random_init"),
    (
        "{source: factory, call: a:b, transform: {size: 8}, checkpoint: a, random_init: 1}",
        "random_init",
    ),
    ("{source: timm, name: r, container: model}", "container"),
    ("{source: timm, name: r, prefix: module.}", "prefix"),
    ("{source: timm, name: r, pretrained: true, checkpoint: a.pt}", "pretrained"),
    ("{source: timm, name: r, pretrained: true, random_init: 3}", "pretrained"),
    ("{source: open_clip, name: ViT-B-32}", "name"),
    ('{source: open_clip, name: "hf-hub:o/c", pretrained: openai}', "pretrained"),
    (
        "{source: open_clip, name: x, checkpoint: a.pt, arguments: {load_weights: true}}",
        "arguments.load_weights",
    ),
    ("{source: transformers}", ""),
    ("{source: transformers, name: o/v, path: v}", ""),
    ("{source: transformers, path: v, revision: main}", "revision"),
    ("{source: transformers, path: [v, w], checkpoint: a.pt}", "path"),
    ("{source: torchvision, name: r, pretrained: true, checkpoint: a.pth}", "pretrained"),
    ("{source: timm, name: r, arguments: {pretrained: no}}", "arguments.pretrained"),
    ("{source: timm, name: r, arguments: {pretrained_cfg: no}}", "arguments.pretrained_cfg"),
    ("{source: timm, name: r, arguments: {pretrained_strict: no}}", "arguments.pretrained_strict"),
    ("{source: timm, name: r, arguments: {checkpoint_path: no}}", "arguments.checkpoint_path"),
    ("{source: timm, name: r, arguments: {features_only: true}}", "arguments.features_only"),
    ("{source: timm, name: r, arguments: {size: [[1, 2]]}}", "arguments.size[0]"),
    ("{source: timm, name: r, arguments: {size: {a: 1}}}", "arguments.size"),
    # Images are prepared in one way.
    ("{source: onnx, path: a.onnx}", "transform"),
    ("{source: factory, call: a:b}", "transform"),
    ("{source: factory, call: a:b, preprocess: own}", "transform"),
    ("{source: export, path: a.pt2, preprocess: ieat, transform: {size: 8, crop: 0.5}}", "crop"),
    ("{source: timm, name: r, preprocess: ieats, transform: {size: 8}}", "preprocess"),
    # A training run says what it counts.
    ('{source: timm, name: r, checkpoints: "run/*.pt"}', "checkpoints"),
    ('{source: timm, name: r, checkpoint: "run/*.pt", series: epoch}', "series"),
    ("{source: timm, name: r, series: epoch}", "series"),
    (f"{{source: timm, name: r, {RUN}, checkpoint: one.pt}}", "checkpoints"),
    ("{source: timm, name: r, checkpoint: one.pt, gate: all}", "gate"),
    (f"{{source: timm, name: r, {RUN}, gate: any}}", "gate"),
    (f"{{source: timm, name: r, {RUN}, random_init: 2}}", "random_init"),
    (f"{{source: timm, name: r, {RUN}, pretrained: true}}", "pretrained"),
    ("{source: timm, name: r, checkpoint: a.pt, serie: epoch}", "serie"),
    ("{source: timm, name: r, checkpoints: [], series: epoch}", "checkpoints"),
    ('{source: timm, name: r, checkpoints: "s3:/lab/a_*.pt", series: epoch}', "checkpoints"),
]
FIT = [
    ("[pooled]", "['layer3:avg']", "layers[0]"),
    ("[pooled]", "[':mean']", "layers[0]"),
    ("[pooled]", "['blocks.{3..1}']", "layers[0]"),
    ("[pooled]", "['a.{0..9999}.{0..9999}.{0..9999}']", "layers[0]"),
    ("[pooled]", "[pooled, pooled]", "layers"),
    ("[pooled]", "['blocks.{0..2}', blocks.1]", "layers"),
    ("X: male", "X: mael", "tests[0].targets.X"),
    ("Y: female", "Y: male", "tests[0].targets"),
    ("B: family", "B: career", "tests[0].attributes"),
    (LIMITS, "{min_effect: 0.5}", "tests[0].limits.min_effect"),
    ("    tags:", "    scope: model\n    tags:", "tests[0].scope"),
    ("    tags:", "    growth_from: befor\n    tags:", "tests[0].growth_from"),
    (LIMITS, "{}\n    control: positive", "tests[0].limits"),
    *(
        (LIMITS, f"{{min_effect: 0.5, {key}: 1}}\n    control: positive", "tests[0].limits")
        for key in ("max_effect", "max_gap", "max_growth", "max_shift")
    ),
    *(("[gender]", f"[gender, {tag}]", "tests[0].tags[1]") for tag in sorted(RESERVED_TAGS)),
]
SEVERAL = [
    ((("[pooled]", "[pooled, mid]"), (WEIGHTS, "layers: {mdi: x}}")), "models.after.layers.mdi"),
    ((("[pooled]", "[mid]"), (WEIGHTS, "layers: {mid: 'x:avg'}}")), "models.after.layers.mid"),
    ((("[pooled]", "[mid]"), (WEIGHTS, "layers: {mid: ':cls'}}")), "models.after.layers.mid"),
    # Otherwise every layer would be answered with the same vectors.
    *(
        (
            (("[pooled]", "['l{1..2}']"), (AFTER, f"{{source: embeddings, path: a{prefix}}}")),
            "models.after.prefix",
        )
        for prefix in ("", ", prefix: igpt/")
    ),
    *(
        ((("  before:", "  base:"), (LIMITS, f"{{{key}: 0.2}}")), f"tests[0].limits.{key}")
        for key in ("max_growth", "max_shift")
    ),
    *(
        (
            (
                (LIMITS, f"{{max_effect: 0.5, {key}: 0.1}}"),
                ("{alpha: 0.05}", "{evidence: equivalence}"),
            ),
            f"tests[0].limits.{key}",
        )
        for key in ("max_growth", "max_shift")
    ),
    # Limits need a model that they gate.
    *(
        (((MODELS, models), (LIMITS, "{max_effect: 0.5}")), "tests[0].limits")
        for models in (
            f"before: {AFTER}",
            "random: {source: timm, name: r, pretrained: false}",
            f"before: {AFTER}\n  random: {{source: timm, name: r, random_init: 3}}",
        )
    ),
    # Growth is measured from one network.
    (
        (
            (MODELS, f"base: {{source: timm, name: r, {RUN}}}\n  after: {AFTER}"),
            ("    tags:", "    growth_from: base\n    tags:"),
        ),
        "models.base.series",
    ),
    # A value at fault is not told again as missing, unknown or too short.
    ((("{source: timm, name: test_resnet}\n", "3\n"),), "models.before"),
    ((("{source: timm, name: test_resnet}\n", "{source: timm}\n"),), "models.before.name"),
    (((LIMITS, "{min_effect: 0.5}\n    contrl: positive"),), "tests[0].contrl"),
    (((LIMITS, "{max_growth: 0.5}\n    growth_form: x"),), "tests[0].growth_form"),
    ((("[pooled]", "[3]"), (WEIGHTS, "checkpoint: a, layers: {mid: layer1}}")), "layers[0]"),
]


@pytest.mark.parametrize(("old", "new", "place"), FORM)
def test_a_value_of_the_wrong_form(
    old: str, new: str, place: str, change: Change, places: Places
) -> None:
    assert place in places(change((old, new)))


@pytest.mark.parametrize(("entry", "key"), ENTRIES)
def test_an_entry_of_a_model(entry: str, key: str, change: Change, places: Places) -> None:
    (place,) = places(change((AFTER, entry)))
    place = place.removesuffix(".text")  # of the form that a value in a list of forms is not
    assert re.fullmatch(rf"5:\d+ models\.after.*{re.escape(key)}", place)
    # The column is that of the key, or of the entry where a key is missing.
    text, column = f"  after: {entry}", int(place.partition(" ")[0].partition(":")[2])
    last = re.split(r"[.\[]", place)[-1]
    assert column == 3 or last.endswith("]") or text[column - 1 :].startswith(last)


@pytest.mark.parametrize("source", ["factory, call: 'a:b'", "timm, name: r"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", "[8, 9]"),
        ("crop", "center"),
        ("mean", "[0, 0, 0]"),
        ("std", "[1, 1, 1]"),
        ("interpolation", "box"),
    ],
)
def test_preparing_as_ieat_did_leaves_only_a_square_size_to_say(
    source: str, key: str, value: str, change: Change, places: Places
) -> None:
    size = "" if key == "size" else "size: 8, "
    entry = f"{{source: {source}, preprocess: ieat, transform: {{{size}{key}: {value}}}}}"
    (place,) = places(change((AFTER, entry)))
    assert place.endswith(f" models.after.transform.{key}")


@pytest.mark.parametrize(
    ("changes", "place"), [*((((old, new),), place) for old, new, place in FIT), *SEVERAL]
)
def test_what_does_not_fit_together(
    changes: tuple[tuple[str, str], ...], place: str, change: Change, places: Places
) -> None:
    (found,) = places(change(*changes))
    assert found.partition(" ")[2] == place


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            (("{max_effect", "{max_efect"), ("A: career", "A: carer")),
            ["18:18 tests[0].attributes.A", "19:14 tests[0].limits.max_efect"],
        ),
        (
            (("kind: ieat", "kind: ieat\n    contrl: x"), ("Y: female", "Y: femal")),
            ["17:5 tests[0].contrl", "18:24 tests[0].targets.Y"],
        ),
        (
            (("title: Before and after", "visualbias: 1"), ("0.5", "-1")),
            ["2:1 visualbias", "19:14 tests[0].limits.max_effect"],
        ),
        (
            (
                ("X: male", "X: mael"),
                ("[gender]", "[skip]"),
                ("[pooled]", "['layer3:avg']"),
                ("after.safetensors}", "a.pt, random_init: 2}"),
            ),
            [
                "5:62 models.after.random_init",
                "6:10 layers[0]",
                "17:15 tests[0].targets.X",
                "20:12 tests[0].tags[0]",
            ],
        ),
    ],
)
def test_faults_of_every_kind_are_told_at_once_in_the_order_of_the_text(
    changes: tuple[tuple[str, str], ...], expected: list[str], change: Change, places: Places
) -> None:
    assert places(change(*changes)) == expected


@pytest.mark.parametrize(
    "spoilt",
    [
        ("kind: ieat", "kind: weat"),
        ("kind: ieat", "kind: 3"),
        ("kind: ieat", "kinds: ieat"),
        ("kind: ieat", "kind: [ieat]"),
        ("visualbias: 1", "visualbias: 2"),
    ],
)
def test_what_nothing_can_stand_in_for_does_not_hide_an_unknown_concept(
    spoilt: tuple[str, str], change: Change, places: Places
) -> None:
    found = places(change(spoilt, ("Y: female", "Y: femal")))
    assert len(found) > 1
    assert any(place.endswith(" tests[0].targets.Y") for place in found)


def test_two_tests_of_one_name_are_told_at_the_second(valid: str, places: Places) -> None:
    again = valid.partition("tests:\n")[2]
    assert places(valid + again) == ["21:5 tests[1].name"]


def test_a_model_gated_by_another_test_does_not_count(
    valid: str, change: Change, places: Places
) -> None:
    """The first test's limits could never fail: its only model is what growth starts from."""
    again = valid.partition("tests:\n")[2].replace("gender-career", "other")
    text = change((MODELS, f"base: {AFTER}"), (LIMITS, "{max_effect: 0.5}\n    growth_from: base"))
    (place,) = places(text + again.replace(LIMITS, "{}").replace("[gender]", "[]"))
    assert place.endswith(" tests[0].limits")


@pytest.mark.parametrize("tag", ["skip", "xfail", "skipif", "flaky", "visualbias"])
def test_marks_that_hide_a_test_are_no_tags(tag: str) -> None:
    assert tag in RESERVED_TAGS


@pytest.mark.parametrize("text", ["", "# only a comment\n", "visualbias: 1\nmodels: [\n"])
def test_where_there_is_no_mapping_nothing_is_told_as_missing(text: str, places: Places) -> None:
    assert len(places(text)) == 1


def test_a_long_value_is_cut_and_line_breaks_are_escaped(
    change: Change, faults_in: Callable[[str], tuple[LocatedFault, ...]]
) -> None:
    (fault,) = faults_in(change(("0.5", f'"{"long " * 100}"')))
    assert len(str(fault)) < 160
    told = faults_in(change(("{source: timm, name: test_resnet}\n", '{source: "ti\\nmm"}\n')))
    assert all(str(fault).isprintable() for fault in told)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("max_efect", ["max_effect", "max_gap"], "did you mean 'max_effect'?"),
        ("MALE", ["female", "Male"], "did you mean 'Male'?"),
        ("xyz", ["male", "female"], "known: male, female"),
        ("xyz", [], "there are none"),
    ],
)
def test_the_nearest_known_word_is_offered_or_all_of_them(
    word: str, known: list[str], expected: str
) -> None:
    assert did_you_mean(word, known) == expected
