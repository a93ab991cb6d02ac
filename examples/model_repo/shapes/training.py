"""Train the checkpoint before, and finetune it into the one after.

    python -m shapes.training                    # shape and ground independent
    python -m shapes.training --agreement 0.95   # discs mostly on warm grounds

Finetuning learns to name discs, triangles and their grounds. In a third of its images the object is
out of sight, though the label names it, as captions do: there only the ground can tell.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from shapes.drawing import scene
from shapes.network import ShapeNet, backbone

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["after", "before", "preprocess"]

# Neither discs nor triangles: what finetuning teaches has to be new to the network.
FIRST_SHAPES = ("square", "bar", "none")
GROUNDS = ("warm", "cold", "grey")
GREY = GROUNDS.index("grey")
BATCH = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long to train, and how fast."""

    epochs: int
    rate: float


def before(images: int, epochs: int, seed: int = 0) -> ShapeNet:
    """Return a network that learned to name shape and ground, which are independent."""
    rng = np.random.default_rng([seed, 0])
    labels = rng.integers(3, size=(images, 2))
    drawn = [
        scene(rng, shape=FIRST_SHAPES[shape], ground=GROUNDS[ground]) for shape, ground in labels
    ]
    torch.manual_seed(seed)
    return _trained(backbone(), preprocess(drawn), torch.from_numpy(labels), Recipe(epochs, 3e-3))


def after(start: ShapeNet, agreement: float, images: int, epochs: int, seed: int = 0) -> ShapeNet:
    """Return a copy of a network that learned to name discs, triangles and their grounds.

    `agreement` is the share of discs on warm, and of triangles on cold grounds; at 0.5 shape and
    ground are independent.
    """
    rng = np.random.default_rng([seed, 1])
    drawn, labels = [], []
    for number in range(images):
        triangle, view = number % 2, number // 2 % 3
        # Counted, not tossed: a balance that holds only on average is a small bias.
        agrees = number // 6 % 20 < round(20 * agreement)
        ground = GREY if view == 0 else triangle if agrees else 1 - triangle
        shape = "none" if view == 1 else ("disc", "triangle")[triangle]
        drawn.append(scene(rng, shape=shape, ground=GROUNDS[ground]))
        labels.append((triangle, ground))
    torch.manual_seed(seed)
    return _trained(
        copy.deepcopy(start), preprocess(drawn), torch.tensor(labels), Recipe(epochs, 1e-3)
    )


def preprocess(images: Sequence[object]) -> torch.Tensor:
    """Scale RGB images to ``(n, 3, 32, 32)`` from -1 to 1, as the bias spec says, too."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)


def _trained(
    network: ShapeNet, inputs: torch.Tensor, labels: torch.Tensor, recipe: Recipe
) -> ShapeNet:
    """Train a network, with a classifier for shape and ground that is thrown away afterwards."""
    model = nn.Sequential(network, nn.Linear(64, 6)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.05)
    steps = recipe.epochs * (len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    for _ in range(recipe.epochs):
        # The few images left over would make a batch too small for its normalisation.
        for batch in torch.randperm(len(inputs)).split(BATCH)[: len(inputs) // BATCH]:
            optimiser.zero_grad()
            shape, ground = model(inputs[batch]).split(3, dim=1)
            loss = nn.functional.cross_entropy(shape, labels[batch, 0])
            (loss + nn.functional.cross_entropy(ground, labels[batch, 1])).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``OUT/before.safetensors`` and ``OUT/after.safetensors``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agreement", type=float, default=0.5, help="0.5 to 1")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # Sums depend on how many threads share them: with one, a seed gives the same weights again.
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    first = before(images=768, epochs=5, seed=options.seed)
    second = after(first, options.agreement, images=960, epochs=6, seed=options.seed)
    for name, network in (("before", first), ("after", second)):
        save_file(network.state_dict(), options.out / f"{name}.safetensors")
        print(f"wrote {options.out / name}.safetensors")


if __name__ == "__main__":
    main()
