"""One verdict on all checkpoints of a series that are gated together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.family import RECORDED
from pytest_visualbias.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.verdict import Outcome

__all__ = ["joined"]

# Of more checkpoints only the first two and the last one have their reasons told.
NAMED = 5
# Worst first.
ORDER: tuple[Outcome, ...] = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")
Both = tuple["tuple[Judged, ...]", "tuple[Judged, ...]"]


def joined(
    names: Sequence[str], judged: Sequence[Both]
) -> tuple[list[tuple[Judged, ...]], tuple[Judged, ...]]:
    """Return the verdict on every test of every checkpoint, and of every test over all of them.

    Parameters
    ----------
    names : sequence of str
        Of the checkpoints.
    judged : sequence of pairs
        Of every checkpoint, its tests judged with their waivers and without.

    Returns
    -------
    tuple
        A waiver is used at the checkpoints that need it, and must go where none does.
    """
    over_steps = [
        tuple(
            bare if bare.verdict.outcome == "pass" else waived
            for waived, bare in zip(*pair, strict=True)
        )
        for pair in judged
    ]
    last = judged[-1][0]
    results = tuple(
        _worst(names, [own[index] for own in over_steps], last[index]) for index in range(len(last))
    )
    return over_steps, results


def _worst(names: Sequence[str], own: Sequence[Judged], last: Judged) -> Judged:
    """Return the last checkpoint's result, with the worst verdict of all and who has it."""
    is_open = any(one.is_open for one in own)
    worst = min((one.verdict.outcome for one in own), key=ORDER.index)
    if worst == "pass":
        return dataclasses.replace(last, is_open=is_open)
    found = [
        (name, one.verdict)
        for name, one in zip(names, own, strict=True)
        if one.verdict.outcome == worst
    ]
    left = found[2:-1] if len(found) > NAMED else []
    reasons = dict.fromkeys(
        reason if reason == RECORDED else f"{reason} at {name}"
        for name, one in found
        if (name, one) not in left
        for reason in one.reasons
    )
    more = (f"and so at {len(left)} checkpoints between",) if left else ()
    verdict = Verdict(outcome=worst, reasons=(*reasons, *more))
    return dataclasses.replace(last, verdict=verdict, is_open=is_open)
