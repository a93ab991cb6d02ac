"""The engine of one machine: every model in its turn, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.engines.plan import Outcome
from pytest_visualbias.errors import EngineError, VisualBiasError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.session import LoadedSpec, Session

__all__ = ["Passed", "embed_here"]


class Passed:
    """Counts images that pass through a network.

    Parameters
    ----------
    progress : callable
        Told how many images of how many are done, and with which model.
    """

    def __init__(self, progress: Callable[[int, int, str], None]) -> None:
        self._progress = progress
        self._last = 0
        self.images = 0

    def __call__(self, model: str, done: int, total: int) -> None:
        """Take note that `done` of `total` images were embedded with a model."""
        self.images += done - (self._last if done > self._last else 0)
        self._last = 0 if done == total else done
        self._progress(done, total, model)


def embed_here(
    session: Session,
    models: Sequence[tuple[LoadedSpec, str]],
    passed: Passed,
    tell: Callable[[int, Outcome], None],
) -> None:
    """Embed with all models, one after the other.

    Parameters
    ----------
    session : Session
        What the run shares.
    models : sequence
        Specs and the names of their models.
    passed : Passed
        Told of by the session.
    tell : callable
        Told the position of a model and what came of it.

    Raises
    ------
    EngineError
        If the cache cannot be written.
    """
    session.expect(models)
    for owner, (spec, model) in enumerate(models):
        tell(owner, _one(session, passed, spec, model))


def _one(session: Session, passed: Passed, spec: LoadedSpec, model: str) -> Outcome:
    before = passed.images
    try:
        if not all(one.is_kept for one in session.identities(spec, model)):
            return Outcome(is_kept=False)
        measured = session.embedded(spec, model)
    except EngineError:
        raise
    except VisualBiasError as error:
        return Outcome(faults=(str(error),), failed=True)
    tables = [table for trial in measured.trials for table in trial.tables.values()]
    faults = [reason for table in tables for reason in table.told]
    return Outcome(
        images=len({identity for table in tables for identity in table.vectors}),
        networks=len(measured.trials),
        layers=len(measured.points),
        embedded=passed.images - before,
        faults=tuple(dict.fromkeys(faults)),
    )
