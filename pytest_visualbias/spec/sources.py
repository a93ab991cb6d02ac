"""The models of a spec: a source, its keys, and how images are prepared for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from pytest_visualbias.spec.values import CALL, Labels, Strict, Text, Texts

__all__ = [
    "SHIPPED_SOURCES",
    "EmbeddingsModel",
    "FactoryModel",
    "ForeignModel",
    "ModelEntry",
    "TimmModel",
    "Transform",
]

SHIPPED_SOURCES = ("timm", "factory", "embeddings")

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
    # Where in the checkpoint the weights lie; empty for its top, and for names without a prefix.
    container: str | None = None
    prefix: str | None = None
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


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
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class ForeignModel(BaseModel):
    """A model of a source that another package provides."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    # Editors choose by the JSON Schema alone, and a shipped source would fit here, too.
    source: Annotated[
        str, Field(min_length=1, json_schema_extra={"not": {"enum": [*SHIPPED_SOURCES]}})
    ]
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


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
