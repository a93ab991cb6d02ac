"""An effect and its interval as a small bar around zero, in characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.limits import limits_of

if TYPE_CHECKING:
    from pytest_visualbias.record import ResultRecord

__all__ = ["EFFECT", "Glyphs", "bar", "legend", "reach"]

WIDTH = 13
# Effects of two sets are within about 2; mean similarities within 1.
EFFECT, SIMILARITY = 2.0, 1.0


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
    return EFFECT if record.kind != "intra-similarity" else SIMILARITY


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


def legend(glyphs: Glyphs, *, has_similarities: bool) -> str:
    """Return what the parts of a bar mean."""
    other = f" (mean similarities: -{SIMILARITY:.0f} to +{SIMILARITY:.0f})"
    parts = (
        f"bars: -{EFFECT:.0f} to +{EFFECT:.0f}{other if has_similarities else ''}:",
        *(f"{glyphs.zero} zero", f"{glyphs.span} interval", f"{glyphs.effect} effect"),
        f"{glyphs.limit} limit",
    )
    return " ".join(parts)
