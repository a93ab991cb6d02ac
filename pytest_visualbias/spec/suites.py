"""A suite: published tests and their concepts, from a ``*.suite.yaml`` to checked values."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.checks import inconsistencies_of_tests
from pytest_visualbias.spec.digests import digest_of_text
from pytest_visualbias.spec.document import Document, read_document
from pytest_visualbias.spec.faults import did_you_mean, explain
from pytest_visualbias.spec.inline_words import lifted
from pytest_visualbias.spec.kinds import AnyTest
from pytest_visualbias.spec.schema import Concept, Layer
from pytest_visualbias.spec.shipped import SUITE_SUFFIXES, fetched, suite_names, suite_path
from pytest_visualbias.spec.values import Name, Strict, TagName, Text, Texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.checks import Finding
    from pytest_visualbias.spec.document import Fault, Place
    from pytest_visualbias.spec.document import Path as DataPath

__all__ = ["Home", "Suite", "SuiteFile", "find_suite", "read_suite"]

# What a suite takes over, entry by entry, from the one that it extends.
JOINED = ("concepts", "tags")


class Suite(Strict):
    """A whole suite file: no models and no limits, which are the user's.

    Attributes
    ----------
    title, citation, source, licence : str
        For people; the licence is that of the stimuli.
    stimuli : str, optional
        Where they are, relative to the suite. Without it they lie beside a suite of the user's own,
        and those of one that ships are put where ``fetch`` puts them.
    extends : str, optional
        A suite whose parts hold here, too, unless they are given here.
    tags : mapping of str to str
        What each tag means. Where it is given, tests have these tags only.
    """

    visualbias_suite: Literal[1]
    title: str = ""
    citation: str = ""
    source: str = ""
    licence: str = ""
    stimuli: Text | None = None
    extends: Text | None = None
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)] | None = None
    tags: Annotated[dict[TagName, str], Field(default_factory=dict)]
    concepts: Annotated[dict[Name, Concept], Field(min_length=1)]
    known_duplicates: Texts = ()
    tests: Annotated[tuple[AnyTest, ...], Field(strict=False, min_length=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """Where the stimuli of a suite are unless a spec says otherwise."""

    suite: str
    folder: Path
    can_be_fetched: bool

    def absence(self) -> str:
        """Return the sentence about a folder that is not there."""
        remedy = f"run 'visualbias fetch {self.suite}' or give" if self.can_be_fetched else "give"
        return (
            f"the stimuli of the suite '{self.suite}' are not in {self.folder}; {remedy} 'stimuli'"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteFile:
    """A checked suite with what it was read from.

    Attributes
    ----------
    name : str
        What people call it.
    suite : Suite
        What it says.
    document : Document
        Its data; every place names its file.
    homes : mapping of str to Home
        Where the stimuli of each concept are.
    digests : tuple of str
        sha256 of its text, and of the one it extends.
    """

    name: str
    suite: Suite
    document: Document
    homes: Mapping[str, Home]
    digests: tuple[str, ...]


def find_suite(name: str, *, folder: Path, shown: str) -> tuple[Path, str] | None:
    """Return the file of a suite, and what it is called in sentences; None for an unknown name.

    Parameters
    ----------
    name : str
        A suite that ships, or a path.
    folder : Path
        What a path is relative to.
    shown : str
        That folder as people see it.
    """
    if name.endswith(SUITE_SUFFIXES):
        return folder / name, os.path.normpath(Path(shown, name)).replace(os.sep, "/")
    path = suite_path(name)
    return (path, path.name) if name in suite_names() else None


def read_suite(path: Path, *, file: str, may_extend: bool = True) -> SuiteFile:
    """Read and check a suite.

    Parameters
    ----------
    path : Path
        The file.
    file : str
        Its path as faults name it.
    may_extend : bool
        Whether it may build on another suite.

    Raises
    ------
    SpecError
        With all faults.
    """
    text = _text(path, file)
    document = lifted(_placed(read_document(text), file))
    faults = list(document.faults)
    if not document.complete or faults:
        raise _error(faults, file)
    name = path.name.removesuffix(SUITE_SUFFIXES[0]).removesuffix(SUITE_SUFFIXES[1])
    home = _home(document, path, name)
    base = _base(document, path, file=file, may_extend=may_extend)
    own = _mapping(document.data, "concepts")
    homes = {**(base.homes if base is not None else {}), **dict.fromkeys(own, home)}
    if base is not None:
        document = _extended(document, base.document)
    return SuiteFile(
        name=name,
        suite=_checked(document, file),
        document=document,
        homes=homes,
        digests=(digest_of_text(text), *(base.digests if base is not None else ())),
    )


def _home(document: Document, path: Path, name: str) -> Home:
    """Return where the suite's own stimuli are."""
    said = document.data.get("stimuli") if isinstance(document.data, dict) else None
    if isinstance(said, str):
        folder = Path(os.path.normpath(path.parent / said))
        return Home(suite=name, folder=folder, can_be_fetched=False)
    ships = path == suite_path(name)
    return Home(suite=name, folder=fetched(name) if ships else path.parent, can_be_fetched=ships)


def _text(path: Path, file: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (byte {error.start}); save it as UTF-8"
    except OSError as error:
        message = f"cannot be read ({error.strerror}); correct the path of the suite"
    raise SpecError([f"{file}:1:1: {message}"])


def _placed(document: Document, file: str) -> Document:
    """Return a document whose places say where they are, so that a spec can take them over."""
    places = {
        path: dataclasses.replace(place, file=file, path=path)
        for path, place in document.places.items()
    }
    return dataclasses.replace(document, places=places)


def _base(document: Document, path: Path, *, file: str, may_extend: bool) -> SuiteFile | None:
    """Return the suite that this one extends, where it does."""
    name = document.data.get("extends") if isinstance(document.data, dict) else None
    if not isinstance(name, str):
        return None  # nothing, or of a wrong type, which validation tells
    found = find_suite(name, folder=path.parent, shown=os.path.dirname(file))  # noqa: PTH120 - shown
    if not may_extend:
        message = "this suite is extended itself; extend the one that it extends"
    elif found is None:
        message = f"unknown suite '{name}'; {did_you_mean(name, suite_names())}"
    else:
        return read_suite(found[0], file=found[1], may_extend=False)
    raise _error([document.fault(("extends",), message)], file)


def _mapping(data: Any, key: str) -> dict[str, Any]:
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _extended(document: Document, base: Document) -> Document:
    """Return the document with what it leaves to the other."""
    data = {**base.data, **document.data}
    places = {path: place for path, place in base.places.items() if _is_left(path, document.data)}
    for key in JOINED:
        joined = {**_mapping(base.data, key), **_mapping(document.data, key)}
        if joined and isinstance(data[key], dict):
            data[key] = joined
    return dataclasses.replace(document, data=data, places={**places, **document.places})


def _is_left(path: DataPath, own: dict[str, Any]) -> bool:
    """Whether what stands at a path of the extended suite holds in the one that extends it."""
    if not path or path[0] not in own:
        return bool(path)
    return path[0] in JOINED and len(path) > 1 and path[1] not in _mapping(own, str(path[0]))


def _checked(document: Document, file: str) -> Suite:
    try:
        suite = Suite.model_validate(document.data)
    except ValidationError as error:
        raise _error(explain(document, Suite, error.errors()), file) from None
    faults = [document.fault(path, message) for path, message in _inconsistencies(suite)]
    if faults:
        raise _error(faults, file)
    return suite


def _inconsistencies(suite: Suite) -> Iterator[Finding]:
    yield from inconsistencies_of_tests(suite)
    for index, test in enumerate(suite.tests):
        for key in ("limits", "growth_from"):
            if key in test.model_fields_set:
                yield ("tests", index, key), "is for specs, not for suites; move it to the spec"
        for position, tag in enumerate(test.tags):
            if suite.tags and tag not in suite.tags:
                message = f"unknown tag '{tag}'; {did_you_mean(tag, suite.tags)}"
                yield ("tests", index, "tags", position), message


def _error(faults: list[Fault], file: str) -> SpecError:
    def order(fault: Fault) -> Place:
        return fault.place

    return SpecError([fault.sentence(file) for fault in sorted(faults, key=order)])
