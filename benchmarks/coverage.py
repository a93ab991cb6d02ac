"""Coverage of the intervals, by simulation.

    python benchmarks/coverage.py                # about ten minutes on one core
    python benchmarks/coverage.py --runs 100     # a quick look

Every number is the share of runs whose 95 % interval holds the true value, with a simulation error
of 0.7 points at 1,000 runs and 1.3 at 300.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import numpy as np
from evidence import Change, draw_sets, model_sets

from pytest_visualbias.statistics.growth import growth_test
from pytest_visualbias.statistics.intra_similarity import (
    intra_growth_from_scores,
    intra_scores,
    intra_similarity,
)
from pytest_visualbias.statistics.leave_one_out import effect_uncertainty
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Draw = Callable[[np.random.Generator, int], Matrix]

SHAPES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal((n, 8)),
    "t with 3 degrees": lambda rng, n: rng.standard_t(3, (n, 8)) / math.sqrt(3),
    "exponential": lambda rng, n: rng.exponential(size=(n, 8)) - 1,
}
SIZES = ((6, 6), (10, 10), (20, 20), (40, 40), (8, 40))
# How far the sets of an association are pushed, so that its effect is about 0, 0.5 and 1.
PUSHES = (0.0, 0.26, 0.58)
DIM = 16
POPULATION = 1_500
IMAGES = 400_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=TABLES, default=[*TABLES])
    chosen = parser.parse_args(arguments)
    for name in chosen.only:
        TABLES[name](chosen.runs)


def _effects(runs: int) -> None:
    """Jackknife: images of all four sets sampled from populations of embeddings."""
    print(f"#### The judged effect and the gap: jackknife, {runs} draws\n")
    truths = {name: [_truth(draw, push) for push in PUSHES] for name, draw in SHAPES.items()}
    print("| vectors | n | effect: coverage, upper ends too low | gap |\n|---|---|---|---|")
    for name, draw in SHAPES.items():
        for n, m in SIZES:
            rng = np.random.default_rng([n, m])
            shares = [
                _covered(rng, draw, (n, m), push, *truth, runs)
                for push, truth in zip(PUSHES, truths[name], strict=True)
            ]
            effects = "; ".join(
                f"d = {abs(truth[0]):.2f}: {share[0]:.1%}, {share[1]:.1%}"
                for truth, share in zip(truths[name], shares, strict=True)
            )
            gaps = ", ".join(f"{share[2]:.1%}" for share in shares)
            print(f"| {name} | {n} v {m} | {effects} | {gaps} |", flush=True)
    print()


def _truth(draw: Draw, push: float) -> tuple[float, float]:
    """Judged effect and gap of large populations; both sides have the same effect there."""
    if push == 0:
        return 0.0, 0.0
    rng, size = np.random.default_rng(0), (POPULATION, POPULATION)
    every = [association_scores(*_sets(rng, draw, size, push)) for _ in range(4)]
    effects = [side.difference for one in every for side in (one.targets, one.attributes)]
    return float(np.mean(effects)), float(np.mean([one.gap for one in every]))


def _sets(rng: np.random.Generator, draw: Draw, n: tuple[int, int], push: float) -> list[Matrix]:
    """Embeddings in which X and A, and Y and B, share a direction to some degree."""
    sets = [draw(rng, size) for size in (n[0], n[1], n[0], n[1])]
    for which, rows in enumerate(sets):
        rows[:, 0] += push if which % 2 == 0 else -push
    return sets


def _covered(
    rng: np.random.Generator,
    draw: Draw,
    n: tuple[int, int],
    push: float,
    effect: float,
    gap: float,
    runs: int,
) -> tuple[float, float, float]:
    """Shares of draws whose interval holds the effect, ends below it, and holds the gap."""
    counts = np.zeros(3)
    for _ in range(runs):
        scores = association_scores(*_sets(rng, draw, n, push))
        judged = min(scores.targets.difference, scores.attributes.difference, key=abs)
        found = effect_uncertainty(scores, judged, "both", 0.95)
        counts += (
            found["ci_low"] <= effect <= found["ci_high"],
            found["ci_high"] < effect,
            found["gap_ci_low"] <= gap <= found["gap_ci_high"],
        )
    shares = counts / runs
    return float(shares[0]), float(shares[1]), float(shares[2])


def _growth(runs: int) -> None:
    """Jackknife: all four sets sampled, and seen by two models."""
    print(f"#### Growth and shift between two models: jackknife, {runs} draws\n")
    print("| n | true effects | correlation | growth: coverage, upper ends too low | shift |")
    print("|---|---|---|---|---|")
    for n in (10, 20, 40):
        for before, after in ((0.5, 0.5), (0.5, 0.8), (0.5, 1.5)):
            for agreement in (0.5, 0.9):
                rng = np.random.default_rng([n, round(10 * after), round(10 * agreement)])
                change = Change(before=(before, before), after=(after, after), agreement=agreement)
                growth, low, shift = np.mean(
                    [_growth_covered(rng, n, change) for _ in range(runs)], axis=0
                )
                print(
                    f"| {n} | {before:g}, {after:g} | {agreement:g} | {growth:.1%}, {low:.1%} | "
                    f"{shift:.1%} |",
                    flush=True,
                )
    print()


def _growth_covered(rng: np.random.Generator, n: int, change: Change) -> tuple[bool, bool, bool]:
    """Whether the growth is within its interval or above it, and the shift within its own."""
    common = draw_sets(rng, (n, n))
    ends = [model_sets(rng, common, change, effects) for effects in (change.before, change.after)]
    found, truth = growth_test(*ends), change.after[0] - change.before[0]
    return (
        found.ci_low <= truth <= found.ci_high,
        found.ci_high < truth,
        found.shift_ci_low <= truth <= found.shift_ci_high,
    )


def _within(runs: int) -> None:
    """Mean similarity of one set, and its change between two models that see the same images."""
    print(f"\n#### Similarity within a set, and its change: jackknife, {runs} draws\n")
    print("| n | similarity before, after | ci | shift |")
    print("|---|---|---|---|")
    for n in (6, 20, 40, 150):
        for push in ((0.0, 0.0), (2.0, 2.0), (2.0, 4.0)):
            rng = np.random.default_rng([n, *map(round, push)])
            ends = [_similarity(value) for value in push]
            found = np.array([_alike(rng, n, push, ends) for _ in range(runs)])
            value, shift = (f"{share:.1%}" for share in found.mean(axis=0))
            print(f"| {n} | {ends[0]:.2f}, {ends[1]:.2f} | {value} | {shift} |", flush=True)


def _similarity(push: float) -> float:
    """Mean cosine of two images of a population that is pushed along one direction."""
    rows = np.random.default_rng(round(10 * push)).standard_normal((IMAGES, DIM))
    rows[:, 0] += push
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return float(np.square(rows.mean(axis=0)).sum())


def _alike(
    rng: np.random.Generator, n: int, push: tuple[float, float], ends: list[float]
) -> tuple[bool, bool]:
    """Tell whether the intervals of the similarity after and of its shift hold the truth."""
    common = rng.standard_normal((n, DIM))
    sets = []
    for value in push:
        rows = math.sqrt(0.7) * common + math.sqrt(0.3) * rng.standard_normal((n, DIM))
        rows[:, 0] += value
        sets.append(rows)
    found = intra_similarity(sets[1])
    growth = intra_growth_from_scores(*(intra_scores(rows) for rows in sets))
    shift = ends[1] - ends[0]
    return (
        found.ci_low <= ends[1] <= found.ci_high,
        growth.shift_ci_low <= shift <= growth.shift_ci_high,
    )


TABLES = {"effects": _effects, "growth": _growth, "within": _within}


if __name__ == "__main__":
    main()
