"""What has to be embedded: every distinct image once, at every layer, for all tests and specs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet

__all__ = ["Want", "distinct", "merged"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """What a spec wants of one network.

    Attributes
    ----------
    stimuli : tuple of Stimulus
        Distinct images, in the order of their names.
    points : tuple of LayerPoint
        Where to read.
    words : tuple of Stimulus
        Distinct words, in their order.
    """

    stimuli: tuple[Stimulus, ...]
    points: tuple[LayerPoint, ...]
    words: tuple[Stimulus, ...] = ()


def distinct(sets: Iterable[StimulusSet], *, words: bool = False) -> tuple[Stimulus, ...]:
    """Return the distinct images of all sets, by identity, in the order of their names; or words.

    The order does not depend on which tests are asked for, so neither do the batches.
    """
    return _by_name(
        stimulus
        for stimuli in sets
        for stimulus in stimuli.stimuli
        if bool(stimulus.prompts) == words
    )


def merged(own: Want, others: Iterable[Want]) -> Want:
    """Return one want for all specs of a run that mean the same network.

    Parameters
    ----------
    own : Want
        Of the spec that is measured now; its layers keep their names.
    others : iterable of Want
        Of the others. A layer of theirs that reads the same place in the same way is the same one,
        whatever its name; the others get names that nothing else has.

    Returns
    -------
    Want
        Its stimuli at all its layers come from one forward pass each.
    """
    others = tuple(others)
    points = {(point.module, point.pooling): point for point in own.points}
    for point in (point for want in others for point in want.points):
        place = (point.module, point.pooling)
        name = f"{point.module}:{point.pooling} of another spec"
        points.setdefault(place, point.model_copy(update={"name": name}))
    stimuli = _by_name(one for want in (own, *others) for one in want.stimuli)
    words = _by_name(one for want in (own, *others) for one in want.words)
    return Want(stimuli=stimuli, points=tuple(points.values()), words=words)


def _by_name(stimuli: Iterable[Stimulus]) -> tuple[Stimulus, ...]:
    found: dict[str, Stimulus] = {}
    for stimulus in stimuli:
        known = found.get(stimulus.identity)
        if known is None or stimulus.name < known.name:
            found[stimulus.identity] = stimulus
    return tuple(sorted(found.values(), key=lambda stimulus: stimulus.name))
