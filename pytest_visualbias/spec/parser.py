"""Parse a spec file into a checked spec, or report all of its faults."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_visualbias.errors import EncoderError, LocatedFault, SpecError
from pytest_visualbias.spec import overrides as model_overrides
from pytest_visualbias.spec.consistency import find_inconsistencies, waiver_findings
from pytest_visualbias.spec.error_messages import did_you_mean, explain_faults
from pytest_visualbias.spec.hashing import digest_of_list, digest_of_text
from pytest_visualbias.spec.merging import hoist_inline_texts
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.spec.suites import select_from_suites
from pytest_visualbias.spec.yaml_document import Mistake, read_document, read_spec_text

if TYPE_CHECKING:
    import datetime as dt
    import pathlib
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.errors import VisualBiasError
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.suites import StimulusRoot
    from pytest_visualbias.spec.yaml_document import Document, KeyPath, SpecFault

DEPTH = 2  # how long the path of one model, concept or test is


@dataclass(frozen=True, kw_only=True)
class SpecFile:
    """A checked spec with its source."""

    spec: BiasSpec
    document: Document
    file: str
    folder: pathlib.Path
    digest: str
    homes: Mapping[str, StimulusRoot] = field(default_factory=dict)

    @functools.cached_property
    def positions(self) -> Mapping[str, int]:
        """Positions of the tests by name."""
        return {test.name: position for position, test in enumerate(self.spec.tests)}

    def test_line(self, name: str) -> int:
        """Return the one-based line of a test, or of the suite that it comes from."""
        place = self.document.place(("tests", self.positions[name]))
        return self.document.place(("suite",)).line if place.file else place.line

    def check_day(self, today: dt.date) -> None:
        """Raise for waivers that expire too far after a day."""
        findings = waiver_findings(self.spec, today)
        if faults := [self.document.fault(path, mistake) for path, mistake in findings]:
            raise _spec_error(faults, self.file)

    def fault(self, path: tuple[str | int, ...], problem: str, remedy: str = "") -> LocatedFault:
        """Return a fault at a path in this spec."""
        return self.document.fault(path, Mistake(problem, remedy)).located(self.file)

    def model_fault(self, model: str, error: EncoderError) -> LocatedFault:
        """Return an error of a model as a fault of its entry, or of the key that it names."""
        path = ("models", model, error.key) if error.key else ("models", model)
        return self.fault(path, error.statement, error.remedy)

    def fault_of(self, model: str, error: VisualBiasError) -> LocatedFault | None:
        """Return the fault that an error of a model is; None if it has no place in the spec."""
        if isinstance(error, SpecError):
            return error.faults[0]
        return self.model_fault(model, error) if isinstance(error, EncoderError) else None

    def sentence(self, path: tuple[str | int, ...], mistake: str) -> str:
        """Return a message about a path in this spec, with its place."""
        return str(self.fault(path, mistake))


def read_spec(
    path: pathlib.Path,
    *,
    file: str,
    overrides: tuple[Override, ...] = (),
    has_baseline: bool = False,
) -> SpecFile:
    """Read and check a spec file."""
    text = read_spec_text(path, file)
    return parse_spec(
        text, file=file, folder=path.parent, overrides=overrides, has_baseline=has_baseline
    )


def parse_spec(
    text: str,
    *,
    file: str,
    folder: pathlib.Path,
    overrides: tuple[Override, ...] = (),
    has_baseline: bool = False,
) -> SpecFile:
    """Check the text of a spec."""
    document = read_document(text)
    faults = list(document.faults)
    if not document.complete:
        raise _spec_error(faults, file)
    drawn = select_from_suites(document, file=file, folder=folder)
    document = hoist_inline_texts(drawn.document)
    if drawn.faults or drawn.suite_faults:
        raise SpecError([*_located([*faults, *drawn.faults], file), *drawn.suite_faults])
    data = model_overrides.apply_overrides(document.data, overrides, file)
    try:
        spec = BiasSpec.model_validate(data)
    except ValidationError as error:
        given = dataclasses.replace(document, data=data)
        known = {fault.path for fault in faults}
        explained = [
            fault
            for fault in explain_faults(given, BiasSpec, error.errors())
            if fault.path not in known
        ]
        faults += [*explained, *_remaining(given, [*faults, *explained], has_baseline=has_baseline)]
        raise _spec_error(faults, file) from None
    findings = find_inconsistencies(spec, has_baseline=has_baseline)
    faults += [document.fault(path, mistake) for path, mistake in findings]
    if faults:
        raise _spec_error(faults, file)
    digests = [digest_of_text(text), *drawn.digests]
    return SpecFile(
        spec=spec,
        document=document,
        file=file,
        folder=folder,
        digest=digest_of_list(digests) if drawn.digests else digests[0],
        homes=drawn.homes,
    )


def _remaining(
    document: Document, spec_faults: list[SpecFault], *, has_baseline: bool
) -> list[SpecFault]:
    """Return contradictions that would remain if the faulty values were corrected."""
    paths = [fault.path for fault in spec_faults]
    try:
        spec = BiasSpec.model_validate(_without(document.data, (), set(paths)))
    except ValidationError:  # a value that nothing can stand in for, such as the kind of a test
        return [
            document.fault(path, mistake)
            for path, mistake in _unknown_concepts(document.data)
            if not any(_may_cause(other, path) for other in paths)
        ]
    return [
        document.fault(path, mistake)
        for path, mistake in find_inconsistencies(spec, has_baseline=has_baseline)
        if not any(_may_cause(other, path) for other in paths)
    ]


def _unknown_concepts(data: Any) -> Iterator[tuple[KeyPath, Mistake]]:
    """Yield every concept that a test names and the spec does not define."""
    spec = data if isinstance(data, dict) else {}
    concepts, tests = spec.get("concepts"), spec.get("tests")
    if not isinstance(concepts, dict) or not isinstance(tests, list):
        return
    for index, test in enumerate(tests):
        for part in ("targets", "attributes"):
            sets = test.get(part) if isinstance(test, dict) else None
            for role, concept in sets.items() if isinstance(sets, dict) else ():
                if isinstance(concept, str) and concept not in concepts:
                    mistake = Mistake(
                        f"unknown concept '{concept}'", did_you_mean(concept, concepts)
                    )
                    yield ("tests", index, part, role), mistake


def _may_cause(fault: KeyPath, path: KeyPath) -> bool:
    """Return whether leaving out a faulty value may cause a finding."""
    if path[: len(fault)] == fault[: len(path)]:
        return True
    if fault[0] == "layers" and {"layers", "gated_layers", "prefix"} & {*path}:
        return True  # models speak of layers by their names and number
    if fault[0] == "pairs":
        return True  # which models are gated is known only when they say it themselves
    # A model or a test is checked as a whole; only the concepts of a test stand alone.
    is_beside = len(fault) > DEPTH and path[:DEPTH] == fault[:DEPTH]
    return is_beside and not (fault[0] == "tests" and {"targets", "attributes"} & {*path})


def _without(data: Any, path: KeyPath, left_out: set[KeyPath]) -> Any:
    # What tests refer to keeps its name, or they would seem to name something unknown.
    if len(path) == DEPTH and path[0] == "models" and any(path == p[:DEPTH] for p in left_out):
        return {"source": "?"}
    if path in left_out:
        return "?"
    if isinstance(data, dict):
        return {
            key: _without(value, (*path, key), left_out)
            for key, value in data.items()
            if (*path, key) not in left_out or path in (("concepts",), ("models",))
        }
    if isinstance(data, list):
        return [_without(value, (*path, index), left_out) for index, value in enumerate(data)]
    return data


def _spec_error(faults: list[SpecFault], file: str) -> SpecError:
    return SpecError(_located(faults, file))


def _located(faults: list[SpecFault], file: str) -> list[LocatedFault]:
    """Return each fault once, as a fault of a suite may concern many of its tests."""
    ordered = sorted(faults, key=lambda fault: (fault.place.file, fault.place))
    return list(dict.fromkeys(fault.located(file) for fault in ordered))
