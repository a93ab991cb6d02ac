"""Groups of stimuli: images that belong together, and count as one."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.spec.digests import digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles, ConceptWords
from pytest_visualbias.spec.stimuli import IMAGE_SUFFIXES, Stimulus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["grouped", "groups_of", "groups_path", "shared_groups", "ungrouped"]


def groups_path(spec: BiasSpec, concept: str) -> Path | None:
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
    found = (re.fullmatch(pattern or "", _stem(one.name)) for one in stimuli.stimuli)
    return tuple(None if match is None else match[1] or None for match in found)


def ungrouped(spec: BiasSpec, stimuli: StimulusSet) -> list[str]:
    """Return the names of the images that the pattern does not match."""
    groups = groups_of(spec, stimuli) or ()
    return [one.name for one, group in zip(stimuli.stimuli, groups, strict=False) if not group]


def grouped(spec: BiasSpec, stimuli: StimulusSet) -> StimulusSet:
    """Return a set of which every group is one stimulus, in the order of their names.

    The digest of a group follows from its name and its images.
    """
    groups = groups_of(spec, stimuli)
    if groups is None:
        return stimuli
    members: dict[str, list[Stimulus]] = {}
    for one, group in zip(stimuli.stimuli, groups, strict=True):
        members.setdefault(group or one.name, []).append(one)
    joined = tuple(
        Stimulus(
            name=group,
            digest=digest_of_list(["group", group, *(one.digest for one in members[group])]),
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
