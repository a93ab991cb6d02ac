"""Images that a model cannot tell apart: most often one picture, saved twice."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.sets import is_known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet

__all__ = ["alike", "near_duplicates"]

# Of vectors of length 1: more than batches change in float32, less than two photographs differ by.
NEAR = 1e-5
# Cosine of images of one burst, or of one picture cut twice.
NEARLY = 0.999
SHOWN = 3
READ = "reads different words alike"
REMEDY = "keep one of each, or name it under 'known_duplicates'"
# In a space of less, and in one of logits, different images often come to one place.
FEWEST = 16


def alike(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return what there is to say about files, or words, that differ and have the same vector.

    The bytes of a file change with its compression and its EXIF; what a model sees does not. In
    two targets such an image pulls both to one place, and in one set it counts twice.

    Parameters
    ----------
    spec : BiasSpec
        Says which duplicates are known.
    model : str
        Its name.
    sets : mapping of str to StimulusSet
        Of a test, by role.
    vectors : mapping of str to array
        Those that the model gives, by the identity of the image.
    """
    placed = {
        one.identity: (role, one)
        for role, stimuli in sets.items()
        for one in stimuli.stimuli
        if (one.path is not None or one.prompts) and one.identity in vectors
    }
    rows = [np.asarray(vectors[identity], np.float64).ravel() for identity in placed]
    pairs = [
        pair
        for pair in _near(list(placed.values()), rows)
        if not any(is_known(spec, image) for _, image in pair)
    ]
    found = []
    for same, is_read in (("sees one image in different files", False), (READ, True)):
        told = [_said(*pair) for pair in pairs if any(one.prompts for _, one in pair) == is_read]
        if told:
            more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
            found.append(f"'{model}' {same}: {', '.join(told[:SHOWN])}{more}; {REMEDY}")
    return found


def near_duplicates(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return what there is to say about images of one set that are nearly the same.

    Parameters
    ----------
    spec : BiasSpec
        Says which duplicates are known.
    model : str
        Its name.
    sets : mapping of str to StimulusSet
        Of a test, by role; sets of groups are left out.
    vectors : mapping of str to array
        Those that the model gives, by the identity of the image.
    """
    pairs: list[str] = []
    for role, stimuli in sets.items():
        images = [
            one
            for one in stimuli.stimuli
            if one.path is not None and one.identity in vectors and not is_known(spec, one)
        ]
        rows = [np.asarray(vectors[one.identity], np.float64).ravel() for one in images]
        if len({row.shape for row in rows}) != 1 or len(rows[0]) < FEWEST:
            continue
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            continue  # said by the test itself
        cosines = np.triu((units := np.stack(rows) / lengths) @ units.T, k=1)
        pairs += [
            f"{role} {printable(images[one].name)} and {printable(images[other].name)}"
            for one, other in np.argwhere(cosines > NEARLY)
            if np.linalg.norm(units[one] - units[other]) > NEAR
        ]
    if not pairs:
        return []
    more = f" and {len(pairs) - SHOWN} more pairs" if len(pairs) > SHOWN else ""
    message = f"near-duplicates for '{model}' (cosine over {NEARLY}): {', '.join(pairs[:SHOWN])}"
    return [
        f"{message}{more}; if they show the same person or scene, name their groups with 'groups'"
    ]


def _near(
    placed: list[tuple[str, Stimulus]], rows: list[NDArray[np.float64]]
) -> Iterator[tuple[tuple[str, Stimulus], tuple[str, Stimulus]]]:
    """Yield neighbours along one direction that are neighbours along all."""
    if len({row.shape for row in rows}) != 1 or len(rows[0]) < FEWEST:
        return
    units = np.stack(rows)
    lengths = np.linalg.norm(units, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        return  # said by the test itself
    units = units / lengths
    along = np.random.default_rng(0).normal(size=units.shape[1])
    order = np.argsort(units @ along, kind="stable")
    for one, other in itertools.pairwise(order):
        if np.linalg.norm(units[one] - units[other]) <= NEAR:
            yield placed[one], placed[other]


def _said(one: tuple[str, Stimulus], other: tuple[str, Stimulus]) -> str:
    first, second = sorted(
        (f"{role} {printable(stimulus.name)}" for role, stimulus in (one, other))
    )
    return f"{first} = {second}"
