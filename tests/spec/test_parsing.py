"""From the text of a spec to its value, or to all of its faults at once."""

from __future__ import annotations

import re
from pathlib import Path
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
        with pytest.raises(SpecError, match=r"^a:1:1: .*UTF-8"):
            read_spec(path, file="a")

    def test_a_file_that_cannot_be_read_is_a_fault(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing.yaml", tmp_path):
            with pytest.raises(SpecError, match=r"^a:1:1: cannot be read"):
                read_spec(path, file="a")


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
        assert [(one.line, one.column, one.place) for one in caught.value.faults] == [
            (3, 1, "models.other.call"),
            (3, 1, "models.other.transform"),
        ]

    def test_a_spec_without_models_stays_a_fault_of_the_spec(self) -> None:
        override = Override(name="after", source=None, what="/a.pt")
        with pytest.raises(SpecError):
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
