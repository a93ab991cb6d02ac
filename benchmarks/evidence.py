"""How often the p-values reject where there is nothing, and where there is something.

    python benchmarks/evidence.py                # about ten minutes on one core

Every number is the share of runs with p <= .05; its simulation error is 1 point at .05 and 500
runs. ``p_value`` permutes the targets only, as iEAT does; ``p_verdict`` is the one that decides.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from pytest_visualbias.statistics import (
    Scores,
    association_from_scores,
    association_scores,
    growth_from_scores,
)
from pytest_visualbias.statistics.evidence import weigh
from pytest_visualbias.statistics.intervals import scaled_interval
from pytest_visualbias.statistics.side import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

ALPHA = 0.05
DIM = 64


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    _meaningless_attributes(runs)
    _unequal(runs)
    _power(runs)
    _growth(runs)


def _meaningless_attributes(runs: int) -> None:
    """Draw A and B as random halves of one set, X and Y really different from each other."""
    print("### No association: A and B are random halves of one set\n")
    print("| n | distance of X and Y | p_value | p_attributes | p_verdict |\n|---|---|---|---|---|")
    for n in (6, 10, 40):
        for distance in (0.0, 2.0, 6.0):
            rng = np.random.default_rng([n, round(distance)])
            print(f"| {n} | {distance:g} | {_rates(partial(_halves, rng, n, distance), runs)} |")


def _halves(rng: np.random.Generator, n: int, distance: float) -> tuple[float, ...]:
    """P-values of one draw."""
    apart = rng.standard_normal(DIM)
    apart *= distance / np.linalg.norm(apart) / 2
    X, Y = rng.standard_normal((n, DIM)) + apart, rng.standard_normal((n, DIM)) - apart
    A, B = rng.standard_normal((2, n, DIM))
    return _p_values(X, Y, A, B)


def _p_values(X: Matrix, Y: Matrix, A: Matrix, B: Matrix) -> tuple[float, ...]:
    """P-value of the targets, of the attributes, and of the verdict."""
    scores = association_scores(X, Y, A, B)
    plain = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
    found = association_from_scores(plain)
    return found.p_value, found.p_attributes or 0.0, found.p_verdict


def _unequal(runs: int) -> None:
    """Means equal, sizes and spreads not."""
    print("\n### No association: 8 against 40 scores of equal mean and unequal spread\n")
    print("| spread of the 8 | p_value | p_welch | p_verdict |\n|---|---|---|---|")
    for spread in (0.33, 1.0, 3.0):
        rng = np.random.default_rng(round(100 * spread))
        print(f"| {spread:g} | {_rates(partial(_spread, rng, spread, 0.0), runs)} |", flush=True)
    print("\n### What it costs: the same with the 8 half a standard deviation or one apart\n")
    print("| apart | spread of the 8 | p_value | p_welch | p_verdict |\n|---|---|---|---|---|")
    for apart, spread in ((0.5, 1.0), (1.0, 1.0), (1.0, 0.33)):
        rng = np.random.default_rng([round(10 * apart), round(100 * spread)])
        print(f"| {apart:g} | {spread:g} | {_rates(partial(_spread, rng, spread, apart), runs)} |")


def _spread(rng: np.random.Generator, spread: float, apart: float) -> tuple[float, ...]:
    """P-values of one draw of unequal sets."""
    first, second = spread * rng.standard_normal(8) + apart, rng.standard_normal(40)
    found = weigh(Side.of(first, second, ("X", "Y")), alternative="two-sided", sides="targets")
    return found.p_value, found.p_welch or 0.0, found.p_verdict


def _power(runs: int) -> None:
    """Reject a real association."""
    print("\n### What it costs: a real association of growing strength\n")
    print("| n | strength | p_value | p_attributes | p_verdict |\n|---|---|---|---|---|")
    for n in (6, 10, 40):
        for push in (0.3, 0.6, 1.0):
            rng = np.random.default_rng([n, round(10 * push), 1])
            print(
                f"| {n} | {push:g} | {_rates(partial(_pushed, rng, n, push), runs)} |", flush=True
            )


def _pushed(rng: np.random.Generator, n: int, push: float) -> tuple[float, ...]:
    """P-values of one draw in which X and A, Y and B share a direction."""
    shared = push * np.eye(DIM)[0]
    X, Y, A, B = (rng.standard_normal((n, DIM)) + sign * shared for sign in (1, -1, 1, -1))
    return _p_values(X, Y, A, B)


def _growth(runs: int) -> None:
    """Compare growth with two separate intervals."""
    print("\n### Growth of one side: effect before and after, models that agree to 0.7\n")
    print("| n | before, after | growth p | two tests compared |\n|---|---|---|---|")
    for n in (6, 10, 20):
        for apart in ((0.0, 0.0), (1.0, 1.0), (0.0, 0.5), (0.0, 1.0)):
            rng = np.random.default_rng([n, *(round(10 * value) for value in apart)])
            ends = ", ".join(f"{value / math.sqrt(1 + value**2 / 4):.2f}" for value in apart)
            few = runs if n < 20 else max(runs // 4, 1)
            print(f"| {n} | {ends} | {_rates(partial(_change, rng, n, apart), few)} |", flush=True)


def _change(rng: np.random.Generator, n: int, apart: tuple[float, float]) -> tuple[float, float]:
    """P of growth, and of the difference of two effects taken as independent."""
    common, models = rng.standard_normal(2 * n), []
    for value in apart:
        scores = math.sqrt(0.7) * common + math.sqrt(0.3) * rng.standard_normal(2 * n)
        scores[:n] += value
        models.append(scores / scores.std(ddof=1))
    sides = [Side.of(scores[:n], scores[n:], ("X", "Y")) for scores in models]
    ends = [scaled_interval(side, 0.95) for side in sides]
    error = math.hypot(*((high - low) / 3.92 for low, high in ends))
    z = abs(sides[1].difference - sides[0].difference) / error
    none = np.zeros(2)
    before, after = (Scores(x=z[:n], y=z[n:], a=none, b=none, gap=0.0) for z in models)
    return growth_from_scores(before, after, sides="targets").p_verdict, 2 * float(ndtr(-z))


def _rates(draw: Callable[[], tuple[float, ...]], runs: int) -> str:
    """Share of runs in which each p is significant, as cells of a table."""
    found = np.array([draw() for _ in range(runs)])
    return " | ".join(f"{share:.1%}" for share in (found <= ALPHA).mean(axis=0))


if __name__ == "__main__":
    main()
