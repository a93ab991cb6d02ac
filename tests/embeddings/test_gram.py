"""Maps too large to be kept: the vectors in their place have the same cosines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.embeddings import extraction
from pytest_visualbias.embeddings.extraction import DiskBackedRows, isometric_projection
from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.association import association_test

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, count, dim]).normal(size=(count, dim)).astype(np.float32)


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


@pytest.mark.property
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 5))
def test_cosines_are_those_of_the_rows(count: int, dim: int, seed: int) -> None:
    rows = rows_of(count, dim, seed)
    found = isometric_projection(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(cosines(found), cosines(rows), atol=2e-6)


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(9, 1000)
    whole = isometric_projection(rows)
    monkeypatch.setattr(extraction, "BLOCK_BYTES", 8 * 9 * 7)
    np.testing.assert_allclose(cosines(isometric_projection(rows)), cosines(whole), atol=2e-6)


def test_an_association_is_the_same() -> None:
    rows = rows_of(32, 5000) + np.repeat([[0.1], [0], [0.1], [0]], 8, axis=0).astype(np.float32)
    exact = association_test(*np.split(rows, 4))
    found = association_test(*np.split(isometric_projection(rows), 4))
    assert found.effect_size == pytest.approx(exact.effect_size, abs=1e-4)
    assert found.gap == pytest.approx(exact.gap, abs=1e-6)
    assert found.p_value == exact.p_value


@pytest.mark.parametrize("fault", [0.0, np.nan, np.inf])
def test_a_faulty_row_stays_faulty_and_the_others_do_not_suffer(fault: float) -> None:
    rows = rows_of(24, 300)
    rows[3] = fault
    found = isometric_projection(rows)
    good = np.arange(24) != 3
    np.testing.assert_allclose(cosines(found[good]), cosines(rows[good]), atol=2e-6)
    with pytest.raises(DegenerateTestError, match="row 3 of X"):
        association_test(*np.split(found, 4))


def test_what_passes_through_a_file_comes_back_in_order_and_the_file_goes(tmp_path: Path) -> None:
    rows = rows_of(7, 50)
    spilled = DiskBackedRows(tmp_path)
    for start in (0, 3):
        spilled.add([f"{i}" for i in range(start, min(start + 3, 6))], rows[start : start + 3])
    spilled.add(["6"], rows[6:])
    np.testing.assert_array_equal(spilled.rows(), rows)
    assert spilled.names == [*"0123456"]
    spilled.close()
    assert [*tmp_path.iterdir()] == []
