"""Words that stand in a test itself, made concepts of their own before a spec is checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_visualbias.spec.schema import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.document import Document, Path, Place

__all__ = ["PARTS", "lifted"]

PARTS = ("targets", "attributes")


def lifted(document: Document) -> Document:
    """Return a document whose tests name concepts only.

    ``attributes: {A: {text: [...]}}`` of the test ``t`` becomes the concept ``t.A``, every value
    with the place at which it stands.
    """
    data = document.data
    found = list(_inline(data))
    if not found or not isinstance(data.get("concepts", {}), dict):
        return document
    concepts, tests = dict(data.get("concepts", {})), list(data["tests"])
    places = dict(document.places)
    for index, part, role in found:
        test = tests[index]
        name = _free(f"{test.get('name', f'tests[{index}]')}.{role}", concepts)
        concepts[name] = test[part][role]
        tests[index] = {**test, part: {**test[part], role: name}}
        places |= _moved(places, ("tests", index, part, role), ("concepts", name))
    whole = {**data, "concepts": concepts, "tests": tests}
    return dataclasses.replace(document, data=whole, places=places)


def _inline(data: Any) -> Iterator[tuple[int, str, str]]:
    """Yield where words stand in place of the name of a concept."""
    tests = data.get("tests") if isinstance(data, dict) else None
    for index, test in enumerate(tests if isinstance(tests, list) else []):
        for part in PARTS:
            roles = test.get(part) if isinstance(test, dict) else None
            for role, value in (roles if isinstance(roles, dict) else {}).items():
                if isinstance(value, dict) and value.keys() & WORDS:
                    yield index, part, role


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name} {number}", number + 1
    return found


def _moved(places: Mapping[Path, Place], old: Path, new: Path) -> dict[Path, Place]:
    return {
        (*new, *path[len(old) :]): dataclasses.replace(place, path=place.path or path)
        for path, place in places.items()
        if path[: len(old)] == old
    }
