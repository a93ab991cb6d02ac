"""Define the types of spec fields."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from pytest_visualbias.errors import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Names of open_clip that bring their own weights and preprocessing.
WHOLE_NAMES = ("hf-hub:", "local-dir:")

# The same of timm.
HUB_NAMES = ("hf-hub:", "hf_hub:", "local-dir:")
DRIVE = re.compile(r"[A-Za-z]:")


def correction(path: Path, otherwise: str = "correct the path") -> str:
    """Return how to correct a missing path: use "/", or the nearest existing name."""
    if "\\" in path.name:
        return f"write / in paths: {path.name.replace(chr(92), '/')}"
    if any(DRIVE.fullmatch(part) for part in path.parts[1:]):
        return "this is a path of Windows; write one of this machine, relative to the spec"
    for part in (path, *path.parents):
        if part.parent.is_dir():
            # Endings alone make no two names alike.
            names = {other.stem: other.name for other in sorted(part.parent.iterdir())}
            near = difflib.get_close_matches(part.stem, names, n=1)
            return f"did you mean {names[near[0]]}?" if near else otherwise
    return otherwise


PLAIN = re.compile(r"[A-Za-z_./][\w./ +()-]*")


def quoted(text: str) -> str:
    """Return a text as a YAML scalar, unquoted if every YAML reader reads it back unchanged."""
    is_plain = PLAIN.fullmatch(text) and text == text.strip()
    # Readers of YAML 1.1, such as editors, take `no` and `on` for something else.
    if is_plain and yaml.safe_load(f"[{text}]") == [text]:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


Alternative = Literal["two-sided", "greater", "less"]
EvidenceRule = Literal["significant", "interval", "equivalence", "point"]
Sides = Literal["both", "targets"]

# Names stand in node ids and tables: no line breaks, no "::" that would split an id, no "##" that
# could make a command of a line in a log of CI.
# What each pattern asks for is said in words where a text does not match it (`faults`).
NAME = r"^(?:(?:#?:)?#?[^\x00-\x1f\x7f:#])+#?$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]
TAG = r"^[A-Za-z_][A-Za-z0-9_-]*$"
TagName = Annotated[str, Field(pattern=TAG)]

# What before and after may differ in, where a spec says so.
DIFFERENCE = r"^(?:pooling|precision|dimension|read_out|preprocessing\.[^\s,]+)$"
Differences = Annotated[tuple[Annotated[str, Field(pattern=DIFFERENCE)], ...], Field(strict=False)]
CALL = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
Text = Annotated[str, Field(min_length=1)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
NameOrNames = Annotated[
    Annotated[Name, Tag("text")] | Annotated[Names, Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "text"),
]
Labels = dict[Name, Text]


def _day(value: Any) -> dt.date:
    """Return the date of a text such as 2027-03-01."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("must be a day such as 2027-03-01")


def _require_text(value: str) -> str:
    if not value.strip():
        raise ValueError("must say something")
    return value


Day = Annotated[dt.date, BeforeValidator(_day)]
NonBlankText = Annotated[str, AfterValidator(_require_text), Field(min_length=1)]


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_hide_secrets, value))
    return without_secrets(value) if isinstance(value, str) else value


def _groups(value: str) -> str:
    try:
        captures = re.compile(value).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if captures != 1:
        raise ValueError(
            f"must capture the group of an image once, as '(.+)_\\d+' does; it captures {captures}"
        )
    return value


Groups = Annotated[str, AfterValidator(_groups), Field(min_length=1)]


class Strict(BaseModel):
    """A frozen value without unknown keys and without silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the fields of a representation, with secrets in URLs removed."""
        for name, value in super().__repr_args__():
            yield name, _hide_secrets(value)
