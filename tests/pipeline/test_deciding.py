"""A family is corrected over every p that it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.pipeline.deciding import corrected_p
from pytest_visualbias.pipeline.numbers import Numbers
from pytest_visualbias.spec.parsing import parse_spec
from pytest_visualbias.statistics import association_test

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """visualbias: 1
models: {{after: {{source: embeddings, path: after.npz}}}}
concepts: {{x: x, y: y, a: a, b: b}}
settings: {{correction: {correction}}}
tests:
  - name: one
    kind: ieat
    targets: {{X: x, Y: y}}
    attributes: {{A: a, B: b}}
    limits: {{max_effect: 0}}
"""


@pytest.mark.parametrize(("correction", "factor"), [("none", 1), ("holm", 3), ("bh", 3)])
def test_a_declared_p_without_numbers_counts_as_one(
    tmp_path: Path, correction: str, factor: int
) -> None:
    """A test that errs, or growth that nothing could be compared for, keeps its place."""
    random = np.random.default_rng(7)
    effect = association_test(*(random.normal(size=(6, 8)) + s for s in (0.2, 0.0, 0.2, 0.0)))
    numbers = {
        "pooled": {"one": Numbers(sets={}, effect=effect)},
        "layer4": {"one": Numbers(sets={}, problem="no images")},
    }
    members = [
        ("pooled", "one", "effect"),
        ("pooled", "one", "growth"),
        ("layer4", "one", "effect"),
    ]
    spec = parse_spec(SPEC.format(correction=correction), file="x.bias.yaml", folder=tmp_path).spec
    corrected = corrected_p(spec, numbers, members)
    expected = pytest.approx(min(1.0, factor * effect.p_verdict))
    assert corrected["pooled"] == {("one", "effect"): expected, ("one", "growth"): 1.0}
    assert corrected["layer4"] == {("one", "effect"): 1.0}
