"""The schema of a spec: what may be written, as frozen values.

These models say which keys there are and which values they take. What the values must be to each
other (concepts that exist, a model to measure growth from) is `pytest_visualbias.spec.checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from pytest_visualbias.spec.additions import with_additions
from pytest_visualbias.spec.kinds import AnyTest, Attributes, BiasTest, Targets
from pytest_visualbias.spec.limits import Accept, Limits
from pytest_visualbias.spec.sources import (
    IN_MEMORY,
    SHIPPED_SOURCES,
    EmbeddingsModel,
    FactoryModel,
    ForeignModel,
    InMemoryModel,
    ModelEntry,
    Network,
    OpenClipModel,
    ProgramModel,
    TimmModel,
    TorchvisionModel,
    Transform,
    TransformersModel,
)
from pytest_visualbias.spec.values import (
    CALL,
    DIFFERENCE,
    NAME,
    TAG,
    Alternative,
    Differences,
    Evidence,
    Groups,
    Name,
    Names,
    Sides,
    Strict,
    Text,
    Texts,
)
from pytest_visualbias.spec.words import ConceptWords

__all__ = [
    "CALL",
    "DIFFERENCE",
    "IN_MEMORY",
    "NAME",
    "SHIPPED_SOURCES",
    "TAG",
    "WORDS",
    "Accept",
    "Alternative",
    "Attributes",
    "BiasSpec",
    "BiasTest",
    "ConceptFiles",
    "ConceptWords",
    "EmbeddingsModel",
    "Evidence",
    "FactoryModel",
    "ForeignModel",
    "InMemoryModel",
    "LayerPoint",
    "Limits",
    "ModelEntry",
    "Network",
    "OpenClipModel",
    "Pooling",
    "ProgramModel",
    "Settings",
    "Sides",
    "Strict",
    "SuiteChoice",
    "Targets",
    "TimmModel",
    "TorchvisionModel",
    "Transform",
    "TransformersModel",
]

Pooling = Literal["mean", "cls", "flatten", "max"]
# The keys by which a concept is known to be words.
WORDS = frozenset(ConceptWords.model_fields)


class ConceptFiles(Strict):
    """A concept chosen from files.

    Attributes
    ----------
    path : str
        A folder, relative to the root of the stimuli.
    pattern : str, optional
        A glob below `path`; without it the images directly in it are taken.
    files : tuple of str, optional
        The files below `path`, in this order.
    groups : str, optional
        As that of the spec, for this concept.
    """

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
    """Settings of all tests of a spec; a test with the same key overrides one.

    Attributes
    ----------
    gated_layers : tuple of str, optional
        The layers at which limits apply; without it all.
    """

    # No sets of images support less, and the interval there is all that is possible.
    alpha: Annotated[float, Field(ge=0.0001, lt=1)] = 0.05
    alternative: Alternative = "two-sided"
    correction: Literal["holm", "bh", "none"] = "holm"
    evidence: Evidence = "significant"
    sides: Sides = "both"
    gated_layers: Names | None = None
    duplicates: Literal["warn", "error"] = "warn"
    differs: Differences = ()


class SuiteChoice(Strict):
    """What a spec draws from a suite.

    Attributes
    ----------
    name : str
        Of a suite that ships, or the path of a ``*.suite.yaml``, relative to the spec.
    tags, tests : tuple of str, optional
        The tests to draw: those of a tag and those of a name; all where neither is given.
    limits : Limits
        Of every test that is drawn; ``min_effect`` of its positive controls.
    """

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
        """Return the JSON Schema of what a person writes, of which a suite may bring a part."""
        return with_additions(super().model_json_schema(*arguments, **keywords))
