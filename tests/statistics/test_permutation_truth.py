"""Every way to make a p against a truth that shares no code with it."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.statistics.permutation import bounds
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative, PermutationResult

    Vector = NDArray[np.float64]

ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
KINDS: dict[str, Callable[[np.random.Generator, int], Vector]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.uniform(size=n),
    "two humps": lambda rng, n: (rng.random(n) < 0.4) + 0.2 * rng.uniform(size=n),
    "heavy": lambda rng, n: rng.standard_t(3, n),
    "skewed": lambda rng, n: rng.exponential(size=n),
    "tied": lambda rng, n: np.round(rng.standard_normal(n), 1) * math.pi,
}


def run(first: Vector, second: Vector, alternative: Alternative) -> PermutationResult:
    return permutation_test(Side.of(first, second, ("X", "Y")), alternative=alternative)


def listed(first: Vector, second: Vector, alternative: Alternative) -> float:
    """Share of all splits at least as extreme, each listed; ties by a tolerance."""
    pooled = np.concatenate([first, second])
    n, m = len(first), len(second)
    chosen = np.array(list(combinations(range(n + m), n)))
    ours = pooled[chosen].sum(axis=1)
    splits = ours / n - (pooled.sum() - ours) / m
    observed, slack = first.mean() - second.mean(), 1e-10
    hits = {
        "two-sided": np.abs(splits) >= abs(observed) - slack,
        "greater": splits >= observed - slack,
        "less": splits <= observed + slack,
    }
    return float(hits[alternative].mean())


class Convolved:
    """The permutation distribution of a sum, by adding scores to a grid (Pagano & Tritchler 1983).

    Each score is shared between its two neighbours on the grid so that its mean stays, which is
    right to a fraction of a per cent, and not proven.
    """

    def __init__(self, pooled: Vector, size: int, per_deviation: float = 50) -> None:
        centred = pooled - pooled.mean()
        self._step = float(centred.std()) / per_deviation
        deviation = math.sqrt(size * (len(pooled) - size) / len(pooled)) * per_deviation
        units = centred / self._step
        half = int(10 * deviation + np.abs(units).max()) + 2
        counts = np.zeros((size + 1, 2 * half + 1))
        counts[0, half] = 1.0
        for unit in sorted(units.tolist(), key=abs):
            low = math.floor(unit)
            for place, share in ((low, low + 1 - unit), (low + 1, unit - low)):
                moved = counts[:-1, max(0, -place) : counts.shape[1] - max(0, place)] * share
                if place == low:
                    added = np.zeros((size, counts.shape[1]))
                added[:, max(0, place) : counts.shape[1] - max(0, -place)] += moved
            counts[1:] += added
        self._masses = counts[size] / counts[size].sum()
        self._sums = np.arange(-half, half + 1)

    def p(self, centred_sum: float, alternative: Alternative) -> float:
        """Probability of a sum as extreme; the cell that it lies in counts in part."""
        at = centred_sum / self._step
        above = np.clip(self._sums + 0.5 - at, 0, 1) @ self._masses
        if alternative == "greater":
            return float(above)
        below = np.clip(at + 0.5 - self._sums, 0, 1) @ self._masses
        if alternative == "less":
            return float(below)
        mirrored = np.clip(-abs(at) + 0.5 - self._sums, 0, 1) @ self._masses
        return float(np.clip(self._sums + 0.5 - abs(at), 0, 1) @ self._masses + mirrored)


def pushed(kind: str, sizes: tuple[int, int], z: float, seed: int) -> tuple[Vector, Vector]:
    """Draw two sets whose means are about `z` standard errors apart."""
    rng = np.random.default_rng([*sizes, seed])
    first, second = (KINDS[kind](rng, n) for n in sizes)
    spread = float(np.concatenate([first, second]).std())
    return first + z * spread * math.sqrt(1 / sizes[0] + 1 / sizes[1]), second


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(2, 2), (2, 9), (3, 6), (6, 6), (9, 3), (8, 8)])
def test_small_sets_are_counted(
    sizes: tuple[int, int], kind: str, alternative: Alternative
) -> None:
    for seed, z in enumerate((0.0, 1.0, 2.5, 6.0)):
        first, second = pushed(kind, sizes, z, seed)
        got = run(first, second, alternative)
        assert got.method == "exact"
        assert got.p_low == got.p_value == got.p_high
        assert got.p_value == pytest.approx(listed(first, second, alternative), rel=1e-12)


@pytest.mark.parametrize("kind", ["normal", "uniform", "heavy", "skewed"])
@pytest.mark.parametrize("sizes", [(20, 20), (40, 40), (20, 45)])
def test_the_upper_end_of_a_bracket_is_close_to_the_truth(
    sizes: tuple[int, int], kind: str
) -> None:
    """Within 1 % of p or 1e-4, from p near 1 down to 1e-12, and never below it."""
    for seed, z in enumerate((0.0, 1.5, 3.0, 5.0, 6.5)):
        first, second = pushed(kind, sizes, z, seed)
        pooled = np.concatenate([first, second])
        distribution = Convolved(pooled, sizes[0])
        for alternative in ALTERNATIVES:
            truth = distribution.p(float((first - pooled.mean()).sum()), alternative)
            got = run(first, second, alternative)
            assert got.method in ("exact", "bounded")
            assert got.p_low <= got.p_value == got.p_high
            # How right the truth of this test is; if few relabellings are as extreme, it is not.
            slack = 0.007 if truth > 1e-6 else 0.03
            assert got.p_low * (1 - slack) <= truth
            assert truth * (1 - slack) <= got.p_value <= truth * (1.01 + slack) + 1e-4
            assert 0 < got.p_value <= 1


@pytest.mark.parametrize("sizes", [(50, 50), (70, 40)])
@pytest.mark.parametrize("kind", ["uniform", "two humps"])
def test_an_approximate_p_is_not_below_the_truth(
    sizes: tuple[int, int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of sets smaller than those that need it, where it is less accurate."""
    monkeypatch.setattr(bounds, "_MAX_CELLS", 0)
    for seed, z in enumerate((0.0, 1.0, 2.0, 3.0, 4.5)):
        first, second = pushed(kind, sizes, z, seed)
        pooled = np.concatenate([first, second])
        distribution = Convolved(pooled, sizes[0])
        for alternative in ALTERNATIVES:
            got = run(first, second, alternative)
            truth = distribution.p(float((first - pooled.mean()).sum()), alternative)
            assert truth * 0.995 <= got.p_value <= truth * 1.12 + 1e-12
            assert got.method == "approximate"


def test_sets_of_hundreds_are_approximate_and_not_below_the_truth() -> None:
    """Twenty thousand relabellings leave a standard error of at most 0.35 points."""
    rng = np.random.default_rng(4)
    first, second = pushed("normal", (280, 320), 1.2, 1)
    pooled = np.concatenate([first, second])
    sums = np.array([rng.permutation(pooled)[:280].sum() for _ in range(20_000)])
    for alternative in ALTERNATIVES:
        observed = first.sum() - pooled.mean() * 280
        drawn = sums - pooled.mean() * 280
        share = {
            "two-sided": np.abs(drawn) >= abs(observed),
            "greater": drawn >= observed,
            "less": drawn <= observed,
        }[alternative].mean()
        got = run(first, second, alternative)
        assert got.method == "approximate"
        assert got.p_value == got.p_high == pytest.approx(min(1.0, 1.05 * got.p_low))
        assert share - 0.011 <= got.p_value <= min(1.0, 1.055 * (share + 0.011))


def test_sets_that_one_score_dominates_or_of_unlike_sizes_are_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A saddlepoint approximation can be a quarter too small there."""
    monkeypatch.setattr(bounds, "_MAX_CELLS", 0)
    first, second = pushed("uniform", (60, 60), 1.0, 3)
    assert run(first, second, "two-sided").method == "approximate"
    assert run(first, np.append(second, 30.0), "two-sided").method == "sampled"
    assert run(*pushed("uniform", (60, 121), 1.0, 3), "two-sided").method == "sampled"
