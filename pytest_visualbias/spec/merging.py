"""The documents of a spec and of its suite put together, every value with its own place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_visualbias.spec.document import Document, Path, Place

__all__ = ["FLOOR", "merged", "named_tests"]

NONE = "none"  # what a spec writes to take a suite's control or limit away
FLOOR = "min_effect"  # the limit of a positive control, and of nothing else
# What is put together anew, so that its places in the spec's own text are others afterwards.
RENUMBERED = ("tests", "known_duplicates")


def merged(document: Document, suite: Document, names: set[str]) -> tuple[Document, int]:
    """Return a spec's document with tests of a suite, and how many controls are among them.

    Parameters
    ----------
    document : Document
        Of the spec; what is of a wrong type in it is left to validation.
    suite : Document
        Of a suite that is valid.
    names : set of str
        The tests to draw.
    """
    merging = _Merging(own=document, suite=suite)
    merging.take_missing("title")
    merging.take_missing("layers")
    merging.join_concepts()
    merging.join_duplicates()
    merging.join_tests(names)
    whole = dataclasses.replace(document, data=merging.data, places=merging.places)
    return whole, merging.controls


def named_tests(data: dict[str, Any]) -> dict[str, int]:
    """Return the index of each test of a spec that has a name; of two namesakes the first."""
    tests = data.get("tests")
    found: dict[str, int] = {}
    for index, test in enumerate(tests if isinstance(tests, list) else []):
        if isinstance(test, dict) and isinstance(test.get("name"), str):
            found.setdefault(test["name"], index)
    return found


@dataclass(slots=True)
class _Merging:
    """A spec's data and places while those of a suite are put into them."""

    own: Document
    suite: Document
    data: dict[str, Any] = field(init=False)
    places: dict[Path, Place] = field(init=False)
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
        """Take what the spec does not say."""
        if key not in self.data and key in self.suite.data:
            self.data[key] = self.suite.data[key]
            self._place(self.suite, (key,), (key,))

    def join_concepts(self) -> None:
        """Put the suite's concepts before the spec's own, which win."""
        own = self.data.get("concepts", {})
        if not isinstance(own, dict):
            return
        theirs = self.suite.data["concepts"]
        self.data["concepts"] = {**theirs, **own}
        for name in theirs.keys() - own.keys():
            self._place(self.suite, ("concepts", name), ("concepts", name))

    def join_duplicates(self) -> None:
        """Put the suite's known duplicates before the spec's own."""
        key = "known_duplicates"
        theirs, own = self.suite.data.get(key, []), self.data.get(key, [])
        if not isinstance(own, list):
            return
        self.data[key] = [*theirs, *own]
        for index in range(len(theirs)):
            self._place(self.suite, (key, index), (key, index))
        for index in range(len(own)):
            self._place(self.own, (key, index), (key, index + len(theirs)))

    def join_tests(self, names: set[str]) -> None:
        """Put the drawn tests, with what the spec adds to them, before the spec's other tests."""
        own = self.data.get("tests", [])
        if not isinstance(own, list):
            return
        adding = named_tests(self.data)
        tests: list[Any] = []
        added: set[int | None] = set()
        for index, test in enumerate(self.suite.data["tests"]):
            if test["name"] in names:
                addition = adding.get(test["name"])
                added.add(addition)
                tests.append(self._drawn(index, addition, len(tests)))
        for index, test in enumerate(own):
            if index not in added:
                self._place(self.own, ("tests", index), ("tests", len(tests)))
                tests.append(test)
        self.data["tests"] = tests

    def _drawn(self, theirs: int, own: int | None, at: int) -> dict[str, Any]:
        """Return a test of the suite with what the spec adds, and keep the places of its keys."""
        added = self.data["tests"][own] if own is not None else {}
        test = {**self.suite.data["tests"][theirs], **added}
        if test.get("control") == NONE:
            test["control"] = None
        self._place(self.suite, ("tests", theirs), ("tests", at))
        if own is not None:
            for key in added:
                self._forget(("tests", at, key))
            self._place(self.own, ("tests", own), ("tests", at))
        limits = self._limits(test, at)
        is_positive = test.get("control") == "positive"
        if is_positive and "control" not in added and isinstance(limits, dict):
            # Without a floor a suite's control is measured only: what it needs is the user's word.
            is_positive = limits.get(FLOOR) is not None
            test = test if is_positive else _unasked(test, has_limits=limits != {})
        self.controls += is_positive
        return {**test, "limits": limits} if "limits" in test or limits != {} else test

    def _limits(self, test: dict[str, Any], at: int) -> Any:
        """Return the limits of the choice that concern a test, and those of the spec's own test."""
        own = test.get("limits", {})
        choice = self.data["suite"]
        given = choice.get("limits", {}) if isinstance(choice, dict) else {}
        if not isinstance(own, dict):
            return own
        is_positive = test.get("control") == "positive"
        shared = {key: value for key, value in given.items() if (key == FLOOR) == is_positive}
        path: Path = ("tests", at, "limits")
        if shared and path not in self.places:
            self.places[path] = self._shown(self.own, ("suite", "limits"))
        for key in shared.keys() - own.keys():
            self.places[(*path, key)] = self._shown(self.own, ("suite", "limits", key))
        return {key: value for key, value in {**shared, **own}.items() if value != NONE}

    def _place(self, source: Document, old: Path, new: Path) -> None:
        """Take over the places of a value, which say where it stands in its own text."""
        for path in source.places:
            if path[: len(old)] == old:
                self.places[(*new, *path[len(old) :])] = self._shown(source, path)

    def _shown(self, source: Document, path: Path) -> Place:
        return dataclasses.replace(source.places[path], path=source.places[path].path or path)

    def _forget(self, path: Path) -> None:
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]


def _unasked(test: dict[str, Any], *, has_limits: bool) -> dict[str, Any]:
    """Return a control as one that is measured only; with other limits it is a plain test."""
    control = {} if has_limits else {"control": "idle"}
    return {key: value for key, value in test.items() if key != "control"} | control
