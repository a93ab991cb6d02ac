"""Words in a spec: concepts of texts, by name or in a test, and what they must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec, ConceptWords
from pytest_visualbias.stimuli.resolve import resolve_words

if TYPE_CHECKING:
    from collections.abc import Callable

CLIP = "{source: open_clip, name: ViT-B-32, pretrained: false}"
SCIENCE = "{text: [scientist, engineer], templates: ['a photo of a {}', 'a {}']}"
HEAD = """visualbias: 1
models:
  after: MODEL
concepts:
  x: x
  y: y
  science: SCIENCE
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: science, B: ART}
"""


def text_of(
    *, model: str = CLIP, science: str = SCIENCE, art: str = "{text: [poet]}", more: str = ""
) -> str:
    return HEAD.replace("MODEL", model).replace("SCIENCE", science).replace("ART", art) + more


def parsed(text: str) -> BiasSpec:
    return parse_spec(text, file="w.bias.yaml", folder=Path()).spec


def test_a_word_is_read_in_each_template() -> None:
    words = parsed(text_of()).concepts["science"]
    assert isinstance(words, ConceptWords)
    found = resolve_words("science", words)
    assert [one.name for one in found.stimuli] == ["scientist", "engineer"]
    assert found.stimuli[1].prompts == ("a photo of a engineer", "a engineer")
    assert found.noun == "word"


def test_words_without_templates_are_read_as_they_stand() -> None:
    words = ConceptWords(text=("two {} words",))
    assert resolve_words("a", words).stimuli[0].prompts == ("two {} words",)


def test_a_stimulus_is_what_is_read_for_it() -> None:
    """The same prompts are one stimulus, however they are written; others are another."""
    by_template = ConceptWords(text=("poet",), templates=("a {}",))
    first, second, third = (
        resolve_words("a", words).stimuli[0].identity
        for words in (by_template, ConceptWords(text=("a poet",)), ConceptWords(text=("poet",)))
    )
    assert first == second != third


def test_words_in_a_test_are_a_concept_of_its_name_and_role() -> None:
    spec = parsed(text_of(art="{text: [poet, dancer]}"))
    test = spec.tests[0]
    assert test.attributes is not None
    assert test.attributes.B == "one.B"
    words = spec.concepts["one.B"]
    assert isinstance(words, ConceptWords)
    assert words.text == ("poet", "dancer")


def test_a_concept_that_has_that_name_already_is_left_alone() -> None:
    spec = parsed(text_of().replace("  y: y\n", "  y: y\n  one.B: elsewhere\n"))
    assert spec.concepts["one.B"] == "elsewhere"
    assert isinstance(spec.concepts["one.B 2"], ConceptWords)


SECOND = (
    "  - name: two\n    kind: outcome-gap\n    targets: {X: science, Y: x}\n"
    "    prediction: {class: 1, rate: share}\n"
)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("science", "{text: []}", "7:13 concepts.science.text"),
        ("science", "{text: [a, b, a]}", "7:26 concepts.science.text[2]"),
        ("science", '{text: [a, ""]}', "7:23 concepts.science.text[1]"),
        ("science", '{text: [" a"]}', "7:20 concepts.science.text[0]"),
        ("science", "{text: [a], templates: [photo]}", "7:36 concepts.science.templates[0]"),
        ("science", "{text: [a], path: b}", "7:24 concepts.science.path"),
        ("science", "{templates: ['{}']}", "7:3 concepts.science.text"),
        ("art", "{text: poet}", "12:34 tests[0].attributes.B.text"),
        ("art", "{text: [poet, scientist]}", "12:30 tests[0].attributes.B"),
        ("model", "{source: torchvision, name: resnet18}", "3:3 models.after"),
        (
            "model",
            CLIP.replace("}", ", layers: {pooled: trunk}}"),
            "3:74 models.after.layers.pooled",
        ),
        ("more", SECOND, "15:15 tests[1].targets.X"),
    ],
)
def test_what_words_cannot_be_is_told_where_they_stand(
    key: str, value: str, place: str, places: Callable[[str], list[str]]
) -> None:
    assert places(text_of(**{key: value})) == [place]


def test_words_that_no_test_uses_ask_nothing_of_models() -> None:
    text = text_of(model="{source: timm, name: resnet18}", art="y")
    assert parsed(text.replace("A: science", "A: x").replace("X: x, Y: y", "X: y, Y: x")).tests


def test_editors_are_told_of_both_forms() -> None:
    schema = BiasSpec.model_json_schema()
    roles = schema["$defs"]["TwoAttributes"]["properties"]["A"]
    assert {"$ref": "#/$defs/ConceptWords"} in roles["anyOf"]
    assert "templates" in json.dumps(schema["$defs"]["ConceptWords"])
