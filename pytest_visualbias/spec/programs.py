"""Entries of compiled networks: a file that has both the weights and what is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from pytest_visualbias.spec.networks import (
    TRANSFORM_NEEDED,
    Paths,
    Preprocess,
    Transform,
    known_transform,
)
from pytest_visualbias.spec.values import Labels, Strict, Text

__all__ = ["PROGRAMS", "ProgramModel"]

PROGRAMS = ("torchscript", "export", "onnx")


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
    layers: dict[str, Text] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)

    is_known = field_validator("transform", mode="before")(known_transform)
