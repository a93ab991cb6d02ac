"""Merge a suite into a spec."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.spec.schema import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.yaml_document import Document, KeyPath, SourcePosition

PARTS = ("targets", "attributes")


def hoist_inline_texts(document: Document) -> Document:
    """Return a document whose inline texts are moved to named concepts."""
    data = document.data
    inline_texts = list(_inline_texts(data))
    if not inline_texts or not isinstance(data.get("concepts", {}), dict):
        return document
    concepts, tests = dict(data.get("concepts", {})), list(data["tests"])
    places = dict(document.places)
    for index, part, role in inline_texts:
        test = tests[index]
        name = _unused_name(f"{test.get('name', f'tests[{index}]')}.{role}", concepts)
        concepts[name] = test[part][role]
        tests[index] = {**test, part: {**test[part], role: name}}
        places |= _moved_positions(places, ("tests", index, part, role), ("concepts", name))
    whole = {**data, "concepts": concepts, "tests": tests}
    return dataclasses.replace(document, data=whole, places=places)


def _inline_texts(data: Any) -> Iterator[tuple[int, str, str]]:
    """Yield the position of texts that a test gives instead of a concept name."""
    tests = data.get("tests") if isinstance(data, dict) else None
    for index, test in enumerate(tests if isinstance(tests, list) else []):
        for part in PARTS:
            roles = test.get(part) if isinstance(test, dict) else None
            for role, value in (roles if isinstance(roles, dict) else {}).items():
                if isinstance(value, dict) and value.keys() & WORDS:
                    yield index, part, role


def _unused_name(name: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name} {number}", number + 1
    return candidate


def _moved_positions(
    places: Mapping[KeyPath, SourcePosition], old: KeyPath, new: KeyPath
) -> dict[KeyPath, SourcePosition]:
    return {
        (*new, *path[len(old) :]): dataclasses.replace(place, path=place.path or path)
        for path, place in places.items()
        if path[: len(old)] == old
    }


NONE = "none"  # what a spec writes to take a suite's control or limit away
FLOOR = "min_effect"  # the limit of a positive control, and of nothing else

# What is put together anew, so that its places in the spec's own text are others afterwards.
RENUMBERED = ("tests", "known_duplicates")


def merge_suite(document: Document, suite: Document, names: set[str]) -> tuple[Document, int]:
    """Return a spec's document with tests of a suite, and the number of controls among them."""
    merging = _Merging(own=document, suite=suite)
    merging.take_missing("title")
    merging.take_missing("layers")
    merging.join_concepts()
    merging.join_duplicates()
    merging.join_tests(names)
    whole = dataclasses.replace(document, data=merging.data, places=merging.places)
    return whole, merging.controls


def named_tests(data: dict[str, Any]) -> dict[str, int]:
    """Return the index of each named test of a spec; of duplicates, the first."""
    tests = data.get("tests")
    indices: dict[str, int] = {}
    for index, test in enumerate(tests if isinstance(tests, list) else []):
        if isinstance(test, dict) and isinstance(test.get("name"), str):
            indices.setdefault(test["name"], index)
    return indices


@dataclass(slots=True)
class _Merging:
    """The data and positions of a spec while a suite is merged into it."""

    own: Document
    suite: Document
    data: dict[str, Any] = field(init=False)
    places: dict[KeyPath, SourcePosition] = field(init=False)
    controls: int = 0

    def __post_init__(self) -> None:
        self.data = dict(self.own.data)
        renumbered = {key for key in RENUMBERED if isinstance(self.data.get(key), list)}
        self.places = {
            path: place
            for path, place in self.own.places.items()
            if len(path) < 2 or path[0] not in renumbered  # noqa: PLR2004 - below a top-level key
        }

    def take_missing(self, key: str) -> None:
        """Take a key from the suite that the spec lacks."""
        if key not in self.data and key in self.suite.data:
            self.data[key] = self.suite.data[key]
            self._place(self.suite, (key,), (key,))

    def join_concepts(self) -> None:
        """Add the suite's concepts; those of the spec take precedence."""
        spec_concepts = self.data.get("concepts", {})
        if not isinstance(spec_concepts, dict):
            return
        suite_concepts = self.suite.data["concepts"]
        self.data["concepts"] = {**suite_concepts, **spec_concepts}
        for name in suite_concepts.keys() - spec_concepts.keys():
            self._place(self.suite, ("concepts", name), ("concepts", name))

    def join_duplicates(self) -> None:
        """Put the suite's known duplicates before those of the spec."""
        key = "known_duplicates"
        theirs, ours = self.suite.data.get(key, []), self.data.get(key, [])
        if not isinstance(ours, list):
            return
        self.data[key] = [*theirs, *ours]
        for index in range(len(theirs)):
            self._place(self.suite, (key, index), (key, index))
        for index in range(len(ours)):
            self._place(self.own, (key, index), (key, index + len(theirs)))

    def join_tests(self, names: set[str]) -> None:
        """Put the selected suite tests, with additions, before the other tests of the spec."""
        spec_tests = self.data.get("tests", [])
        if not isinstance(spec_tests, list):
            return
        adding = named_tests(self.data)
        tests: list[Any] = []
        added: set[int | None] = set()
        for index, test in enumerate(self.suite.data["tests"]):
            if test["name"] in names:
                addition = adding.get(test["name"])
                added.add(addition)
                tests.append(self._drawn(index, addition, len(tests)))
        for index, test in enumerate(spec_tests):
            if index not in added:
                self._place(self.own, ("tests", index), ("tests", len(tests)))
                tests.append(test)
        self.data["tests"] = tests

    def _drawn(self, suite_index: int, spec_index: int | None, at: int) -> dict[str, Any]:
        """Return a suite test with the spec's additions, and record the positions of its keys."""
        added = self.data["tests"][spec_index] if spec_index is not None else {}
        test = {**self.suite.data["tests"][suite_index], **added}
        if test.get("control") == NONE:
            test["control"] = None
        self._place(self.suite, ("tests", suite_index), ("tests", at))
        if spec_index is not None:
            for key in added:
                self._forget(("tests", at, key))
            self._place(self.own, ("tests", spec_index), ("tests", at))
        limits = self._limits(test, at)
        is_positive = test.get("control") == "positive"
        if is_positive and "control" not in added and isinstance(limits, dict):
            # Without a floor a suite's control is measured only: what it needs is the user's word.
            is_positive = limits.get(FLOOR) is not None
            test = test if is_positive else _without_control(test, has_limits=limits != {})
        self.controls += is_positive
        return {**test, "limits": limits} if "limits" in test or limits != {} else test

    def _limits(self, test: dict[str, Any], at: int) -> Any:
        """Return the limits that the suite selection and the spec give to a test."""
        limits = test.get("limits", {})
        choice = self.data["suite"]
        given = choice.get("limits", {}) if isinstance(choice, dict) else {}
        if not isinstance(limits, dict):
            return limits
        is_positive = test.get("control") == "positive"
        shared = {key: value for key, value in given.items() if (key == FLOOR) == is_positive}
        path: KeyPath = ("tests", at, "limits")
        if shared and path not in self.places:
            self.places[path] = self._shown(self.own, ("suite", "limits"))
        for key in shared.keys() - limits.keys():
            self.places[(*path, key)] = self._shown(self.own, ("suite", "limits", key))
        return {key: value for key, value in {**shared, **limits}.items() if value != NONE}

    def _place(self, source: Document, old: KeyPath, new: KeyPath) -> None:
        """Copy the positions of a value, with its path in the original text."""
        for path in source.places:
            if path[: len(old)] == old:
                self.places[(*new, *path[len(old) :])] = self._shown(source, path)

    def _shown(self, source: Document, path: KeyPath) -> SourcePosition:
        return dataclasses.replace(source.places[path], path=source.places[path].path or path)

    def _forget(self, path: KeyPath) -> None:
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]


def _without_control(test: dict[str, Any], *, has_limits: bool) -> dict[str, Any]:
    """Return a positive control that is measured only, or a plain test if it has limits."""
    control = {} if has_limits else {"control": "idle"}
    return {key: value for key, value in test.items() if key != "control"} | control
