"""The JSON Schema of specs that draw on a suite: what the suite brings need not be written."""

from __future__ import annotations

from typing import Any

__all__ = ["with_additions"]

BROUGHT = ("concepts", "tests")
DEFINITION = ("kind", "targets", "attributes", "prediction")
ADDITION = "Addition"
# What says which concepts a test is of.
ROLES = ("TwoTargets", "OneTarget", "TwoAttributes", "OneAttribute")


def with_additions(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with two forms: a spec that has all of its own, and one with a suite.

    In the second, a test may be an addition to one of the suite: its name and what to add.
    """
    tests = schema["properties"]["tests"]
    whole = tests["items"]
    addition = {"$ref": f"#/$defs/{ADDITION}"}
    alone = {
        "required": [*BROUGHT],
        "properties": {"tests": {"items": {"required": ["kind"]}}},
    }
    return {
        **schema,
        "$defs": {
            **_with_words(schema["$defs"]),
            ADDITION: _addition(schema["$defs"]["IeatTest"]),
        },
        "properties": {
            **schema["properties"],
            "tests": {**tests, "items": {"anyOf": [whole, addition]}},
        },
        "required": [key for key in schema["required"] if key not in BROUGHT],
        "if": {"required": ["suite"]},
        "else": alone,
    }


def _with_words(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions with sets of words allowed where a test names concepts."""
    words = {"$ref": "#/$defs/ConceptWords"}
    found = dict(definitions)
    for name in ROLES:
        roles = definitions[name]["properties"]
        named = {key: {"anyOf": [value, words]} for key, value in roles.items()}
        found[name] = {**definitions[name], "properties": named}
    return found


def _addition(test: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a test without what defines it."""
    keys = {key: value for key, value in test["properties"].items() if key not in DEFINITION}
    return {
        "type": "object",
        "title": ADDITION,
        "description": "What a spec adds to a test of its suite.",
        "additionalProperties": False,
        "properties": keys,
        "required": ["name"],
    }
