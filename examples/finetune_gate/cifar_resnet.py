"""The residual networks for CIFAR-10 of He et al. (2015), section 4.2, as a source ``factory``.

A spec names a function of this file, and the transform that the networks were trained with::

    models:
      after:
        source: factory
        call: cifar_resnet:resnet20
        checkpoint: checkpoints/cifar10_resnet20.th
        ignore: [linear.]            # the classifier; embeddings are read before it
        transform: {size: 32, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}

Names of modules follow the published checkpoints for these networks: ``conv1``, ``bn1``,
``layer1`` to ``layer3`` with blocks of ``conv1, bn1, conv2, bn2``, and ``linear``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CifarResNet", "resnet20", "resnet32", "resnet44", "resnet56"]

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters (option A)."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if width_in == width else 2
        self.added = width - width_in
        self.conv1 = nn.Conv2d(width_in, width, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return feature maps, halved in size where the width grows."""
        out = functional.relu(self.bn1(self.conv1(images)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + self._shortcut(images))

    def _shortcut(self, images: torch.Tensor) -> torch.Tensor:
        if not self.added:
            return images
        # Every second pixel; the new channels are zero, half of them on either side.
        half = self.added // 2
        return functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, half, self.added - half))


class CifarResNet(nn.Module):
    """Three stages of ``blocks`` blocks each, on 32 x 32 images; returns 64 pooled features."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, 64)``: the mean of the last feature map over its positions."""
        out = functional.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        pooled: torch.Tensor = out.mean(dim=(2, 3))
        return pooled


def _stage(width_in: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Block(width_in, width), *(Block(width, width) for _ in range(blocks - 1)))


def resnet20() -> CifarResNet:
    """Return the network of 20 layers."""
    return CifarResNet(3)


def resnet32() -> CifarResNet:
    """Return the network of 32 layers."""
    return CifarResNet(5)


def resnet44() -> CifarResNet:
    """Return the network of 44 layers."""
    return CifarResNet(7)


def resnet56() -> CifarResNet:
    """Return the network of 56 layers."""
    return CifarResNet(9)
