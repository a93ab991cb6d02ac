"""Images as tensors: as the gate shows them, and moved a little for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageOps
from torch import nn
from torchvision import transforms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selection import Example

# Of ImageNet, as the CIFAR-10 networks were trained and as specs assume.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Normalised pixels ``(n, 3, size, size)`` and labels ``(n,)``."""

    pixels: torch.Tensor
    labels: torch.Tensor


def load_images(examples: Sequence[Example], size: int) -> Batch:
    """Load images as the gate does: the short side resized, the middle cropped."""
    prepare = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pixels = []
    for example in examples:
        with Image.open(example.path) as image:
            pixels.append(prepare(ImageOps.exif_transpose(image).convert("RGB")))
    return Batch(
        pixels=torch.stack(pixels), labels=torch.tensor([example.label for example in examples])
    )


def augmented(pixels: torch.Tensor) -> torch.Tensor:
    """Move each image by up to an eighth of its side, and mirror every second one, at random."""
    size = pixels.shape[-1]
    margin = size // 8
    padded = nn.functional.pad(pixels, (margin,) * 4)
    shifts = torch.randint(2 * margin + 1, (len(pixels), 2)).tolist()
    mirrored = (torch.rand(len(pixels)) < 0.5).tolist()
    views = []
    for image, (top, left), is_mirrored in zip(padded, shifts, mirrored, strict=True):
        view = image[:, top : top + size, left : left + size]
        views.append(view.flip(-1) if is_mirrored else view)
    return torch.stack(views)
