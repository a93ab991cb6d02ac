"""Define the schema of a spec."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from pytest_visualbias.spec.fields import (
    Alternative,
    Differences,
    EvidenceRule,
    Groups,
    Name,
    Names,
    Sides,
    Strict,
    TagName,
    Text,
    Texts,
)
from pytest_visualbias.spec.model_entries import ModelEntry
from pytest_visualbias.spec.test_kinds import AnyTest, Limits


class Suite(Strict):
    """A whole suite file: no models and no limits, which are the user's."""

    visualbias_suite: Literal[1]
    title: str = ""
    citation: str = ""
    source: str = ""
    licence: str = ""
    stimuli: Text | None = None
    extends: Text | None = None
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)] | None = None
    tags: Annotated[dict[TagName, str], Field(default_factory=dict)]
    concepts: Annotated[dict[Name, Concept], Field(min_length=1)]
    known_duplicates: Texts = ()
    tests: Annotated[tuple[AnyTest, ...], Field(strict=False, min_length=1)]


# Where a word stands in a template.
PLACEHOLDER = "{}"


def _word(value: str) -> str:
    if not value:
        raise ValueError("must say something")
    if value != value.strip() or not value.isprintable():
        raise ValueError("must be text in one line without blanks around it")
    return value


def _template(value: str) -> str:
    if value.count(PLACEHOLDER) != 1 or not value.isprintable():
        raise ValueError(
            f"must be text in one line with one '{PLACEHOLDER}', where the word stands"
        )
    return value


# For editors.
FILLED = Field(json_schema_extra={"minLength": 1})
Word = Annotated[str, AfterValidator(_word), FILLED]
Template = Annotated[str, AfterValidator(_template), FILLED]


class ConceptWords(Strict):
    """A concept that a model reads as texts: one word is one stimulus."""

    text: Annotated[tuple[Word, ...], Field(strict=False, min_length=1)]
    templates: Annotated[tuple[Template, ...], Field(strict=False, min_length=1)] = (PLACEHOLDER,)

    def prompts(self, word: str) -> tuple[str, ...]:
        """Return the prompts of a word, one for each template."""
        return tuple(template.replace(PLACEHOLDER, word) for template in self.templates)


SUITE_KEYS = ("concepts", "tests")
DEFINITION = ("kind", "targets", "attributes", "prediction")
ADDITION = "Addition"

# What says which concepts a test is of.
ROLES = ("TwoTargets", "OneTarget", "TwoAttributes", "OneAttribute")


def add_suite_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with two forms: a self-contained spec, and a spec with a suite."""
    tests = schema["properties"]["tests"]
    whole = tests["items"]
    addition = {"$ref": f"#/$defs/{ADDITION}"}
    alone = {"required": [*SUITE_KEYS], "properties": {"tests": {"items": {"required": ["kind"]}}}}
    return {
        **schema,
        "$defs": {
            **_allow_words(schema["$defs"]),
            ADDITION: _addition_schema(schema["$defs"]["IeatTest"]),
        },
        "properties": {
            **schema["properties"],
            "tests": {**tests, "items": {"anyOf": [whole, addition]}},
        },
        "required": [key for key in schema["required"] if key not in SUITE_KEYS],
        "if": {"required": ["suite"]},
        "else": alone,
    }


def _allow_words(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions with texts allowed where a test names concepts."""
    words = {"$ref": "#/$defs/ConceptWords"}
    result = dict(definitions)
    for name in ROLES:
        roles = definitions[name]["properties"]
        named = {key: {"anyOf": [value, words]} for key, value in roles.items()}
        result[name] = {**definitions[name], "properties": named}
    return result


def _addition_schema(test: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a test without the keys that define it."""
    keys = {key: value for key, value in test["properties"].items() if key not in DEFINITION}
    return {
        "type": "object",
        "title": ADDITION,
        "description": "What a spec adds to a test of its suite.",
        "additionalProperties": False,
        "properties": keys,
        "required": ["name"],
    }


Pooling = Literal["mean", "cls", "flatten", "max"]

# The keys by which a concept is known to be words.
WORDS = frozenset(ConceptWords.model_fields)


class ConceptFiles(Strict):
    """A concept chosen from files."""

    path: Text = "."
    pattern: Text | None = None
    files: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None
    groups: Groups | None = None


def _concept(value: Any) -> str:
    if isinstance(value, ConceptWords) or (isinstance(value, dict) and value.keys() & WORDS):
        return "words"
    return "map" if isinstance(value, dict | BaseModel) else "text"


Concept = Annotated[
    Annotated[str, Field(min_length=1), Tag("text")]
    | Annotated[ConceptFiles, Tag("map")]
    | Annotated[ConceptWords, Tag("words")],
    Discriminator(_concept),
]


class LayerPoint(Strict):
    """A point of the network: its name in reports, its module, and how a map becomes a vector."""

    name: Name
    module: Text
    pooling: Pooling = "mean"


Layer = Annotated[
    Annotated[Name, Tag("text")] | Annotated[LayerPoint, Tag("map")],
    Discriminator(lambda value: "text" if not isinstance(value, dict | BaseModel) else "map"),
]


class Settings(Strict):
    """Settings of all tests of a spec; a test with the same key overrides one."""

    # No sets of images support less, and the interval there is all that is possible.
    alpha: Annotated[float, Field(ge=0.0001, lt=1)] = 0.05
    alternative: Alternative = "two-sided"
    correction: Literal["holm", "bh", "none"] = "holm"
    evidence: EvidenceRule = "significant"
    sides: Sides = "both"
    gated_layers: Names | None = None
    duplicates: Literal["warn", "error"] = "warn"
    differs: Differences = ()


class SuiteChoice(Strict):
    """What a spec draws from a suite."""

    name: Text
    tags: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None
    tests: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None
    limits: Limits = Limits()


Choice = Annotated[
    Annotated[str, Field(min_length=1), Tag("text")] | Annotated[SuiteChoice, Tag("map")],
    Discriminator(lambda value: "text" if not isinstance(value, dict | BaseModel) else "map"),
]


class BiasSpec(Strict):
    """A whole spec file, with what it draws from a suite."""

    visualbias: Literal[1]
    title: str = ""
    models: Annotated[dict[Name, ModelEntry], Field(min_length=1)]
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)] = ("pooled",)
    stimuli: Text = "."
    suite: Choice | None = None
    concepts: Annotated[dict[Name, Concept], Field(min_length=1)]
    known_duplicates: Texts = ()
    # A regular expression for the whole stem of a file name; what it captures is the group of an
    # image, and the images of a group count as one.
    groups: Groups | None = None
    # The names of the classes of classifiers, in the order of their logits.
    classes: Texts = ()
    settings: Settings = Settings()
    tests: Annotated[tuple[AnyTest, ...], Field(strict=False, min_length=1)]

    @classmethod
    def model_json_schema(cls, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Return the JSON Schema of a spec, of which a suite may provide a part."""
        return add_suite_form(super().model_json_schema(*arguments, **keywords))
