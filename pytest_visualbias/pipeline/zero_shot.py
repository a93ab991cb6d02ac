"""What a model that compares images with words would call the images of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_visualbias.record import WordRecord, ZeroShotRecord
from pytest_visualbias.statistics import GroupedRows, ZeroShotResult, assigned, zero_shot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["zero_shot_of", "zero_shot_record"]

IMAGES = ("X", "Y")
WORDS: tuple[Literal["A", "B"], ...] = ("A", "B")


def zero_shot_of(
    sets: Mapping[str, StimulusSet], trials: Sequence[Mapping[str, np.ndarray | GroupedRows]]
) -> ZeroShotResult | None:
    """Return to which words the images of a test are nearest, where it is of images and words.

    Parameters
    ----------
    sets : mapping of str to StimulusSet
        By role.
    trials : sequence of mapping
        Of every trial, the vectors of each set ``(n, dim)``.
    """
    if not {*WORDS} <= sets.keys() or not all(sets[role].templates for role in WORDS):
        return None
    images = [role for role in IMAGES if role in sets]
    if any(sets[role].templates for role in images):
        return None
    known = [
        {role: one for role, one in rows.items() if not isinstance(one, GroupedRows)}
        for rows in trials
    ]
    if any(role not in rows for rows in known for role in images):
        return None
    x, *y = ([assigned(rows[role], rows["A"], rows["B"]) for rows in known] for role in images)
    return zero_shot(x, y[0] if y else None, len(sets["A"]))


def zero_shot_record(
    found: ZeroShotResult | None, sets: Mapping[str, StimulusSet]
) -> ZeroShotRecord | None:
    """Return what the report says of it."""
    if found is None:
        return None
    words = [(role, one.name) for role in WORDS for one in sets[role].stimuli]
    of_y = found.words_y or (None,) * len(words)
    return ZeroShotRecord(
        share_x=found.share_x,
        share_y=found.share_y,
        difference=found.difference,
        p_value=found.p_value,
        p_method=found.p_method,
        words=[
            WordRecord(role=role, word=word, share_x=x, share_y=y)
            for (role, word), x, y in zip(words, found.words_x, of_y, strict=True)
        ],
    )
