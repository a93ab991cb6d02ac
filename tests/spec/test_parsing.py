"""From the text of a spec to its value, or to all of its faults at once."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_visualbias.errors import SpecError, UsageError
from pytest_visualbias.spec.hashing import digest_of_text
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.spec.overrides import Override
from pytest_visualbias.spec.parser import SpecFile, parse_spec, read_spec
from pytest_visualbias.spec.schema import ConceptFiles, LayerPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    Spoilt = Callable[..., list[str]]


def parse(text: str, overrides: tuple[Override, ...] = ()) -> SpecFile:
    return parse_spec(text, file="s.yaml", folder=Path(), overrides=overrides)


def test_a_valid_spec_is_read_with_its_defaults(valid: str) -> None:
    file = parse(valid)
    spec, test = file.spec, file.spec.tests[0]
    after = spec.models["after"]
    assert isinstance(after, TimmModel)
    assert (after.checkpoint, after.pretrained, after.random_init) == (
        "after.safetensors",
        None,
        None,
    )
    assert (spec.settings.correction, spec.settings.evidence) == ("holm", "significant")
    assert (spec.settings.sides, spec.settings.alternative) == ("both", "two-sided")
    assert (test.targets.X, test.targets.Y) == ("male", "female")
    assert (test.limits.max_effect, test.limits.max_gap) == (0.5, None)
    assert file.digest == digest_of_text(valid)
    assert file.test_line("gender-career") == 15


def test_every_form_of_concepts_layers_and_checkpoints_is_read(valid: str) -> None:
    text = (
        valid.replace("people/male", "{path: p, pattern: '*_m.png'}")
        .replace("people/female", "{path: p, files: [b.png, a.png]}")
        .replace(
            "[pooled]", "[pooled, 'layer3:max', {name: mid, module: layer2, pooling: flatten}]"
        )
        .replace("after.safetensors", "[one.pt, 'runs/*.pt'], layers: {mid: layer1}")
    )
    spec = parse(text).spec
    assert spec.concepts["male"] == ConceptFiles(path="p", pattern="*_m.png")
    assert spec.concepts["female"] == ConceptFiles(path="p", files=("b.png", "a.png"))
    assert spec.layers[1:] == (
        "layer3:max",
        LayerPoint(name="mid", module="layer2", pooling="flatten"),
    )
    after = spec.models["after"]
    assert isinstance(after, TimmModel)
    assert after.checkpoint == ("one.pt", "runs/*.pt")
    assert after.layers == {"mid": "layer1"}


THOROUGHLY_WRONG = """\
visualbias: 2
modles: {}
models:
  before: {source: timm, name: test_resnet, pretraind: true}
  after: {source: tim, name: test_resnet}
  own: {source: factory, call: nets.make, transform: {size: [32], crop: 2}}
layers: [pooled, {name: mid}]
concepts:
  male: 3
  female: {path: p, patern: x}
settings: {alpha: 1.5, correction: bonferroni, sides: no}
tests:
  - name: a
    kind: ieat
    targets: {X: male, Y: female}
    attributes: {A: male}
    limits: {max_effect: -1, max_growth: .nan, max_gap: "0.1"}
    tags: [a b]
  - nothing
"""


def test_all_faults_are_told_at_once_in_the_order_of_the_text() -> None:
    with pytest.raises(SpecError) as caught:
        parse(THOROUGHLY_WRONG)
    expected = """\
        s.yaml:1:1: visualbias: 2 is not one of 1; choose one
        s.yaml:2:1: modles: unknown key; did you mean 'models'?
        s.yaml:4:45: models.before.pretraind: unknown key; did you mean 'pretrained'?
        s.yaml:6:26: models.own.call: must be module:function, but 'nets.make' was read; correct it
        s.yaml:6:55: models.own.transform.size: value 2 is missing; add it
        s.yaml:6:67: models.own.transform.crop: must be at most 1, but 2 was read; correct it
        s.yaml:7:18: layers[1].module: is missing; add it
        s.yaml:9:3: concepts.male: must be text, but 3 was read; correct it
        s.yaml:10:21: concepts.female.patern: unknown key; did you mean 'pattern'?
        s.yaml:11:12: settings.alpha: must be less than 1, but 1.5 was read; correct it
        s.yaml:11:24: settings.correction: 'bonferroni' is not one of 'holm', 'bh' or 'none'; choose one
        s.yaml:11:48: settings.sides: 'no' is not one of 'both' or 'targets'; choose one
        s.yaml:16:5: tests[0].attributes.B: is missing; add it
        s.yaml:17:14: tests[0].limits.max_effect: must be at least 0, but -1 was read; correct it
        s.yaml:17:30: tests[0].limits.max_growth: must be a finite number, but nan was read; correct it
        s.yaml:17:48: tests[0].limits.max_gap: must be a number, but '0.1' was read; correct it
        s.yaml:18:12: tests[0].tags[0]: must be a word of letters, digits, '_' and '-', but 'a b' was read; correct it
        s.yaml:19:5: tests[1]: must be a mapping, but 'nothing' was read; correct it
    """  # noqa: E501 - whole sentences
    assert str(caught.value) == dedent(expected).strip()


def test_what_does_not_fit_together_is_told_beside_a_misspelt_key(spoilt: Spoilt) -> None:
    assert spoilt(("{max_effect", "{max_efect"), ("A: career", "A: carer")) == [
        "s.yaml:18:18: tests[0].attributes.A: unknown concept 'carer'; did you mean 'career'?",
        "s.yaml:19:14: tests[0].limits.max_efect: unknown key; did you mean 'max_effect'?",
    ]


def test_a_misspelt_key_of_a_test_does_not_hide_its_unknown_concept(spoilt: Spoilt) -> None:
    assert spoilt(("kind: ieat", "kind: ieat\n    contrl: x"), ("Y: female", "Y: femal")) == [
        "s.yaml:17:5: tests[0].contrl: unknown key; did you mean 'control'?",
        "s.yaml:18:24: tests[0].targets.Y: unknown concept 'femal'; did you mean 'female'?",
    ]


@pytest.mark.parametrize(
    "change",
    [
        ("kind: ieat", "kind: weat"),
        ("kind: ieat", "kind: 3"),
        ("kind: ieat", "kinds: ieat"),
        ("kind: ieat", "kind: [ieat]"),
        ("visualbias: 1", "visualbias: 2"),
    ],
)
def test_what_nothing_can_stand_in_for_does_not_hide_an_unknown_concept(
    spoilt: Spoilt, change: tuple[str, str]
) -> None:
    places = [fault.split(" ")[1] for fault in spoilt(change, ("Y: female", "Y: femal"))]
    assert "tests[0].targets.Y:" in places
    assert len(places) > 1


@pytest.mark.parametrize(
    "change",
    [
        ("people/male", "3"),
        ("{source: timm, name: test_resnet}\n", "3\n"),
        ("{source: timm, name: test_resnet}\n", "{source: timm}\n"),
        ("{max_effect: 0.5, max_growth: 0.2}", "{min_effect: 0.5}\n    contrl: positive"),
        ("{max_effect: 0.5, max_growth: 0.2}", "{max_growth: 0.5}\n    growth_form: x"),
        ("layers: [pooled]", "layers: [3]"),
    ],
)
def test_a_value_at_fault_is_not_also_told_as_missing_or_unknown(
    spoilt: Spoilt, change: tuple[str, str]
) -> None:
    """A wrong concept is wrong, and not unknown to the tests; so with models and controls."""
    assert len(spoilt(change)) == 1


def test_layers_of_a_model_are_not_told_as_unknown_where_the_layers_are_at_fault(
    spoilt: Spoilt,
) -> None:
    (fault,) = spoilt(
        ("[pooled]", "[3]"), ("after.safetensors", "after.safetensors, layers: {mid: layer1}")
    )
    assert fault.startswith("s.yaml:6:10: layers[0]: ")


def test_a_wrong_list_is_told_by_its_members_not_by_its_length(spoilt: Spoilt) -> None:
    (fault,) = spoilt(("after.safetensors", "[3]"))
    assert fault == (
        "s.yaml:5:57: models.after.checkpoint[0]: must be text, but 3 was read; correct it"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("people/male", '""'),
            "9:3: concepts.male: is empty; correct it",
        ),
        (
            ("layers: [pooled]", "layers: []"),
            "6:1: layers: is empty; add at least one",
        ),
        (
            ("  male: people/male", '  "m::f": people/male'),
            (
                "9:3: concepts.m::f: must be a name without line breaks, '::' and '##', "
                "but 'm::f' was read; correct it"
            ),
        ),
        (
            ("title: Before and after", "title: 2024"),
            "2:1: title: must be text, but 2024 was read; correct it",
        ),
        (
            ("title: Before and after", "title:"),
            "2:1: title: has no value; write one, or remove the key",
        ),
        (
            ("name: test_resnet}\n", "name: test_resnet, pretrained: no}\n"),
            "4:45: models.before.pretrained: must be true or false, but 'no' was read; correct it",
        ),
        (
            ("after.safetensors", "a.pt, random_init: 1.5"),
            (
                "5:62: models.after.random_init: must be a whole number, but 1.5 was read; "
                "correct it"
            ),
        ),
        (
            ("{X: male, Y: female}", "[male, female]"),
            "17:5: tests[0].targets: must be a mapping, but a list was read; correct it",
        ),
        (
            ("kind: ieat", "kind: iaet"),
            (
                "16:5: tests[0].kind: 'iaet' is not one of 'ieat', 'sc-eat', 'similarity-gap', "
                "'intra-similarity' or 'outcome-gap'; did you mean 'ieat'?"
            ),
        ),
        (
            ("[gender]", "{a: b}"),
            "20:5: tests[0].tags: must be a list, but a mapping was read; correct it",
        ),
        (
            ("test_resnet}\n", "r, transform: {size: 32, mean: [0, 0, 0, 0]}}\n"),
            ("4:57: models.before.transform.mean: must have 3 values, but 4 were read; correct it"),
        ),
        (
            ("test_resnet}\n", "r, transform: {size: 32, std: [1, 0, 1]}}\n"),
            (
                "4:66: models.before.transform.std[1]: must be greater than 0, but 0 was read; "
                "correct it"
            ),
        ),
        (
            ("test_resnet}\n", "r, transform: {size: big}}\n"),
            (
                "4:47: models.before.transform.size: must be a whole number, but 'big' was read; "
                "correct it"
            ),
        ),
        (
            ("0.5", "1" * 400),
            f"19:14: tests[0].limits.max_effect: must be a number, but {'1' * 60}... was read",
        ),
        (
            ("0.5", "0x" + "f" * 6000),
            f"19:14: tests[0].limits.max_effect: must be a number, but '0x{'f' * 57}... was read",
        ),
    ],
)
def test_each_kind_of_fault_is_one_sentence_with_its_place(
    spoilt: Spoilt, change: tuple[str, str], expected: str
) -> None:
    first, *_ = spoilt(change)
    assert first.removesuffix("; correct it") == f"s.yaml:{expected}".removesuffix("; correct it")


def test_a_long_value_is_cut(spoilt: Spoilt) -> None:
    (fault,) = spoilt(("0.5", f'"{"long " * 100}"'))
    assert len(fault) < 160
    assert "..." in fault


def test_line_breaks_in_keys_and_values_do_not_break_a_sentence(spoilt: Spoilt) -> None:
    faults = spoilt(
        ("title: Before and after", '"ti\\ntle": x'),
        ("source: timm, name: test_resnet}\n", 'source: "ti\\nmm"}\n'),
        ("[pooled]", '["a\\nb"]'),
    )
    assert [fault.partition(": ")[2] for fault in faults if "\n" in fault] == []
    assert faults[0].startswith(r"s.yaml:2:1: ti\ntle: unknown key; ")
    assert len(faults) == 3


def test_faults_of_structure_and_of_values_are_told_together(spoilt: Spoilt) -> None:
    assert spoilt(("title: Before and after", "visualbias: 1"), ("0.5", "-1")) == [
        "s.yaml:2:1: visualbias: the key stands twice, first in line 1; remove one",
        (
            "s.yaml:19:14: tests[0].limits.max_effect: must be at least 0, "
            "but -1 was read; correct it"
        ),
    ]


def test_where_the_text_breaks_off_nothing_is_told_as_missing() -> None:
    with pytest.raises(SpecError) as caught:
        parse("visualbias: 1\nmodels: [\n")
    (fault,) = caught.value.faults
    assert "this is not YAML" in fault.problem


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_file_is_a_fault(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert len(caught.value.faults) == 1
    assert "must be a mapping, but nothing was read" in str(caught.value)


def test_a_file_without_the_version_of_the_format_is_an_error(spoilt: Spoilt) -> None:
    (fault,) = spoilt(("visualbias: 1\n", ""))
    assert fault == "s.yaml:1:1: visualbias: is missing; add it"


class TestReadSpec:
    def test_a_byte_order_mark_is_no_part_of_the_text(self, tmp_path: Path, valid: str) -> None:
        path = tmp_path / "a.bias.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + valid.encode())
        assert read_spec(path, file="a").digest == digest_of_text(valid)

    def test_relative_paths_start_at_the_folder_of_the_file(
        self, tmp_path: Path, valid: str
    ) -> None:
        path = tmp_path / "a.bias.yaml"
        path.write_text(valid)
        assert read_spec(path, file="shown").folder == tmp_path

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_another_encoding_is_a_fault(self, tmp_path: Path, valid: str, encoding: str) -> None:
        path = tmp_path / "a.bias.yaml"
        path.write_bytes(valid.replace("Before", "Bé").encode(encoding))
        with pytest.raises(SpecError, match=r"^a:1:1: is not UTF-8 \(byte \d+\); save it as UTF-8"):
            read_spec(path, file="a")

    def test_a_file_that_cannot_be_read_is_a_fault(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=r"^a:1:1: cannot be read \(.+\); correct the path$"):
            read_spec(tmp_path / "missing.yaml", file="a")
        with pytest.raises(SpecError, match=r"^a:1:1: cannot be read"):
            read_spec(tmp_path, file="a")


def test_a_sentence_about_a_path_has_the_place_of_it(valid: str) -> None:
    file = parse(valid)
    assert file.sentence(("concepts", "male"), "is gone; find it") == (
        "s.yaml:9:3: concepts.male: is gone; find it"
    )


class TestFaultsOfOverriddenModels:
    def test_they_are_told_at_the_models_of_the_spec(self, valid: str) -> None:
        new = Override(name="other", source="factory", what="nets.make")
        with pytest.raises(SpecError) as caught:
            parse(valid, overrides=(new,))
        assert tuple(map(str, caught.value.faults)) == (
            (
                "s.yaml:3:1: models.other.call: must be module:function, but 'nets.make' was "
                "read; correct it"
            ),
            "s.yaml:3:1: models.other.transform: is missing; add it",
        )

    def test_a_spec_without_models_stays_a_fault_of_the_spec(self) -> None:
        override = Override(name="after", source=None, what="/a.pt")
        with pytest.raises(SpecError, match="must be a mapping"):
            parse("", overrides=(override,))

    def test_an_unknown_name_with_a_bare_path_is_a_usage_error(self, valid: str) -> None:
        override = Override(name="aftr", source=None, what="/a.pt")
        with pytest.raises(UsageError, match="did you mean 'after'"):
            parse(valid, overrides=(override,))


# --------------------------------------------------------------------------- property

SENTENCE = re.compile(r"s\.yaml:[1-9]\d*:[1-9]\d*: \S.*")
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["male", "timm", "factory", "embeddings", "pooled", "x:y", "blocks.{0..3}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=6,
)


def spots(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    pairs = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in pairs:
        found += spots(value, (*path, key))
    return found


def mutate(data: object, draw: Callable[..., Any]) -> object:
    """Change, delete, add or rename one value at a random spot."""
    path = draw(st.sampled_from(spots(data)))
    if not path:
        return draw(anything)
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    action = draw(st.sampled_from(["change", "change", "delete", "add", "rename"]))
    key = path[-1]
    if action == "change":
        inner[key] = draw(anything)
    elif action == "delete":
        del inner[key]
    elif isinstance(inner, dict):
        value = inner.pop(key) if action == "rename" else draw(anything)
        inner[draw(known_keys | st.text(st.characters(exclude_categories=["Cs"])))] = value
    else:
        inner.append(draw(anything))
    return data


RICH = """\
visualbias: 1
models:
  before: {source: timm, name: r, pretrained: false, transform: {size: [8, 8], crop: 0.9}}
  after: {source: factory, call: a:b, checkpoint: [a.pt], transform: {size: 8}, layers: {mid: x}}
  stored: {source: embeddings, path: a.npz, prefix: "{layer}/"}
layers: [pooled, {name: mid, module: layer3}]
concepts: {m: m, f: {path: f, files: [a.png]}, c: {path: c, pattern: "*"}, g: g}
known_duplicates: [a.png]
settings: {alpha: 0.05, alternative: less, duplicates: error}
tests:
  - {name: a, kind: ieat, targets: {X: m, Y: f}, attributes: {A: c, B: g}, limits: {max_growth: 1}}
  - name: b
    kind: ieat
    targets: {X: m, Y: f}
    attributes: {A: c, B: g}
    limits: {min_effect: 0.5}
    control: positive
    scope: model
    growth_from: stored
    tags: [t]
  - {name: c, kind: sc-eat, targets: {X: m}, attributes: {A: c, B: g}, limits: {max_gap: 1}}
  - {name: d, kind: similarity-gap, targets: {X: m, Y: f}, attributes: {A: c}}
  - {name: e, kind: intra-similarity, targets: {X: m}, evidence: point, limits: {max_shift: 1}}
"""


known_keys = st.sampled_from(sorted({*re.findall(r"[A-Za-z_]+", RICH)}))


def test_the_spec_that_is_mutated_is_valid() -> None:
    assert len(parse(RICH).spec.tests) == 5


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_spec_is_valid_or_told_in_sentences_with_a_place(data: st.DataObject) -> None:
    """Whatever stands in a file: a spec or a SpecError, every line of it ``file:line:col: ``."""
    mutated: Any = yaml.safe_load(RICH)
    for _ in range(data.draw(st.integers(1, 3))):
        if not isinstance(mutated, dict):
            break
        mutated = mutate(mutated, data.draw)
    unwrapped: Any = yaml.safe_dump(mutated, allow_unicode=True, sort_keys=False, width=10_000)
    check(unwrapped)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@example(start=0, end=0, text="\x00")
@example(start=14, end=20, text="{? [a] : b}")
@given(
    start=st.integers(0, len(RICH)),
    end=st.integers(0, 40),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
def test_a_torn_text_is_valid_or_told_in_sentences_with_a_place(
    start: int, end: int, text: str
) -> None:
    check(RICH[:start] + text + RICH[start + end :])


def check(text: str) -> None:
    try:
        parse(text)
    except SpecError as error:
        lines = str(error).splitlines()
    else:
        return
    assert lines
    assert [line for line in lines if not SENTENCE.fullmatch(line)] == []
