"""Unit rows and the direction between two sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.cosines import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_rows_have_norm_one_at_any_scale(scale: float) -> None:
    rows = unit_rows(RNG.standard_normal((5, 7)) * scale, "X").rows
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-15)


def test_association_by_centroids_equals_the_mean_of_all_cosines() -> None:
    w, a, b = (RNG.standard_normal((n, 9)) for n in (4, 5, 6))
    unit = [unit_rows(rows, role) for rows, role in ((w, "X"), (a, "A"), (b, "B"))]
    got = unit[0].along(unit[1].centroid - unit[2].centroid)

    def cosine(u: np.ndarray, v: np.ndarray) -> float:
        return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))

    for row, association in zip(w, got, strict=True):
        near = np.mean([cosine(row, v) for v in a])
        far = np.mean([cosine(row, v) for v in b])
        assert association == pytest.approx(near - far, abs=1e-14)


def test_the_order_of_rows_changes_no_bit_of_the_centroid_or_of_a_score() -> None:
    rows, direction = RNG.standard_normal((40, 33)), RNG.standard_normal(33)
    order = RNG.permutation(40)
    one, other = unit_rows(rows, "A"), unit_rows(rows[order], "A")
    assert np.array_equal(one.centroid, other.centroid)
    assert np.array_equal(one.along(direction)[order], other.along(direction))


@pytest.mark.parametrize(
    ("embeddings", "row", "sentence"),
    [
        ([1.0, 2.0], None, r"X must be an array of shape \(images, dim\), not \(2,\)"),
        (np.zeros((0, 3)), None, "X is empty; an association needs at least two images"),
        (np.zeros((3, 0)), None, r"X has embeddings of length zero, shape \(3, 0\)"),
        ([[1, 2], [np.nan, 1]], 1, "row 1 of X holds a NaN or an infinity"),
        ([[1, 2], [1, 1], [3, -np.inf]], 2, "row 2 of X holds a NaN or an infinity"),
        ([[0, 0], [1, 1]], 0, "row 0 of X is a zero vector, which has no direction"),
    ],
)
def test_unusable_embeddings_are_named_by_set_and_row(
    embeddings: ArrayLike, row: int | None, sentence: str
) -> None:
    with pytest.raises(DegenerateTestError, match=sentence) as raised:
        unit_rows(embeddings, "X")
    assert (raised.value.role, raised.value.row) == ("X", row)


def test_the_given_array_is_left_as_it_is() -> None:
    given = np.full((2, 3), 5.0)
    unit_rows(given, "X")
    assert (given == 5).all()


def test_integers_are_taken_as_exact_numbers() -> None:
    assert unit_rows([[3, 4]], "X").rows.tolist() == [[0.6, 0.8]]
    assert unit_rows([[3, 4]], "X").rounding < 1e-14
