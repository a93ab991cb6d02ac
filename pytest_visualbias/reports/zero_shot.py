"""The words of a test, and to which of them its images are nearest, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.verdict import p_text

if TYPE_CHECKING:
    from pytest_visualbias.record import ResultRecord, SetRecord, WordRecord

__all__ = ["nearest_words", "words_text", "zero_shot_text"]

SHOWN = 5
# Of a set, and of templates, what fits into a page.
LISTED = 30


def zero_shot_text(record: ResultRecord) -> str:
    """Return in one line what share of X and Y is nearest to a word of A; nothing of no words."""
    found = record.zero_shot
    if found is None:
        return ""
    if found.share_y is None or found.difference is None:
        sizes = f"{record.n_a} words of A and {record.n_b} of B"
        return f"{found.share_x:.0%} of X are nearest to a word of A ({sizes}; judged by no limit)"
    shares = f"{found.share_x:.0%} of X and {found.share_y:.0%} of Y"
    apart = f"difference {found.difference:+.2f}, p = {p_text(found.p_value)}"
    return f"{shares} are nearest to a word of A, {apart} (judged by no limit)"


def nearest_words(record: ResultRecord) -> str:
    """Return the words whose shares of X and of Y differ most; without Y, those of most of X."""
    found = record.zero_shot
    words = [] if found is None else found.words
    seen = [one for one in words if one.share_x + (one.share_y or 0) > 0]
    order = sorted(seen, key=lambda one: -abs(one.share_x - (one.share_y or 0)))
    return "; ".join(
        f"{one.role} '{one.word}' {one.share_x:.0%} of X{_of_y(one)}" for one in order[:SHOWN]
    )


def _of_y(word: WordRecord) -> str:
    return "" if word.share_y is None else f", {word.share_y:.0%} of Y"


def words_text(words: SetRecord) -> str:
    """Return the words of a set, and what they stand in."""
    text = _listed(words.names)
    return text if words.templates == ["{}"] else f"{text}; in {_listed(words.templates)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more
