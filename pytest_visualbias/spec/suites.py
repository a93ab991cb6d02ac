"""Find and read suites, and select tests from them."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from pytest_visualbias.errors import LocatedFault, SpecError
from pytest_visualbias.spec.consistency import find_test_inconsistencies
from pytest_visualbias.spec.error_messages import did_you_mean, explain_faults
from pytest_visualbias.spec.hashing import digest_of_text
from pytest_visualbias.spec.merging import FLOOR, hoist_inline_texts, merge_suite, named_tests
from pytest_visualbias.spec.schema import Choice, Suite, SuiteChoice
from pytest_visualbias.spec.yaml_document import Document, Mistake, read_document, read_spec_text

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.consistency import Finding
    from pytest_visualbias.spec.yaml_document import KeyPath, SourcePosition, SpecFault
    from pytest_visualbias.spec.yaml_document import KeyPath as DataPath

DATA_VARIABLE = "VISUALBIAS_DATA"
SUITE_SUFFIXES = (".suite.yaml", ".suite.yml")
SUITES = "bias_specs"


def shipped_folder(folder: str) -> Path:
    """Return a shipped folder: next to the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_shipped" / folder
    return inside if inside.is_dir() else package.parent / folder


def suite_names() -> tuple[str, ...]:
    """Return the names of the shipped suites."""
    suffix = SUITE_SUFFIXES[0]
    paths = shipped_folder(SUITES).glob(f"*{suffix}")
    return tuple(sorted(path.name.removesuffix(suffix) for path in paths))


def suite_path(name: str) -> Path:
    """Return the file of a shipped suite."""
    return shipped_folder(SUITES) / f"{name}{SUITE_SUFFIXES[0]}"


def data_folder() -> Path:
    """Return the folder of downloaded stimuli, which has a folder for each suite."""
    named = os.environ.get(DATA_VARIABLE)
    # The rules of XDG: what is not absolute does not count.
    shared = os.environ.get("XDG_DATA_HOME", "")
    below = Path(shared) if Path(shared).is_absolute() else Path("~", ".local", "share")
    folder = Path(named) if named else below / "visualbias"
    return Path(os.path.expanduser(folder))  # noqa: PTH111 - pathlib's raises without a home


def stimuli_folder(suite: str) -> Path:
    """Return the folder of the downloaded stimuli of a shipped suite."""
    return data_folder() / suite


# What a suite takes over, entry by entry, from the one that it extends.
MERGED_KEYS = ("concepts", "tags")


@dataclass(frozen=True, kw_only=True, slots=True)
class StimulusRoot:
    """The default folder of a suite's stimuli."""

    suite: str
    folder: Path
    can_be_fetched: bool

    def missing_stimuli(self) -> Mistake:
        """Return what is wrong if the folder is missing."""
        remedy = f"run 'visualbias fetch {self.suite}' or give" if self.can_be_fetched else "give"
        return Mistake(
            f"the stimuli of the suite '{self.suite}' are not in {self.folder}",
            f"{remedy} 'stimuli'",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteFile:
    """A checked suite with its source."""

    name: str
    suite: Suite
    document: Document
    homes: Mapping[str, StimulusRoot]
    digests: tuple[str, ...]


def find_suite(name: str, *, folder: Path, shown_in: str) -> tuple[Path, str] | None:
    """Return the file of a suite and its display name; None for an unknown name."""
    if name.endswith(SUITE_SUFFIXES):
        return folder / name, os.path.normpath(Path(shown_in, name)).replace(os.sep, "/")
    path = suite_path(name)
    return (path, path.name) if name in suite_names() else None


def read_suite(path: Path, *, file: str, may_extend: bool = True) -> SuiteFile:
    """Read and check a suite."""
    text = read_spec_text(path, file)
    document = hoist_inline_texts(_with_file(read_document(text), file))
    faults = list(document.faults)
    if not document.complete or faults:
        raise _suite_error(faults, file)
    name = path.name.removesuffix(SUITE_SUFFIXES[0]).removesuffix(SUITE_SUFFIXES[1])
    home = _root(document, path, name)
    base = _read_base(document, path, file=file, may_extend=may_extend)
    concepts = _mapping(document.data, "concepts")
    homes = {**(base.homes if base is not None else {}), **dict.fromkeys(concepts, home)}
    if base is not None:
        document = _extend(document, base.document)
    return SuiteFile(
        name=name,
        suite=_validate(document, file),
        document=document,
        homes=homes,
        digests=(digest_of_text(text), *(base.digests if base is not None else ())),
    )


def _root(document: Document, path: Path, name: str) -> StimulusRoot:
    """Return the default folder of a suite's own stimuli."""
    stimuli = document.data.get("stimuli") if isinstance(document.data, dict) else None
    if isinstance(stimuli, str):
        folder = Path(os.path.normpath(path.parent / stimuli))
        return StimulusRoot(suite=name, folder=folder, can_be_fetched=False)
    ships = path == suite_path(name)
    return StimulusRoot(
        suite=name, folder=stimuli_folder(name) if ships else path.parent, can_be_fetched=ships
    )


def _with_file(document: Document, file: str) -> Document:
    """Return a document whose positions name the file, so that a spec can copy them."""
    places = {
        path: dataclasses.replace(place, file=file, path=path)
        for path, place in document.places.items()
    }
    return dataclasses.replace(document, places=places)


def _read_base(document: Document, path: Path, *, file: str, may_extend: bool) -> SuiteFile | None:
    """Return the suite that a suite extends, if any."""
    name = document.data.get("extends") if isinstance(document.data, dict) else None
    if not isinstance(name, str):
        return None  # nothing, or of a wrong type, which validation tells
    suite = find_suite(name, folder=path.parent, shown_in=os.path.dirname(file))  # noqa: PTH120 - shown
    if not may_extend:
        mistake = Mistake("this suite is extended itself", "extend the one that it extends")
    elif suite is None:
        mistake = Mistake(f"unknown suite '{name}'", did_you_mean(name, suite_names()))
    else:
        return read_suite(suite[0], file=suite[1], may_extend=False)
    raise _suite_error([document.fault(("extends",), mistake)], file)


def _mapping(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _extend(document: Document, base: Document) -> Document:
    """Return a document with the keys that it inherits from the suite it extends."""
    data = {**base.data, **document.data}
    places = {path: place for path, place in base.places.items() if _inherits(path, document.data)}
    for key in MERGED_KEYS:
        joined = {**_mapping(base.data, key), **_mapping(document.data, key)}
        if joined and isinstance(data[key], dict):
            data[key] = joined
    return dataclasses.replace(document, data=data, places={**places, **document.places})


def _inherits(path: DataPath, data: dict[str, Any]) -> bool:
    """Return whether a value of the extended suite also holds in the extending suite."""
    if not path or path[0] not in data:
        return bool(path)
    return path[0] in MERGED_KEYS and len(path) > 1 and path[1] not in _mapping(data, str(path[0]))


def _validate(document: Document, file: str) -> Suite:
    try:
        suite = Suite.model_validate(document.data)
    except ValidationError as error:
        raise _suite_error(explain_faults(document, Suite, error.errors()), file) from None
    faults = [document.fault(path, mistake) for path, mistake in _inconsistencies(suite)]
    if faults:
        raise _suite_error(faults, file)
    return suite


def _inconsistencies(suite: Suite) -> Iterator[Finding]:
    yield from find_test_inconsistencies(suite)
    for index, test in enumerate(suite.tests):
        for key in ("limits", "growth_from"):
            if key in test.model_fields_set:
                yield (
                    ("tests", index, key),
                    Mistake("is for specs, not for suites", "move it to the spec"),
                )
        for position, tag in enumerate(test.tags):
            if suite.tags and tag not in suite.tags:
                mistake = Mistake(f"unknown tag '{tag}'", did_you_mean(tag, suite.tags))
                yield ("tests", index, "tags", position), mistake


def _suite_error(faults: list[SpecFault], file: str) -> SpecError:
    def order(fault: SpecFault) -> SourcePosition:
        return fault.place

    return SpecError([fault.located(file) for fault in sorted(faults, key=order)])


DEFINITION = frozenset({"kind", "targets", "attributes", "prediction"})


class _SuiteSelector(BaseModel):
    """The `suite` key of a spec, which is read before the others."""

    suite: Choice | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteSelection:
    """The document of a spec with the tests of its suite."""

    document: Document
    homes: Mapping[str, StimulusRoot] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    faults: tuple[SpecFault, ...] = ()
    suite_faults: tuple[LocatedFault, ...] = ()


def select_from_suites(document: Document, *, file: str, folder: pathlib.Path) -> SuiteSelection:
    """Return a spec's document with the tests, concepts and layers of its suite."""
    if not isinstance(document.data, dict) or document.data.get("suite") is None:
        return SuiteSelection(document=document)
    try:
        chosen = _SuiteSelector.model_validate({"suite": document.data["suite"]}).suite
    except ValidationError as error:
        faults = explain_faults(document, _SuiteSelector, error.errors())
        return SuiteSelection(document=document, faults=tuple(faults))
    choice = chosen if isinstance(chosen, SuiteChoice) else SuiteChoice(name=str(chosen))
    suite_file = find_suite(choice.name, folder=folder, shown_in=os.path.dirname(file))  # noqa: PTH120
    if suite_file is None:
        hint = did_you_mean(choice.name, suite_names())
        mistake = Mistake(
            f"unknown suite '{choice.name}'", f"{hint} (a path ends in '.suite.yaml')"
        )
        path: KeyPath = ("suite", "name") if choice is chosen else ("suite",)
        return SuiteSelection(document=document, faults=(document.fault(path, mistake),))
    try:
        suite = read_suite(suite_file[0], file=suite_file[1])
    except SpecError as error:
        return SuiteSelection(document=document, suite_faults=error.faults)
    faults = [document.fault(path, mistake) for path, mistake in _unknown(document, suite, choice)]
    if faults:
        return SuiteSelection(document=document, faults=tuple(faults))
    return _select_tests(document, suite, choice)


def _unknown(
    document: Document, suite: SuiteFile, choice: SuiteChoice
) -> Iterator[tuple[KeyPath, Mistake]]:
    """Yield selected tests and tags that the suite does not have."""
    names = [test.name for test in suite.suite.tests]
    tags = sorted({tag for test in suite.suite.tests for tag in test.tags})
    for key, word, known in (("tags", "tag", tags), ("tests", "test", names)):
        for index, text in enumerate(getattr(choice, key) or ()):
            if text not in known:
                hint = did_you_mean(text, known)
                yield (
                    ("suite", key, index),
                    Mistake(f"the suite '{suite.name}' has no {word} '{text}'", hint),
                )
    for name, index in named_tests(document.data).items():
        if name not in names and not document.data["tests"][index].keys() & DEFINITION:
            mistake = Mistake(
                f"the suite '{suite.name}' has no such test",
                f"{did_you_mean(name, names)} Otherwise add 'kind' and 'targets'",
            )
            yield ("tests", index, "name"), mistake


def _select_tests(document: Document, suite: SuiteFile, choice: SuiteChoice) -> SuiteSelection:
    concepts = document.data.get("concepts")
    known = {*concepts} if isinstance(concepts, dict) else set()
    whole, controls = merge_suite(document, suite.document, _names(document, suite, choice))
    faults: tuple[SpecFault, ...] = ()
    if choice.limits.min_effect is not None and not controls:
        mistake = Mistake(
            "is for positive controls, and no test drawn is one", "remove it or draw one"
        )
        faults = (document.fault(("suite", "limits", FLOOR), mistake),)
    homes = {concept: home for concept, home in suite.homes.items() if concept not in known}
    return SuiteSelection(
        document=whole,
        homes={} if "stimuli" in document.data else homes,
        digests=suite.digests,
        faults=faults,
    )


def _names(document: Document, suite: SuiteFile, choice: SuiteChoice) -> set[str]:
    """Return the names of the selected tests and of those that the spec adds to."""
    tests = suite.suite.tests
    if choice.tags is None and choice.tests is None:
        return {test.name for test in tests}
    tagged = {test.name for test in tests if {*test.tags} & {*(choice.tags or ())}}
    return tagged | {*(choice.tests or ())} | {*named_tests(document.data)}
