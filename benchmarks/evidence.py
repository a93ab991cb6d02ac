"""How often verdicts find an effect where there is none, and where there is one.

    python benchmarks/evidence.py                     # about ten minutes on one core
    python benchmarks/evidence.py --only effect power # some tables
    python benchmarks/evidence.py --draws 20          # a quick look

Every number is the share of draws in which p is at most 0.05. Its simulation error is 0.7 points at
5 % and 1,000 draws, 1.0 at 500. A table is a list of rows, and a row draws all four sets anew.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics import (
    OutcomeScores,
    association_scores,
    association_test,
    growth_test,
    outcome_growth_from_scores,
)
from pytest_visualbias.statistics.evidence import weigh
from pytest_visualbias.statistics.side import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.statistics import AssociationResult

    Matrix = NDArray[np.float64]
    Sets = tuple[Matrix, Matrix, Matrix, Matrix]
    Draw = Callable[[np.random.Generator], Sequence[bool]]

ALPHA = 0.05
DIM = 8
POPULATION = 1_500
ESTIMATES = 300
SIZES = ((6, 6), (10, 10), (20, 20), (40, 40), (8, 40))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One simulated situation: its name, and which p of a draw are significant."""

    name: str
    draw: Draw


@dataclass(frozen=True, kw_only=True)
class Table:
    """Situations that are counted in the same way; `draws` is their share of all draws."""

    title: str
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]
    draws: float = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--only", nargs="*", choices=TABLES, default=[*TABLES])
    chosen = parser.parse_args(arguments)
    for name in chosen.only:
        table = TABLES[name]
        draws = max(1, round(chosen.draws * table.draws))
        print(f"#### {table.title}, {draws} draws\n")
        print(f"| | {' | '.join(table.columns)} |\n|---|{'---|' * len(table.columns)}")
        for row in table.rows():
            rng = np.random.default_rng(zlib.crc32(f"{name} {row.name}".encode()))
            shares = np.mean([row.draw(rng) for _ in range(draws)], axis=0)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {row.name} | {cells} |", flush=True)
        print()


# How the vectors of a population scatter around its centre.


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
    rng: np.random.Generator,
    n: tuple[int, int],
    *,
    push: float = 0.0,
    apart: tuple[float, float] = (0.0, 0.0),
    scatter: Callable[[np.random.Generator, int], Matrix] = normal,
) -> list[Matrix]:
    """Draw X, Y, A and B.

    X and A, Y and B lie `push` along one shared direction: an association. X lies `apart` from Y,
    and A from B, along directions that have nothing to do with each other: none.
    """
    sizes = (n[0], n[1], n[0], n[1])
    sets = [scatter(rng, size) for size in sizes]
    for which, rows in enumerate(sets):
        sign = 1 if which % 2 == 0 else -1
        rows[:, 0] += sign * push
        rows[:, 1 + which // 2] += sign * apart[which // 2] / 2
    return sets


def true_effect(push: float) -> float:
    """Effect of large populations, which is the same from both sides."""
    scores = association_scores(
        *draw_sets(np.random.default_rng(0), (POPULATION, POPULATION), push=push)
    )
    return (scores.targets.difference + scores.attributes.difference) / 2


def seen_effect(n: tuple[int, int], push: float) -> float:
    """Mean judged effect of samples: few images blur the other side and weaken it."""
    rng, effects = np.random.default_rng(0), []
    for _ in range(ESTIMATES):
        scores = association_scores(*draw_sets(rng, n, push=push))
        effects.append(min(scores.targets.difference, scores.attributes.difference, key=abs))
    return float(np.mean(effects))


def _named(n: tuple[int, int]) -> str:
    return f"n = {n[0]}" if n[0] == n[1] else f"{n[0]} v {n[1]}"


# Effects.


def _verdicts(found: AssociationResult) -> tuple[bool, bool, bool]:
    """Whether the p of iEAT, the largest permutation p or Welch's, and the verdict's p reject."""
    permuted = max(found.p_value, found.p_attributes or 0.0, found.p_welch or 0.0)
    return found.p_value <= ALPHA, permuted <= ALPHA, found.p_verdict <= ALPHA


def _null_rows() -> Iterator[Row]:
    for n in SIZES:
        for name, apart in (("one population", 0.0), ("both sides apart 8", 8.0)):
            yield _null_row(f"{_named(n)}, {name}", n, (apart, apart), normal)
    for scatter in (heavy, anisotropic):
        for n in ((10, 10), (20, 20), (8, 40)):
            name = f"{_named(n)}, both sides apart 8, {scatter.__name__}"
            yield _null_row(name, n, (8.0, 8.0), scatter)


def _null_row(
    name: str,
    n: tuple[int, int],
    apart: tuple[float, float],
    scatter: Callable[[np.random.Generator, int], Matrix],
) -> Row:
    draw = partial(_effect, n=n, push=0.0, apart=apart, scatter=scatter)
    return Row(name=name, draw=draw)


def _effect(
    rng: np.random.Generator,
    *,
    n: tuple[int, int],
    push: float,
    apart: tuple[float, float] = (0.0, 0.0),
    scatter: Callable[[np.random.Generator, int], Matrix] = normal,
) -> tuple[bool, bool, bool]:
    return _verdicts(association_test(*draw_sets(rng, n, push=push, apart=apart, scatter=scatter)))


def _power_rows() -> Iterator[Row]:
    for n, push in (
        ((6, 6), 1.0),
        ((10, 10), 0.82),
        ((20, 20), 0.8),
        ((40, 40), 0.4),
        ((8, 40), 0.8),
    ):
        ends = f"true effect {true_effect(push):.2f}, mean estimate {seen_effect(n, push):.2f}"
        name = f"{_named(n)}, {ends}"
        yield Row(name=name, draw=partial(_effect, n=n, push=push))


def _control_rows() -> Iterator[Row]:
    for n in ((6, 6), (10, 10), (20, 20), (40, 40)):
        for apart in (2.0, 8.0):
            name = f"{_named(n)}, X and Y apart {apart:g}, A and B of one population"
            yield Row(name=name, draw=partial(_control, n=n, apart=apart))


def _control(rng: np.random.Generator, *, n: tuple[int, int], apart: float) -> tuple[bool, bool]:
    """Whether a control of at least 0.5 holds, by the target side alone and by the judged one."""
    found = association_test(*draw_sets(rng, n, apart=(apart, 0.0)), alternative="greater")
    alone = found.effect_size >= 0.5 and found.p_value <= ALPHA
    return alone, found.effect_judged >= 0.5 and found.p_verdict <= ALPHA


def _unequal_rows() -> Iterator[Row]:
    for spread in (0.33, 1.0, 3.0):
        yield Row(name=f"equal means, spread {spread:g}", draw=partial(_unequal, spread=spread))
    for apart, spread in ((0.5, 1.0), (1.0, 1.0), (1.0, 0.33)):
        name = f"{apart:g} apart, spread {spread:g}"
        yield Row(name=name, draw=partial(_unequal, spread=spread, apart=apart))


def _unequal(
    rng: np.random.Generator, *, spread: float, apart: float = 0.0
) -> tuple[bool, bool, bool]:
    """Whether each p rejects for 8 against 40 scores."""
    first, second = spread * rng.standard_normal(8) + apart, rng.standard_normal(40)
    found = weigh(Side.of(first, second, ("X", "Y")), alternative="two-sided", sides="targets")
    return found.p_value <= ALPHA, (found.p_welch or 0.0) <= ALPHA, found.p_verdict <= ALPHA


# Growth.


# How far X and A (and Y and B) are pushed along a common axis, targets and attributes, before and
# after; and how far the vectors of the models agree. A push of 2.2 gives a d of about 1.7.
CHANGES = {
    "unchanged, strong, agree 0.2": ((2.2, 2.2), (2.2, 2.2), 0.2),
    "unchanged, strong, agree 0.9": ((2.2, 2.2), (2.2, 2.2), 0.9),
    "unchanged, very strong, agree 0.9": ((4.0, 4.0), (4.0, 4.0), 0.9),
    "none at all, agree 0.9": ((0.0, 0.0), (0.0, 0.0), 0.9),
    "independent retrain": ((1.0, 1.0), (1.0, 1.0), 0.0),
    "flip without growth": ((1.0, 1.0), (-1.0, 1.0), 0.5),
    "only the scale of cosines": ((1.0, 1.0), (1.0, 1.0), 0.9),
    "weak to stronger, found": ((0.7, 0.7), (1.2, 1.2), 0.9),
    "saturated growth, found": ((3.0, 0.3), (3.0, 3.0), 0.9),
    "weaker side grows, found": ((1.5, 0.3), (1.5, 1.5), 0.9),
}


def _growth_rows() -> Iterator[Row]:
    for sizes in SIZES:
        for name, (before, after, agreement) in CHANGES.items():
            pushes = partial(
                _growth, sizes=sizes, ends=(before, after), agreement=agreement, name=name
            )
            yield Row(name=f"{_sizes(sizes)}, {name}", draw=pushes)


def _sizes(sizes: tuple[int, int]) -> str:
    return f"n = {sizes[0]}" if sizes[0] == sizes[1] else f"n = {sizes[0]} v {sizes[1]}"


def _growth(
    rng: np.random.Generator,
    *,
    sizes: tuple[int, int],
    ends: tuple[tuple[float, float], tuple[float, float]],
    agreement: float,
    name: str,
) -> tuple[bool]:
    """Whether growth is found between two models of the same images."""
    shared = [rng.standard_normal((n, DIM)) for n in (*sizes, *sizes)]
    old, new = (_pushed_around(rng, shared, end, agreement) for end in ends)
    if name.startswith("only the scale"):
        new = _shrunk(*new)
    return (growth_test(old, new).p_verdict <= ALPHA,)


def _shrunk(*new: Matrix) -> Sets:
    """Vectors with a large common part, so that all cosines are near one."""
    x, y, a, b = (rows + 5 * np.eye(DIM)[1] for rows in new)
    return x, y, a, b


def _pushed_around(
    rng: np.random.Generator, shared: list[Matrix], push: tuple[float, float], agreement: float
) -> Sets:
    """Vectors of X, Y, A and B, apart along the first axis."""
    much = (push[0], -push[0], push[1], -push[1])
    x, y, a, b = (
        np.sqrt(agreement) * rows
        + np.sqrt(1 - agreement) * rng.standard_normal(rows.shape)
        + apart * np.eye(DIM)[0]
        for rows, apart in zip(shared, much, strict=True)
    )
    return x, y, a, b


def _coverage_rows() -> Iterator[Row]:
    for n in (10, 20, 40):
        for push in (0.0, 0.5, 1.0):
            yield Row(name=f"n = {n}, push {push:g}", draw=partial(_coverage, n=n, push=push))


def _coverage(rng: np.random.Generator, *, n: int, push: float) -> tuple[bool, bool]:
    """Whether intervals hold a growth and a shift of 0, all four sets being drawn."""
    shared = [rng.standard_normal((n, DIM)) for _ in range(4)]
    found = growth_test(*(_pushed_around(rng, shared, (push, push), 0.5) for _ in range(2)))
    return found.ci_low <= 0 <= found.ci_high, found.shift_ci_low <= 0 <= found.shift_ci_high


def _rate_rows() -> Iterator[Row]:
    for n in (20, 60):
        for name, rates in (
            ("0 -> 0.5, found", ((0.3, 0.3), (0.8, 0.3))),
            ("none", ((0.3, 0.3), (0.3, 0.3))),
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


TABLES = {
    "effect": Table(
        title="No association: how often an effect is found",
        columns=("p_value", "permutations and Welch", "verdict"),
        rows=_null_rows,
    ),
    "power": Table(
        title="An association: how often it is found",
        columns=("p_value", "permutations and Welch", "verdict"),
        rows=_power_rows,
    ),
    "control": Table(
        title="Positive controls with meaningless attributes: how often they hold",
        columns=("target side alone", "both sides, all p"),
        rows=_control_rows,
        draws=0.5,
    ),
    "unequal": Table(
        title="8 against 40 scores of one side",
        columns=("p_value", "p_welch", "verdict"),
        rows=_unequal_rows,
    ),
    "growth": Table(
        title="Growth: how often it is found",
        columns=("growth found",),
        rows=_growth_rows,
        draws=0.2,
    ),
    "coverage": Table(
        title="Intervals of growth and shift at level 0.95: how often they hold the true value",
        columns=("growth", "shift"),
        rows=_coverage_rows,
        draws=0.2,
    ),
    "rates": Table(
        title="Growth of outcome-gap: how often it is found",
        columns=("growth found",),
        rows=_rate_rows,
        draws=0.5,
    ),
}


if __name__ == "__main__":
    main()
