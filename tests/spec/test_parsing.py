"""From the text of a spec to its value, or to all of its faults at once."""

from __future__ import annotations

import re
from pathlib import Path

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
from tests.fuzz.mutations import spoilt, spoilt_text


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
KEYS = sorted({*re.findall(r"[A-Za-z_]+", RICH)})
PROFILE = settings(max_examples=25, deadline=None)


def check(text: str) -> None:
    """Read a spec; whatever is wrong with it has a place and stays on its line."""
    try:
        parse(text)
    except SpecError as error:
        faults = error.faults
    else:
        return
    assert faults
    for fault in faults:
        assert fault.file == "s.yaml"
        assert min(fault.line or 0, fault.column or 0) >= 1
        assert fault.problem.strip()
        assert str(fault).isprintable()


def test_the_spec_that_is_spoilt_below_is_valid() -> None:
    assert len(parse(RICH).spec.tests) == 5


@pytest.mark.property
@PROFILE
@example(data={"\x850": None})
@given(data=spoilt(st.just(yaml.safe_load(RICH)), KEYS))
def test_a_spoilt_spec_is_valid_or_told_with_places(data: object) -> None:
    check(yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=10_000))


@pytest.mark.property
@PROFILE
@example(text="\x00" + RICH)
@example(text=RICH[:14] + "{? [a] : b}" + RICH[34:])
@given(text=spoilt_text(st.just(RICH)))
def test_a_torn_text_is_valid_or_told_with_places(text: str) -> None:
    check(text.encode("utf-8", "replace").decode())
