"""Define line and point charts in pixel coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.reports.html.scales import Scale, Tick

WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 308, 12, 172


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A mark of a chart and its tooltip."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a chart with its points and bands."""

    name: str
    hue: int
    is_dashed: bool = False
    paths: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    bands: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The numbers of a chart as a table."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart ready for the template."""

    title: tuple[str, ...]
    about: str
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    zero: float | None = None
    limits: tuple[float, ...] = ()
    table: Table | None = None


def segments(points: Sequence[tuple[float, float] | None]) -> tuple[str, ...]:
    """Return the coordinates of lines through points, broken at missing ones."""
    lines: list[list[str]] = [[]]
    for point in points:
        if point is None:
            lines.append([])
        else:
            lines[-1].append(f"{point[0]:g},{point[1]:g}")
    return tuple(" ".join(line) for line in lines if len(line) > 1)


def horizontal(scale: Scale) -> Scale:
    """Return an axis along the bottom."""
    return scale.drawn(LEFT, RIGHT)


def vertical(scale: Scale) -> Scale:
    """Return an axis along the left side."""
    return scale.drawn(BOTTOM, TOP)
