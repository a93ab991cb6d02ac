"""Check the stimuli of concepts: sizes, overlaps and groups."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import printable
from pytest_visualbias.spec.error_messages import MAX_LISTED, format_names
from pytest_visualbias.spec.hashing import digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles, ConceptWords
from pytest_visualbias.spec.test_kinds import concepts_of, part_of
from pytest_visualbias.stimuli.resolve import IMAGE_SUFFIXES, Stimulus, split_by_label, unlabelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath
    from pytest_visualbias.stimuli.resolve import StimulusSet


def groups_path(spec: BiasSpec, concept: str) -> KeyPath | None:
    """Return the path of the pattern that groups the images of a concept, if any."""
    files = spec.concepts[concept]
    if isinstance(files, ConceptWords):
        return None
    if isinstance(files, ConceptFiles) and files.groups is not None:
        return ("concepts", concept, "groups")
    return None if spec.groups is None else ("groups",)


def groups_of(spec: BiasSpec, stimuli: StimulusSet) -> tuple[str | None, ...] | None:
    """Return the group of each image, None if it has none; None for a set without groups."""
    path = groups_path(spec, stimuli.concept)
    if path is None:
        return None
    files = spec.concepts[stimuli.concept]
    pattern = files.groups if isinstance(files, ConceptFiles) and files.groups else spec.groups
    matches = (re.fullmatch(pattern or "", _stem(stimulus.name)) for stimulus in stimuli.stimuli)
    return tuple(None if match is None else match[1] or None for match in matches)


def ungrouped(spec: BiasSpec, stimuli: StimulusSet) -> list[str]:
    """Return the names of the images that the group pattern does not match."""
    groups = groups_of(spec, stimuli) or ()
    return [image.name for image, group in zip(stimuli.stimuli, groups, strict=False) if not group]


def group_stimuli(spec: BiasSpec, stimuli: StimulusSet) -> StimulusSet:
    """Return a set with one stimulus per group, ordered by name."""
    groups = groups_of(spec, stimuli)
    if groups is None:
        return stimuli
    members: dict[str, list[Stimulus]] = {}
    for image, group in zip(stimuli.stimuli, groups, strict=True):
        members.setdefault(group or image.name, []).append(image)
    joined = tuple(
        Stimulus(
            name=group,
            digest=digest_of_list(["group", group, *(member.digest for member in members[group])]),
            identity=digest_of_list(
                ["group", group, *(image.identity for image in members[group])]
            ),
            members=len(members[group]),
        )
        for group in sorted(members)
    )
    return dataclasses.replace(stimuli, stimuli=joined)


def shared_groups(
    spec: BiasSpec, sets: Mapping[str, StimulusSet]
) -> dict[tuple[str, str], list[str]]:
    """Return the groups that two roles of a test share, by pair of roles."""
    names = {role: {*(groups_of(spec, stimuli) or ())} - {None} for role, stimuli in sets.items()}
    shared = {
        pair: sorted(group for group in names[pair[0]] & names[pair[1]] if group)
        for pair in itertools.combinations(sets, 2)
    }
    return {pair: groups for pair, groups in shared.items() if groups}


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


FIRST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFinding:
    """A finding about the stimuli of a spec: its path, message, and whether it is a fault."""

    path: KeyPath
    message: str
    is_fault: bool


def set_findings(spec: BiasSpec, sets: Mapping[str, StimulusSet]) -> Iterator[SetFinding]:
    """Yield faults and warnings about the stimuli of a spec."""
    used = {concept for test in spec.tests for concept in concepts_of(test).values()}
    for concept in sorted(used & sets.keys()):
        yield from _check_set(spec, sets[concept])
    for index, test in enumerate(spec.tests):
        roles = concepts_of(test)
        if all(concept in sets for concept in roles.values()):
            chosen = {role: sets[concept] for role, concept in roles.items()}
            yield from _check_test(spec, ("tests", index), test, chosen)


def _check_set(spec: BiasSpec, stimuli: StimulusSet) -> Iterator[SetFinding]:
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
        names = format_names(stimuli.others)
        message = f"left out, not being images by their names: {names}; move them away"
        yield SetFinding(path=path, message=message, is_fault=False)
    groups: dict[str, list[Stimulus]] = {}
    for stimulus in stimuli.stimuli:
        groups.setdefault(stimulus.digest, []).append(stimulus)
    same = [group for group in groups.values() if len(group) > 1]
    unknown = [group for group in same if not any(is_listed(spec, stimulus) for stimulus in group)]
    if unknown:
        names = format_names(map(_format_duplicates, unknown))
        yield _duplicate(spec, path, f"the same {stimuli.noun} twice in the set: {names}")


def _check_test(
    spec: BiasSpec, path: KeyPath, test: BiasTest, sets: Mapping[str, StimulusSet]
) -> Iterator[SetFinding]:
    if all(sets.values()):  # an empty one is a fault of its own
        for key, message in unlabelled(test, sets):
            part = ("prediction", key) if key == "label" else (part_of(key), key)
            yield SetFinding(path=(*path, *part), message=printable(message), is_fault=True)
        inside, outside = split_by_label(test, sets)
        if inside and not outside:
            message = (
                "every image is of the class, so the test cannot show whether the classifier tells "
                "the class from others; add images of other classes"
            )
            yield SetFinding(path=(*path, "prediction", "label"), message=message, is_fault=False)
    for (first, second), groups in shared_groups(spec, sets).items():
        message = (
            f"{first} and {second} share {format_names(groups)}: a group must be in one set of a "
            "test only; correct 'groups', or the sets"
        )
        yield SetFinding(path=(*path, part_of(second)), message=message, is_fault=True)
    for first, second in itertools.combinations(sets, 2):
        shared = _shared_stimuli(sets[first], sets[second])
        noun = sets[first].noun
        if shared and (first, second) in test.apart:
            message = (
                f"{first} and {second} share {format_names(map(_format_pair, shared))}; "
                f"{'an' if noun == 'image' else 'a'} {noun} must be in one of them only"
            )
            yield SetFinding(path=(*path, part_of(second)), message=message, is_fault=True)
        elif unknown := [pair for pair in shared if not any(is_listed(spec, p) for p in pair)]:
            names = format_names(map(_format_pair, unknown))
            message = f"the same {noun} in target {first} and attribute {second}: {names}"
            yield _duplicate(spec, path, message)


def _duplicate(spec: BiasSpec, path: KeyPath, message: str) -> SetFinding:
    remedy = "remove it, or list it under 'known_duplicates'"
    is_fault = spec.settings.duplicates == "error"
    return SetFinding(path=path, message=f"{message}; {remedy}", is_fault=is_fault)


def _shared_stimuli(first: StimulusSet, second: StimulusSet) -> list[tuple[Stimulus, Stimulus]]:
    others = {image.digest: image for image in second.stimuli}
    return [(image, others[image.digest]) for image in first.stimuli if image.digest in others]


def _format_pair(pair: tuple[Stimulus, Stimulus]) -> str:
    return " = ".join(dict.fromkeys(stimulus.name for stimulus in pair))


def _format_duplicates(group: list[Stimulus]) -> str:
    """Return the names of identical images, at most five."""
    more = f" = {len(group) - MAX_LISTED} more" if len(group) > MAX_LISTED else ""
    return " = ".join(stimulus.name for stimulus in group[:MAX_LISTED]) + more


def is_listed(spec: BiasSpec, stimulus: Stimulus) -> bool:
    """Return whether `known_duplicates` lists an image."""
    file = stimulus.name.rpartition("/")[2]
    names = (stimulus.name, file, file.rpartition(".")[0])
    return any(fnmatchcase(name, known) for name in names for known in spec.known_duplicates)
