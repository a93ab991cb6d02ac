"""Trials of one recipe that are the same network twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.spec.document import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.pipeline.measured import Trial

__all__ = ["twins"]


def twins(trials: Sequence[Trial], images: Iterable[str]) -> Iterator[str]:
    """Yield a sentence about trials that give every image the same vectors.

    Parameters
    ----------
    trials : sequence of Trial
        Of one recipe.
    images : iterable of str
        The identities of those to look at.
    """
    looked = list(images)
    groups: list[list[Trial]] = []
    for trial in trials:
        same = next((group for group in groups if _are_one(group[0], trial, looked)), None)
        if same is None:
            groups.append([trial])
        else:
            same.append(trial)
    for group in groups:
        if len(group) > 1:
            names = printable(" and ".join(one.label for one in group))
            yield (
                f"{names} give every image the same vector, so one network counts {len(group)} "
                "times; keep one of them if they hold the same weights"
            )


def _are_one(one: Trial, other: Trial, images: Sequence[str]) -> bool:
    """Whether vectors are the same at every layer: finetuning may have left the first ones."""
    return bool(images) and all(
        _same(table.vectors.get(image), other.tables[layer].vectors.get(image))
        for layer, table in one.tables.items()
        for image in images
    )


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)
