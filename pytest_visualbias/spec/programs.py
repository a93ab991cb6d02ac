"""Entries of compiled networks: a file that has both the weights and what is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from pytest_visualbias.spec.networks import (
    TRANSFORM_NEEDED,
    Paths,
    Preprocess,
    Transform,
    known_transform,
)
from pytest_visualbias.spec.values import Labels, Name, Strict, Text

__all__ = ["OWN_PRECISION", "PROGRAMS", "ProgramModel"]

PROGRAMS = ("torchscript", "export", "onnx")
# What a report calls the precision of a program, which nothing tells from outside.
OWN_PRECISION = "program"


class ProgramModel(Strict):
    """A TorchScript file, an exported program (``.pt2``) or an ONNX file.

    Attributes
    ----------
    path : str or list of str
        Of the file; several are trials of one recipe.
    """

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
