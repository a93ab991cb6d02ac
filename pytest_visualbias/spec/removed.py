"""Keys that specs no longer have, and the lines to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path

__all__ = ["removals"]


def removals(data: Any, path: Path) -> Iterator[str]:
    """Yield what to write instead of the removed key at a path; nothing for any other key."""
    if path == ("pairs",):
        yield from _pairs(data)
    elif len(path) == 3 and path[0] == "tests":  # noqa: PLR2004 - a key of a test
        test = data["tests"][path[1]]
        if path[2] == "drift":
            yield _drift(data, test)
        elif path[2] == "control" and test["control"] == "drift":
            yield (
                "'drift' was removed; delete this test, and make its neutral concept B of an "
                "'ieat', which compares with that concept"
            )


def _pairs(data: Any) -> Iterator[str]:
    pairs = data["pairs"] if isinstance(data["pairs"], list) else []
    named = [one for one in pairs if isinstance(one, dict) and {"before", "after"} <= one.keys()]
    for pair in named:
        keys = {"growth_from": pair["before"], **_labels(data, pair)}
        lines = " and ".join(f"`{key}: {_yaml(value)}`" for key, value in keys.items())
        yield f"was removed; write {lines} in the model '{pair['after']}'"
    if not named:
        yield "was removed; write `growth_from: NAME` in each model whose growth it measured"


def _labels(data: Any, pair: dict[str, Any]) -> dict[str, Any]:
    """Return the labels of the model that a pair ends in, with those of the pair."""
    if not isinstance(pair.get("labels"), dict):
        return {}
    models = data.get("models")
    entry = models.get(pair["after"]) if isinstance(models, dict) else None
    labels = entry.get("labels") if isinstance(entry, dict) else None
    return {"labels": {**(labels if isinstance(labels, dict) else {}), **pair["labels"]}}


def _drift(data: Any, test: dict[str, Any]) -> str:
    targets, attributes = test.get("targets"), test.get("attributes")
    instead = {
        "kind": "ieat" if isinstance(targets, dict) and "Y" in targets else "sc-eat",
        "targets": targets,
        "attributes": {
            "A": attributes.get("A") if isinstance(attributes, dict) else "NAME",
            "B": _neutral(data, test["drift"]),
        },
    }
    keys = ", ".join(f"{key}: {_yaml(value)}" for key, value in instead.items())
    return (
        f"was removed; delete it, and compare with the neutral concept: write `{keys}` in place of "
        "these keys of the test"
    )


def _neutral(data: Any, drift: Any) -> Any:
    """Return the concept A of the first drift control that a test names."""
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
