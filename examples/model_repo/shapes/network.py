"""The network: three convolutions on images of 32 x 32 pixels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

__all__ = ["SIDE", "ShapeNet", "backbone"]

SIDE = 32
WIDTHS = (3, 16, 32, 64)


class ShapeNet(nn.Module):
    """Three stages, each of half the size; returns 64 features, without a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(_stage(*widths) for widths in pairwise(WIDTHS)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, 64)``: the mean of the last feature map over its positions."""
        features: torch.Tensor = self.stages(images).mean(dim=(2, 3))
        return features


def _stage(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def backbone() -> ShapeNet:
    """Return the network; bias specs name this function: ``call: shapes.network:backbone``."""
    return ShapeNet()
