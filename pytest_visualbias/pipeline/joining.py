"""One verdict on all checkpoints of a series that are gated together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.family import RECORDED
from pytest_visualbias.spec.spans import span
from pytest_visualbias.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.verdict import Exceeded, Outcome

__all__ = ["Joint", "joined"]

# Of more reasons that differ from checkpoint to checkpoint only the first two and the last one
# are told.
NAMED = 5
# Worst first.
ORDER: tuple[Outcome, ...] = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")
# As one verdict has them.
LIMITS = ("effect", "gap", "growth", "shift", "excess")
Both = tuple["tuple[Judged, ...]", "tuple[Judged, ...]"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """The checkpoints of a series.

    Attributes
    ----------
    axis : str
        What it counts.
    labels : tuple of str
        Its steps, in their order.
    """

    axis: str
    labels: tuple[str, ...]

    def named(self, some: Sequence[str]) -> str:
        """Return some of them as people know them."""
        return span(self.axis, self.labels, some)


def joined(
    joint: Joint, judged: Sequence[Both]
) -> tuple[list[tuple[Judged, ...]], tuple[Judged, ...]]:
    """Return the verdict on every test of every checkpoint, and of every test over all of them.

    Parameters
    ----------
    joint : Joint
        The checkpoints.
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
        _worst(joint, [own[index] for own in over_steps], last[index]) for index in range(len(last))
    )
    return over_steps, results


def _worst(joint: Joint, own: Sequence[Judged], last: Judged) -> Judged:
    """Return the last checkpoint's result, with the worst verdict of all and who has it."""
    worst = min((one.verdict.outcome for one in own), key=ORDER.index)
    if worst == "pass":
        return last
    found = {
        label: one.verdict
        for label, one in zip(joint.labels, own, strict=True)
        if one.verdict.outcome == worst
    }
    verdict = Verdict(outcome=worst, reasons=tuple(_reasons(joint, found)))
    return dataclasses.replace(last, verdict=verdict)


def _reasons(joint: Joint, found: dict[str, Verdict]) -> Iterator[str]:
    """Yield every reason once: a limit with the worst of its values, a sentence with its steps."""
    limits: dict[tuple[str, float, bool], dict[str, Exceeded]] = {}
    others: dict[str, list[str]] = {}
    for label, verdict in found.items():
        told = {one.reason(): one for one in verdict.exceeded}
        for reason in verdict.reasons:
            one = told.get(reason)
            if one is None:
                others.setdefault(reason, []).append(label)
            else:
                limits.setdefault((one.what, one.limit, one.proof.holds), {})[label] = one
    is_recorded = others.pop(RECORDED, None) is not None
    yield from _sentences(joint, others)
    # Whichever was exceeded first.
    in_order = sorted(limits, key=lambda key: LIMITS.index(key[0]))
    yield from (_limit(joint, limits[key]) for key in in_order)
    if is_recorded:
        yield RECORDED


def _limit(joint: Joint, own: dict[str, Exceeded]) -> str:
    """Say where a limit is exceeded, and the most by which it is."""
    label, worst = max(own.items(), key=lambda pair: abs(pair[1].value))
    if len(own) == 1:
        return f"{worst.reason()} at {joint.named([label])}"
    without = "" if worst.proof.holds else ", but without evidence"
    return (
        f"{worst.what} over {worst.limit:g} at {joint.named([*own])}, worst {worst.shown} at "
        f"{label}{without} ({worst.proof.text})"
    )


def _sentences(joint: Joint, others: dict[str, list[str]]) -> Iterator[str]:
    """Yield sentences with their steps; of many that differ in numbers only, some."""
    left = [*others][2:-1] if len(others) > NAMED else []
    for reason, labels in others.items():
        if reason not in left:
            yield f"{reason} at {joint.named(labels)}"
    if left:
        count = len({label for reason in left for label in others[reason]})
        yield f"and so at {count} checkpoints between"
