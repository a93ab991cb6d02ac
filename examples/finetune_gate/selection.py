"""Choose the images of a finetuning: equally many of each label, and groups in a given share.

The folder of images has one folder ``LABEL_GROUP`` for each pair of a label and a group, such as
``sports_man``: two labels and two groups make four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
Pair = tuple[str, str]


class UserError(Exception):
    """What was asked for cannot be done; the message is one sentence for the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """An image and the number of its label, 0 or 1."""

    path: Path
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The images to learn from, and those left over in the four folders."""

    learned: tuple[Example, ...]
    left_over: tuple[Example, ...]


def select(folder: Path, *, labels: Pair, groups: Pair, correlation: float, seed: int) -> Selection:
    """Choose images in which the first label goes with the first group, the second with the second.

    With equal seeds, selections of different correlation are of equal size and share as many
    images as they can.

    Parameters
    ----------
    folder
        Holds the folders ``LABEL_GROUP``.
    labels, groups
        Their names.
    correlation
        Share of each label's images that show its group: 0.5 is independence.
    seed
        Of the choice.

    Raises
    ------
    UserError
        For a folder without images, or a correlation outside of 0.5 to 1.
    """
    if not 0.5 <= correlation <= 1:
        raise UserError(
            f"the correlation is {correlation:g}; give one from 0.5 (independent) to 1, and name "
            "the groups in the other order to turn it round"
        )
    cells = _cells(folder, labels, groups)
    number = _images_per_label(cells)
    agreeing = round(correlation * number)
    rng = np.random.default_rng(seed)
    learned: list[Example] = []
    left_over: list[Example] = []
    for (label, group), paths in cells.items():
        wanted = agreeing if label == group else number - agreeing
        shuffled = [Example(path=paths[i], label=label) for i in rng.permutation(len(paths))]
        learned += shuffled[:wanted]
        left_over += shuffled[wanted:]
    return Selection(learned=tuple(learned), left_over=tuple(left_over))


def _cells(folder: Path, labels: Pair, groups: Pair) -> dict[tuple[int, int], list[Path]]:
    """Images by the numbers of their label and group, in the order of their names."""
    cells = {}
    for label, label_name in enumerate(labels):
        for group, group_name in enumerate(groups):
            place = folder / f"{label_name}_{group_name}"
            found = place.iterdir() if place.is_dir() else ()
            paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
            if not paths:
                raise UserError(f"{place} holds no images; correct --data, --labels or --groups")
            cells[label, group] = paths
    return cells


def _images_per_label(cells: dict[tuple[int, int], list[Path]]) -> int:
    """Return the largest number that does for every correlation from 0.5 to 1."""
    # At 1 all images of a label lie in one folder, at 0.5 half of them in each.
    enough = [len(paths) * (1 if label == group else 2) for (label, group), paths in cells.items()]
    return min(enough) // 2 * 2
