"""The schema of a spec: what may be written, as frozen values.

These models say which keys there are and which values they take. What the values must be to each
other (concepts that exist, a model to measure growth from) is `pytest_visualbias.spec.checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

__all__ = [
    "SHIPPED_SOURCES",
    "Attributes",
    "BiasSpec",
    "BiasTest",
    "ConceptFiles",
    "EmbeddingsModel",
    "FactoryModel",
    "ForeignModel",
    "LayerPoint",
    "Limits",
    "ModelEntry",
    "Pooling",
    "Settings",
    "Strict",
    "Targets",
    "TimmModel",
    "Transform",
]

SHIPPED_SOURCES = ("timm", "factory", "embeddings")

Pooling = Literal["mean", "cls", "flatten", "max"]
Alternative = Literal["two-sided", "greater", "less"]
Evidence = Literal["significant", "interval", "point"]
Sides = Literal["both", "targets"]

# Names stand in node ids and tables: no line breaks, no "::" that would split an id.
# What each pattern asks for is said in words where a text does not match it (`faults`).
NAME = r"^(?:[^\x00-\x1f\x7f:]|:[^\x00-\x1f\x7f:])+$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]
TAG = r"^[A-Za-z_][A-Za-z0-9_-]*$"
TagName = Annotated[str, Field(pattern=TAG)]
CALL = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
Text = Annotated[str, Field(min_length=1)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]


class Strict(BaseModel):
    """A frozen value without unknown keys and without silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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
    """

    path: Text = "."
    pattern: Text | None = None
    files: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None


Concept = Annotated[
    Annotated[str, Field(min_length=1), Tag("text")] | Annotated[ConceptFiles, Tag("map")],
    Discriminator(lambda value: "text" if not isinstance(value, dict | BaseModel) else "map"),
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


# Plain types chosen by what was written, so that a mistake is told of one of them only.
Pixels = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[
    Annotated[Pixels, Tag("number")]
    | Annotated[tuple[Pixels, Pixels], Field(strict=False), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "number"),
]
Crop = Annotated[
    Annotated[Literal["center", "squash"], Tag("text")]
    | Annotated[float, Field(gt=0, le=1), Tag("number")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Transform(Strict):
    """How a decoded image becomes the input of a network.

    Attributes
    ----------
    size : int or (height, width)
        Input size in pixels.
    crop : "center", "squash" or float
        ``center`` resizes the short side to `size` and crops the middle; ``squash`` ignores the
        aspect; a number in (0, 1] is the share of the resized image that the middle crop keeps.
    mean, std : three floats
        Per channel, of pixels in [0, 1].
    interpolation : str
        Of the resize.
    """

    size: Size
    crop: Crop | None = None
    mean: Annotated[tuple[Finite, Finite, Finite], Field(strict=False)] | None = None
    std: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] | None = None


Checkpoint = Annotated[
    Annotated[str, Field(min_length=1), Tag("text")]
    | Annotated[tuple[Text, ...], Field(strict=False, min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "text"),
]


class _Network(Strict):
    """What networks from every torch source share."""

    checkpoint: Checkpoint | None = None
    random_init: Annotated[int, Field(ge=1, le=100)] | None = None
    ignore: Texts = ()
    layers: dict[str, Text] = {}


class TimmModel(_Network):
    """A timm model by name, with its own preprocessing."""

    source: Literal["timm"]
    name: Text
    pretrained: bool | None = None
    transform: Transform | None = None


class FactoryModel(_Network):
    """A function of the user's repository that returns an ``nn.Module``."""

    source: Literal["factory"]
    call: Annotated[str, Field(pattern=CALL)]
    transform: Transform


class EmbeddingsModel(Strict):
    """Stored vectors, one array ``(n, dim)`` per set."""

    source: Literal["embeddings"]
    path: Text
    prefix: str = ""
    layers: dict[str, Text] = {}


class ForeignModel(BaseModel):
    """A model of a source that another package provides."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    # Editors choose by the JSON Schema alone, and a shipped source would fit here, too.
    source: Annotated[
        str, Field(min_length=1, json_schema_extra={"not": {"enum": [*SHIPPED_SOURCES]}})
    ]
    layers: dict[str, Text] = {}


def _source(value: Any) -> str:
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    return source if source in SHIPPED_SOURCES else "other"


ModelEntry = Annotated[
    Annotated[TimmModel, Tag("timm")]
    | Annotated[FactoryModel, Tag("factory")]
    | Annotated[EmbeddingsModel, Tag("embeddings")]
    | Annotated[ForeignModel, Tag("other")],
    Discriminator(_source),
]


class Targets(Strict):
    """The two target concepts."""

    X: Name
    Y: Name


class Attributes(Strict):
    """The two attribute concepts."""

    A: Name
    B: Name


class Limits(Strict):
    """What a test may show; every key is optional, and none means "reported only".

    Attributes
    ----------
    max_effect, max_gap : float
        On the judged effect and on the gap in cosines.
    max_growth, max_shift : float
        On the growth of the absolute effect since ``before``, and on its change either way.
    min_effect : float
        What a positive control must show.
    """

    max_effect: Limit | None = None
    max_gap: Limit | None = None
    max_growth: Limit | None = None
    max_shift: Limit | None = None
    min_effect: Limit | None = None

    @property
    def on_effect(self) -> bool:
        """Whether a limit uses the p of the effect."""
        return self.max_effect is not None or self.max_gap is not None

    @property
    def on_growth(self) -> bool:
        """Whether a limit uses the p of the growth."""
        return self.max_growth is not None or self.max_shift is not None


class Settings(Strict):
    """Of all tests of a spec; a test may say otherwise where it has the same key."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    alternative: Alternative = "two-sided"
    correction: Literal["holm", "bh", "none"] = "holm"
    evidence: Evidence = "significant"
    sides: Sides = "both"
    duplicates: Literal["warn", "error"] = "warn"


class BiasTest(Strict):
    """One association test and its limits."""

    name: Name
    kind: Literal["ieat"]
    targets: Targets
    attributes: Attributes
    limits: Limits = Limits()
    control: Literal["positive"] | None = None
    scope: Literal["attributes", "model"] | None = None
    alternative: Alternative | None = None
    evidence: Evidence | None = None
    sides: Sides | None = None
    growth_from: Name | None = None
    tags: Annotated[tuple[TagName, ...], Field(strict=False)] = ()


class BiasSpec(Strict):
    """A whole spec file."""

    visualbias: Literal[1]
    title: str = ""
    models: Annotated[dict[Name, ModelEntry], Field(min_length=1)]
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)] = ("pooled",)
    stimuli: Text = "."
    concepts: Annotated[dict[Name, Concept], Field(min_length=1)]
    known_duplicates: Texts = ()
    settings: Settings = Settings()
    tests: Annotated[tuple[BiasTest, ...], Field(strict=False, min_length=1)]
