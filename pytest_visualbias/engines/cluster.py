"""The engine of many machines: the networks of all models, in tasks for a crew."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.engines.plan import Outcome, Wish, units_of
from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.embedding import want_of
from pytest_visualbias.pipeline.network import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.engines.dispatch import Dispatch
    from pytest_visualbias.session import LoadedSpec, Session

__all__ = ["embed_there"]


def embed_there(
    session: Session,
    models: Sequence[tuple[LoadedSpec, str]],
    dispatch: Dispatch,
    tell: Callable[[int, Outcome], None],
) -> None:
    """Embed with all models, every network once.

    Parameters
    ----------
    session : Session
        Knows what the specs mean.
    models : sequence
        Specs and the names of their models.
    dispatch : Dispatch
        Has it done.
    tell : callable
        Told the position of a model and what came of it, where it cannot even be begun.

    Raises
    ------
    EngineError
        Where no worker can be had, or the cache cannot be written.
    """
    wishes: list[Wish] = []
    for owner, (spec, model) in enumerate(models):
        try:
            found = _wishes(session, spec, model, owner)
            wishes += found
            if not found:
                tell(owner, Outcome(is_kept=False))
        except VisualBiasError as error:
            tell(owner, Outcome(faults=(str(error),), failed=True))
    dispatch.run(units_of(wishes))


def _wishes(session: Session, spec: LoadedSpec, model: str, owner: int) -> list[Wish]:
    entry = spec.file.spec.models[model]
    context = session.context(spec)
    # A source may let its entries say it themselves.
    precision = getattr(entry, "precision", None) or context.precision
    context = dataclasses.replace(context, precision=precision)
    want = want_of(spec.file, model, spec.preflight.models[model])
    return [
        Wish(
            owner=owner,
            job=Job(entry=entry, identity=identity, context=context, own=want, want=want),
        )
        for identity in session.identities(spec, model)
        if identity.is_kept
    ]
