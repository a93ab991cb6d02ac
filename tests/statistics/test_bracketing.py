"""The proven bracket against complete counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.statistics.permutation import bounds
from pytest_visualbias.statistics.permutation.bounds import bracket, is_narrow
from pytest_visualbias.statistics.permutation.exact import count_tail_subsets
from pytest_visualbias.statistics.permutation.sides import Side, tails_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative, Tail

    Vector = NDArray[np.float64]

ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")


def asked(first: Vector, second: Vector, alternative: Alternative) -> tuple[Tail, ...]:
    return tails_of(Side.of(first, second, ("X", "Y")), alternative)


def truth(tails: tuple[Tail, ...]) -> float:
    subsets = math.comb(len(tails[0].scores), tails[0].size)
    return sum(tail.ways * count_tail_subsets(tail) for tail in tails) / subsets


def drawn(kind: str, n: int, rng: np.random.Generator) -> Vector:
    kinds = {
        "normal": lambda: rng.standard_normal(n),
        "heavy": lambda: rng.standard_t(1.5, n),
        "skewed": lambda: rng.exponential(size=n) ** 2,
        "rounded": lambda: np.round(rng.standard_normal(n), 1),
        "few": lambda: rng.integers(0, 3, n) * math.pi + rng.integers(0, 2, n) / 10,
    }
    return np.asarray(kinds[kind](), dtype=np.float64)


@pytest.mark.property
@given(
    st.integers(2, 13),
    st.integers(2, 13),
    st.sampled_from(["normal", "heavy", "skewed", "rounded", "few"]),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    st.sampled_from(ALTERNATIVES),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_it_holds_the_truth_whatever_the_scores(
    n: int, m: int, kind: str, shift: float, alternative: Alternative, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tails = asked(drawn(kind, n, rng) + shift, drawn(kind, m, rng), alternative)
    if not tails or np.ptp(tails[0].scores) == 0:
        return
    with pytest.MonkeyPatch.context() as patched:
        # Single subsets are too heavy here for a narrow bracket: one refinement is enough to see.
        patched.setattr(bounds, "_ATTEMPTS", 2)
        found = bracket(tails)
    assert found is not None
    assert found[0] <= truth(tails) <= found[1]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize(("n", "m"), [(20, 20), (18, 22), (9, 31)])
@pytest.mark.parametrize("shift", [0.0, 0.4, 0.8, 1.4])
def test_it_holds_the_truth_and_is_narrow_at_forty_scores(
    n: int, m: int, shift: float, alternative: Alternative
) -> None:
    rng = np.random.default_rng([n, m])
    tails = asked(rng.standard_normal(n) + shift, rng.standard_normal(m), alternative)
    found = bracket(tails)
    assert found is not None
    assert found[0] <= truth(tails) <= found[1]
    assert is_narrow(found)


@pytest.mark.parametrize(("n", "few"), [(45, 8), (100, 9), (200, 3)])
def test_it_holds_the_truth_of_large_sets_of_few_distinct_scores(n: int, few: int) -> None:
    """These can be counted, too, because scores repeat."""
    rng = np.random.default_rng([n, few])
    values = np.sqrt(np.arange(few) + 0.5)
    tails = asked(rng.choice(values, n), rng.choice(values, n) + 0.0, "two-sided")
    found = bracket(tails)
    assert found is not None
    assert found[0] <= truth(tails) <= found[1]


def test_a_far_tail_is_known_to_a_hundredth() -> None:
    rng = np.random.default_rng(4)
    tails = asked(rng.standard_normal(20) + 1.7, rng.standard_normal(20), "two-sided")
    found, p = bracket(tails), truth(tails)
    assert p < 1e-5
    assert found is not None
    assert found[0] <= p <= found[1] < 1.0102 * found[0]


def test_what_would_take_too_long_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    monkeypatch.setattr(bounds, "_MAX_CELLS", 1000)
    assert bracket(asked(rng.standard_normal(30), rng.standard_normal(30), "two-sided")) is None
    far = asked(rng.standard_normal(900), rng.standard_normal(900), "greater")
    assert bracket(far) is None


def test_a_far_tail_is_known_to_a_tenth_if_a_hundredth_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(7)
    tails = asked(rng.standard_normal(40) + 1.7, rng.standard_normal(40), "two-sided")
    fine = bracket(tails)
    monkeypatch.setattr(bounds, "_CHEAP_CELLS", 0)
    coarse = bracket(tails)
    assert fine is not None
    assert coarse is not None
    assert coarse[0] <= fine[0] < fine[1] <= coarse[1] < 1.15 * coarse[0] < 1e-5
