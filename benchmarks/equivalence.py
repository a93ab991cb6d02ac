"""How often `evidence: equivalence` passes a true value that equals its limit.

    python benchmarks/equivalence.py                # all rows, some minutes on one core
    python benchmarks/equivalence.py --draws 20     # a quick look
    python benchmarks/equivalence.py --only growth  # one table

A pass claims that the value is within the limit, so at the limit it is wrong. Growth is measured
here to show why a spec refuses it. Each number is the
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
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.evaluation.verdict import CorrectedP, DecisionRule, Numbers, judge
from pytest_visualbias.spec.test_kinds import Limits
from pytest_visualbias.statistics.association import AssociationResult, ContrastResult
from pytest_visualbias.statistics.contrast_scores import ContrastScores
from pytest_visualbias.statistics.growth import growth_from_scores
from pytest_visualbias.statistics.leave_one_out import effect_uncertainty
from pytest_visualbias.statistics.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_visualbias.statistics import EffectResult

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]

ALPHA = 0.05
LIMITS = (0.2, 0.5, 1.0)
SIZES = ((8, 8), (10, 10), (20, 20), (40, 40), (8, 40))
# Of noise in single cosines, beside a product of 1.
NOISE = 0.5
NO_P: dict[str, Any] = {
    **dict.fromkeys(("p_value", "p_low", "p_high", "p_verdict", "p_attributes"), 1.0),
    **dict.fromkeys(("p_verdict_low", "p_verdict_high"), 1.0),
    **dict.fromkeys(("p_method", "p_verdict_method"), "exact"),
    "p_welch": None,
}
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


def weights(first: int, second: int) -> Vector:
    """Return what the difference of two means gives each image."""
    return np.repeat([1 / first, -1 / second], [first, second])


def scores(cosines: Matrix, sizes: Sizes) -> Scores:
    """Return the scores that a matrix of cosines gives."""
    rows, columns = weights(sizes.x, sizes.y), weights(sizes.a, sizes.b)
    targets, attributes = cosines @ columns, rows @ cosines
    z, h = targets / targets.std(ddof=1), attributes / attributes.std(ddof=1)
    return Scores(
        x=z[: sizes.x],
        y=z[sizes.x :],
        a=h[: sizes.a],
        b=h[sizes.a :],
        gap=float(rows @ targets),
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
        **NO_P,
        **effect_uncertainty(drawn, judged, "both", 1 - ALPHA),
    )


def ieat_passes(rng: np.random.Generator, limit: float, sizes: Sizes, other: float) -> bool:
    """Whether an effect equal to the limit passes; the other side has the effect `other`."""
    u, v = latent(rng, sizes.x, sizes.y), latent(rng, sizes.a, sizes.b)
    return is_shown(without_p(Model(limit, other).scores(rng, u, v, sizes)), limit)


def sc_eat_passes(rng: np.random.Generator, limit: float, sizes: Sizes, common: float) -> bool:
    """Whether an effect equal to the limit passes.

    Of the variance within A and B the share `common` is the same for every image of X.
    """
    within_sets = within(limit)
    columns = poles(sizes.a, sizes.b) + math.sqrt(common) * within_sets * latent(
        rng, sizes.a, sizes.b
    )
    noise = rng.standard_normal((sizes.x, sizes.a + sizes.b))
    cosines = columns + math.sqrt(1 - common) * within_sets * noise
    rows = cosines / cosines.std(axis=1, ddof=1, keepdims=True)
    means, gap = rows.mean(axis=0), cosines.mean(axis=0) @ weights(sizes.a, sizes.b)
    return contrast_passes(means, ("A", "B"), float(gap), cosines, sizes, limit)


def similarity_gap_passes(
    rng: np.random.Generator, limit: float, sizes: Sizes, noise: float
) -> bool:
    """Whether an effect equal to the limit passes; single cosines have this noise."""
    rows = poles(sizes.x, sizes.y) + within(limit) * latent(rng, sizes.x, sizes.y)
    columns = 1 + 0.3 * rng.standard_normal(sizes.a)
    cosines = np.outer(rows, columns) + noise * rng.standard_normal((len(rows), len(columns)))
    means = cosines.mean(axis=1)
    gap = float(means @ weights(sizes.x, sizes.y))
    return contrast_passes(means / means.std(ddof=1), ("X", "Y"), gap, cosines, sizes, limit)


def contrast_passes(
    means: Vector,
    roles: tuple[str, str],
    gap: float,
    cosines: Matrix,
    sizes: Sizes,
    limit: float,
) -> bool:
    """Whether an effect of one side passes."""
    is_sc_eat = roles == ("A", "B")
    first = sizes.a if is_sc_eat else sizes.x
    drawn = ContrastScores(
        first=means[:first],
        second=means[first:],
        roles=roles,
        gap=gap,
        n_other=sizes.x if is_sc_eat else sizes.a,
        cosines=(cosines,),
    )
    judged = drawn.side.difference
    result = ContrastResult(
        effect_size=judged,
        effect_judged=judged,
        gap=gap,
        confidence=1 - ALPHA,
        n_x=sizes.x,
        n_y=None if is_sc_eat else sizes.y,
        n_a=sizes.a,
        n_b=sizes.b if is_sc_eat else None,
        **NO_P,
        **effect_uncertainty(drawn, judged, "both", 1 - ALPHA),
    )
    return is_shown(result, limit)


def is_shown(effect: EffectResult, limit: float) -> bool:
    """Whether an effect passes a limit."""
    return judge(
        Numbers(effect=effect), rule(Limits(max_effect=limit)), CorrectedP(effect=1.0)
    ).outcome == ("pass")


def rule(limits: Limits) -> DecisionRule:
    """Return the rule of a test judged by equivalence."""
    return DecisionRule(limits=limits, evidence="equivalence", alternative="two-sided", alpha=ALPHA)


def growth_passes(rng: np.random.Generator, limit: float, sizes: Sizes, before: float) -> bool:
    """Whether a growth equal to the limit, from the effect `before`, passes."""
    u, v = latent(rng, sizes.x, sizes.y), latent(rng, sizes.a, sizes.b)
    old = Model(before, 1.95).scores(rng, u, v, sizes)
    mixed = [
        CORRELATION * part + math.sqrt(1 - CORRELATION**2) * rng.standard_normal(len(part))
        for part in (u, v)
    ]
    new = Model(before + limit, 1.95).scores(rng, mixed[0], mixed[1], sizes)
    growth, limits = growth_from_scores(old, new), Limits(max_growth=limit)
    return (
        judge(
            Numbers(effect=without_p(new), growth=growth), rule(limits), CorrectedP(growth=1.0)
        ).outcome
        == "pass"
    )


Passes = Callable[[np.random.Generator, float, Sizes, float], bool]
TABLES: dict[str, tuple[Passes, dict[str, float | None]]] = {
    "ieat": (ieat_passes, {"one side": 1.8, "both sides": None}),
    "sc-eat": (sc_eat_passes, {"alike for X": 0.9, "apart": 0.3}),
    "similarity-gap": (similarity_gap_passes, {"little noise": 0.1, "much noise": 1.0}),
    "growth": (growth_passes, {"from 0.3": 0.3, "to 1.9": math.nan}),
}


def rows(table: str) -> Iterator[tuple[str, float, Sizes, float]]:
    """Yield the name, limit, sizes and further number of each row of a table."""
    for (x, y), limit in itertools.product(SIZES, LIMITS):
        sizes = Sizes(x=x, y=y, a=x, b=y)
        for name, value in TABLES[table][1].items():
            further = limit if value is None else 1.9 - limit if math.isnan(value) else value
            yield f"{sizes}, {name}", limit, sizes, further
    # Sets of fewer than 8 images never pass.
    for limit, n in itertools.product(LIMITS, (6, 8)) if table == "ieat" else ():
        sizes = Sizes(x=20, y=20, a=n, b=n)
        yield f"{sizes}, both sides", limit, sizes, limit


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", choices=TABLES)
    options = parser.parse_args()
    for table, (passes, _) in TABLES.items():
        if options.only not in (None, table):
            continue
        print(f"{table}: passes at the limit, % of {options.draws} draws")
        for name, limit, sizes, value in rows(table):
            rng = np.random.default_rng(zlib.crc32(f"{table} {name} {limit}".encode()))
            count = sum(passes(rng, limit, sizes, value) for _ in range(options.draws))
            share = 100 * count / options.draws
            print(f"  limit {limit:g}  {name:<32} {share:5.1f}", flush=True)


if __name__ == "__main__":
    main()
