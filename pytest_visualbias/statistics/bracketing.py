"""A bracket that certainly holds the probability of a tail, however many subsets there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.bounds import NEGLIGIBLE, ROUNDING, Plan, Question

if TYPE_CHECKING:
    from typing import Final

    from pytest_visualbias.statistics.tail import Tail

    Bracket = tuple[float, float]

__all__ = ["bracket", "is_fine"]

_RELATIVE: Final = 0.01
_ABSOLUTE: Final = 1e-4
_COARSEST: Final = 0.1
_QUICK: Final = 4e8
_CELLS: Final = 4e9
_BYTES: Final = 5e8
_ATTEMPTS: Final = 6
_LOG_FLOAT: Final = 1200.0


def bracket(tails: tuple[Tail, ...]) -> Bracket | None:
    """Bracket the probability that a random relabelling lies in one of the tails.

    Parameters
    ----------
    tails : tuple of Tail
        Disjoint.

    Returns
    -------
    tuple of float or None
        Lower and upper bound, no further apart than 1 % of the upper or 1e-4 (of a smaller p about
        a tenth); wider, though still proven, only where one score is thousands of times further out
        than all others together, or where subsets whose sums are almost but not quite tied hold
        more than that. None where that takes too long.

    Notes
    -----
    The scores are rounded to a grid and the distribution of their sum is found by adding them one
    by one [1]_. For a subset S, ``sum c = h sum u + E`` with known bounds of the error E, and a
    known moment generating function: what is over the threshold by more than a margin on the grid
    is over it in truth, but for the proven and tiny probability of an error over the margin. So

    ``P(U >= t + m) - P(E < -m, ...) <= p <= P(U >= t - m) + P(E > m, ...) + missing``

    and each of the last terms is bounded by an exponential moment (Chernoff), tilted so that it
    is small against p itself. A saddlepoint guess of p chooses the grid, and decides nothing.

    References
    ----------
    .. [1] M. Pagano, D. Tritchler, "On obtaining permutation distributions in polynomial time",
       JASA 78, 435-440, 1983.
    """
    if len(tails) == 1 and tails[0].threshold < 0:
        return _from_complement(tails[0])
    questions = [Question.of(tail) for tail in tails]
    if sum(question.tail.log_subsets for question in questions) > _LOG_FLOAT * len(questions):
        return None
    ways = sum(question.tail.ways for question in questions)
    guess = sum(question.guess * question.tail.ways for question in questions)
    # A tenth of a small p is more than a reader needs.
    wanted, limit = max(_RELATIVE * guess, min(_ABSOLUTE, _COARSEST * guess)), _QUICK
    found = _known(questions)
    if _is_settled(found):
        return found
    for attempt in range(_ATTEMPTS):
        # Sums of few or heavy-tailed scores stray further than normal ones.
        widened = 1 + attempt / 4
        plans = [question.plan(wanted / ways, widened) for question in questions]
        if sum(plan.cells for plan in plans) > limit and limit == _QUICK:
            wanted, limit = max(wanted, 0.0 if is_fine(found) else _ABSOLUTE), _CELLS
            plans = [question.plan(wanted / ways, widened) for question in questions]
        if any(plan.cells > _CELLS or plan.bytes > _BYTES for plan in plans):
            return found if attempt or is_fine(found) else None
        found = _narrowed(found, _total(questions, plans))
        if is_fine(found):
            break
        wanted *= _finer(found)
    return found


def _from_complement(tail: Tail) -> Bracket | None:
    """Bracket a tail that holds most subsets by what it leaves out, whose grid is a fine one."""
    rest = tail.complement()
    if float(np.sum(rest.scores[-rest.size :])) < rest.threshold:
        return 1.0 - ROUNDING, 1.0
    found = bracket((rest,))
    return None if found is None else (1.0 - found[1], 1.0 - found[0])


def is_fine(found: Bracket) -> bool:
    """Tell whether a bracket is as narrow as is promised."""
    return found[1] - found[0] <= _allowed(found)


def _finer(found: Bracket) -> float:
    """Say by how much the next bracket should be narrower than the last one was to be."""
    return min(max(0.7 * _allowed(found) / (found[1] - found[0]), 0.25), 0.7)


def _allowed(found: Bracket) -> float:
    return max(_RELATIVE * found[1], _ABSOLUTE)


def _is_settled(found: Bracket) -> bool:
    """Tell whether nothing is to be gained by a grid."""
    return found[1] - found[0] <= max(_RELATIVE * found[1], NEGLIGIBLE)


def _known(questions: list[Question]) -> Bracket:
    """Bound from below by the relabelling that was observed, from above by Chernoff's bound."""
    low = max(
        q.tail.ways * math.exp(-q.tail.log_subsets) if q.tail.holds_observed else 0.0
        for q in questions
    )
    high = sum(q.tail.ways * math.exp(q.tilt.log_chernoff) for q in questions)
    return low * (1 - ROUNDING), min(high * (1 + ROUNDING), 1.0)


def _narrowed(known: Bracket, found: Bracket) -> Bracket:
    return max(known[0], found[0]), min(known[1], found[1])


def _total(questions: list[Question], plans: list[Plan]) -> Bracket:
    parts = [
        (question.tail.ways, question.answer(plan))
        for question, plan in zip(questions, plans, strict=True)
    ]
    low, high = (math.fsum(ways * part[end] for ways, part in parts) for end in (0, 1))
    return low, min(high, 1.0)
