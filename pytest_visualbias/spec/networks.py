"""What entries of networks have in common: their weights, and how images are prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationInfo
from pydantic_core import PydanticKnownError

from pytest_visualbias.spec.values import Labels, Name, Strict, Text, Texts

if TYPE_CHECKING:
    from pydantic.config import JsonDict

__all__ = [
    "SERIES_KEYS",
    "TRANSFORM_NEEDED",
    "Argument",
    "Network",
    "Paths",
    "Preprocess",
    "Transform",
    "known_transform",
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
    channels : "rgb" or "bgr"
        Their order in the input of the network; `mean` and `std` stay in the order of red, green
        and blue.
    """

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


class Network(Strict):
    """What networks from every torch source share.

    Attributes
    ----------
    checkpoint : str or tuple of str, optional
        A file, or several: trials of one recipe, averaged.
    checkpoints : str or tuple of str, optional
        Of one training run, in the order of the number in their names; with `series`.
    series : str, optional
        What that number counts: epoch, step.
    gate : "last" or "all", optional
        Which of them the limits judge.
    growth_from : str, optional
        The model that this one's growth is measured from, in place of ``before``.
    """

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
