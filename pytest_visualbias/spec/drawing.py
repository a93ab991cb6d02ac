"""What a spec draws from a suite, put into its document before it is checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.faults import did_you_mean, explain
from pytest_visualbias.spec.merging import FLOOR, merged, named_tests
from pytest_visualbias.spec.schema import Choice, SuiteChoice
from pytest_visualbias.spec.shipped import suite_names
from pytest_visualbias.spec.suites import find_suite, read_suite

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.document import Document, Fault, Path
    from pytest_visualbias.spec.suites import Home, SuiteFile

__all__ = ["Drawn", "draw"]

DEFINITION = frozenset({"kind", "targets", "attributes", "prediction"})


class _Drawing(BaseModel):
    """The one key of a spec that must be understood before the others."""

    suite: Choice | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A spec's document with what its suite adds.

    Attributes
    ----------
    document : Document
        Of the spec, with the suite's tests and concepts in it.
    homes : mapping of str to Home
        Where the stimuli of the suite's concepts are; none where the spec has a root of its own.
    digests : tuple of str
        Of the suite's texts.
    faults : tuple of Fault
        What is wrong with the choice.
    suite_faults : tuple of str
        What is wrong with the suite.
    """

    document: Document
    homes: Mapping[str, Home] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    suite_faults: tuple[str, ...] = ()


def draw(document: Document, *, file: str, folder: pathlib.Path) -> Drawn:
    """Return a spec's document with the tests, concepts and layers of its suite.

    Parameters
    ----------
    document : Document
        Of the spec.
    file : str
        Its path as faults name it.
    folder : Path
        What the path of a suite is relative to.
    """
    if not isinstance(document.data, dict) or document.data.get("suite") is None:
        return Drawn(document=document)
    try:
        chosen = _Drawing.model_validate({"suite": document.data["suite"]}).suite
    except ValidationError as error:
        faults = explain(document, _Drawing, error.errors())
        return Drawn(document=document, faults=tuple(faults))
    choice = chosen if isinstance(chosen, SuiteChoice) else SuiteChoice(name=str(chosen))
    found = find_suite(choice.name, folder=folder, shown=os.path.dirname(file))  # noqa: PTH120
    if found is None:
        hint = did_you_mean(choice.name, suite_names())
        message = f"unknown suite '{choice.name}'; {hint} (a path ends in '.suite.yaml')"
        path: Path = ("suite", "name") if choice is chosen else ("suite",)
        return Drawn(document=document, faults=(document.fault(path, message),))
    try:
        suite = read_suite(found[0], file=found[1])
    except SpecError as error:
        return Drawn(document=document, suite_faults=tuple(error.faults))
    faults = [document.fault(path, message) for path, message in _wrong(document, suite, choice)]
    if faults:
        return Drawn(document=document, faults=tuple(faults))
    return _drawn(document, suite, choice)


def _wrong(document: Document, suite: SuiteFile, choice: SuiteChoice) -> Iterator[tuple[Path, str]]:
    """Yield what is chosen and not there."""
    names = [test.name for test in suite.suite.tests]
    tags = sorted({tag for test in suite.suite.tests for tag in test.tags})
    for key, word, known in (("tags", "tag", tags), ("tests", "test", names)):
        for index, text in enumerate(getattr(choice, key) or ()):
            if text not in known:
                hint = did_you_mean(text, known)
                yield (
                    ("suite", key, index),
                    f"the suite '{suite.name}' has no {word} '{text}'; {hint}",
                )
    for name, index in named_tests(document.data).items():
        if name not in names and not document.data["tests"][index].keys() & DEFINITION:
            message = f"the suite '{suite.name}' has no such test; {did_you_mean(name, names)}"
            yield ("tests", index, "name"), f"{message} Otherwise add 'kind' and 'targets'"


def _drawn(document: Document, suite: SuiteFile, choice: SuiteChoice) -> Drawn:
    own = document.data.get("concepts")
    known = {*own} if isinstance(own, dict) else set()
    whole, controls = merged(document, suite.document, _names(document, suite, choice))
    faults: tuple[Fault, ...] = ()
    if choice.limits.min_effect is not None and not controls:
        message = "is for positive controls, and no test drawn is one; remove it or draw one"
        faults = (document.fault(("suite", "limits", FLOOR), message),)
    homes = {concept: home for concept, home in suite.homes.items() if concept not in known}
    return Drawn(
        document=whole,
        homes={} if "stimuli" in document.data else homes,
        digests=suite.digests,
        faults=faults,
    )


def _names(document: Document, suite: SuiteFile, choice: SuiteChoice) -> set[str]:
    """Return the names of the tests to draw: chosen ones, and those that the spec adds to."""
    tests = suite.suite.tests
    if choice.tags is None and choice.tests is None:
        return {test.name for test in tests}
    tagged = {test.name for test in tests if {*test.tags} & {*(choice.tags or ())}}
    return tagged | {*(choice.tests or ())} | {*named_tests(document.data)}
