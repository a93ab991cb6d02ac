"""A folder of labelled images: a subfolder for each class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.pipeline.preflight import ModelSets
from pytest_visualbias.spec.stimuli import resolve_concept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet

__all__ = ["labelled_sets"]


def labelled_sets(folder: Path, *, digest: Callable[[Path], str], folds: int) -> ModelSets:
    """Return the images of a folder that has a subfolder for each class.

    Parameters
    ----------
    folder : Path
        Of the classes.
    digest : callable
        Returns the sha256 of a file.
    folds : int
        Images that a class needs at least.

    Returns
    -------
    ModelSets
        A set for each class, each image in it once: of two equal ones, one would be trained on and
        the other one asked.

    Raises
    ------
    StimulusError
        For a folder that is missing, classes without enough images, and images of two classes.
    """
    if not folder.is_dir():
        raise StimulusError(f"{folder} is not a folder; name one with a subfolder for each class")
    names = sorted(one.name for one in folder.iterdir() if _is_class(one))
    if len(names) < 2:  # noqa: PLR2004 - one class has nothing to be told from
        raise StimulusError(
            f"{folder} has {len(names)} subfolders; a probe needs two classes or more"
        )
    sets = {name: _once(resolve_concept(name, name, folder, digest=digest)) for name in names}
    seen: dict[str, Stimulus] = {}
    for name, found in sets.items():
        if len(found) < folds:
            raise StimulusError(
                f"{folder / name} has {len(found)} different images, fewer than the {folds} folds; "
                "add images or ask for fewer folds"
            )
        for one in found.stimuli:
            other = seen.setdefault(one.identity, one)
            if other is not one:
                raise StimulusError(
                    f"{folder}: {other.name} and {one.name} are one image in two classes; "
                    "remove one of them"
                )
    return ModelSets(sets=sets, problems={})


def _once(found: StimulusSet) -> StimulusSet:
    """Return a set with the first of equal images."""
    first = {one.identity: one for one in reversed(found.stimuli)}
    stimuli = tuple(one for one in found.stimuli if first[one.identity] is one)
    return dataclasses.replace(found, stimuli=stimuli)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
