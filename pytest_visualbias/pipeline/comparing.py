"""In what two measurements differ that must agree before they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.layers import LOGITS, POOLED, PROBABILITIES
from pytest_visualbias.spec.programs import OWN_PRECISION
from pytest_visualbias.statistics import OutcomeScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_visualbias.pipeline.measures import AnyScores
    from pytest_visualbias.pipeline.numbers import Subject
    from pytest_visualbias.pipeline.predictions import Asked
    from pytest_visualbias.spec.schema import BiasTest
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["Difference", "classes", "differences", "lengths", "undeclared"]

ALIKE = "make them alike"
READ = (LOGITS, PROBABILITIES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing in which two measurements differ.

    Attributes
    ----------
    name : str
        As a spec declares it.
    text : str
        The name and both values.
    is_declarable : bool
        Whether growth has a meaning all the same.
    is_known : bool
        Whether they do differ; what nobody can know may be declared, and need not be.
    remedy : str
        What to do about it.
    """

    name: str
    text: str
    is_declarable: bool = True
    is_known: bool = True
    remedy: str = ALIKE


def differences(
    before: Subject,
    after: Subject,
    layer: str,
    earlier: Mapping[str, StimulusSet],
    later: Mapping[str, StimulusSet],
) -> Iterator[Difference]:
    """Yield in what two measurements differ, such as stimuli, read-out and preprocessing."""
    for role, stimuli in later.items():
        if earlier[role].digest != stimuli.digest:
            sizes = f"{len(earlier[role])} and {len(stimuli)} images"
            text = f"stimuli of {role} ('{stimuli.concept}': {sizes})"
            yield Difference(name="stimuli", text=text, is_declarable=False)
    yield from _read_outs(before, after, layer)
    one, other = (
        next(point.pooling for point in subject.measured.points if point.name == layer)
        for subject in (before, after)
    )
    if one != other:
        yield Difference(name="pooling", text=f"pooling ({one} and {other})")
    bits = [subject.measured.trials[0].precision for subject in (before, after)]
    is_known = OWN_PRECISION not in bits
    # Stored vectors have none of their own.
    if "" not in bits and (bits[0] != bits[1] or not is_known):
        text = f"precision ({bits[0]} and {bits[1]})"
        yield Difference(name="precision", text=text, is_known=is_known)
    ours, theirs = (
        subject.measured.trials[0].tables[layer].preprocessing for subject in (before, after)
    )
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            name = f"preprocessing.{key}"
            yield Difference(name=name, text=f"{name} ({ours.get(key)} and {theirs.get(key)})")


def _read_outs(before: Subject, after: Subject, layer: str) -> Iterator[Difference]:
    """Yield that `pooled` was read at another place, as far as networks say where it is.

    Layers that a spec names are the same by intent. Names of modules mean the same within a source.
    """
    points = [next(p for p in one.measured.points if p.name == layer) for one in (before, after)]
    if any(point.module != POOLED for point in points):
        return
    trials = [subject.measured.trials[0] for subject in (before, after)]
    old, new = (one.read_at(point) for one, point in zip(trials, points, strict=True))
    is_alike = len({one.facts.get("source") for one in trials}) == 1
    if "" in (old.side, new.side):
        return
    if old.side != new.side or (is_alike and old.module != new.module):
        text = (
            f"read-out of '{POOLED}' ({old.side} of '{old.module}' and {new.side} of "
            f"'{new.module}')"
        )
        remedy = f"name one layer for both, such as 'layers: {{{POOLED}: LAYER}}' at each model"
        yield Difference(name="read_out", text=text, remedy=remedy)


def classes(
    before: AnyScores, after: AnyScores, asked: tuple[Asked | None, Asked | None]
) -> Iterator[Difference]:
    """Yield that two classifiers are not of the same classes: one index means two of them."""
    if not isinstance(before, OutcomeScores) or not isinstance(after, OutcomeScores):
        return
    if before.classes != after.classes:
        text = f"number of classes ({before.classes} and {after.classes})"
        yield Difference(name="classes", text=text, is_declarable=False)
    old, new = asked
    if old is not None and new is not None and old.name and new.name and old.name != new.name:
        text = f"class {new.index} ('{old.name}' and '{new.name}')"
        yield Difference(name="classes", text=text, is_declarable=False)


def lengths(before: Subject, after: Subject, test: BiasTest, layer: str) -> Iterator[Difference]:
    """Yield that two models have vectors of other lengths."""
    trials = [subject.measured.trials[0] for subject in (before, after)]
    pooling = next(point.pooling for point in after.measured.points if point.name == layer)
    # Of predictions, the number of classes has to agree. Large maps are kept as other vectors.
    if test.prediction is not None or pooling == "flatten":
        return
    # Of any image: those of stored vectors are not those of files.
    old, new = (next(iter(one.tables[layer].vectors.values())).size for one in trials)
    if old != new:
        text = f"dimension: the length of their vectors ({old} and {new})"
        remedy = ALIKE
        if not any(point.module in READ for point in after.measured.points if point.name == layer):
            remedy = "compare networks of one architecture, or name a layer for each"
        yield Difference(name="dimension", text=text, remedy=remedy)


def undeclared(found: Iterable[Difference], declared: Iterable[str]) -> str | None:
    """Return the differences that no spec declares, and what to do about them, if there are any."""
    meant = frozenset(declared)
    rest = [one for one in found if one.is_known and not (one.is_declarable and one.name in meant)]
    if not rest:
        return None
    texts = ", ".join(one.text for one in rest)
    # What is particular to one of them before what holds for any.
    remedies = dict.fromkeys(
        one.remedy for one in sorted(rest, key=lambda one: one.remedy == ALIKE)
    )
    todo = ", and ".join(remedies)
    if not all(one.is_declarable for one in rest):
        return f"{texts}; {todo}"
    names = ", ".join(one.name for one in rest)
    return f"{texts}; {todo}, or declare it with 'settings: {{differs: [{names}]}}'"
