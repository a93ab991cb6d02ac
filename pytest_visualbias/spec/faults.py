"""What pydantic found wrong, as sentences with a place and a remedy."""

from __future__ import annotations

import difflib
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Tag

from pytest_visualbias.spec.removed import removals
from pytest_visualbias.spec.schema import CALL, DIFFERENCE, NAME, TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

    from pytest_visualbias.spec.document import Document, Fault, Path

__all__ = ["did_you_mean", "explain", "what_is_wrong"]

TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
    "json_invalid": "JSON",
}
# By what pydantic calls a bound, and by what it calls its value.
BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


# What to write for a key that a kind lacks, where it has another one for it.
INSTEAD = {("outcome-gap", "max_effect"): "the effect is the gap, so write 'max_gap'"}

# What pydantic adds to the location of a key that is wrong itself.
KEY = "[key]"
LONGEST = 60
PATTERNS = {
    NAME: "a name without line breaks, '::' and '##'",
    TAG: "a word of letters, digits, '_' and '-'",
    CALL: "module:function",
    DIFFERENCE: "pooling, precision, dimension, or preprocessing.KEY as a message names it",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown word: the nearest known one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
    if near:
        return f"did you mean '{next(name for name in known if name.lower() == near[0])}'?"
    return f"known: {', '.join(known)}" if known else "there are none"


def explain(
    document: Document, model: type[BaseModel], errors: Sequence[ErrorDetails]
) -> list[Fault]:
    """Turn the errors of validating `document` against `model` into faults.

    Parameters
    ----------
    document : Document
        The data that was validated, with places.
    model : type of BaseModel
        What it was validated against.
    errors : sequence of ErrorDetails
        ``ValidationError.errors()``.
    """
    faults = []
    for error in errors:
        path = _data_path(document.data, error["loc"])
        if error["type"] == "too_short" and error["input"]:
            continue  # members that are wrong are not counted, and have a fault of their own
        sentences = [*removals(document.data, path)] or [_sentence(error, model, path)]
        faults += [document.fault(path, sentence) for sentence in sentences]
    return faults


def _data_path(data: Any, location: Sequence[str | int]) -> Path:
    """Return the path in the data: a location without the tags of unions."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
            path.append(part)
        elif isinstance(data, dict) and index == len(location) - 1 and part != KEY:
            path.append(part)
    return tuple(path)


def _sentence(error: ErrorDetails, model: type[BaseModel], path: Path) -> str:
    kind, read, limit = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model, error["loc"][:-1]))
        return f"unknown key; {did_you_mean(str(path[-1]), known)}"
    if kind == "missing":
        last = error["loc"][-1]
        return f"{f'value {last + 1} ' if isinstance(last, int) else ''}is missing; add it"
    if kind == "none_required":
        return _about_absent(error["loc"], path)
    if kind == "literal_error":
        return f"{what_is_wrong(error)}; {_nearest(read, limit['expected'])}"
    remedy = "add at least one" if kind == "too_short" else "correct it"
    return f"{what_is_wrong(error)}; {remedy}"


def _about_absent(location: Sequence[str | int], path: Path) -> str:
    if path[0] == "models":
        return f"a compiled program has its own {path[-1]}; remove it"
    # What one kind of tests lacks: the tag of the kind stands behind the test's index.
    kind = str(location[2])
    return f"a test of kind '{kind}' has none; {INSTEAD.get((kind, str(path[-1])), 'remove it')}"


def what_is_wrong(error: ErrorDetails) -> str:
    """Return what is wrong with a value, in our words, whatever pydantic says about it."""
    kind, read, limit = error["type"], _read(error["input"]), error.get("ctx", {})
    if kind in ("extra_forbidden", "missing"):
        return "is an unknown key" if kind == "extra_forbidden" else "is missing"
    if kind == "literal_error":
        return f"{read} is not one of {limit['expected']}"
    if kind in ("too_short", "string_too_short"):
        return "is empty"
    if kind == "too_long":
        return f"must have {limit['max_length']} values, but {limit['actual_length']} were read"
    if kind == "value_error":
        return f"{limit['error']}, but {read} was read"
    expected = TYPES.get(kind, "another value")
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        expected = f"{words} {limit[name]:g}"
    elif kind == "string_pattern_mismatch":
        expected = PATTERNS.get(limit["pattern"], f"text like {limit['pattern']}")
    return f"must be {expected}, but {read} was read"


def _nearest(read: object, expected: str) -> str:
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
    near = difflib.get_close_matches(str(read), words, n=1)
    return f"did you mean '{near[0]}'?" if near else "choose one"


def _read(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    names = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """Return the keys known where a location of a validation error points."""
    types: list[Any] = [model]
    for part in location:
        types = [inner for outer in types for inner in _step(outer, part)]
    fields = [field for kind in types for field in getattr(kind, "model_fields", {}).items()]
    return {field.alias or key for key, field in fields if field.annotation is not type(None)}


def _step(kind: Any, part: str | int) -> list[Any]:
    """Return the types that one part of a location leads to from a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return _members(field.annotation, None) if field else []
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is dict:
        return _members(arguments[1], None)
    if origin is tuple:
        return _members(arguments[0], None)
    return _members(kind, part)


def _members(kind: Any, tag: str | int | None) -> list[Any]:
    """Return `kind`, or where it is a tagged union and a tag is given, the member of that tag."""
    if typing.get_origin(kind) is not typing.Annotated:
        unions = [inner for inner in typing.get_args(kind) if inner is not type(None)]
        is_optional = type(None) in typing.get_args(kind)
        return _members(unions[0], tag) if is_optional and len(unions) == 1 else [kind]
    inner = typing.get_args(kind)[0]
    if typing.get_origin(inner) in (dict, tuple) or isinstance(inner, type):
        return [inner]
    if tag is None:
        return [kind]
    return [
        typing.get_args(member)[0]
        for member in typing.get_args(inner)
        if any(isinstance(note, Tag) and note.tag == tag for note in typing.get_args(member)[1:])
    ]
