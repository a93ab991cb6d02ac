"""Check the sets of a spec: sizes, overlaps and groups."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import printable
from pytest_visualbias.spec.hashing import digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles, ConceptWords
from pytest_visualbias.spec.test_kinds import concepts_of, part_of
from pytest_visualbias.stimuli.resolve import IMAGE_SUFFIXES, Stimulus, by_label, unlabelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath
    from pytest_visualbias.stimuli.resolve import StimulusSet


def groups_path(spec: BiasSpec, concept: str) -> KeyPath | None:
    """Return the path of the pattern that groups the images of a concept, if there is one."""
    files = spec.concepts[concept]
    if isinstance(files, ConceptWords):
        return None
    if isinstance(files, ConceptFiles) and files.groups is not None:
        return ("concepts", concept, "groups")
    return None if spec.groups is None else ("groups",)


def groups_of(spec: BiasSpec, stimuli: StimulusSet) -> tuple[str | None, ...] | None:
    """Return the group of each image, None for one without; nothing for a set without groups."""
    path = groups_path(spec, stimuli.concept)
    if path is None:
        return None
    files = spec.concepts[stimuli.concept]
    pattern = files.groups if isinstance(files, ConceptFiles) and files.groups else spec.groups
    found = (re.fullmatch(pattern or "", _stem(stimulus.name)) for stimulus in stimuli.stimuli)
    return tuple(None if match is None else match[1] or None for match in found)


def ungrouped(spec: BiasSpec, stimuli: StimulusSet) -> list[str]:
    """Return the names of the images that the pattern does not match."""
    groups = groups_of(spec, stimuli) or ()
    return [one.name for one, group in zip(stimuli.stimuli, groups, strict=False) if not group]


def grouped(spec: BiasSpec, stimuli: StimulusSet) -> StimulusSet:
    """Return a set of which every group is one stimulus, in the order of their names."""
    groups = groups_of(spec, stimuli)
    if groups is None:
        return stimuli
    members: dict[str, list[Stimulus]] = {}
    for one, group in zip(stimuli.stimuli, groups, strict=True):
        members.setdefault(group or one.name, []).append(one)
    joined = tuple(
        Stimulus(
            name=group,
            digest=digest_of_list(["group", group, *(member.digest for member in members[group])]),
            identity=digest_of_list(["group", group, *(one.identity for one in members[group])]),
            members=len(members[group]),
        )
        for group in sorted(members)
    )
    return dataclasses.replace(stimuli, stimuli=joined)


def shared_groups(
    spec: BiasSpec, sets: Mapping[str, StimulusSet]
) -> dict[tuple[str, str], list[str]]:
    """Return the groups that two roles of a test share, by the pair of roles."""
    names = {role: {*(groups_of(spec, one) or ())} - {None} for role, one in sets.items()}
    shared = {
        pair: sorted(group for group in names[pair[0]] & names[pair[1]] if group)
        for pair in itertools.combinations(sets, 2)
    }
    return {pair: groups for pair, groups in shared.items() if groups}


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


SHOWN = 5
FIRST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFinding:
    """Something about the sets of a spec: its path, the sentence, and whether it is a fault."""

    path: KeyPath
    message: str
    is_fault: bool


def set_findings(spec: BiasSpec, sets: Mapping[str, StimulusSet]) -> Iterator[SetFinding]:
    """Yield what is wrong with, or worth knowing about, the sets of a spec."""
    used = {concept for test in spec.tests for concept in concepts_of(test).values()}
    for concept in sorted(used & sets.keys()):
        yield from _of_set(spec, sets[concept])
    for index, test in enumerate(spec.tests):
        roles = concepts_of(test)
        if all(concept in sets for concept in roles.values()):
            chosen = {role: sets[concept] for role, concept in roles.items()}
            yield from _of_test(spec, ("tests", index), test, chosen)


def _of_set(spec: BiasSpec, stimuli: StimulusSet) -> Iterator[SetFinding]:
    path: KeyPath = ("concepts", stimuli.concept)
    if not stimuli.stimuli:
        hint = "put images into its folder or correct 'path' and 'pattern'"
        yield SetFinding(path=path, message=f"no image was found; {hint}", is_fault=True)
    if (pattern := groups_path(spec, stimuli.concept)) and (left := ungrouped(spec, stimuli)):
        first = ", ".join(map(printable, left[:FIRST]))
        message = (
            f"the pattern matches no whole file name (without its ending) of {len(left)} of "
            f"{len(stimuli)} images in '{stimuli.concept}': {first}; correct it or rename the files"
        )
        yield SetFinding(path=pattern, message=message, is_fault=True)
    if stimuli.others:
        names = _list(stimuli.others)
        message = f"left out, not being images by their names: {names}; move them away"
        yield SetFinding(path=path, message=message, is_fault=False)
    groups: dict[str, list[Stimulus]] = {}
    for stimulus in stimuli.stimuli:
        groups.setdefault(stimulus.digest, []).append(stimulus)
    same = [group for group in groups.values() if len(group) > 1]
    unknown = [group for group in same if not any(is_known(spec, one) for one in group)]
    if unknown:
        names = _list(map(_same, unknown))
        yield _duplicate(spec, path, f"the same {stimuli.noun} twice in the set: {names}")


def _of_test(
    spec: BiasSpec, path: KeyPath, test: BiasTest, sets: Mapping[str, StimulusSet]
) -> Iterator[SetFinding]:
    if all(sets.values()):  # an empty one is a fault of its own
        for key, message in unlabelled(test, sets):
            part = ("prediction", key) if key == "label" else (part_of(key), key)
            yield SetFinding(path=(*path, *part), message=printable(message), is_fault=True)
        inside, outside = by_label(test, sets)
        if inside and not outside:
            message = (
                "every image is of the class, so the test cannot show whether the classifier tells "
                "the class from others; add images of other classes"
            )
            yield SetFinding(path=(*path, "prediction", "label"), message=message, is_fault=False)
    for (first, second), groups in shared_groups(spec, sets).items():
        message = (
            f"{first} and {second} share {_list(groups)}: a group must be in one set of a test "
            "only; correct 'groups', or the sets"
        )
        yield SetFinding(path=(*path, part_of(second)), message=message, is_fault=True)
    for first, second in itertools.combinations(sets, 2):
        shared = _shared(sets[first], sets[second])
        noun = sets[first].noun
        if shared and (first, second) in test.apart:
            message = (
                f"{first} and {second} share {_list(map(_pair, shared))}; "
                f"{'an' if noun == 'image' else 'a'} {noun} must be in one of them only"
            )
            yield SetFinding(path=(*path, part_of(second)), message=message, is_fault=True)
        elif unknown := [pair for pair in shared if not any(is_known(spec, p) for p in pair)]:
            names = _list(map(_pair, unknown))
            message = f"the same {noun} in target {first} and attribute {second}: {names}"
            yield _duplicate(spec, path, message)


def _duplicate(spec: BiasSpec, path: KeyPath, message: str) -> SetFinding:
    remedy = "remove it, or list it under 'known_duplicates'"
    is_fault = spec.settings.duplicates == "error"
    return SetFinding(path=path, message=f"{message}; {remedy}", is_fault=is_fault)


def _shared(first: StimulusSet, second: StimulusSet) -> list[tuple[Stimulus, Stimulus]]:
    found = {stimulus.digest: stimulus for stimulus in second.stimuli}
    return [(one, found[one.digest]) for one in first.stimuli if one.digest in found]


def _pair(pair: tuple[Stimulus, Stimulus]) -> str:
    return " = ".join(dict.fromkeys(one.name for one in pair))


def _same(group: list[Stimulus]) -> str:
    """Return the names of one image, the first few where they are many."""
    more = f" = {len(group) - SHOWN} more" if len(group) > SHOWN else ""
    return " = ".join(one.name for one in group[:SHOWN]) + more


def is_known(spec: BiasSpec, stimulus: Stimulus) -> bool:
    """Whether a spec says that an image may stand twice."""
    file = stimulus.name.rpartition("/")[2]
    names = (stimulus.name, file, file.rpartition(".")[0])
    return any(fnmatchcase(name, known) for name in names for known in spec.known_duplicates)


def _list(names: Iterable[str]) -> str:
    """Return names in one line, the first few where they are many, always printable."""
    shown = [printable(name) for name in names]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
