"""The order of the checkpoints of one training run, by the numbers in their names."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.document import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.models.encoder import Identity

__all__ = ["in_series", "steps"]

NUMBERS = re.compile(r"([0-9]+)")
SHOWN = 3


def in_series(identities: Iterable[Identity], axis: str) -> tuple[Identity, ...]:
    """Return checkpoints in the order of a training run, each with its step.

    Parameters
    ----------
    identities : iterable of Identity
        Each with a checkpoint.
    axis : str
        What is counted, such as ``epoch``.

    Raises
    ------
    EncoderError
        Where names do not say the order: one has no number, or two have the same one.
    """
    found = list(identities)
    # The path of a local copy has digests in it: numbers of another kind.
    names = [one.origin or str(one.checkpoint) for one in found]
    labels = steps(names, axis)
    placed = [
        dataclasses.replace(one, step=printable(label))
        for one, label in zip(found, labels, strict=True)
    ]
    return tuple(sorted(placed, key=lambda one: natural(one.step)))


def natural(label: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10, whatever text stands around the numbers."""
    parts = NUMBERS.split(label)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]


def steps(paths: Sequence[str], axis: str) -> list[str]:
    """Return the step of every file, in their order.

    It is the number that follows the name of the axis (``epoch=07-loss=0.3``), else the only number
    in which the names differ, else all that differs between names that are alike but for numbers.

    Raises
    ------
    EncoderError
        Where one has none, or two have the same.
    """
    labels = _after_axis(paths, axis) or _differing(paths)
    if labels is None:
        raise EncoderError(_unnumbered(paths, axis))
    first: dict[str, str] = {}
    for path, label in zip(paths, labels, strict=True):
        other = first.setdefault(label, path)
        if other != path:
            raise EncoderError(
                f"{other} and {path} are both {axis} {label}; choose a pattern that matches one of "
                "them, or name what 'series' counts otherwise"
            )
    return labels


def _after_axis(paths: Sequence[str], axis: str) -> list[str] | None:
    """Return the number that follows the axis in every path, the last one in each."""
    named = re.compile(rf"(?<![A-Za-z]){re.escape(axis)}[^A-Za-z0-9/\\]*([0-9]+)", re.IGNORECASE)
    found = [named.findall(path) for path in paths]
    return [str(int(numbers[-1])) for numbers in found] if all(found) else None


def _differing(paths: Sequence[str]) -> list[str] | None:
    """Return what differs between paths that are alike but for numbers; None where more does."""
    if len(paths) == 1:
        numbers = NUMBERS.findall(PurePath(paths[0]).stem)
        return [str(int(numbers[-1]))] if numbers else None
    split = [NUMBERS.split(path) for path in paths]
    if len({tuple(parts[::2]) for parts in split}) > 1:
        return None
    apart = [
        place
        for place in range(1, len(split[0]), 2)
        if len({int(parts[place]) for parts in split}) > 1
    ]
    if not apart:  # the same number, written in two ways
        return [str(int(parts[-2])) for parts in split] if len(split[0]) > 1 else None
    if len(apart) == 1:
        return [str(int(parts[apart[0]])) for parts in split]
    return ["".join(parts[apart[0] : apart[-1] + 1]) for parts in split]


def _unnumbered(paths: Sequence[str], axis: str) -> str:
    """Say which files have no place, as far as that can be told."""
    shared = os.path.commonprefix(list(paths))  # noqa: RUF071 - cut back to a folder here
    start = max(shared.rfind("/"), shared.rfind("\\")) + 1
    bare = [path for path in paths if not NUMBERS.search(path[start:])]
    shown = (bare or list(paths))[:SHOWN]
    names = ", ".join(shown) + (", ..." if len(bare or paths) > SHOWN else "")
    what = "has no number in its name" if len(shown) == 1 else "are not alike but for a number"
    if bare and len(shown) > 1:
        what = "have no number in their names"
    return (
        f"{names} {what}, so nothing says the order of the series; name the files such as "
        f"{axis}_1 and {axis}_2, or choose a pattern that leaves others out"
    )
