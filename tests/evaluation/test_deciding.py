"""A family is corrected over every p that it declares."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.evaluation.family import correct_p_values, declared_family
from pytest_visualbias.evaluation.measurement import Measurement
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.statistics.association import association_test

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
        "pooled": {"one": Measurement(sets={}, effect=effect)},
        "layer4": {"one": Measurement(sets={}, problem="no images")},
    }
    members = [
        ("pooled", "one", "effect"),
        ("pooled", "one", "growth"),
        ("layer4", "one", "effect"),
    ]
    spec = parse_spec(SPEC.format(correction=correction), file="x.bias.yaml", folder=tmp_path).spec
    corrected = correct_p_values(spec, members, numbers)
    expected = pytest.approx(min(1.0, factor * effect.p_verdict))
    assert corrected["pooled"]["one"].effect == expected
    assert corrected["pooled"]["one"].growth == 1.0
    assert corrected["layer4"]["one"].effect == 1.0
    assert corrected["layer4"]["one"].growth is None


def test_twelve_layers_of_a_model_without_any_bias_share_one_error_rate(tmp_path: Path) -> None:
    """Corrected apart, as they were once, some layer fails in far more runs than alpha."""
    runs, layers, n = 300, 12, 7
    text = SPEC.format(correction="holm").replace("npz", "npz, prefix: '{layer}'")
    text += f'layers: ["layer{{1..{layers}}}"]\n'
    spec = parse_spec(text, file="x.bias.yaml", folder=tmp_path).spec
    members = declared_family(spec, "after")
    assert len(members) == layers
    effect = association_test(*np.random.default_rng(7).normal(size=(4, n, 8)))
    together = apart = 0
    for row in _null_p(runs * layers, n).reshape(runs, layers):
        numbers = {
            layer: {"one": Measurement(sets={}, effect=dataclasses.replace(effect, p_verdict=p))}
            for (layer, _, _), p in zip(members, row.tolist(), strict=True)
        }
        corrected = correct_p_values(spec, members, numbers)
        together += min(p["one"].effect or 0.0 for p in corrected.values()) <= 0.05
        apart += min(row) <= 0.05
    assert together <= 0.08 * runs
    assert apart >= 0.35 * runs


def _null_p(count: int, n: int) -> NDArray[np.float64]:
    """Return two-sided p of scores without any effect, by every relabelling."""
    scores = np.random.default_rng(12).normal(size=(2 * n, count)).astype(np.float32)
    chosen = np.array(list(itertools.combinations(range(2 * n), n)))
    masks = np.zeros((len(chosen), 2 * n), np.float32)
    np.put_along_axis(masks, chosen, 1, axis=1)
    apart = np.abs(masks @ scores - scores.sum(axis=0) / 2)
    observed = np.abs(scores[:n].sum(axis=0) - scores.sum(axis=0) / 2)
    return np.asarray((apart >= observed - 1e-4).mean(axis=0), np.float64)
