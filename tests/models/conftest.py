"""What every test of models needs: where they are looked for, and an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pytest_visualbias.models.encoder import Context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A project whose specs lie in `specs`, and the processor."""
    (tmp_path / "specs").mkdir()
    return Context(folder=tmp_path / "specs", project=tmp_path, device="cpu")


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Five images of noise and colour, none of them square."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(5):
        low = rng.integers(0, 256, (4 + i, 5, 3), dtype=np.uint8)
        found.append(Image.fromarray(low).resize((190 + 7 * i, 170), Image.Resampling.BICUBIC))
    return found


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small networks are slower on several threads, all the more beside other workers."""
    if request.node.get_closest_marker("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
