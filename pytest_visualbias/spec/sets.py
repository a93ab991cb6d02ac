"""What the stimuli of a spec must be to each other: sizes, overlaps, what they can show."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_visualbias.spec.counting import by_label, unlabelled
from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.groups import groups_path, shared_groups, ungrouped
from pytest_visualbias.spec.kinds import part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest
    from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet

__all__ = ["Finding", "concepts_of", "is_known", "set_findings"]

SHOWN = 5
FIRST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about the sets of a spec: its path, the sentence, and whether it is a fault."""

    path: Path
    message: str
    is_fault: bool


def concepts_of(test: BiasTest) -> dict[str, str]:
    """Return the concept of every role of a test, in the order ``X, Y, A, B``."""
    parts = [part for part in (test.targets, test.attributes) if part is not None]
    return {role: name for part in parts for role, name in part if name is not None}


def set_findings(spec: BiasSpec, sets: Mapping[str, StimulusSet]) -> Iterator[Finding]:
    """Yield what is wrong with, or worth knowing about, the sets of a spec.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    sets : mapping
        The sets that could be resolved, by concept; tests that lack one are passed over.
    """
    used = {concept for test in spec.tests for concept in concepts_of(test).values()}
    for concept in sorted(used & sets.keys()):
        yield from _of_set(spec, sets[concept])
    for index, test in enumerate(spec.tests):
        roles = concepts_of(test)
        if all(concept in sets for concept in roles.values()):
            chosen = {role: sets[concept] for role, concept in roles.items()}
            yield from _of_test(spec, ("tests", index), test, chosen)


def _of_set(spec: BiasSpec, stimuli: StimulusSet) -> Iterator[Finding]:
    path: Path = ("concepts", stimuli.concept)
    if not stimuli.stimuli:
        hint = "put images into its folder or correct 'path' and 'pattern'"
        yield Finding(path=path, message=f"no image was found; {hint}", is_fault=True)
    if (pattern := groups_path(spec, stimuli.concept)) and (left := ungrouped(spec, stimuli)):
        first = ", ".join(map(printable, left[:FIRST]))
        message = (
            f"the pattern matches no whole file name (without its ending) of {len(left)} of "
            f"{len(stimuli)} images in '{stimuli.concept}': {first}; correct it or rename the files"
        )
        yield Finding(path=pattern, message=message, is_fault=True)
    if stimuli.others:
        names = _list(stimuli.others)
        message = f"left out, not being images by their names: {names}; move them away"
        yield Finding(path=path, message=message, is_fault=False)
    groups: dict[str, list[Stimulus]] = {}
    for stimulus in stimuli.stimuli:
        groups.setdefault(stimulus.digest, []).append(stimulus)
    same = [group for group in groups.values() if len(group) > 1]
    unknown = [group for group in same if not any(is_known(spec, one) for one in group)]
    if unknown:
        names = _list(map(_same, unknown))
        yield _duplicate(spec, path, f"the same {stimuli.noun} twice in the set: {names}")


def _of_test(
    spec: BiasSpec, path: Path, test: BiasTest, sets: Mapping[str, StimulusSet]
) -> Iterator[Finding]:
    if all(sets.values()):  # an empty one is a fault of its own
        for key, message in unlabelled(test, sets):
            part = ("prediction", key) if key == "label" else (part_of(key), key)
            yield Finding(path=(*path, *part), message=printable(message), is_fault=True)
        inside, outside = by_label(test, sets)
        if inside and not outside:
            message = (
                "every image is of the class, so the test cannot show whether the classifier tells "
                "the class from others; add images of other classes"
            )
            yield Finding(path=(*path, "prediction", "label"), message=message, is_fault=False)
    for (first, second), groups in shared_groups(spec, sets).items():
        message = (
            f"{first} and {second} share {_list(groups)}: a group must be in one set of a test "
            "only; correct 'groups', or the sets"
        )
        yield Finding(path=(*path, part_of(second)), message=message, is_fault=True)
    for first, second in itertools.combinations(sets, 2):
        shared = _shared(sets[first], sets[second])
        noun = sets[first].noun
        if shared and (first, second) in test.apart:
            message = (
                f"{first} and {second} share {_list(map(_pair, shared))}; "
                f"{'an' if noun == 'image' else 'a'} {noun} must be in one of them only"
            )
            yield Finding(path=(*path, part_of(second)), message=message, is_fault=True)
        elif unknown := [pair for pair in shared if not any(is_known(spec, p) for p in pair)]:
            names = _list(map(_pair, unknown))
            message = f"the same {noun} in target {first} and attribute {second}: {names}"
            yield _duplicate(spec, path, message)


def _duplicate(spec: BiasSpec, path: Path, message: str) -> Finding:
    remedy = "remove it, or list it under 'known_duplicates'"
    is_fault = spec.settings.duplicates == "error"
    return Finding(path=path, message=f"{message}; {remedy}", is_fault=is_fault)


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
