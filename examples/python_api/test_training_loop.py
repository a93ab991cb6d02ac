"""In a test, the fixture `visualbias` audits with the options of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from training_loop import drawn_lesson, learn, pretrained

if TYPE_CHECKING:
    from pytest_visualbias.api import Auditor


def test_an_independent_epoch_brings_no_bias(visualbias: Auditor) -> None:
    network = pretrained()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    learn(network, optimiser, drawn_lesson(agreement=0.5, images=384))
    visualbias.audit("shapes.bias.yaml", models={"after": network}).check()
