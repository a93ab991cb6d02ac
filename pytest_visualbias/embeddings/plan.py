"""What has to be embedded: every distinct image once, however many tests use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet

__all__ = ["distinct"]


def distinct(sets: Iterable[StimulusSet]) -> tuple[Stimulus, ...]:
    """Return the distinct stimuli of all sets, by identity, in the order of their names.

    The order does not depend on which tests are asked for, so neither do the batches.
    """
    found: dict[str, Stimulus] = {}
    for stimuli in sets:
        for stimulus in stimuli.stimuli:
            known = found.get(stimulus.identity)
            if known is None or stimulus.name < known.name:
                found[stimulus.identity] = stimulus
    return tuple(sorted(found.values(), key=lambda stimulus: stimulus.name))
