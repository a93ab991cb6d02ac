"""What each kind of test may say, and a sentence for everything that it may not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import jsonschema
import pytest
import yaml

from pytest_visualbias.spec.effective_settings import judged_tests, layers_of, model_points
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.spec.test_kinds import KINDS, BiasTest, Kind, concepts_of, part_of
from pytest_visualbias.stimuli.concept_checks import SetFinding, set_findings
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.errors import LocatedFault

    Places = Callable[[str], list[str]]

HEAD = """\
visualbias: 1
models:
  before: {source: timm, name: r}
  after: {source: timm, name: r, checkpoint: after.safetensors}
concepts: {m: m, f: f, c: c, g: g}
tests:
  - name: one
    kind: KIND
"""
SETS = {
    "ieat": "    targets: {X: m, Y: f}\n    attributes: {A: c, B: g}\n",
    "sc-eat": "    targets: {X: m}\n    attributes: {A: c, B: g}\n",
    "similarity-gap": "    targets: {X: m, Y: f}\n    attributes: {A: c}\n",
    "intra-similarity": "    targets: {X: m}\n",
    "outcome-gap": "    targets: {X: m, Y: f}\n    prediction: {class: 1, rate: share}\n",
}
EVERYTHING = """\
    limits: {max_effect: 0.5, max_gap: 0.1, max_growth: 0.2, max_shift: 0.3}
    alternative: greater
    evidence: significant
    growth_from: before
    tags: [gender]
"""
WITHIN = """\
    limits: {max_effect: 0.5, max_growth: 0.2, max_shift: 0.3}
    evidence: interval
    growth_from: before
    tags: [gender]
"""

SECOND = (
    "  - {name: two, kind: outcome-gap, targets: {X: m, Y: f}, "
    "prediction: {class: 1, rate: share}}\n"
)
PREDICTED = EVERYTHING.replace("max_effect: 0.5, ", "")


def text_of(kind: str, more: str = "") -> str:
    return HEAD.replace("KIND", kind) + SETS[kind] + more


def parsed(text: str) -> BiasSpec:
    return parse_spec(text, file="s.yaml", folder=Path()).spec


def keys_of(places: list[str]) -> list[str]:
    """Return places without their lines and columns."""
    return [place.partition(" ")[2] for place in places]


def the_test(kind: str, more: str = "") -> BiasTest:
    (test,) = parsed(text_of(kind, more)).tests
    return test


@pytest.fixture(scope="module")
def editor() -> jsonschema.Draft202012Validator:
    """What editors check a spec with."""
    return jsonschema.Draft202012Validator(BiasSpec.model_json_schema())


def test_every_kind_has_its_class() -> None:
    assert list(KINDS) == list(get_args(Kind)) == list(SETS)
    for kind, cls in KINDS.items():
        assert type(the_test(kind)) is cls


@pytest.mark.parametrize(
    ("kind", "concepts", "compared"),
    [
        ("ieat", {"X": "m", "Y": "f", "A": "c", "B": "g"}, (("X", "Y"), ("A", "B"))),
        ("sc-eat", {"X": "m", "A": "c", "B": "g"}, (("A", "B"),)),
        ("similarity-gap", {"X": "m", "Y": "f", "A": "c"}, (("X", "Y"),)),
        ("intra-similarity", {"X": "m"}, ()),
        ("outcome-gap", {"X": "m", "Y": "f"}, (("X", "Y"),)),
    ],
)
def test_a_kind_has_these_sets_and_compares_those(
    kind: str, concepts: dict[str, str], compared: tuple[tuple[str, str], ...]
) -> None:
    test = the_test(kind)
    assert concepts_of(test) == concepts
    assert test.compared == compared


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("ieat", f"{EVERYTHING}    sides: targets\n"),
        ("ieat", "    control: positive\n    scope: model\n    limits: {min_effect: 0.5}\n"),
        ("sc-eat", EVERYTHING),
        ("sc-eat", "    control: positive\n    limits: {min_effect: 0.5}\n"),
        ("similarity-gap", EVERYTHING),
        ("similarity-gap", "    control: positive\n    limits: {min_effect: 0.5}\n"),
        ("intra-similarity", WITHIN),
        ("intra-similarity", WITHIN.replace("interval", "point")),
        ("intra-similarity", "    limits: {}\n"),
        ("outcome-gap", PREDICTED),
        ("outcome-gap", PREDICTED.replace("significant", "interval")),
    ],
)
def test_what_a_kind_may_say_is_accepted_by_us_and_by_editors(
    kind: str, more: str, editor: jsonschema.Draft202012Validator
) -> None:
    text = text_of(kind, more)
    assert parsed(text).tests[0].kind == kind
    editor.validate(yaml.safe_load(text))


# Kind, what is written in the place of what, and the place of the fault.
MISPLACED = [
    ("sc-eat", "{X: m}", "{X: m, Y: f}", "9:21 tests[0].targets.Y"),
    ("similarity-gap", "{A: c}", "{A: c, B: g}", "10:24 tests[0].attributes.B"),
    ("intra-similarity", "{X: m}", "{X: m, Y: f}", "9:21 tests[0].targets.Y"),
    ("intra-similarity", "{X: m}", "{X: m}\n    attributes: {A: c}", "10:5 tests[0].attributes"),
    ("ieat", ", Y: f", "", "9:5 tests[0].targets.Y"),
    ("sc-eat", ", B: g", "", "10:5 tests[0].attributes.B"),
    ("similarity-gap", ", Y: f", "", "9:5 tests[0].targets.Y"),
    ("similarity-gap", "    attributes: {A: c}\n", "", "7:5 tests[0].attributes"),
    ("similarity-gap", "{A: c}", "{O: c}", "10:18 tests[0].attributes.O"),
    ("outcome-gap", "Y: f}", "Y: f}\n    attributes: {A: c}", "10:5 tests[0].attributes"),
    (
        "outcome-gap",
        "    prediction: {class: 1, rate: share}\n",
        "",
        "7:5 tests[0].prediction",
    ),
    ("outcome-gap", "class: 1", "clas: 1", "10:18 tests[0].prediction.clas"),
    ("outcome-gap", "class: 1, ", "", "10:5 tests[0].prediction.class"),
    ("outcome-gap", "class: 1", "class: 1.5", "10:18 tests[0].prediction.class"),
    ("outcome-gap", "class: 1", "class: -1", "10:18 tests[0].prediction.class"),
    ("outcome-gap", "rate: share", "rate: fnr", "10:28 tests[0].prediction.rate"),
    (
        "outcome-gap",
        "rate: share",
        "rate: share, threshold: 1",
        "10:41 tests[0].prediction.threshold",
    ),
]


@pytest.mark.parametrize(("kind", "old", "new", "place"), MISPLACED)
def test_a_set_too_many_or_too_few(
    kind: str,
    old: str,
    new: str,
    place: str,
    places: Places,
    editor: jsonschema.Draft202012Validator,
) -> None:
    text = text_of(kind)
    assert text.count(old) == 1
    text = text.replace(old, new)
    assert place in places(text)
    assert not editor.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("kind", "line", "key"),
    [
        ("sc-eat", "sides: both", "sides"),
        ("similarity-gap", "sides: targets", "sides"),
        ("intra-similarity", "sides: targets", "sides"),
        ("intra-similarity", "alternative: less", "alternative"),
        ("intra-similarity", "control: positive", "control"),
        ("intra-similarity", "scope: model", "scope"),
        ("intra-similarity", "limits: {max_gap: 0.1}", "limits.max_gap"),
        ("intra-similarity", "limits: {min_effect: 0.1}", "limits.min_effect"),
        ("intra-similarity", "evidence: significant", "evidence"),
        ("outcome-gap", "sides: both", "sides"),
        ("outcome-gap", "control: idle", "control"),
        ("outcome-gap", "scope: model", "scope"),
        ("outcome-gap", "limits: {min_effect: 0.1}", "limits.min_effect"),
        ("ieat", "prediction: {class: 1, rate: share}", "prediction"),
        ("intra-similarity", "prediction: {class: 1, rate: share}", "prediction"),
    ],
)
def test_a_key_that_is_for_other_kinds(
    kind: str, line: str, key: str, places: Places, editor: jsonschema.Draft202012Validator
) -> None:
    text = text_of(kind, f"    {line}\n")
    assert keys_of(places(text)) == [f"tests[0].{key}"]
    assert not editor.is_valid(yaml.safe_load(text))


UNDER = "    limits: {max_gap: 0.05}\n"
OVER = "    accept: {max_effect: 0.05, reason: r, until: 2030-01-01}\n"


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("outcome-gap", "share", "fpr", ["tests[0].prediction"]),
        ("outcome-gap", "share", "tpr", ["tests[0].prediction"]),
        ("outcome-gap", "share", "score, threshold: 0.3", ["tests[0].prediction.threshold"]),
        ("outcome-gap", "", "    limits: {max_effect: 0.1}\n", ["tests[0].limits.max_effect"]),
        ("outcome-gap", "", "layers: [logits, layer3]\n", ["layers[1]"]),
        # A layer that only seems to be the logits.
        ("outcome-gap", "", "layers: [{name: logits, module: layer3}]\n", ["layers"]),
        ("outcome-gap", "", UNDER + OVER, ["tests[0].accept.max_effect"]),
        # Sets that are compared are different concepts.
        ("sc-eat", "B: g", "B: c", ["tests[0].attributes"]),
        ("similarity-gap", "Y: f", "Y: m", ["tests[0].targets"]),
        ("similarity-gap", "A: c", "A: m", ["tests[0].attributes"]),
        ("similarity-gap", "A: c", "A: f", ["tests[0].attributes"]),
        # Within one set there is no p, whatever the settings ask for.
        *(
            ("intra-similarity", "", f"    limits: {{{key}: 0.5}}\n{more}", ["tests[0].limits"])
            for key in ("max_effect", "max_growth", "max_shift")
            for more in ("", "settings: {evidence: significant}\n")
        ),
        # One fault does not hide another.
        (
            "sc-eat",
            "A: c, B: g}",
            "A: cc, B: g}\n    sides: both",
            ["tests[0].attributes.A", "tests[0].sides"],
        ),
        (
            "ieat",
            "kind: ieat\n    targets: {X: m",
            "kind: [ieat]\n    limits: {max_effect: -1}\n    more: 1\n    targets: {X: 3",
            [
                "tests[0].kind",
                "tests[0].limits.max_effect",
                "tests[0].more",
                "tests[0].targets.X",
            ],
        ),
    ],
)
def test_what_does_not_fit_a_kind(
    kind: str, old: str, new: str, expected: list[str], places: Places
) -> None:
    text = text_of(kind)
    assert not old or text.count(old) == 1
    assert keys_of(places(text.replace(old, new) if old else text + new)) == expected


@pytest.mark.parametrize("evidence", ["interval", "point"])
def test_other_evidence_of_the_settings_serves_within_a_set(evidence: str) -> None:
    more = f"    limits: {{max_effect: 0.5}}\nsettings: {{evidence: {evidence}}}\n"
    assert the_test("intra-similarity", more).limits.max_effect == 0.5


@pytest.mark.parametrize(
    ("kind", "is_offered"), [("sc-eat", False), ("ieat", True)], ids=["lacks it", "has it"]
)
def test_a_key_that_the_kind_lacks_is_not_offered_for_a_misspelt_one(
    kind: str, is_offered: bool, faults_in: Callable[[str], tuple[LocatedFault, ...]]
) -> None:
    (fault,) = faults_in(text_of(kind, "    sids: both\n"))
    assert fault.place == "tests[0].sids"
    assert ("'sides'" in fault.text) == is_offered


class TestLayersOfPredictions:
    def test_they_are_read_at_the_logits_and_embeddings_where_the_spec_says(self) -> None:
        spec = parsed(text_of("ieat", SECOND + "layers: [pooled, layer3]\n"))
        assert [layers_of(spec, test) for test in spec.tests] == [("pooled", "layer3"), ("logits",)]
        assert [point.module for point in model_points(spec, {})] == ["pooled", "layer3", "logits"]

    def test_logits_that_the_spec_reads_anyway_are_read_once(self) -> None:
        spec = parsed(text_of("ieat", SECOND + "layers: [logits]\n"))
        assert [point.name for point in model_points(spec, {})] == ["logits"]
        assert [test.name for test in judged_tests(spec, "logits")] == ["one", "two"]

    def test_nothing_else_is_read_for_predictions_alone(self) -> None:
        spec = parsed(text_of("outcome-gap"))
        assert [point.name for point in model_points(spec, {})] == ["logits"]

    def test_a_model_may_say_where_its_logits_are(self) -> None:
        text = text_of("outcome-gap").replace("name: r}", "name: r, layers: {logits: head}}")
        spec = parsed(text)
        (point,) = model_points(spec, spec.models["before"].layers)
        assert (point.name, point.module) == ("logits", "head")


def test_a_role_stands_in_a_part() -> None:
    assert [part_of(role) for role in "XYAB"] == ["targets"] * 2 + ["attributes"] * 2


# ---------------------------------------------------------------------------- stimuli


def sets_with(images: Mapping[str, tuple[str, ...]]) -> dict[str, StimulusSet]:
    """Return the four sets; those named have the images given, by content."""
    own = {name: (f"{name}0", f"{name}1", f"{name}2") for name in "mfcg"} | dict(images)
    return {
        name: StimulusSet(
            concept=name,
            stimuli=tuple(
                Stimulus(name=f"{name}/{content}.png", digest=content, identity=content)
                for content in contents
            ),
        )
        for name, contents in own.items()
    }


def findings(kind: str, **images: tuple[str, ...]) -> list[SetFinding]:
    return list(set_findings(parsed(text_of(kind)), sets_with(images)))


@pytest.mark.parametrize("kind", list(SETS))
def test_good_sets_give_no_findings(kind: str) -> None:
    assert findings(kind) == []


@pytest.mark.parametrize(
    ("role", "shared"), [("X", {"c": ("m1", "c1", "c2")}), ("Y", {"c": ("f1", "c1", "c2")})]
)
def test_an_image_in_o_and_in_a_group_is_a_fault_of_a_similarity_gap(
    role: str, shared: dict[str, tuple[str, ...]]
) -> None:
    group = {"X": "m", "Y": "f"}[role]
    (finding,) = findings("similarity-gap", **shared)
    assert (finding.path, finding.is_fault) == (("tests", 0, "attributes"), True)
    assert f"{group}/{group}1.png = c/{group}1.png" in finding.message


def test_it_is_one_although_the_duplicate_is_known() -> None:
    spec = parsed(text_of("similarity-gap", "known_duplicates: ['*']\n"))
    (finding,) = set_findings(spec, sets_with({"c": ("m1", "c1")}))
    assert finding.is_fault


@pytest.mark.parametrize("kind", ["ieat", "sc-eat"])
def test_of_other_kinds_it_is_a_duplicate(kind: str) -> None:
    (finding,) = findings(kind, c=("m1", "c1", "c2"))
    assert not finding.is_fault
    assert "m/m1.png" in finding.message


def test_the_attributes_of_an_sc_eat_may_not_overlap() -> None:
    (finding,) = findings("sc-eat", c=("g0", "c1"))
    assert (finding.path, finding.is_fault) == (("tests", 0, "attributes"), True)


def test_sets_that_a_kind_does_not_have_are_not_looked_at() -> None:
    assert findings("intra-similarity", c=("m1",), f=("m0",), g=()) == []


def test_the_same_image_twice_within_a_set_is_told() -> None:
    (finding,) = findings("intra-similarity", m=("m0", "m0", "m1"))
    assert (finding.path, finding.is_fault) == (("concepts", "m"), False)
