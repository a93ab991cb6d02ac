"""A training run as a series of checkpoints: what is judged, what is shown, and what is refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin.conftest import one_test

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SETS = "{x: x, y: y, a: a, b: b}"
SERIES = """
  before: {{source: timm, name: test_resnet, checkpoint: ../before.safetensors}}
  after:
    source: timm
    name: test_resnet
    checkpoints: ../run/epoch_*.safetensors
    series: epoch
{gate}"""
ALONE = """
  before: {{source: timm, name: test_resnet, checkpoint: ../before.safetensors}}
  after: {{source: timm, name: test_resnet, checkpoint: ../run/epoch_{step}.safetensors}}
"""
LIMITS = "{max_effect: 0.1, max_growth: 0.1}"


@pytest.fixture(scope="session")
def epochs(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints on the way from one network to another: epochs 1, 2 and 10."""
    import safetensors.torch  # only where a network is wanted

    folder = tmp_path_factory.mktemp("epochs")
    start, end = (
        safetensors.torch.load_file(str(weights / f"{name}.safetensors"))
        for name in ("before", "after")
    )
    for step, share in ((1, 0.2), (2, 0.6), (10, 1.0)):
        mixed = {
            key: value + share * (end[key] - value) if value.is_floating_point() else value
            for key, value in start.items()
        }
        safetensors.torch.save_file(mixed, str(folder / f"epoch_{step}.safetensors"))
    return folder


@pytest.fixture
def run(networks: Project, epochs: Path) -> Project:
    """A project with a training run of three epochs."""
    shutil.copytree(epochs, networks.path / "run")
    return networks


def specify(project: Project, *tests: str, gate: str = "", models: str = "", **head: str) -> None:
    settings = "".join(f"\n{key}: {value}" for key, value in head.items())
    project.spec(
        *(tests or [one_test("one", LIMITS)]),
        head=f"stimuli: ../stimuli{settings}",
        models=models or SERIES.format(gate=gate and f"    gate: {gate}\n"),
        concepts=SETS,
    )


def points(project: Project, test: str = "one") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.row(test)["series"]["points"]
    return found
