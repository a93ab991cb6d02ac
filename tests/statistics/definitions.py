"""The effects of each kind by plain numpy, from embeddings: what closed forms are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.contrast_scores import sc_eat_scores, similarity_gap_scores
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.scores import Scores

    Matrix = NDArray[np.float64]
    Sets = Mapping[str, Matrix]
    Effect = Callable[[Sets], float]

ROLES = {"ieat": "XYAB", "sc-eat": "XAB", "similarity-gap": "XYA"}


def drawn(
    n: Sequence[int], rng: np.random.Generator, push: float = 0.0, apart: float = 0.0
) -> dict[str, Matrix]:
    """X and A, Y and B share a direction; X and Y, and A and B, lie apart in others."""
    sets = {role: rng.standard_normal((size, 8)) for role, size in zip("XYAB", n, strict=True)}
    for role, rows in sets.items():
        sign = 1 if role in "XA" else -1
        rows[:, 0] += sign * push
        rows[:, 1 if role in "XY" else 2] += sign * apart
    return sets


def cosines(rows: Matrix, columns: Matrix) -> Matrix:
    lengths = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1))
    matrix: Matrix = rows @ columns.T / lengths
    return matrix


def score(kind: str, s: Sets) -> Scores | ContrastScores:
    """Ours."""
    if kind == "ieat":
        return association_scores(s["X"], s["Y"], s["A"], s["B"])
    if kind == "sc-eat":
        return sc_eat_scores(s["X"], s["A"], s["B"])
    return similarity_gap_scores(s["A"], s["X"], s["Y"])


def d(first: Matrix, second: Matrix) -> float:
    width = np.concatenate([first, second]).std(ddof=1)
    return float((first.mean() - second.mean()) / width)


def target_effect(s: Sets) -> float:
    first, second = (
        cosines(s[role], s["A"]).mean(axis=1) - cosines(s[role], s["B"]).mean(axis=1)
        for role in "XY"
    )
    return d(first, second)


def attribute_effect(s: Sets) -> float:
    return target_effect({"X": s["A"], "Y": s["B"], "A": s["X"], "B": s["Y"]})


def weaker_effect(s: Sets) -> float:
    return min(target_effect(s), attribute_effect(s), key=abs)


def sc_eat_effect(s: Sets) -> float:
    near, far = cosines(s["X"], s["A"]), cosines(s["X"], s["B"])
    return float(np.mean([d(a, b) for a, b in zip(near, far, strict=True)]))


def gap_effect(s: Sets) -> float:
    return d(cosines(s["X"], s["A"]).mean(axis=1), cosines(s["Y"], s["A"]).mean(axis=1))


JUDGED: Mapping[str, Effect] = {
    "ieat": weaker_effect,
    "sc-eat": sc_eat_effect,
    "similarity-gap": gap_effect,
}


def gap_in_cosines(kind: str, s: Sets) -> float:
    if kind == "sc-eat":
        return float(cosines(s["X"], s["A"]).mean() - cosines(s["X"], s["B"]).mean())
    if kind == "similarity-gap":
        return float(cosines(s["X"], s["A"]).mean() - cosines(s["Y"], s["A"]).mean())
    near, far = ({"X": s["X"], "Y": s["Y"], "A": s[role]} for role in "AB")
    return gap_in_cosines("similarity-gap", near) - gap_in_cosines("similarity-gap", far)


def without_each(trials: Sequence[Sets], role: str, effect: Effect) -> Matrix:
    """Mean effect of trials without each image of a set, every one recomputed, `(n,)`."""
    return np.array(
        [
            np.mean([effect({**s, role: np.delete(s[role], row, axis=0)}) for s in trials])
            for row in range(len(trials[0][role]))
        ]
    )
