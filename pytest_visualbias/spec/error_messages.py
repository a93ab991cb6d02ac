"""Turn validation errors into messages with a place and a remedy."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, Tag

from pytest_visualbias.errors import printable
from pytest_visualbias.spec.fields import CALL, DIFFERENCE, NAME, TAG
from pytest_visualbias.spec.yaml_document import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.spec.yaml_document import Document, KeyPath, SpecFault

# What a path may have before it; within a longer one the folder would be another.
START = r"(?<![\w./\\-])"

MAX_LISTED = 5


def shorten(text: str, folder: Path, project: Path) -> str:
    """Return a message with paths relative to the project, if they lie in it."""
    for up in reversed(range(1, len(folder.parts) + 1)):
        climb = f"{folder.as_posix()}/{'../' * up}"
        if climb in text and (above := _relative_ancestor(folder, up)) is not None:
            text = _replace_prefix(text, climb, above)
    root = project.as_posix()
    return text if root == "/" else _replace_prefix(text, f"{root}/", "")


def shorten_fault(fault: LocatedFault | None, folder: Path, project: Path) -> LocatedFault | None:
    """Return a fault with paths relative to the project, if they lie in it."""
    if fault is None:
        return None
    return dataclasses.replace(fault, problem=shorten(fault.problem, folder, project))


def _relative_ancestor(folder: Path, up: int) -> str | None:
    """Return the ancestor a number of folders up; None if a symlink leads elsewhere."""
    above = folder
    for _ in range(up):
        above = above.parent
    climbed = folder.joinpath(*[".."] * up)
    if os.path.realpath(above) != os.path.realpath(climbed):
        return None
    path = above.as_posix()
    return "" if path == "." else f"{path.rstrip('/')}/"


def _replace_prefix(text: str, start: str, other: str) -> str:
    return re.sub(START + re.escape(start), lambda _: other, text)


def removed_keys(data: Any, path: KeyPath) -> Iterator[Mistake]:
    """Yield what to write instead of a removed key; nothing for any other key."""
    if path == ("pairs",):
        yield from _removed_pairs(data)
    elif len(path) == 3 and path[0] == "tests":  # noqa: PLR2004 - a key of a test
        test = data["tests"][path[1]]
        if path[2] == "drift":
            yield _removed_drift(data, test)
        elif path[2] == "control" and test["control"] == "drift":
            yield Mistake(
                "'drift' was removed",
                "delete this test, and make its neutral concept B of an 'ieat', which compares "
                "with that concept",
            )


def _removed_pairs(data: Any) -> Iterator[Mistake]:
    pairs = data["pairs"] if isinstance(data["pairs"], list) else []
    named = [
        pair for pair in pairs if isinstance(pair, dict) and {"before", "after"} <= pair.keys()
    ]
    for pair in named:
        keys = {"growth_from": pair["before"], **_merged_labels(data, pair)}
        lines = " and ".join(f"`{key}: {_yaml(value)}`" for key, value in keys.items())
        yield Mistake("was removed", f"write {lines} in the model '{pair['after']}'")
    if not named:
        yield Mistake(
            "was removed", "write `growth_from: NAME` in each model whose growth it measured"
        )


def _merged_labels(data: Any, pair: dict[str, Any]) -> dict[str, Any]:
    """Return the labels of the `after` model of a pair, joined with those of the pair."""
    if not isinstance(pair.get("labels"), dict):
        return {}
    models = data.get("models")
    entry = models.get(pair["after"]) if isinstance(models, dict) else None
    labels = entry.get("labels") if isinstance(entry, dict) else None
    return {"labels": {**(labels if isinstance(labels, dict) else {}), **pair["labels"]}}


def _removed_drift(data: Any, test: dict[str, Any]) -> Mistake:
    targets, attributes = test.get("targets"), test.get("attributes")
    instead = {
        "kind": "ieat" if isinstance(targets, dict) and "Y" in targets else "sc-eat",
        "targets": targets,
        "attributes": {
            "A": attributes.get("A") if isinstance(attributes, dict) else "NAME",
            "B": _neutral_concept(data, test["drift"]),
        },
    }
    keys = ", ".join(f"{key}: {_yaml(value)}" for key, value in instead.items())
    return Mistake(
        "was removed",
        f"delete it, and compare with the neutral concept: write `{keys}` in place of these keys "
        "of the test",
    )


def _neutral_concept(data: Any, drift: Any) -> Any:
    """Return concept A of the first drift control that a test names."""
    first = drift[0] if isinstance(drift, list) and drift else drift
    for test in data["tests"]:
        if isinstance(test, dict) and test.get("name") == first:
            attributes = test.get("attributes")
            return attributes.get("A", "NAME") if isinstance(attributes, dict) else "NAME"
    return "NAME"


def _yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


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
MAX_VALUE_LENGTH = 60
PATTERNS = {
    NAME: "a name without line breaks, '::' and '##'",
    TAG: "a word of letters, digits, '_' and '-'",
    CALL: "module:function",
    DIFFERENCE: "pooling, precision, dimension, or preprocessing.KEY as a message names it",
}


def closest(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word closest to an unknown one; empty if none is."""
    names = {name.lower(): name for name in reversed([*known])}
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f"did you mean '{names[near[0]]}'?" if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown word: the nearest known word, or all known words."""
    known = list(known)
    if question := closest(word, known):
        return question
    return f"known: {', '.join(known)}" if known else "there are none"


def explain_faults(
    document: Document, model: type[BaseModel], errors: Sequence[ErrorDetails]
) -> list[SpecFault]:
    """Turn the validation errors of a document into faults."""
    faults = []
    for error in errors:
        path = _data_path(document.data, error["loc"])
        if error["type"] == "too_short" and error["input"]:
            continue  # members that are wrong are not counted, and have a fault of their own
        mistakes = [*removed_keys(document.data, path)] or [_mistake(error, model, path)]
        faults += [document.fault(path, mistake) for mistake in mistakes]
    return faults


def _data_path(data: Any, location: Sequence[str | int]) -> KeyPath:
    """Return the path in the data of an error location, without the tags of unions."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
            path.append(part)
        elif isinstance(data, dict) and index == len(location) - 1 and part != KEY:
            path.append(part)
    return tuple(path)


def _mistake(error: ErrorDetails, model: type[BaseModel], path: KeyPath) -> Mistake:
    kind, read, limit = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model, error["loc"][:-1]))
        return Mistake("unknown key", did_you_mean(str(path[-1]), known))
    if kind == "missing":
        last = error["loc"][-1]
        value = f"value {last + 1} " if isinstance(last, int) else ""
        return Mistake(f"{value}is missing", "add it")
    if kind == "none_required":
        return _explain_absent_key(error["loc"], path)
    if kind == "literal_error":
        return Mistake(describe_error(error), _suggest(read, limit["expected"]))
    remedy = "add at least one" if kind == "too_short" else "correct it"
    return Mistake(describe_error(error), remedy)


def _explain_absent_key(location: Sequence[str | int], path: KeyPath) -> Mistake:
    if path[0] == "models":
        return Mistake(f"a compiled program has its own {path[-1]}", "remove it")
    # What one kind of tests lacks: the tag of the kind stands behind the test's index.
    kind = str(location[2])
    remedy = INSTEAD.get((kind, str(path[-1])), "remove it")
    return Mistake(f"a test of kind '{kind}' has none", remedy)


def describe_error(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without pydantic's wording."""
    kind, read, limit = error["type"], _format_value(error["input"]), error.get("ctx", {})
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


def _suggest(read: object, expected: str) -> str:
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
    near = difflib.get_close_matches(str(read), words, n=1)
    return f"did you mean '{near[0]}'?" if near else "choose one"


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    names = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    text = repr(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}..."


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """Return the known keys at the location of a validation error."""
    types: list[Any] = [model]
    for part in location:
        types = [inner for outer in types for inner in _step_types(outer, part)]
    fields = [field for kind in types for field in getattr(kind, "model_fields", {}).items()]
    return {field.alias or key for key, field in fields if field.annotation is not type(None)}


def _step_types(kind: Any, part: str | int) -> list[Any]:
    """Return the types that one part of a location leads to."""
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
    """Return a type, or for a tagged union and a tag the member with that tag."""
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


def format_names(names: Iterable[str]) -> str:
    """Return at most five names on one line, always printable, and how many more there are."""
    listed = [printable(name) for name in names]
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more
