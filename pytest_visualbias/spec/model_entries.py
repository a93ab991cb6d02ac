"""Entries of models, one class for each source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticKnownError

from pytest_visualbias.spec.fields import CALL, Labels, Name, Strict, Text, Texts

if TYPE_CHECKING:
    from pydantic.config import JsonDict

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
    """How a decoded image becomes the input of a network."""

    size: Size
    crop: Crop | None = None
    mean: Annotated[tuple[Finite, Finite, Finite], Field(strict=False)] | None = None
    std: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] | None = None
    channels: Literal["rgb", "bgr"] | None = None


# One, a list or a glob.
Paths = Annotated[
    Annotated[str, Field(min_length=1), Tag("text")]
    | Annotated[tuple[Text, ...], Field(strict=False, min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "text"),
]
SCALARS = {bool: "flag", int: "whole", float: "number"}

# Tagged by what was written, as a plain union would try all of them and tell of each.
Scalar = Annotated[
    Annotated[bool, Tag("flag")]
    | Annotated[int, Tag("whole")]
    | Annotated[Finite, Tag("number")]
    | Annotated[str, Tag("text")],
    Discriminator(lambda value: SCALARS.get(type(value), "text")),
]
Argument = Annotated[
    Annotated[bool, Tag("flag")]
    | Annotated[int, Tag("whole")]
    | Annotated[Finite, Tag("number")]
    | Annotated[str, Tag("text")]
    | Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1), Tag("list")],
    Discriminator(
        lambda value: (
            "list" if isinstance(value, list | tuple) else SCALARS.get(type(value), "text")
        )
    ),
]

# As for the network, or as Steed & Caliskan (2021) did; of theirs, a transform says the size alone.
Preprocess = Literal["own", "ieat"]

# What `known_transform` asks for, in the words of a schema.
TRANSFORM_NEEDED: dict[str, Any] = {
    "anyOf": [
        {"required": ["transform"]},
        {"required": ["preprocess"], "properties": {"preprocess": {"const": "ieat"}}},
    ]
}


def known_transform(value: Any, info: ValidationInfo) -> Any:
    """Nothing but the spec says how images are prepared for what a user made."""
    if value is None and info.data.get("preprocess") != "ieat":
        raise PydanticKnownError("missing")
    return value


# What a series of checkpoints takes, in the words of a schema; `series_findings` says it in ours.
SERIES_KEYS: JsonDict = {
    "dependentRequired": {"checkpoints": ["series"], "series": ["checkpoints"], "gate": ["series"]}
}


class NetworkEntry(Strict):
    """What networks from every torch source share."""

    model_config = ConfigDict(json_schema_extra=SERIES_KEYS)

    checkpoint: Paths | None = None
    checkpoints: Paths | None = None
    series: Name | None = None
    gate: Literal["last", "all"] | None = None
    random_init: Annotated[int, Field(ge=1, le=100)] | None = None
    ignore: Texts = ()
    # Where in the checkpoint the weights lie; empty for its top, and for names without a prefix.
    container: str | None = None
    prefix: str | None = None
    # In place of that of the run: a copy in fewer bits beside its parent.
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    growth_from: Name | None = None

    @property
    def files(self) -> Paths | None:
        """The checkpoint or the checkpoints, whichever is given."""
        return self.checkpoint if self.checkpoint is not None else self.checkpoints


# The name of weights, or false for none.
WeightsTag = Annotated[
    Annotated[Literal[False], Tag("flag")] | Annotated[str, Field(min_length=1), Tag("text")],
    Discriminator(lambda value: "flag" if isinstance(value, bool) else "text"),
]


class TimmModel(NetworkEntry):
    """A timm model by name, with its own preprocessing."""

    source: Literal["timm"]
    name: Text
    pretrained: bool | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class OpenClipModel(NetworkEntry):
    """The image tower of an open_clip model, with its own preprocessing."""

    source: Literal["open_clip"]
    name: Text
    pretrained: WeightsTag | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class TorchvisionModel(NetworkEntry):
    """A classifier of torchvision by name, with the preprocessing of its weights."""

    source: Literal["torchvision"]
    name: Text
    weights: Text | None = None
    pretrained: bool | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class TransformersModel(NetworkEntry):
    """A vision or vision-language model of transformers, with its own image processor."""

    source: Literal["transformers"]
    name: Text | None = None
    revision: Text | None = None
    path: Paths | None = None
    adapter: Text | None = None
    pretrained: bool | None = None
    preprocess: Preprocess = "own"
    transform: Transform | None = None


# What a report calls the precision of a program, which nothing tells from outside.
OWN_PRECISION = "program"


class ProgramModel(Strict):
    """A TorchScript file, an exported program (``.pt2``) or an ONNX file."""

    model_config = ConfigDict(json_schema_extra=TRANSFORM_NEEDED)

    source: Literal["torchscript", "export", "onnx"]
    path: Paths
    preprocess: Preprocess = "own"
    transform: Annotated[Transform | None, Field(validate_default=True)] = None
    # A key that networks have; that there is none here has a sentence of its own.
    precision: Annotated[None, SkipJsonSchema()] = None
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    growth_from: Name | None = None

    is_known = field_validator("transform", mode="before")(known_transform)


class FactoryModel(NetworkEntry):
    """A function of the user's repository that returns an ``nn.Module``."""

    model_config = ConfigDict(json_schema_extra={**SERIES_KEYS, **TRANSFORM_NEEDED})

    source: Literal["factory"]
    call: Annotated[str, Field(pattern=CALL)]
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Annotated[Transform | None, Field(validate_default=True)] = None

    is_known = field_validator("transform", mode="before")(known_transform)


class EmbeddingsModel(Strict):
    """Stored vectors, one array ``(n, dim)`` per set."""

    source: Literal["embeddings"]
    path: Text
    prefix: str = ""
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    growth_from: Name | None = None


class InMemoryModel(Strict):
    """A module that Python code holds; a spec cannot name one, `audit` puts it there."""

    source: Literal["in-memory"]
    key: Text
    preprocess: Literal["own", "ieat"] = "own"
    transform: Transform | None = None
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    growth_from: Name | None = None


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A source of models: its entry class, and the functions of `models` that serve it."""

    name: str
    entry: type[Strict]
    main_key: str  # that the text after ``source:`` on the command line fills
    identify: str = ""  # as ``module:function``, imported when it is called
    open: str = ""
    reads_texts: bool = False


IN_MEMORY = "in-memory"
IDENTIFY_PREFIX = "identity:identify_"

# Lists of sources derive from this table, but for those that CONTRIBUTING.md names.
_SOURCES = (
    ModelSource("timm", TimmModel, "name", "identity:identify_timm", "timm:open_timm"),
    ModelSource(
        "factory", FactoryModel, "call", "identity:identify_factory", "factory:open_factory"
    ),
    ModelSource("embeddings", EmbeddingsModel, "path", reads_texts=True),
    ModelSource(
        "open_clip",
        OpenClipModel,
        "name",
        f"{IDENTIFY_PREFIX}open_clip",
        "open_clip:open_open_clip",
        reads_texts=True,
    ),
    ModelSource(
        "torchvision",
        TorchvisionModel,
        "name",
        f"{IDENTIFY_PREFIX}torchvision",
        "torchvision:open_torchvision",
    ),
    ModelSource(
        "transformers",
        TransformersModel,
        "name",
        f"{IDENTIFY_PREFIX}transformers",
        "transformers:open_transformers",
        reads_texts=True,
    ),
    ModelSource(
        "torchscript",
        ProgramModel,
        "path",
        f"{IDENTIFY_PREFIX}program",
        "compiled:open_torchscript",
    ),
    ModelSource(
        "export", ProgramModel, "path", f"{IDENTIFY_PREFIX}program", "compiled:open_exported"
    ),
    ModelSource("onnx", ProgramModel, "path", f"{IDENTIFY_PREFIX}program", "onnx:open_onnx"),
    ModelSource(
        IN_MEMORY, InMemoryModel, "key", "identity:identify_in_memory", "factory:open_in_memory"
    ),
)
MODEL_SOURCES = {source.name: source for source in _SOURCES}
SHIPPED_SOURCES = tuple(name for name in MODEL_SOURCES if name != IN_MEMORY)
PROGRAMS = tuple(name for name, source in MODEL_SOURCES.items() if source.entry is ProgramModel)


class ForeignModel(BaseModel):
    """A model of a source that another package provides."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    # Editors choose by the JSON Schema alone, and a shipped source would fit here, too.
    source: Annotated[
        str, Field(min_length=1, json_schema_extra={"not": {"enum": [*SHIPPED_SOURCES]}})
    ]
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    growth_from: Name | None = None


def _entry_class(value: Any) -> str:
    """Return the name of the class that validates an entry; entries of other packages share one."""
    name = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    source = MODEL_SOURCES.get(name) if isinstance(name, str) else None
    return ForeignModel.__name__ if source is None else source.entry.__name__


# Type checkers need the classes by name.
ModelEntry = Annotated[
    Annotated[TimmModel, Tag("TimmModel")]
    | Annotated[FactoryModel, Tag("FactoryModel")]
    | Annotated[EmbeddingsModel, Tag("EmbeddingsModel")]
    | Annotated[OpenClipModel, Tag("OpenClipModel")]
    | Annotated[TorchvisionModel, Tag("TorchvisionModel")]
    | Annotated[TransformersModel, Tag("TransformersModel")]
    | Annotated[ProgramModel, Tag("ProgramModel")]
    | Annotated[SkipJsonSchema[InMemoryModel], Tag("InMemoryModel")]
    | Annotated[ForeignModel, Tag("ForeignModel")],
    Discriminator(_entry_class),
]
