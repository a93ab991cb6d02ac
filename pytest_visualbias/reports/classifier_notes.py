"""The words of a test, and to which of them its images are nearest, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.results import format_p

if TYPE_CHECKING:
    from pytest_visualbias.results import ResultRecord, SetRecord, WordRecord

SHOWN = 5

# Of a set, and of templates, what fits into a page.
LISTED = 30


def zero_shot_text(record: ResultRecord) -> str:
    """Return in one line what share of X and Y is nearest to a word of A; nothing of no words."""
    zero_shot = record.zero_shot
    if zero_shot is None:
        return ""
    if zero_shot.share_y is None or zero_shot.difference is None:
        sizes = f"{record.n_a} words of A and {record.n_b} of B"
        return (
            f"{zero_shot.share_x:.0%} of X are nearest to a word of A ({sizes}; judged by no limit)"
        )
    shares = f"{zero_shot.share_x:.0%} of X and {zero_shot.share_y:.0%} of Y"
    apart = f"difference {zero_shot.difference:+.2f}, p = {format_p(zero_shot.p_value)}"
    return f"{shares} are nearest to a word of A, {apart} (judged by no limit)"


def nearest_words(record: ResultRecord) -> str:
    """Return the words whose shares of X and of Y differ most; without Y, those of most of X."""
    zero_shot = record.zero_shot
    words = [] if zero_shot is None else zero_shot.words
    seen = [word for word in words if word.share_x + (word.share_y or 0) > 0]
    order = sorted(seen, key=lambda word: -abs(word.share_x - (word.share_y or 0)))
    return "; ".join(
        f"{word.role} '{word.word}' {word.share_x:.0%} of X{_of_y(word)}" for word in order[:SHOWN]
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
