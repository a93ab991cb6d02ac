"""Growth by its definition alone: plain numpy, effects without an image computed anew."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]
    Sets = tuple[Rows, Rows, Rows, Rows]
    Value = Callable[["Model", "Model"], float]

__all__ = ["Reference", "permuted"]

FLOOR = 1e-6


def unit(rows: Rows) -> Rows:
    scaled: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def permuted(first: Rows, second: Rows, alternative: str) -> float:
    """Share of relabellings whose difference of means is as extreme, by listing all of them."""
    pooled = np.concatenate([first, second])
    n, total = len(first), pooled.sum()
    differences = []
    for chosen in itertools.combinations(range(len(pooled)), n):
        part = pooled[list(chosen)].sum()
        differences.append(part / n - (total - part) / (len(pooled) - n))
    observed = first.mean() - second.mean()
    values = np.array(differences)
    tie = 1e-10 * np.abs(pooled).max()
    if alternative == "two-sided":
        return float(np.mean(np.abs(values) >= abs(observed) - tie))
    return float(np.mean(values >= observed - tie))


def welch(first: Rows, second: Rows, alternative: str) -> float:
    shares = [
        ((one - one.mean()) ** 2).sum() / (len(one) - 1) / len(one) for one in (first, second)
    ]
    if sum(shares) == 0:
        return float(first.mean() < second.mean())
    below = sum(v**2 / (len(one) - 1) for v, one in zip(shares, (first, second), strict=True))
    t, df = (first.mean() - second.mean()) / np.sqrt(sum(shares)), sum(shares) ** 2 / below
    return float(2 * stats.t.sf(abs(t), df) if alternative == "two-sided" else stats.t.sf(t, df))


class Model:
    """One model: cosines, scores of both sides, effects."""

    def __init__(self, sets: Sets, sides: str) -> None:
        X, Y, A, B = (unit(rows) for rows in sets)
        self.sizes = len(X), len(Y), len(A), len(B)
        self.C = np.concatenate([X, Y]) @ np.concatenate([A, B]).T
        n_x, n_y, n_a, n_b = self.sizes
        self.v = np.concatenate([np.full(n_a, 1 / n_a), np.full(n_b, -1 / n_b)])
        self.w = np.concatenate([np.full(n_x, 1 / n_x), np.full(n_y, -1 / n_y)])
        s, h = self.C @ self.v, self.w @ self.C
        gap = float(self.w @ self.C @ self.v)
        effects = gap / s.std(ddof=1), gap / h.std(ddof=1)
        is_attributes = bool(sides == "both" and abs(effects[1]) < abs(effects[0]))
        self.effect = effects[is_attributes]
        self.judged = (n_a, n_b) if is_attributes else (n_x, n_y)
        self.q, self.r = self._within(s, n_x), self._within(h, n_a)
        self.c = max(self.q, self.r) if sides == "both" else self.q
        n_1, n_2 = self.judged
        total = n_1 + n_2
        room = max((total - 1 - n_1 * n_2 * self.effect**2 / total) / (total - 2), FLOOR**2)
        self.D = self.effect / np.sqrt(room)
        self.is_flat = room <= FLOOR**2

    @staticmethod
    def _within(scores: Rows, n: int) -> float:
        first, second = scores[:n], scores[n:]
        squares = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
        return float(max(np.sqrt(squares / (len(scores) - 2)), FLOOR * scores.std(ddof=1)))


class Reference:
    """What the definitions say of two models."""

    def __init__(
        self, before: Sets, after: Sets, sides: str = "both", alternative: str = "two-sided"
    ) -> None:
        self.sides, self.alternative = sides, alternative
        self.ends = Model(before, sides), Model(after, sides)
        old, new = self.ends
        self.signs = [self._sign(end.effect) for end in self.ends]
        self.unchanged = abs(new.effect - old.effect) <= 1e-6
        if self.unchanged or (old.is_flat and new.is_flat and all(self.signs)):
            self.signs = [0.0, 0.0]
        self.growth = self.signs[1] * new.effect - self.signs[0] * old.effect
        self.without = [
            [[Model(self._left(sets, k, i), sides) for i in range(len(sets[k]))] for k in range(4)]
            for sets in (before, after)
        ]

    def _sign(self, effect: float) -> float:
        if self.alternative == "greater":
            return float(effect > 0)
        if self.alternative == "less":
            return -float(effect < 0)
        return -1.0 if effect < 0 else 1.0

    @staticmethod
    def _left(sets: Sets, k: int, i: int) -> Sets:
        x, y, a, b = (np.delete(rows, i, axis=0) if k == j else rows for j, rows in enumerate(sets))
        return x, y, a, b

    def p(self, signs: list[float], alternative: str) -> dict[str, float | None]:
        """All p-values of the change with these signs."""
        old, new = self.ends
        G = signs[1] * new.C / new.c - signs[0] * old.C / old.c
        n_x, _, n_a, _ = new.sizes
        t, u = G @ new.v, new.w @ G
        pairs = [(t[:n_x], t[n_x:]), (u[:n_a], u[n_a:])]
        counted = pairs if self.sides == "both" else pairs[:1]
        found: dict[str, float | None] = {"p_value": 1.0, "p_attributes": None}
        flat = not any(signs)
        for name, pair in zip(found.copy(), counted, strict=False):
            found[name] = 1.0 if flat else permuted(*pair, alternative)
        uneven = [pair for pair in counted if len(pair[0]) != len(pair[1])]
        found["p_welch"] = (
            max(1.0 if flat else welch(*pair, alternative) for pair in uneven) if uneven else None
        )
        found["p_crossed"] = None
        if self.sides == "both":
            found["p_crossed"] = 1.0 if flat else self._crossed(G, signs, alternative)
        return found

    def _crossed(self, G: Rows, signs: list[float], alternative: str) -> float | None:
        old, new = self.ends
        theta = signs[1] * new.D - signs[0] * old.D
        variances = self.variances(lambda a, b: signs[1] * a.D - signs[0] * b.D)
        n_x, _, n_a, _ = new.sizes
        targets, attributes = variances[0] + variances[1], variances[2] + variances[3]
        twice = 0.0
        for rows in (slice(0, n_x), slice(n_x, None)):
            for columns in (slice(0, n_a), slice(n_a, None)):
                block = G[rows, columns]
                a, b = block.shape
                centred = block - block.mean(0) - block.mean(1)[:, None] + block.mean()
                twice += (centred**2).sum() / ((a - 1) * (b - 1)) / (a * b)
        V = max(targets + attributes - twice, targets, attributes)
        if V == 0:
            return None
        df = self.freedom(variances)
        t = theta / np.sqrt(V)
        if alternative == "two-sided":
            return float(2 * stats.t.sf(abs(t), df))
        return float(stats.t.sf(t, df))

    def variances(self, value: Value) -> list[float]:
        found = []
        for old, new in zip(*self.without, strict=True):
            thetas = np.array([value(a, b) for b, a in zip(old, new, strict=True)])
            n = len(thetas)
            found.append(float((n - 1) / n * ((thetas - thetas.mean()) ** 2).sum()))
        return found

    def freedom(self, variances: list[float]) -> float:
        sizes = self.ends[0].sizes
        below = sum(v**2 / (n - 1) for v, n in zip(variances, sizes, strict=True))
        return sum(variances) ** 2 / below

    def interval(self, level: float, value: Value) -> tuple[float, float]:
        middle = value(self.ends[1], self.ends[0])
        variances = self.variances(value)
        if not any(variances):
            return middle, middle
        margin = stats.t.ppf((1 + level) / 2, self.freedom(variances)) * np.sqrt(sum(variances))
        return middle - margin, middle + margin

    def growth_interval(self, level: float) -> tuple[float, float]:
        s_b, s_a = self.signs
        low, high = self.interval(level, lambda a, b: s_a * a.effect - s_b * b.effect)
        before = self.interval(level, lambda a, b: b.effect)
        if before[0] <= 0 <= before[1]:
            other = self.interval(level, lambda a, b: s_a * a.effect + s_b * b.effect)
            low = min(low, other[0])
            high = self.interval(level, lambda a, b: s_a * a.effect)[1]
        return low, high
