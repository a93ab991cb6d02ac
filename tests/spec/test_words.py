"""Words in a spec: concepts of texts, by name or in a test, and what they must be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import SpecFile, parse_spec
from pytest_visualbias.spec.schema import BiasSpec, ConceptWords
from pytest_visualbias.stimuli.resolve import resolve_words

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


def parsed(
    *, model: str = CLIP, science: str = SCIENCE, art: str = "{text: [poet]}", more: str = ""
) -> SpecFile:
    text = HEAD.replace("MODEL", model).replace("SCIENCE", science).replace("ART", art) + more
    return parse_spec(text, file="w.bias.yaml", folder=Path())


def faults(**keys: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parsed(**keys)
    return [*map(str, caught.value.faults)]


def test_a_word_is_read_in_each_template() -> None:
    words = parsed().spec.concepts["science"]
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
    spec = parsed(art="{text: [poet, dancer]}").spec
    test = spec.tests[0]
    assert test.attributes is not None
    assert test.attributes.B == "one.B"
    words = spec.concepts["one.B"]
    assert isinstance(words, ConceptWords)
    assert words.text == ("poet", "dancer")


def test_a_concept_that_has_that_name_already_is_left_alone() -> None:
    text = HEAD.replace("MODEL", CLIP).replace("SCIENCE", SCIENCE).replace("ART", "{text: [poet]}")
    text = text.replace("  y: y\n", "  y: y\n  one.B: elsewhere\n")
    spec = parse_spec(text, file="w.bias.yaml", folder=Path()).spec
    assert spec.concepts["one.B"] == "elsewhere"
    assert isinstance(spec.concepts["one.B 2"], ConceptWords)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"science": "{text: []}"},
            "w.bias.yaml:7:13: concepts.science.text: is empty; add at least one",
        ),
        (
            {"science": "{text: [a, b, a]}"},
            "w.bias.yaml:7:26: concepts.science.text[2]: 'a' stands twice; remove one",
        ),
        (
            {"science": '{text: [a, ""]}'},
            (
                "w.bias.yaml:7:23: concepts.science.text[1]: must say something, but '' was read; "
                "correct it"
            ),
        ),
        (
            {"science": '{text: [" a"]}'},
            (
                "w.bias.yaml:7:20: concepts.science.text[0]: must be text in one line without "
                "blanks around it, but ' a' was read; correct it"
            ),
        ),
        (
            {"science": "{text: [a], templates: [photo]}"},
            (
                "w.bias.yaml:7:36: concepts.science.templates[0]: must be text in one line with "
                "one '{}', where the word stands, but 'photo' was read; correct it"
            ),
        ),
        (
            {"science": "{text: [a], path: b}"},
            ("w.bias.yaml:7:24: concepts.science.path: unknown key; known: templates, text"),
        ),
        (
            {"science": "{templates: ['{}']}"},
            "w.bias.yaml:7:3: concepts.science.text: is missing; add it",
        ),
        (
            {"art": "{text: poet}"},
            (
                "w.bias.yaml:12:34: tests[0].attributes.B.text: must be a list, but 'poet' was "
                "read; correct it"
            ),
        ),
        (
            {"art": "{text: [poet, scientist]}"},
            (
                "w.bias.yaml:12:30: tests[0].attributes.B: A and B share 'scientist'; leave each "
                "word to one of them"
            ),
        ),
        (
            {"model": "{source: torchvision, name: resnet18}"},
            (
                "w.bias.yaml:3:3: models.after: a model of source 'torchvision' reads no texts, "
                "and 'one' has words; use 'open_clip' or 'transformers', or 'embeddings' with "
                "vectors of the words"
            ),
        ),
        (
            {"model": CLIP.replace("}", ", layers: {pooled: trunk}}")},
            (
                "w.bias.yaml:3:74: models.after.layers.pooled: at 'trunk' images and texts share "
                "no space, and 'one' has words; read 'pooled' alone, and other layers in a spec "
                "without words"
            ),
        ),
        (
            {
                "more": "  - name: two\n    kind: outcome-gap\n    targets: {X: science, Y: x}\n"
                "    prediction: {class: 1, rate: share}\n"
            },
            (
                "w.bias.yaml:15:15: tests[1].targets.X: a classifier is asked about images, and "
                "this is words; name another set"
            ),
        ),
    ],
)
def test_what_words_cannot_be_is_said_where_they_stand(keys: dict[str, str], sentence: str) -> None:
    assert faults(**keys) == [sentence]


def test_words_that_no_test_uses_ask_nothing_of_models() -> None:
    text = HEAD.replace("MODEL", "{source: timm, name: resnet18}").replace("SCIENCE", SCIENCE)
    text = text.replace("A: science, B: ART", "A: x, B: y").replace("X: x, Y: y", "X: y, Y: x")
    assert parse_spec(text, file="w.bias.yaml", folder=Path()).spec.tests


def test_editors_are_told_of_both_forms() -> None:
    schema = BiasSpec.model_json_schema()
    roles = schema["$defs"]["TwoAttributes"]["properties"]["A"]
    assert {"$ref": "#/$defs/ConceptWords"} in roles["anyOf"]
    assert "templates" in json.dumps(schema["$defs"]["ConceptWords"])
