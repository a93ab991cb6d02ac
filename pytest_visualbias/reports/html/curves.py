"""A small chart of lines or points, in pixels of its own drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_visualbias.reports.html.scales import Scale, Tick

__all__ = ["Chart", "Line", "Point", "Table", "hues_of", "segments"]

WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 308, 12, 172
# Colours and shapes there are; more models than these share some.
HUES = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A mark, and what a reader is told of it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What belongs together in a chart.

    Attributes
    ----------
    name : str
        In the legend.
    hue : int
        Which of the colours, and of the shapes of marks.
    is_dashed : bool
        Whether it is something to compare with.
    paths : tuple of str
        Coordinates of lines, as SVG has them.
    points : tuple of Point
        Its marks.
    bands : tuple of str
        Coordinates of areas: intervals.
    """

    name: str
    hue: int
    is_dashed: bool = False
    paths: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    bands: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The numbers of a chart: the same for those who do not see it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart, ready to be drawn.

    Attributes
    ----------
    title : tuple of str
        Its names, from the widest to the narrowest.
    about : str
        In a sentence, what is to be seen.
    x_name, y_name : str
        Of the axes.
    x_ticks, y_ticks : tuple of Tick
        Their numbers.
    lines : tuple of Line
        What is drawn.
    zero : float or None
        Height of a line at zero.
    limits : tuple of float
        Heights of limits.
    diagonal : str
        Coordinates of a line on which nothing changes.
    table : Table or None
        Its numbers, where they stand nowhere else.
    is_amiss : bool
        Whether a result in it is not as it should be.
    """

    title: tuple[str, ...]
    about: str
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    zero: float | None = None
    limits: tuple[float, ...] = ()
    diagonal: str = ""
    table: Table | None = None
    is_amiss: bool = False


def hues_of(names: Iterable[str]) -> Mapping[str, int]:
    """Return a colour for each name, the same in every chart of a page."""
    return {name: place % HUES for place, name in enumerate(dict.fromkeys(names))}


def segments(points: Sequence[tuple[float, float] | None]) -> tuple[str, ...]:
    """Return the coordinates of lines through points, broken where there is none."""
    found: list[list[str]] = [[]]
    for point in points:
        if point is None:
            found.append([])
        else:
            found[-1].append(f"{point[0]:g},{point[1]:g}")
    return tuple(" ".join(one) for one in found if len(one) > 1)


def across(scale: Scale) -> Scale:
    """Return an axis drawn along the bottom."""
    return scale.drawn(LEFT, RIGHT)


def upwards(scale: Scale) -> Scale:
    """Return an axis drawn along the left side."""
    return scale.drawn(BOTTOM, TOP)
