"""Finetune a network, look at its bias after every epoch, and stop before it grows too far.

    PYTHONPATH=../quickstart python training_loop.py --agreement 0.95 --limit 0.5

The network learns to tell circles from triangles, in the scenes of the quickstart. `--agreement` is
the share of circles on warm and of triangles on cold grounds; in a third of the images the object
is out of sight, though the label names it.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import timm
import torch
from draw import Ground, Shape, draw, random_scene
from safetensors.torch import load_file, save_file
from torch import nn

from pytest_visualbias.api import audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.api import Audit

HERE = Path(__file__).resolve().parent
SPEC = HERE / "shapes.bias.yaml"
PRETRAINED = HERE.parents[1] / "data" / "quickstart" / "checkpoints" / "pretrained.safetensors"
BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What to learn from, how long, and how far the effect may grow meanwhile."""

    agreement: float
    limit: float
    epochs: int
    images: int


def drawn_lesson(agreement: float, images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs ``(n, 3, 64, 64)`` and labels ``(n,)``: 0 for a circle, 1 for a triangle."""
    rng = np.random.default_rng(0)
    labels, drawn = np.arange(images) % 2, []
    for number, label in enumerate(labels):
        # Counted, not tossed: a balance that holds only on average is a small bias.
        agrees = number // 6 % 20 < round(20 * agreement)
        view = number // 2 % 3
        shape: Shape = "none" if view == 1 else "triangle" if label else "circle"
        ground: Ground = "grey" if view == 0 else "warm" if agrees == (label == 0) else "cold"
        drawn.append(draw(random_scene(rng, shape=shape, ground=ground)))
    return as_input(np.stack(drawn)), torch.from_numpy(labels)


def as_input(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Scale ``(n, 64, 64, 3)`` to ``(n, 3, 64, 64)`` from -1 to 1, as timm does for the network."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)


def pretrained() -> nn.Module:
    """Return the quickstart's network, with a classifier of two classes that knows nothing yet."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=2)
    network.load_state_dict(load_file(PRETRAINED), strict=False)
    return network


def learn(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    lesson: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Train a network in place for an epoch."""
    inputs, labels = lesson
    network.train()
    for batch in torch.randperm(len(inputs)).split(BATCH):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
        optimiser.step()


def finetune(settings: Settings, out: Path) -> dict[str, torch.Tensor]:
    """Train until the effect has grown by more than the limit; return the weights before that."""
    network, lesson = pretrained(), drawn_lesson(settings.agreement, settings.images)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    kept = copy.deepcopy(network.state_dict())
    for epoch in range(1, settings.epochs + 1):
        learn(network, optimiser, lesson)
        # The network is copied, and goes on learning; the one before is embedded once, and then
        # found in the cache.
        found = audit(SPEC, models={"after": network}, cache=out / "cache")
        if is_too_far(found, epoch, settings.limit):
            found.save(out / "stopped.html")
            print(f"stopped: the weights after epoch {epoch - 1} are kept")
            break
        kept = copy.deepcopy(network.state_dict())
    return kept


def is_too_far(found: Audit, epoch: int, limit: float) -> bool:
    """Show the effect; say whether it has grown too far, or can no longer be judged."""
    effect = found.result("shape-ground", model="after")
    control = found.result("square-ground", model="after")
    if effect.growth is None:
        raise SystemExit(f"growth was not measured: {'; '.join(effect.reasons)}")
    grown = effect.growth.value
    print(f"epoch {epoch}: effect {effect.effect_judged:+.2f}, growth {grown:+.2f}")
    return grown > limit or control.outcome != "pass"


def main(argv: Sequence[str] | None = None) -> None:
    """Finetune, and write the last weights within the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agreement", type=float, default=0.95, help="0.5 to 1")
    parser.add_argument("--limit", type=float, default=0.5, help="of the growth")
    parser.add_argument("--epochs", type=int, default=6, help="at most")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoints")
    options = parser.parse_args(argv)
    settings = Settings(
        agreement=options.agreement, limit=options.limit, epochs=options.epochs, images=960
    )
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(finetune(settings, options.out), options.out / "after.safetensors")
    print(f"wrote {options.out / 'after.safetensors'}")


if __name__ == "__main__":
    main()
