"""Map numbers to positions on an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Approximate number of ticks on an axis.
WANTED = 5

# Share of the range kept free at both ends.
MARGIN = 0.04

# Digits of a position: a hundredth of a pixel is invisible and makes pages large.
DIGITS = 1
TINY = 1e-12

# Larger numbers, which only an edited file holds, would make the range infinite.
LARGEST = 1e150


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A mapping from a range of numbers to a range of positions."""

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0

    def at(self, value: float) -> float:
        """Return the position of a number, clamped to the ends."""
        low, high, inner = self.low, self.high, min(max(value, self.low), self.high)
        place = self.start + (inner - low) / (high - low) * (self.end - self.start)
        return round(place, DIGITS) + 0.0

    def drawn(self, start: float, end: float) -> Scale:
        """Return the same axis between other positions."""
        return Scale(low=self.low, high=self.high, start=start, end=end)

    def ticks(self) -> list[Tick]:
        """Return round numbers on the axis."""
        step = _step((self.high - self.low) / WANTED)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = (round(count * step, 10) + 0.0 for count in range(first, last + 1))
        return [Tick(at=self.at(value), text=f"{value:g}") for value in values]


def scale_around(values: Iterable[float], *, minimum: float = 0.0) -> Scale:
    """Return an axis that includes zero and all values, with a minimum extent."""
    listed = [0.0, *(min(max(value, -LARGEST), LARGEST) for value in values)]
    low, high = min(listed), max(listed)
    high = max(high, minimum)
    low = min(low, -minimum) if low < 0 else low
    if high - low < TINY:  # nothing could be told apart, and the numbers of an axis would be equal
        high = low + 1.0
    margin = (high - low) * MARGIN
    return Scale(low=low - margin, high=high + margin)


def _step(rough: float) -> float:
    """Return the next round step: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
