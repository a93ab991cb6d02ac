"""What came of every model, put together from its networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.engines.plan import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.embeddings.engines.course import Course
    from pytest_visualbias.embeddings.engines.plan import Unit


@dataclass(kw_only=True, slots=True)
class _Tally:
    """One model so far."""

    left: int
    networks: int = 0
    layers: int = 0
    embedded: int = 0
    wanted: frozenset[str] = frozenset()
    lacking: frozenset[str] | None = None
    faults: dict[str, None] = field(default_factory=dict)
    error: str = ""

    def outcome(self) -> Outcome:
        if self.error:
            return Outcome(faults=(self.error,), failed=True)
        return Outcome(
            images=len(self.wanted - (self.lacking or frozenset())),
            networks=self.networks,
            layers=self.layers,
            embedded=self.embedded,
            faults=tuple(self.faults),
        )


@dataclass(kw_only=True, slots=True)
class Tallies:
    """All models so far, by their positions."""

    _tallies: dict[int, _Tally] = field(default_factory=dict)

    @classmethod
    def of(cls, units: Iterable[Unit]) -> Tallies:
        """Return those of models that want something of these networks."""
        left = Counter(wish.owner for unit in units for wish in unit.wishes)
        return cls(_tallies={owner: _Tally(left=count) for owner, count in left.items()})

    def add(self, course: Course) -> None:
        """Add what came of a network, for everybody who wanted something of it."""
        for number, wish in enumerate(course.unit.wishes):
            tally = self._tallies[wish.owner]
            tally.left -= 1
            tally.networks += 1
            tally.layers = len(wish.job.own.points)
            tally.wanted = frozenset(stimulus.identity for stimulus in wish.job.own.stimuli)
            lacking = tally.wanted & course.failures.keys()
            tally.lacking = lacking if tally.lacking is None else tally.lacking & lacking
            # It is said once how many there were.
            tally.embedded += course.embedded if number == 0 else 0
            own = (
                course.failures[one.identity]
                for one in wish.job.own.stimuli
                if one.identity in lacking
            )
            tally.faults |= dict.fromkeys([*filter(None, own), *course.given_up])
            tally.error = tally.error or course.error

    def finished(self, owner: int) -> Outcome | None:
        """Return what came of a model, once all of its networks are done."""
        tally = self._tallies[owner]
        return None if tally.left else tally.outcome()
