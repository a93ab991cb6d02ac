"""Entries of networks that libraries make by a name: timm, open_clip, torchvision, transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from pytest_visualbias.spec.networks import Argument, Network, Paths, Preprocess, Transform
from pytest_visualbias.spec.values import Text

__all__ = ["OpenClipModel", "TimmModel", "TorchvisionModel", "TransformersModel"]

# The name of weights, or false for none.
WeightsTag = Annotated[
    Annotated[Literal[False], Tag("flag")] | Annotated[str, Field(min_length=1), Tag("text")],
    Discriminator(lambda value: "flag" if isinstance(value, bool) else "text"),
]


class TimmModel(Network):
    """A timm model by name, with its own preprocessing."""

    source: Literal["timm"]
    name: Text
    pretrained: bool | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class OpenClipModel(Network):
    """The image tower of an open_clip model, with its own preprocessing.

    Attributes
    ----------
    pretrained : str or False
        The tag of published weights; beside a checkpoint, whose preprocessing it was trained with.
    """

    source: Literal["open_clip"]
    name: Text
    pretrained: WeightsTag | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class TorchvisionModel(Network):
    """A classifier of torchvision by name, with the preprocessing of its weights.

    Attributes
    ----------
    weights : str, optional
        Published weights, such as ``IMAGENET1K_V2``; beside a checkpoint, whose preprocessing it
        was trained with.
    """

    source: Literal["torchvision"]
    name: Text
    weights: Text | None = None
    pretrained: bool | None = None
    arguments: dict[Text, Argument] = Field(default_factory=dict)
    preprocess: Preprocess = "own"
    transform: Transform | None = None


class TransformersModel(Network):
    """A vision or vision-language model of transformers, with its own image processor.

    Attributes
    ----------
    name, revision : str, optional
        Of a repository on the hub.
    path : str or list of str, optional
        A folder that `save_pretrained` wrote, in place of a name; several are trials.
    adapter : str, optional
        A folder that peft wrote, merged into the network.
    """

    source: Literal["transformers"]
    name: Text | None = None
    revision: Text | None = None
    path: Paths | None = None
    adapter: Text | None = None
    pretrained: bool | None = None
    preprocess: Preprocess = "own"
    transform: Transform | None = None
