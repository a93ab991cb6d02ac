"""The suites that ship, from the published images to results, with a real network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.reference.conftest import Gate

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture"
SPEC = """
visualbias: 1
models:
  after:
    source: factory
    call: cifar_resnet:resnet20
    checkpoint: {data}/checkpoints/cifar10_resnet20.th
    ignore: [linear.]
    transform: {{size: 32, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
stimuli: {data}/openimages_canonical
suite: ranjit-openimages
"""


@pytest.mark.slow
@pytest.mark.torch
def test_the_open_images_suite_measures_all_its_comparisons(
    gate: Gate, pytester: pytest.Pytester, reference_data: Path
) -> None:
    """No two compared sets share a picture, and gaps add up to the numerator of their ieat."""
    pytester.copy_example(str(EXAMPLE / "cifar_resnet.py"))
    report = gate(SPEC.format(data=reference_data), passed=40)
    rows: dict[str, dict[str, Any]] = {row["test"]: row for row in report["results"]}
    sizes = [rows["car-with-man-woman"][key] for key in ("n_x", "n_y")]
    assert sizes == [150, 49]
    assert rows["fashion-man-random"]["n_y"] == 141
    gaps = [rows[f"{name}-man-woman"]["gap"] for name in ("sports", "mammal")]
    assert rows["sports-mammal"]["gap"] == pytest.approx(gaps[0] - gaps[1], abs=1e-9)
    assert not any(row["warnings"] for row in report["results"])
