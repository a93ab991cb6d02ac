"""The models of a spec: a source, its keys, and how images are prepared for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator
from pydantic.json_schema import SkipJsonSchema

from pytest_visualbias.spec.libraries import (
    OpenClipModel,
    TimmModel,
    TorchvisionModel,
    TransformersModel,
)
from pytest_visualbias.spec.networks import (
    SERIES_KEYS,
    TRANSFORM_NEEDED,
    Argument,
    Network,
    Preprocess,
    Transform,
    known_transform,
)
from pytest_visualbias.spec.programs import PROGRAMS, ProgramModel
from pytest_visualbias.spec.values import CALL, Labels, Name, Strict, Text

__all__ = [
    "IN_MEMORY",
    "SHIPPED_SOURCES",
    "EmbeddingsModel",
    "FactoryModel",
    "ForeignModel",
    "InMemoryModel",
    "ModelEntry",
    "Network",
    "OpenClipModel",
    "ProgramModel",
    "TimmModel",
    "TorchvisionModel",
    "Transform",
    "TransformersModel",
]

SHIPPED_SOURCES = (
    *("timm", "factory", "embeddings", "open_clip", "torchvision", "transformers"),
    *PROGRAMS,
)
IN_MEMORY = "in-memory"


class FactoryModel(Network):
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


def _source(value: Any) -> str:
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    if source in PROGRAMS:
        return "program"
    return source if source in (*SHIPPED_SOURCES, IN_MEMORY) else "other"


ModelEntry = Annotated[
    Annotated[TimmModel, Tag("timm")]
    | Annotated[FactoryModel, Tag("factory")]
    | Annotated[EmbeddingsModel, Tag("embeddings")]
    | Annotated[OpenClipModel, Tag("open_clip")]
    | Annotated[TorchvisionModel, Tag("torchvision")]
    | Annotated[TransformersModel, Tag("transformers")]
    | Annotated[ProgramModel, Tag("program")]
    | Annotated[SkipJsonSchema[InMemoryModel], Tag(IN_MEMORY)]
    | Annotated[ForeignModel, Tag("other")],
    Discriminator(_source),
]
