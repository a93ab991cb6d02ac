"""How often verdicts find an effect where there is none, and where there is one.

    python benchmarks/evidence.py                     # all tables, about 13 minutes on one core
    python benchmarks/evidence.py --only effect power # some tables
    python benchmarks/evidence.py --draws 20          # a quick look

Each number is the share of draws whose p is at most 0.05, with its simulation error (one standard
error). A row draws all four sets anew. The last column is the share that the design of the tests
was simulated with, for rows that it has.
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import equivalence
import numpy as np

from pytest_visualbias.statistics.association import association_from_scores, association_test
from pytest_visualbias.statistics.classifier_gap import OutcomeScores
from pytest_visualbias.statistics.classifier_growth import outcome_growth_from_scores
from pytest_visualbias.statistics.cosines import GroupedRows
from pytest_visualbias.statistics.evidence import compute_p_values
from pytest_visualbias.statistics.growth import growth_from_scores, growth_test
from pytest_visualbias.statistics.multiple_testing import adjust
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side
from pytest_visualbias.statistics.scores import association_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.cosines import Embeddings

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]
    Sets = tuple[Matrix, Matrix, Matrix, Matrix]
    Sizes = tuple[int, int]
    Scatter = Callable[[np.random.Generator, int], Matrix]
    Draw = Callable[[np.random.Generator], Sequence[bool]]

ALPHA = 0.05
DIM = 8
POPULATION = 100_000
ESTIMATES = 300
SIZES = ((6, 6), (10, 10), (20, 20), (8, 40), (40, 40))
LAYERS = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """One simulated situation: which p of a draw are significant, and the share in the design."""

    name: str
    draw: Draw
    design: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Situations that are counted in the same way; `draws` is their share of all draws."""

    title: str
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]
    draws: float = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=TABLES, default=[*TABLES])
    chosen = parser.parse_args(arguments)
    for name in chosen.only:
        table, start = TABLES[name], time.process_time()
        draws = max(1, round(chosen.draws * table.draws))
        print(f"#### {table.title}, {draws} draws\n")
        print(f"| | {' | '.join(table.columns)} | design |\n|---|{'---|' * len(table.columns)}---|")
        for row in table.rows():
            rng = np.random.default_rng(zlib.crc32(f"{name} {row.name}".encode()))
            shares = np.mean([row.draw(rng) for _ in range(draws)], axis=0)
            cells = " | ".join(_percent(share, draws) for share in shares)
            print(f"| {row.name} | {cells} | {row.design} |", flush=True)
        print(f"\n{time.process_time() - start:.0f} s of processor time.\n", flush=True)


def _percent(share: float, draws: int) -> str:
    """Write a share in percent with its standard error."""
    error = math.sqrt(share * (1 - share) / draws)
    return f"{100 * share:.1f} ± {100 * error:.1f} %"


# Vectors of one model.


def normal(rng: np.random.Generator, n: int) -> Matrix:
    """Draw vectors that vary alike in all directions."""
    return rng.standard_normal((n, DIM))


def heavy(rng: np.random.Generator, n: int) -> Matrix:
    """Draw vectors of Student's t with 3 degrees of freedom."""
    rows: Matrix = rng.standard_t(3, (n, DIM)) / np.sqrt(3)
    return rows


def anisotropic(rng: np.random.Generator, n: int) -> Matrix:
    """Draw vectors that vary most in few directions, and share a mean as network outputs do."""
    rows: Matrix = rng.standard_normal((n, DIM)) * np.linspace(2, 0.1, DIM) + 2 * np.eye(DIM)[-1]
    return rows


def draw_sets(
    rng: np.random.Generator, n: Sizes, scatter: Scatter = normal, spread: float = 1.0
) -> list[Matrix]:
    """Draw X, Y, A and B from one population, X `spread` times as wide as the others."""
    x, *others = (scatter(rng, size) for size in (*n, *n))
    return [spread * x, *others]


def placed(
    sets: Sequence[Matrix], push: tuple[float, float] = (0.0, 0.0), apart: float = 0.0
) -> Sets:
    """Move the sets of a population apart.

    X and Y lie `push[0]` along one shared direction, A and B `push[1]`: an association. X lies
    `apart` from Y, and A from B, along directions that have nothing to do with each other: none.
    """
    x, y, a, b = (rows.copy() for rows in sets)
    for side, (first, second) in enumerate(((x, y), (a, b))):
        for rows, sign in ((first, 1), (second, -1)):
            rows[:, 0] += sign * push[side]
            rows[:, 1 + side] += sign * apart / 2
    return x, y, a, b


def drawn(
    rng: np.random.Generator,
    n: Sizes,
    *,
    push: float = 0.0,
    apart: float = 0.0,
    scatter: Scatter = normal,
) -> Sets:
    """Draw four sets with an association or without."""
    return placed(draw_sets(rng, n, scatter), (push, push), apart)


def true_effect(push: float) -> float:
    """Effect of infinitely many images on either side of the shared direction."""
    rows = np.random.default_rng(0).standard_normal((POPULATION, DIM)) + push * np.eye(DIM)[0]
    cosines = rows[:, 0] / np.linalg.norm(rows, axis=1)
    return float(2 * cosines.mean() / np.sqrt(np.mean(cosines**2)))


@cache
def push_of(effect: float) -> float:
    """Find the push that gives a true effect."""
    low, high = 0.0, 8.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if true_effect(middle) > abs(effect) else (middle, high)
    return math.copysign(middle, effect)


def seen_effect(n: Sizes, push: float) -> float:
    """Mean judged effect of samples: few images blur the other side and weaken it."""
    rng = np.random.default_rng(0)
    every = (association_scores(*drawn(rng, n, push=push)) for _ in range(ESTIMATES))
    sides = ((scores.targets.difference, scores.attributes.difference) for scores in every)
    return float(np.mean([min(pair, key=abs) for pair in sides]))


def _named(n: Sizes) -> str:
    return f"n = {n[0]}" if n[0] == n[1] else f"{n[0]} v {n[1]}"


# Effects.


def _effect_found(sets: Sequence[Embeddings]) -> tuple[bool, bool, bool]:
    """Whether the p of iEAT, the largest permutation p or Welch's, and the verdict's p reject."""
    x, y, a, b = sets
    result = association_from_scores(association_scores(x, y, a, b))
    permuted = max(result.p_value, result.p_attributes or 0.0, result.p_welch or 0.0)
    return result.p_value <= ALPHA, permuted <= ALPHA, result.p_verdict <= ALPHA


def _null_rows() -> Iterator[Row]:
    designs = {10: "4.2", 20: "4.1", 40: "5.0"}
    for n in SIZES:
        for name, apart in (("one population", 0.0), ("both sides apart 8", 8.0)):
            design = designs.get(n[0], "") if apart else "2.5 to 3.8"
            draw = partial(_effect, n=n, apart=apart)
            yield Row(name=f"{_named(n)}, {name}", draw=draw, design=design)
        if n[0] in (8, 10, 20):
            for scatter in (heavy, anisotropic):
                name = f"{_named(n)}, both sides apart 8, {scatter.__name__}"
                yield Row(name=name, draw=partial(_effect, n=n, apart=8.0, scatter=scatter))


def _effect(
    rng: np.random.Generator,
    *,
    n: Sizes,
    push: float = 0.0,
    apart: float = 0.0,
    scatter: Scatter = normal,
) -> tuple[bool, bool, bool]:
    return _effect_found(drawn(rng, n, push=push, apart=apart, scatter=scatter))


def _power_rows() -> Iterator[Row]:
    designs = {10: "54", 20: "91"}
    for n, push in zip(SIZES, (1.0, 0.82, 0.8, 0.8, 0.4), strict=True):
        ends = f"true effect {true_effect(push):.2f}, mean estimate {seen_effect(n, push):.2f}"
        draw = partial(_effect, n=n, push=push)
        yield Row(name=f"{_named(n)}, {ends}", draw=draw, design=designs.get(n[0], ""))


def _control_rows() -> Iterator[Row]:
    for n in ((6, 6), (10, 10), (20, 20), (40, 40)):
        for apart in (2.0, 8.0):
            name = f"{_named(n)}, X and Y apart {apart:g}, A and B of one population"
            yield Row(name=name, draw=partial(_control, n=n, apart=apart))


def _control(rng: np.random.Generator, *, n: Sizes, apart: float) -> tuple[bool, bool]:
    """Whether a control of at least 0.5 holds, by the target side alone and by the judged one."""
    x, y, *_ = drawn(rng, n, apart=apart)
    result = association_test(x, y, *drawn(rng, n)[2:], alternative="greater")
    alone = result.effect_size >= 0.5 and result.p_value <= ALPHA
    return alone, result.effect_judged >= 0.5 and result.p_verdict <= ALPHA


def _unequal_rows() -> Iterator[Row]:
    for apart, spread in ((0, 0.33), (0, 1.0), (0, 3.0), (0.5, 1.0), (1.0, 1.0), (1.0, 0.33)):
        name = f"{apart:g} apart, spread {spread:g}"
        yield Row(name=name, draw=partial(_unequal, spread=spread, apart=apart))


def _unequal(rng: np.random.Generator, *, spread: float, apart: float) -> tuple[bool, bool, bool]:
    """Whether each p rejects for 8 against 40 scores."""
    first, second = spread * rng.standard_normal(8) + apart, rng.standard_normal(40)
    p = compute_p_values(
        Side.of(first, second, ("X", "Y")), alternative="two-sided", sides="targets"
    )
    return p.p_value <= ALPHA, (p.p_welch or 0.0) <= ALPHA, p.p_verdict <= ALPHA


def _cluster_rows() -> Iterator[Row]:
    for within in (0.5, 1.0):
        for is_grouped in (False, True):
            name = f"spread within a group {within:g}, {'5 groups' if is_grouped else '20 images'}"
            design = "2 to 6" if is_grouped else "20 to 27 (without p_crossed)"
            draw = partial(_clustered, within=within, is_grouped=is_grouped)
            yield Row(name=name, draw=draw, design=design)


def _clustered(
    rng: np.random.Generator, *, within: float, is_grouped: bool
) -> tuple[bool, bool, bool]:
    """Draw five photographers with four images each for every set."""
    names = tuple(f"person {i // 4}" for i in range(20))
    sets = [np.repeat(normal(rng, 5), 4, axis=0) + within * normal(rng, 20) for _ in range(4)]
    if is_grouped:
        return _effect_found([GroupedRows(rows=rows, groups=names) for rows in sets])
    return _effect_found(sets)


def _saddlepoint_rows() -> Iterator[Row]:
    for n, dominant in (((250, 250), 0.045), ((200, 400), 0.045), ((100, 300), 0.2)):
        name = f"{_named(n)}, one score with {dominant:.1%} of the squares"
        yield Row(name=name, draw=partial(_saddlepoint, n=n, dominant=dominant))


def _saddlepoint(rng: np.random.Generator, *, n: Sizes, dominant: float) -> tuple[bool, bool, bool]:
    """Whether the p of labels drawn at random is small, and is approximate."""
    scores = rng.standard_normal(sum(n))
    scores -= scores.mean()
    scores[0] = math.sqrt(dominant / (1 - dominant) * float(scores[1:] @ scores[1:]))
    scores = rng.permutation(scores)
    p = permutation_test(Side.of(scores[: n[0]], scores[n[0] :], ("X", "Y")))
    return p.p_value <= ALPHA, p.p_value <= ALPHA / 5, p.method == "approximate"


# Growth.


@dataclass(frozen=True, kw_only=True)
class Change:
    """True effects of targets and attributes before and after, and how alike the models are.

    Attributes
    ----------
    before, after : tuple of float
        Effects of infinitely many images on the side of the targets and of the attributes.
    agreement : float
        Correlation of the vectors of an image in both models.
    apart, spread : float
        See `placed` and `draw_sets`.
    is_narrow : bool
        Whether the cosines after are compressed to 0.96 to 1, which changes no effect.
    sizes : tuple
        Sizes that the change is simulated for.
    """

    before: tuple[float, float]
    after: tuple[float, float]
    agreement: float
    apart: float = 0.0
    spread: float = 1.0
    scatter: Scatter = normal
    is_narrow: bool = False
    sizes: tuple[Sizes, ...] = SIZES


STRONG, EXTREME, NONE = (1.7, 1.7), (1.9, 1.9), (0.0, 0.0)
SOME = ((10, 10), (20, 20), (8, 40))
CHANGES = {
    "unchanged 1.7, correlation 0.2": Change(before=STRONG, after=STRONG, agreement=0.2),
    "unchanged 1.7, correlation 0.9": Change(before=STRONG, after=STRONG, agreement=0.9),
    "unchanged 1.9, correlation 0.2": Change(before=EXTREME, after=EXTREME, agreement=0.2),
    "unchanged 1.9, correlation 0.9": Change(before=EXTREME, after=EXTREME, agreement=0.9),
    "flip without growth": Change(before=(1.5, 1.5), after=(-1.5, 1.5), agreement=0.5),
    "only the scale of cosines": Change(
        before=(1.5, 1.5), after=(1.5, 1.5), agreement=0.9, is_narrow=True
    ),
    "independent retrain": Change(before=(1.5, 1.5), after=(1.5, 1.5), agreement=0.0),
    "no association": Change(before=NONE, after=NONE, agreement=0.9),
    "no association, both sides apart 8": Change(
        before=NONE, after=NONE, agreement=0.5, apart=8.0, sizes=SOME
    ),
    "unchanged, heavy tails": Change(
        before=(1.5, 1.5), after=(1.5, 1.5), agreement=0.5, scatter=heavy, sizes=SOME
    ),
    "unchanged, anisotropic": Change(
        before=(1.5, 1.5), after=(1.5, 1.5), agreement=0.5, scatter=anisotropic, sizes=SOME
    ),
    "unchanged, X three times as wide": Change(
        before=(1.5, 1.5), after=(1.5, 1.5), agreement=0.5, spread=3.0, sizes=SOME
    ),
    "saturated 0.53 to 1.79, found": Change(before=(1.9, 0.53), after=(1.9, 1.79), agreement=0.9),
    "one side grows 0.5 to 1.7, found": Change(before=(1.7, 0.5), after=STRONG, agreement=0.9),
}
DESIGNS = {
    "unchanged 1": {6: "1.5 to 3.0", 10: "2.0 to 3.0", 20: "2.8 to 4.0", 40: "3.0 to 3.5"},
    "flip": {6: "4.0", 10: "3.5", 20: "2.5 to 5.2", 40: "4.5"},
    "only the scale": {20: "4.5"},
    "saturated": {6: "97", 10: "99", 20: "100", 40: "100"},
    "one side": {20: "99", 40: "100"},
    "no association": dict.fromkeys((6, 8, 10, 20, 40), "at most 3.9"),
    "unchanged, ": dict.fromkeys((8, 10, 20), "at most 3.9"),
}


def _design(name: str, n: int) -> str:
    """Find what the design states for a change at a size."""
    stated = (shares.get(n, "") for start, shares in DESIGNS.items() if name.startswith(start))
    return next(stated, "")


def _growth_rows() -> Iterator[Row]:
    for n in SIZES:
        for name, change in CHANGES.items():
            if n in change.sizes:
                draw = partial(_growth, n=n, change=change)
                yield Row(name=f"{_named(n)}, {name}", draw=draw, design=_design(name, n[0]))


def _growth(rng: np.random.Generator, *, n: Sizes, change: Change) -> tuple[bool]:
    """Whether growth is found between two models of the same images."""
    common = draw_sets(rng, n, change.scatter, change.spread)
    old = model_sets(rng, common, change, change.before)
    new = model_sets(rng, common, change, change.after)
    if change.is_narrow:
        new = _narrowed(new)
    return (growth_test(old, new).p_verdict <= ALPHA,)


def model_sets(
    rng: np.random.Generator,
    common: Sequence[Matrix],
    change: Change,
    effects: tuple[float, float],
) -> Sets:
    """Draw the vectors of a model whose images have a part in common with another model."""
    n = len(common[0]), len(common[1])
    others = draw_sets(rng, n, change.scatter, change.spread)
    shares = math.sqrt(change.agreement), math.sqrt(1 - change.agreement)
    mixed = [shares[0] * rows + shares[1] * more for rows, more in zip(common, others, strict=True)]
    return placed(mixed, (push_of(effects[0]), push_of(effects[1])), change.apart)


def _narrowed(sets: Sets) -> Sets:
    """Add a coordinate that turns each cosine c into (c + 49) / 50."""
    x, y, a, b = (
        np.column_stack([rows / np.linalg.norm(rows, axis=1)[:, None], np.full(len(rows), 7.0)])
        for rows in sets
    )
    return x, y, a, b


def _one_side_rows() -> Iterator[Row]:
    for n, ends, design in (
        (6, (0.2, 0.5), "15"),
        (10, (0.2, 0.5), "43"),
        (20, (0.1, 0.6), "90"),
        (40, (0.2, 0.5), "100"),
        (6, (0.53, 1.79), "97"),
        (10, (0.53, 1.79), "99"),
        (20, (0.53, 1.79), "100"),
    ):
        name = f"n = {n}, true {ends[0]:g} to {ends[1]:g}"
        yield Row(name=name, draw=partial(_one_side_growth, n=n, ends=ends), design=design)


def _one_side_growth(
    rng: np.random.Generator, *, n: int, ends: tuple[float, float]
) -> tuple[bool, bool]:
    """Whether growth is found: images as drawn, and images that show the true effect before."""
    images = [rng.standard_normal(2 * n) for _ in range(2)]
    exact = [_standardised(part) for part in images]
    return _is_found(rng, images, ends), _is_found(rng, exact, ends)


def _is_found(
    rng: np.random.Generator, images: Sequence[Vector], ends: tuple[float, float]
) -> bool:
    """Whether the growth of the targets is found in the model of `equivalence.py`."""
    n = len(images[0]) // 2
    sizes = equivalence.Sizes(x=n, y=n, a=n, b=n)
    mixed = [0.9 * part + math.sqrt(0.19) * rng.standard_normal(2 * n) for part in images]
    before, after = (equivalence.Model(effect, 1.9) for effect in ends)
    old = before.scores(rng, images[0], images[1], sizes)
    new = after.scores(rng, mixed[0], mixed[1], sizes)
    return growth_from_scores(old, new).p_verdict <= ALPHA


def _standardised(images: Vector) -> Vector:
    """Give both sets a mean of 0, and a common standard deviation of 1."""
    halves = images.reshape(2, -1)
    away = halves - halves.mean(axis=1, keepdims=True)
    scaled: Vector = (away / math.sqrt(float((away**2).sum()) / (away.size - 2))).ravel()
    return scaled


def _layer_rows() -> Iterator[Row]:
    for n, is_growth in (((10, 10), False), ((10, 10), True), ((20, 20), False)):
        name = f"{_named(n)}, {'growth' if is_growth else 'effect'}, both sides apart 8"
        yield Row(name=name, draw=partial(_layers, n=n, is_growth=is_growth))


def _layers(rng: np.random.Generator, *, n: Sizes, is_growth: bool) -> tuple[bool, bool]:
    """Whether one of twelve layers without any effect fails: each alone, and as one family."""
    change = Change(before=NONE, after=NONE, agreement=0.5, apart=8.0)
    common = draw_sets(rng, n)
    models = [model_sets(rng, common, change, NONE) for _ in range(LAYERS * (1 + is_growth))]
    if is_growth:
        pairs = zip(models[:LAYERS], models[LAYERS:], strict=True)
        p = [growth_test(old, new).p_verdict for old, new in pairs]
    else:
        p = [association_test(*sets).p_verdict for sets in models]
    return min(p) <= ALPHA, min(adjust(p, "holm")) <= ALPHA


def _rate_rows() -> Iterator[Row]:
    for n in (20, 60):
        for name, rates in (
            ("gap 0 to 0.5, found", ((0.3, 0.3), (0.8, 0.3))),
            ("unchanged gap 0", ((0.3, 0.3), (0.3, 0.3))),
            ("unchanged gap 0.5", ((0.8, 0.3), (0.8, 0.3))),
            ("flip without growth", ((0.7, 0.3), (0.3, 0.7))),
        ):
            yield Row(name=f"n = {n}, {name}", draw=partial(_rates_grown, n=n, rates=rates))


def _rates_grown(
    rng: np.random.Generator, *, n: int, rates: tuple[tuple[float, float], tuple[float, float]]
) -> tuple[bool]:
    """Whether growth of the gap of a classifier's rates is found."""
    old, new = (
        OutcomeScores(
            first=(rng.random(n) < x).astype(float),
            second=(rng.random(n) < y).astype(float),
            is_rate=True,
        )
        for x, y in rates
    )
    return (outcome_growth_from_scores(old, new).p_verdict <= ALPHA,)


EFFECT_COLUMNS = "p_value", "permutations and Welch", "verdict"
TABLES = {
    "effect": Table(
        title="No association: how often an effect is found",
        columns=EFFECT_COLUMNS,
        rows=_null_rows,
    ),
    "power": Table(
        title="An association: how often it is found", columns=EFFECT_COLUMNS, rows=_power_rows
    ),
    "control": Table(
        title="Positive controls with meaningless attributes: how often they hold",
        columns=("target side alone", "both sides, all p"),
        rows=_control_rows,
    ),
    "unequal": Table(
        title="8 against 40 scores of one side",
        columns=("p_value", "p_welch", "verdict"),
        rows=_unequal_rows,
    ),
    "clusters": Table(
        title="No association, five photographers a set: how often an effect is found",
        columns=EFFECT_COLUMNS,
        rows=_cluster_rows,
    ),
    "saddlepoint": Table(
        title="Labels drawn at random: how often p is small",
        columns=("p at most 0.05", "p at most 0.01", "approximate"),
        rows=_saddlepoint_rows,
    ),
    "rates": Table(
        title="Growth of outcome-gap: how often it is found",
        columns=("growth found",),
        rows=_rate_rows,
    ),
    "one-side": Table(
        title="Growth of one side, the other at 1.9: how often it is found",
        columns=("images as drawn", "images that show the true effect before"),
        rows=_one_side_rows,
        draws=1.0,
    ),
    "layers": Table(
        title=f"{LAYERS} layers without any effect: how often a run fails",
        columns=("each layer alone", "one family"),
        rows=_layer_rows,
    ),
    "growth": Table(
        title="Growth: how often it is found",
        columns=("growth found",),
        rows=_growth_rows,
        draws=1.0,
    ),
}


if __name__ == "__main__":
    main()
