"""A text that stays within a limit: what comes last is left out first, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Section", "fit"]

# Room for the sentence that says what was left out.
RESERVE = 600
QUARTER = 0.25
ELSE = "the JSON report has everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Lines that stand together.

    Attributes
    ----------
    head, foot : str
        What stands before and after the rows, wherever any of them are shown.
    rows : sequence of str
        Lines that can be left out, the last ones first.
    what : str
        What the rows are, for the sentence that says how many were left out.
    is_kept : bool
        Whether it goes before others that stand above it, as long as it takes a quarter at most.
    """

    head: str
    rows: Sequence[str] = ()
    foot: str = ""
    what: str = "lines"
    is_kept: bool = False

    @property
    def whole(self) -> str:
        """All of it."""
        return self.head + "".join(f"{row}\n" for row in self.rows) + self.foot


def fit(sections: Sequence[Section], limit: int) -> str:
    """Return sections as one text of at most so many bytes of UTF-8.

    Parameters
    ----------
    sections : sequence of Section
        The most important first.
    limit : int
        Bytes.

    Returns
    -------
    str
        With a sentence at its end where anything was left out; empty where not even that fits.
    """
    text, left = _within(sections, limit)
    if not left:
        return text
    text, left = _within(sections, limit - RESERVE)
    counts = ", ".join(f"{count} {what}" for what, count in left.items())
    text += f"\n**Left out to stay within {limit:,} bytes: {counts}; {ELSE}.**\n"
    return text if _size(text) <= limit else ""


def _within(sections: Sequence[Section], room: int) -> tuple[str, dict[str, int]]:
    text, left = "", dict[str, int]()
    sizes = {index: _size(one.whole) for index, one in enumerate(sections) if one.is_kept}
    kept = sizes if sum(sizes.values()) <= room * QUARTER else {}
    room -= sum(kept.values())
    for index, section in enumerate(sections):
        if index in kept:
            text += section.whole
            continue
        shown, rows = _shown(section, room)
        room -= _size(shown)
        text += shown
        missing = len(section.rows) - rows if shown else max(1, len(section.rows))
        if missing:
            left[section.what] = left.get(section.what, 0) + missing
    return text, left


def _shown(section: Section, room: int) -> tuple[str, int]:
    """Return a section with as many rows as there is room for, and how many; none without room."""
    room -= _size(section.head) + _size(section.foot)
    rows: list[str] = []
    for row in section.rows:
        room -= _size(row) + 1
        if room < 0:
            break
        rows.append(f"{row}\n")
    if room < 0 and not rows:
        return "", 0
    return section.head + "".join(rows) + section.foot, len(rows)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))
