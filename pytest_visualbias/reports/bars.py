"""An effect and its interval as a small bar around zero, in characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.limits import limits_of
from pytest_visualbias.reports.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.units import Unit

__all__ = ["Glyphs", "bar", "head", "legend", "reach"]

WIDTH = 13
# Effects of two sets are within about 2, mean similarities within 1. Gaps of rates are, too, but
# those that limits are about are small: what is beyond stands at the end.
REACHES: dict[Unit, float] = {"effects": 2.0, "similarities": 1.0, "gaps": 0.5}
NAMES: dict[Unit, str] = {"similarities": "mean similarities", "gaps": "gaps of rates"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Glyphs:
    """What a bar is drawn with."""

    zero: str
    span: str
    effect: str
    limit: str

    @classmethod
    def of(cls, *, has_unicode: bool) -> Glyphs:
        """Return characters that the screen has."""
        if has_unicode:
            return cls(zero="│", span="─", effect="●", limit="╎")
        return cls(zero="|", span="-", effect="o", limit=":")


def reach(record: ResultRecord) -> float:
    """Return the value at either end of a bar."""
    return REACHES[unit_of(record)]


def head(records: Iterable[ResultRecord], width: int = WIDTH) -> str:
    """Return the ends of the bars of records and their zero; of several units, their signs only."""
    found = {reach(record) for record in records}
    end = f"{found.pop():g}" if len(found) == 1 else ""
    return f"{f'-{end}':<{width // 2}}0{f'+{end}':>{width // 2}}"


def bar(record: ResultRecord, glyphs: Glyphs, width: int = WIDTH) -> str:
    """Return a line of `width` characters: zero in the middle, limits, interval, effect.

    Parameters
    ----------
    record : ResultRecord
        Its judged effect and interval; without an effect the bar is a dash.
    glyphs : Glyphs
        What to draw with.
    width : int
        Characters, an odd number.
    """
    if record.effect_judged is None:
        return "-".center(width)
    ends = reach(record)

    def cell(value: float) -> int:
        share = (min(max(value, -ends), ends) / ends + 1) / 2
        return round(share * (width - 1))

    cells = [" "] * width
    cells[width // 2] = glyphs.zero
    if record.ci_low is not None and record.ci_high is not None:
        for index in range(cell(record.ci_low), cell(record.ci_high) + 1):
            cells[index] = glyphs.span
    for limit in limits_of(record):
        if abs(limit) <= ends:
            cells[cell(limit)] = glyphs.limit
    cells[cell(record.effect_judged)] = glyphs.effect
    return "".join(cells)


def legend(glyphs: Glyphs, units: Iterable[Unit]) -> str:
    """Return what the parts of the bars of some units mean."""
    there = {*units}
    found = [unit for unit in REACHES if unit in there]
    first, *others = [(NAMES.get(unit, ""), REACHES[unit]) for unit in found or ["effects"]]
    spans = "; ".join(f"{name}: -{ends:g} to +{ends:g}" for name, ends in others)
    parts = (
        f"bars: -{first[1]:g} to +{first[1]:g}{f' ({spans})' if spans else ''}:",
        *(f"{glyphs.zero} zero", f"{glyphs.span} interval", f"{glyphs.effect} effect"),
        f"{glyphs.limit} limit",
    )
    return " ".join(parts)
