"""SB-SSL's untrained networks, measured again from the images (Sirotkin et al., 2022)."""

from __future__ import annotations

import csv
import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

# By our names; flattened maps, as published.
LAYERS = {"stem": "layer_0", "layer2": "layer_2", "layer4": "layer_4", "pooled": "avg_pool"}
PUBLISHED = ("random_torch_1", "random_torch_2", "random_torch_3")
SPEC = """
visualbias: 1
models:
  untrained:
    source: timm
    name: resnet50
    random_init: 1
    arguments: {{zero_init_last: false}}
    preprocess: ieat
stimuli: {data}/ieat/stimuli
settings: {{sides: targets}}
suite: sb-ssl
layers:
  - {{name: stem, module: maxpool, pooling: flatten}}
  - {{name: layer2, module: layer2, pooling: flatten}}
  - {{name: layer4, module: layer4, pooling: flatten}}
  - pooled
"""


def published_effects(data: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return d by the name of the test, for each of their layers and models."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    with (data / "sb_ssl" / "results.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault((row["layer"], row["model"]), {})[row["test"]] = float(
                row["effect_size"]
            )
    return found


def correlation(one: dict[str, float], other: dict[str, float]) -> float:
    assert one.keys() == other.keys()
    return float(np.corrcoef([one[test] for test in one], [other[test] for test in one])[0, 1])


@pytest.fixture
def measured(pytester: pytest.Pytester, reference_data: Path) -> dict[str, dict[str, float]]:
    """Our d by layer and test, of a real run on the images."""
    folder = pytester.mkdir("bias_specs")
    (folder / "sb.bias.yaml").write_text(SPEC.format(data=reference_data), encoding="utf-8")
    result = pytester.runpytest_subprocess(
        "--visualbias", "--visualbias-no-cache", "--visualbias-json=report.json"
    )
    result.assert_outcomes(passed=39 * len(LAYERS))
    report = json.loads((pytester.path / "report.json").read_text("utf-8"))
    found: dict[str, dict[str, float]] = {layer: {} for layer in LAYERS}
    for row in report["results"]:
        found[row["layer"]][row["test"]] = row["effect_size"]
    return found


@pytest.mark.slow
@pytest.mark.torch
def test_an_untrained_network_shows_the_effects_that_theirs_showed(
    measured: dict[str, dict[str, float]], reference_data: Path
) -> None:
    """Over the 39 tests, at every depth, as nearly as their own three networks agree.

    Architecture and images are enough for these effects: another untrained ResNet-50, of another
    library, has them, too, if its images are prepared as theirs were. Two of their own correlate
    by no more than 0.91 at layer4, so one network of ours may lie a little below 0.9 there; the
    mean of three is above it with each of theirs, at every layer (docs/replication.md).
    """
    theirs = published_effects(reference_data)
    for layer, place in LAYERS.items():
        assert len(measured[layer]) == 39
        networks = [theirs[place, model] for model in PUBLISHED]
        found = [correlation(measured[layer], network) for network in networks]
        agreed = min(correlation(one, two) for one, two in itertools.combinations(networks, 2))
        assert min(found) >= min(0.9, agreed - 0.02), (layer, found)
        assert float(np.mean(found)) >= 0.92, (layer, found)
