"""The plain values that specs are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CALL",
    "NAME",
    "TAG",
    "Alternative",
    "Evidence",
    "Limit",
    "Name",
    "Sides",
    "Strict",
    "TagName",
    "Text",
    "Texts",
]

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
