"""Find the images that influence an effect most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import describe_rates, is_counted, is_standardised
from pytest_visualbias.results import format_effect
from pytest_visualbias.statistics.intra_similarity import similarity_without_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pytest_visualbias.results import ResultRecord, SetRecord

    Vector = NDArray[np.float64]

# Sets of one image cannot be tested, so removing an image must leave two.
MIN_IMAGES = 3

# Relative variation of scores below this is rounding error.
ROUNDING = 1e-12

# A remaining sum below this share of the total has lost too many digits.
CANCELLED = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfluence:
    """How an effect changes without one image."""

    role: str
    name: str
    identity: str
    folder: str
    without: float
    change: float


def image_influences(record: ResultRecord, max_count: int | None = None) -> list[ImageInfluence]:
    """Return the influence of each image of the judged side, largest change first."""
    # An edited report can hold any number.
    with np.errstate(over="ignore", invalid="ignore"):
        ranked = sorted(
            _iter_influences(record),
            key=lambda influence: (-abs(influence.change), influence.role, influence.name),
        )
    return ranked[:max_count]


def influential_images(record: ResultRecord, max_count: int | None = None) -> list[ImageInfluence]:
    """Return the images without which the absolute effect falls, largest fall first."""
    effect = abs(record.effect_judged or 0.0)
    fall = {influence: effect - abs(influence.without) for influence in image_influences(record)}
    ranked = sorted(
        (influence for influence in fall if fall[influence] > 0), key=fall.__getitem__, reverse=True
    )
    return ranked[:max_count]


def is_exact(record: ResultRecord) -> bool:
    """Return whether `image_influences` equals remeasuring without each image."""
    if not is_standardised(record):
        return True
    return record.trials is None and record.kind != "sc-eat"


def _iter_influences(record: ResultRecord) -> Iterator[ImageInfluence]:
    first, second = _judged_roles(record)
    if record.effect_judged is None or not all(
        _is_scored(record, role) for role in (first, second)
    ):
        return
    if record.kind == "intra-similarity":
        scores = _scores(record, first)
        if len(scores) > MIN_IMAGES:
            yield from _to_influences(record, first, _mean(scores), similarity_without_each(scores))
        return
    first_scores, second_scores = _scores(record, first), _scores(record, second)
    rescale = is_standardised(record) and is_exact(record)
    effect = _mean(first_scores) - _mean(second_scores)
    if len(first_scores) >= MIN_IMAGES:
        yield from _to_influences(
            record, first, effect, _effects_without(first_scores, second_scores, rescale=rescale)
        )
    if len(second_scores) >= MIN_IMAGES:
        yield from _to_influences(
            record, second, effect, -_effects_without(second_scores, first_scores, rescale=rescale)
        )


def _is_scored(record: ResultRecord, role: str) -> bool:
    return bool(record.scores.get(role)) and role in record.sets and bool(record.sets[role].images)


def _judged_roles(record: ResultRecord) -> tuple[str, str]:
    """Return the two sets whose score difference is the judged effect; X twice if only X."""
    if record.kind == "intra-similarity":
        return "X", "X"
    if record.kind == "sc-eat":
        return "A", "B"
    targets, attributes = record.effect_size, record.effect_size_attributes
    if record.sides == "both" and targets is not None and attributes is not None:
        return ("A", "B") if abs(attributes) < abs(targets) else ("X", "Y")
    return "X", "Y"


def _scores(record: ResultRecord, role: str) -> Vector:
    """Return the scores of a set in the order of its images."""
    scores = record.scores[role]
    return np.array([scores[identity] for identity in record.sets[role].images])


def _mean(values: Vector) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.inf


def _effects_without(shrunk: Vector, other: Vector, *, rescale: bool) -> Vector:
    """Return the effect without each image of the first set; NaN if undefined."""
    n = len(shrunk)
    differences: Vector = (n * _mean(shrunk) - shrunk) / (n - 1) - _mean(other)
    if not rescale:
        return differences
    pooled = np.concatenate([shrunk, other])
    count = len(pooled)
    deviations = pooled - _mean(pooled)
    total = math.fsum(deviations * deviations)
    if total == 0.0:
        return np.full(n, math.nan)
    remaining = total - deviations[:n] ** 2 * count / (count - 1)
    effects: Vector = differences / np.sqrt(np.maximum(remaining, CANCELLED * total) / (count - 2))
    # If one image makes nearly all of the spread, the differences lose too many digits.
    for index in np.flatnonzero(remaining < CANCELLED * total):
        effects[index] = _effect(np.delete(shrunk, index), other)
    return effects


def _effect(first: Vector, second: Vector) -> float:
    pooled = np.concatenate([first, second])
    spread = float(np.std(pooled, ddof=1))
    # Without spread the effect size is undefined.
    is_spread = spread > ROUNDING * float(np.abs(pooled).max())
    return (_mean(first) - _mean(second)) / spread if is_spread else math.nan


def _to_influences(
    record: ResultRecord, role: str, effect: float, values: Iterable[float]
) -> Iterator[ImageInfluence]:
    stimuli: SetRecord = record.sets[role]
    for name, identity, without in zip(stimuli.names, stimuli.images, values, strict=True):
        if math.isfinite(without):
            yield ImageInfluence(
                role=role,
                name=name,
                identity=identity,
                folder=stimuli.folder,
                without=without,
                change=effect - without,
            )


MAX_IMAGES = 5


def influential_image_lines(record: ResultRecord) -> Iterator[str]:
    """Yield a heading, then a line for each of the most influential images."""
    if is_counted(record):
        yield from _predicted_image_lines(record)
        return
    influential = influential_images(record, MAX_IMAGES)
    if not influential:
        return
    about = "" if is_exact(record) else "about "
    effect = format_effect(record.effect_judged or 0)
    yield f"{visible(record.nodeid)}: the effect {effect} would be"
    for influence in influential:
        effect = format_effect(influence.without)
        yield f"  {about}{effect} without {visible(influence.name)} ({visible(influence.role)})"


def _predicted_image_lines(record: ResultRecord) -> Iterator[str]:
    """Yield the images predicted as the class; each contributes equally to a rate."""
    yield f"{visible(record.nodeid)}: {describe_rates(record)}"
    for role, images in record.sets.items():
        scores = record.scores.get(role, {})
        pairs = zip(images.names, images.images, strict=False)  # as any report may have them
        names = [visible(name) for name, identity in pairs if scores.get(identity) == 1]
        more = f" and {len(names) - MAX_IMAGES} more" if len(names) > MAX_IMAGES else ""
        listing = f": {', '.join(names[:MAX_IMAGES])}{more}" if names else ""
        yield f"  {len(names)} of {images.n} of {visible(role)} are predicted as it{listing}"
