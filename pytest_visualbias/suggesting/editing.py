"""Limits put into the text of a spec: what is changed is changed in place, the rest stays.

The text is edited where a parser says that values stand, and read again afterwards: unless it then
says exactly what it said, and the new limits, it is not used.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.errors import UsageError
from pytest_visualbias.spec.document import read_document

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["edited", "scalar"]

PLAIN = re.compile(r"[A-Za-z_][\w.-]*")
BLOCKS = ("|", ">")
Keys = dict[str, Any]


def scalar(value: object) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {scalar(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        is_plain = PLAIN.fullmatch(value) and yaml.safe_load(value) == value
        return value if is_plain else json.dumps(value, ensure_ascii=not value.isprintable())
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def edited(text: str, wanted: Mapping[str, Keys], *, file: str) -> str:
    """Return the text of a spec with keys of its tests set.

    Parameters
    ----------
    text : str
        The spec.
    wanted : mapping of str to dict
        By test: its keys, of which mappings (``limits``) are joined with what is there. A test that
        the spec does not have itself, but draws from a suite, is added by its name.
    file : str
        The path that a sentence names.

    Raises
    ------
    UsageError
        For a text that is laid out in a way that cannot be edited safely.
    """
    refusal = UsageError(
        f"{file} is laid out in a way that is not edited here; paste the lines that are printed"
    )
    try:
        changed = _changed(text, wanted)
    except (LookupError, TypeError, ValueError, yaml.YAMLError):
        raise refusal from None
    after = read_document(changed)
    if after.faults or after.data != _expected(read_document(text).data, wanted):
        raise refusal
    return changed


def _expected(data: Any, wanted: Mapping[str, Keys]) -> Any:  # noqa: ANN401 - what YAML holds
    """Return what the text has to say afterwards."""
    tests = [dict(test) for test in data.get("tests") or []]
    for name, keys in wanted.items():
        test = next((one for one in tests if one.get("name") == name), None)
        if test is None:
            tests.append({"name": name, **keys})
            continue
        for key, value in keys.items():
            old = test.get(key)
            is_joined = isinstance(value, dict) and isinstance(old, dict)
            test[key] = {**(old or {}), **value} if is_joined else value
    return {**data, "tests": tests} if tests else data


def _changed(text: str, wanted: Mapping[str, Keys]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits: list[tuple[int, int, str]] = []
    tests = _value(root, "tests")
    added = []
    for name, keys in wanted.items():
        test = _test(tests, name)
        if test is None:
            added.append({"name": name, **keys})
            continue
        new = {}
        for key, value in keys.items():
            old = _value(test, key)
            if old is None:
                new[key] = value
            elif isinstance(value, dict) and isinstance(old, yaml.MappingNode):
                edits += _joined(text, old, value)
            else:
                edits.append((old.start_mark.index, old.end_mark.index, _spaced(old, value)))
        if new:
            edits.append(_inserted(text, test, new))
    if added:
        edits.append(_appended(text, root, tests, added))
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _spaced(old: yaml.Node, value: object) -> str:
    """Return a value in the place of another, which may be no text at all after its colon."""
    is_empty = old.start_mark.index == old.end_mark.index
    return (" " if is_empty else "") + scalar(value)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _test(tests: yaml.Node | None, name: str) -> yaml.MappingNode | None:
    for test in tests.value if isinstance(tests, yaml.SequenceNode) else ():
        found = _value(test, "name")
        if found is not None and found.value == name and isinstance(test, yaml.MappingNode):
            return test
    return None


def _joined(text: str, old: yaml.MappingNode, new: Keys) -> list[tuple[int, int, str]]:
    """Return the edits that set keys of a mapping: values in place, new ones behind the last."""
    edits, missing = [], {}
    for key, value in new.items():
        there = _value(old, key)
        if there is None:
            missing[key] = value
        else:
            edits.append((there.start_mark.index, there.end_mark.index, _spaced(there, value)))
    if missing:
        edits.append(_inserted(text, old, missing))
    return edits


def _inserted(text: str, mapping: yaml.MappingNode, new: Keys) -> tuple[int, int, str]:
    """Return the edit that adds keys to a mapping, in the style that it has."""
    if mapping.flow_style:
        if not mapping.value:
            start = mapping.start_mark.index + 1
            return start, start, scalar(new)[1:-1]
        end = _inner_end(mapping)
        return end, end, ", " + scalar(new)[1:-1]
    indent = " " * mapping.value[0][0].start_mark.column
    at = _line_end(text, _end(mapping))
    lines = "".join(f"{_newline(text)}{indent}{key}: {scalar(value)}" for key, value in new.items())
    return at, at, lines


def _appended(
    text: str, root: yaml.Node | None, tests: yaml.Node | None, added: list[Keys]
) -> tuple[int, int, str]:
    """Return the edit that adds tests to the list of them, or makes one."""
    newline = _newline(text)
    if tests is None:
        return *_behind(text, root), f"{newline}tests:{_items(added, 2, newline)}"
    if not isinstance(tests, yaml.SequenceNode) or tests.flow_style or not tests.value:
        raise ValueError("a list that is not in lines of its own")
    column = tests.start_mark.column
    at = _line_end(text, _end(tests))
    return at, at, _items(added, column, newline)


def _behind(text: str, root: yaml.Node | None) -> tuple[int, int]:
    """Return the place behind the last key: comments after it are about something else."""
    try:
        at = _line_end(text, _end(root)) if root is not None else 0
    except ValueError:  # a text of several lines: what follows may belong to it
        at = len(text.rstrip())
    return at, at


def _items(added: list[Keys], column: int, newline: str) -> str:
    lines = []
    for test in added:
        first, *rest = test.items()
        lines.append(f"{' ' * column}- {first[0]}: {scalar(first[1])}")
        lines += [f"{' ' * column}  {key}: {scalar(value)}" for key, value in rest]
    return "".join(f"{newline}{line}" for line in lines)


def _end(node: yaml.Node) -> int:
    """Return where the last value in a node ends, which for a parser a block does later."""
    if isinstance(node, yaml.ScalarNode):
        if node.style in BLOCKS:
            raise ValueError("a text of several lines, after which comments may belong to it")
        return int(node.end_mark.index)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return _inner_end(node)
    return int(node.end_mark.index)


def _inner_end(node: yaml.Node) -> int:
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, at: int) -> int:
    """Return the end of the line, so that a comment behind a value stays with it."""
    found = text.find("\n", at)
    end = len(text) if found < 0 else found
    return end - 1 if text[end - 1 : end] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
