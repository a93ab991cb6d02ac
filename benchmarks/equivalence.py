"""How often `evidence: equivalence` passes a true value that equals its limit.

    python benchmarks/equivalence.py                # all rows, some minutes on one core
    python benchmarks/equivalence.py --draws 20     # a quick look
    python benchmarks/equivalence.py --only growth  # one table

A pass claims that the value is within the limit, so at the limit it is wrong. Each number is the
share of draws that pass, in percent; its simulation error is 0.7 points at 5 % and 1,000 draws.

A cosine is ``u_i v_j`` plus noise: u has mean 1 and -1 on X and Y, v on A and B. With infinitely
many images the effect of a side whose spread within a set is s is ``2 / sqrt(1 + s^2)``, which
each row sets to the limit on one side or on both.
"""

from __future__ import annotations

import argparse
import itertools
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.spec.limits import Limits
from pytest_visualbias.statistics import AssociationResult, Scores, growth_from_scores
from pytest_visualbias.statistics.sampled_effect import sampling
from pytest_visualbias.verdict import CorrectedP, Rule, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]

ALPHA = 0.05
LIMITS = (0.2, 0.5, 1.0)
SIZES = ((8, 8), (10, 10), (20, 20), (40, 40), (8, 40))
# Of noise in single cosines, beside a product of 1.
NOISE = 0.5
# How alike the images of two models are.
CORRELATION = 0.5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of X, Y, A and B."""

    x: int
    y: int
    a: int
    b: int

    def __str__(self) -> str:
        targets = str(self.x) if self.x == self.y else f"{self.x} v {self.y}"
        return targets if self.a == self.x else f"{targets}, {self.a} attributes"


def within(effect: float) -> float:
    """Return the spread within a set that makes an effect."""
    return math.sqrt(4 / effect**2 - 1)


def latent(rng: np.random.Generator, first: int, second: int) -> Vector:
    """Draw the part of each image that does not depend on its set."""
    return rng.standard_normal(first + second)


def poles(first: int, second: int) -> Vector:
    """Return 1 for the first set and -1 for the second."""
    return np.repeat([1.0, -1.0], [first, second])


def scores(cosines: Matrix, sizes: Sizes) -> Scores:
    """Return the scores that a matrix of cosines gives."""
    weights = np.repeat([1 / sizes.x, -1 / sizes.y], [sizes.x, sizes.y])
    columns = np.repeat([1 / sizes.a, -1 / sizes.b], [sizes.a, sizes.b])
    targets, attributes = cosines @ columns, weights @ cosines
    z, h = targets / targets.std(ddof=1), attributes / attributes.std(ddof=1)
    return Scores(
        x=z[: sizes.x],
        y=z[sizes.x :],
        a=h[: sizes.a],
        b=h[sizes.a :],
        gap=float(weights @ targets),
        cosines=(cosines,),
    )


class Model:
    """Cosines of a model whose two sides have given effects in infinitely many images."""

    def __init__(self, targets: float, attributes: float) -> None:
        self.spreads = within(targets), within(attributes)

    def scores(self, rng: np.random.Generator, u: Vector, v: Vector, sizes: Sizes) -> Scores:
        """Return the scores of images with the latent parts `u` and `v`."""
        rows = poles(sizes.x, sizes.y) + self.spreads[0] * u
        columns = poles(sizes.a, sizes.b) + self.spreads[1] * v
        noise = NOISE * rng.standard_normal((len(u), len(v)))
        return scores(np.outer(rows, columns) + noise, sizes)


def without_p(drawn: Scores) -> AssociationResult:
    """Return the effect of scores without its p-values, which a pass does not use."""
    sides = [side.difference for side in (drawn.targets, drawn.attributes)]
    judged = min(sides, key=abs)
    n_x, n_y, n_a, n_b = drawn.sizes
    return AssociationResult(
        effect_size=sides[0],
        effect_size_attributes=sides[1],
        effect_judged=judged,
        gap=drawn.gap,
        confidence=1 - ALPHA,
        n_x=n_x,
        n_y=n_y,
        n_a=n_a,
        n_b=n_b,
        p_value=1.0,
        p_low=1.0,
        p_high=1.0,
        p_method="exact",
        p_attributes=1.0,
        p_welch=None,
        p_verdict=1.0,
        p_verdict_low=1.0,
        p_verdict_high=1.0,
        p_verdict_method="exact",
        **sampling(drawn, judged, "both", 1 - ALPHA),
    )


def effect_passes(rng: np.random.Generator, limit: float, sizes: Sizes, other: float) -> bool:
    """Whether an effect equal to the limit passes; the other side has the effect `other`."""
    u, v = latent(rng, sizes.x, sizes.y), latent(rng, sizes.a, sizes.b)
    effect = without_p(Model(limit, other).scores(rng, u, v, sizes))
    rule = Rule(
        limits=Limits(max_effect=limit),
        evidence="equivalence",
        alternative="two-sided",
        alpha=ALPHA,
    )
    return judge(effect, None, rule, CorrectedP(effect=1.0)).outcome == "pass"


def growth_passes(rng: np.random.Generator, limit: float, sizes: Sizes, before: float) -> bool:
    """Whether a growth equal to the limit, from the effect `before`, passes."""
    u, v = latent(rng, sizes.x, sizes.y), latent(rng, sizes.a, sizes.b)
    old = Model(before, 1.95).scores(rng, u, v, sizes)
    mixed = [
        CORRELATION * part + math.sqrt(1 - CORRELATION**2) * rng.standard_normal(len(part))
        for part in (u, v)
    ]
    new = Model(before + limit, 1.95).scores(rng, mixed[0], mixed[1], sizes)
    growth = growth_from_scores(old, new)
    rule = Rule(
        limits=Limits(max_growth=limit),
        evidence="equivalence",
        alternative="two-sided",
        alpha=ALPHA,
    )
    effect = without_p(new)
    return judge(effect, growth, rule, CorrectedP(growth=1.0)).outcome == "pass"


def rows(table: str) -> Iterator[tuple[str, float, Sizes, float]]:
    """Yield the name, limit, sizes and further effect of each row of a table."""
    for (x, y), limit in itertools.product(SIZES, LIMITS):
        sizes = Sizes(x=x, y=y, a=x, b=y)
        cases = (
            (("one side", 1.8), ("both sides", limit))
            if table == "effect"
            else (("from 0.3", 0.3), ("to 1.5", 1.5 - limit), ("to 1.9", 1.9 - limit))
        )
        for name, value in cases:
            yield f"{sizes}, {name}", limit, sizes, value
    for limit in LIMITS if table == "effect" else ():
        sizes = Sizes(x=20, y=20, a=8, b=8)
        yield f"{sizes}, both sides", limit, sizes, limit


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", choices=("effect", "growth"))
    options = parser.parse_args()
    for table in ("effect", "growth"):
        if options.only not in (None, table):
            continue
        print(f"{table}: passes at the limit, % of {options.draws} draws")
        passes = effect_passes if table == "effect" else growth_passes
        for name, limit, sizes, value in rows(table):
            rng = np.random.default_rng(zlib.crc32(f"{table} {name} {limit}".encode()))
            count = sum(passes(rng, limit, sizes, value) for _ in range(options.draws))
            share = 100 * count / options.draws
            print(f"  limit {limit:g}  {name:<32} {share:5.1f}", flush=True)


if __name__ == "__main__":
    main()
