"""Time, memory and error of p: ours, the published code's way, scipy, and WEFE if installed.

    python benchmarks/permutation.py             # about five minutes on one core
    python benchmarks/permutation.py --quick     # n = 6 and 20 only

Everything runs in one process, one after the other, and every table is of ratios measured in that
run. "Equal accuracy" counts the resamples that a sampler would need for a relative standard error
of 1 % on p, (1 - p) / (1e-4 p), and scales its time by them; ours is exact or bracketed to 1 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import itertools
import math
import statistics
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import PermutationResult

    Vector = NDArray[np.float64]

DRAWS = 10_000
SIZES = (6, 20, 40, 150)
TARGETS = (0.3, 0.01, 1e-6)
# scipy renamed it in 1.15; WEFE needs a scipy before 1.13.
_SEED_NAME = (
    "rng" if "rng" in inspect.signature(stats.permutation_test).parameters else "random_state"
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    sizes = SIZES[:2] if parser.parse_args().quick else SIZES
    print(
        "| n | true p | ours | p | bracket | ms | MB | loop ms | scipy ms | loop err | scipy err |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for n, target in itertools.product(sizes, TARGETS):
        if target < 1 / math.comb(2 * n, n):
            continue
        ratios.append(_row(n, target))
    print("\n| n | p | loop / ours | scipy / ours | plain loop / ours |")
    print("|---|---|---|---|---|")
    for line in ratios:
        print(line)
    _wefe()


def _row(n: int, target: float) -> str:
    """Print one row of times and return the row of its ratios."""
    first, second = _scores(n, target)
    side = Side.of(first, second, ("X", "Y"))
    ours_s = _median(lambda: permutation_test(side, alternative="greater"), 7)
    got = permutation_test(side, alternative="greater")
    truth = _truth(got)
    loop_s = _median(lambda: loop(first, second, DRAWS, np.random.default_rng(0)), 3)
    scipy_s = _median(lambda: scipy_p(first, second, DRAWS, 0), 3)
    seeds = range(5)
    loop_error = _error(
        [loop(first, second, DRAWS, np.random.default_rng(k)) for k in seeds], truth
    )
    scipy_error = _error([scipy_p(first, second, DRAWS, k) for k in seeds], truth)
    peak = _peak(lambda: permutation_test(side, alternative="greater"))
    width = (got.p_high - got.p_low) / got.p_high
    print(
        f"| {n} | {truth:.3g} | {got.method} | {got.p_value:.4g} | {width:.2%} "
        f"| {1e3 * ours_s:.2f} | {peak:.1f} "
        f"| {1e3 * loop_s:.1f} | {1e3 * scipy_s:.1f} | {loop_error:.0%} | {scipy_error:.0%} |",
        flush=True,
    )
    # Both enumerate where there are few partitions.
    partitions = math.comb(2 * n, n)
    needed = 1 if partitions <= DRAWS else (1 - truth) / (1e-4 * truth) / DRAWS
    factors = (loop_s * needed / ours_s, scipy_s * needed / ours_s, loop_s / ours_s)
    return f"| {n} | {truth:.3g} | " + " | ".join(f"{factor:,.1f}" for factor in factors) + " |"


def loop(first: Vector, second: Vector, draws: int, rng: np.random.Generator) -> float:
    """One-sided p as the published code has it: a Python loop that shuffles and adds up."""
    score: dict[int, float] = dict(enumerate([*first.tolist(), *second.tolist()]))
    names, half = list(score), len(first)
    observed = sum(score[name] for name in names[:half])
    if math.comb(len(names), half) <= draws:
        partitions: Iterator[tuple[int, ...]] = itertools.combinations(names, half)
        sums = [sum(score[name] for name in chosen) for chosen in partitions]
        return sum(bool(value >= observed) for value in sums) / len(sums)
    values, order, over = np.array(list(score.values())), np.arange(len(score)), 1
    for _ in range(draws - 1):
        rng.shuffle(order)
        over += values[order[:half]].sum() >= observed
    return float(over / draws)


def scipy_p(first: Vector, second: Vector, draws: int, seed: int) -> float:
    """One-sided p by scipy, vectorised."""
    found = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=draws,
        alternative="greater",
        vectorized=True,
        **{_SEED_NAME: np.random.default_rng(seed)},
    )
    return float(found.pvalue)


def _scores(n: int, target: float) -> tuple[Vector, Vector]:
    """Draw normal scores, shifted so that the one-sided p is near `target`."""
    rng = np.random.default_rng([n, round(-math.log(target) * 1000)])
    first, second = rng.standard_normal((2, n))
    low, high = -5.0, 10.0
    for _ in range(30):
        shift = (low + high) / 2
        t = stats.ttest_ind(first + shift, second, alternative="greater").pvalue
        low, high = (shift, high) if t > target else (low, shift)
    return first + shift, second


def _truth(got: PermutationResult) -> float:
    """Exact p, or the middle of its bracket."""
    return (got.p_low + got.p_high) / 2


def _error(estimates: list[float], truth: float) -> float:
    """Root mean square relative error."""
    return math.sqrt(statistics.fmean((p / truth - 1) ** 2 for p in estimates))


def _median(function: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of a call, the first of which is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def _peak(function: Callable[[], object]) -> float:
    """Peak of the memory that a call allocates, in MB."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def _wefe() -> None:
    """Compare with WEFE, which computes all cosines anew in each draw, if it is installed."""
    if importlib.util.find_spec("wefe") is None:
        print(
            "\nWEFE is not installed: `pip install wefe==1.0.1 'numpy<=1.26.4'` in an environment"
        )
        return
    print("\n| n | WEFE s at 10,000 draws (scaled) | ours s, with all cosines | WEFE / ours |")
    print("|---|---|---|---|")
    for n in SIZES[:3]:
        sets = np.random.default_rng(n).standard_normal((4, n, 512)).astype(np.float32)
        theirs = _wefe_seconds(sets, 20) / 20 * DRAWS
        ours = _median(partial(_both_steps, sets), 5)
        print(f"| {n} | {theirs:.1f} | {ours:.4f} | {theirs / ours:,.0f} |", flush=True)


def _both_steps(sets: NDArray[np.float32]) -> float:
    """Scores and p of the target side, from embeddings."""
    return permutation_test(association_scores(*sets).targets, alternative="greater").p_value


def _wefe_seconds(sets: NDArray[np.float32], draws: int) -> float:
    """Seconds of WEFE's test with so many draws."""
    from gensim.models import KeyedVectors
    from wefe.metrics import WEAT
    from wefe.query import Query
    from wefe.word_embedding_model import WordEmbeddingModel

    names = [[f"{letter}{i}" for i in range(len(rows))] for letter, rows in zip("xyab", sets)]  # noqa: B905
    vectors = KeyedVectors(sets.shape[2])
    vectors.add_vectors(list(itertools.chain(*names)), np.concatenate(list(sets)))
    model = WordEmbeddingModel(vectors, "benchmark")
    query = Query(names[:2], names[2:], ["X", "Y"], ["A", "B"])
    start = time.perf_counter()
    WEAT().run_query(query, model, calculate_p_value=True, p_value_iterations=draws)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
