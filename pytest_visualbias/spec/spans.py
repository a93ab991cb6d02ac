"""Steps of a series in few words: those that follow each other as a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["span", "stretch"]

# More ranges than this are counted and not named.
NAMED = 5


def span(axis: str, every: Sequence[str], some: Collection[str]) -> str:
    """Return some steps of a series in words: ``epoch 2, 5 to 10``.

    Parameters
    ----------
    axis : str
        What the series counts.
    every : sequence of str
        All of its steps, in their order.
    some : collection of str
        Those that are meant.
    """
    ranges: list[list[str]] = []
    is_open = False
    for one in every:
        if one not in some:
            is_open = False
        elif is_open:
            ranges[-1].append(one)
        else:
            ranges.append([one])
            is_open = True
    if len(ranges) > NAMED:
        first, last = ranges[0][0], ranges[-1][-1]
        return f"{len(some)} checkpoints from {axis} {first} to {last}"
    return f"{axis} {', '.join(map(stretch, ranges))}"


def stretch(labels: Sequence[str]) -> str:
    """Return steps that follow each other: ``1 to 4``, or ``1, 2`` where there are two."""
    return f"{labels[0]} to {labels[-1]}" if len(labels) > 2 else ", ".join(labels)  # noqa: PLR2004
