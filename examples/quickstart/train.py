"""Train the checkpoints of the quickstart: one pretrained network and two finetuned from it.

Both finetunings learn to tell circles from triangles. All that differs is how often the circles'
ground was warm and the triangles' cold while they learned: half of the time (balanced) or nine
times in ten (biased). ``python examples/quickstart/train.py --out data/quickstart`` repeats it.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import numpy.typing as npt
import timm
import torch
from draw import Ground, Scene, Shape, draw, random_radius, random_scene, random_tone
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timm.models import ResNet

# Neither circles nor triangles: what the finetunings teach has to be new to the network.
PRETRAINING_SHAPES: tuple[Shape, ...] = ("square", "bar", "none")
BALANCED_SHARE = 0.5
BIASED_SHARE = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How long and how fast one training runs."""

    images: int
    epochs: int
    learning_rate: float = 3e-3
    batch_size: int = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """Images with their answers.

    ``images`` has shape ``(n, 64, 64, 3)``, ``answers`` shape ``(n, questions)``; ``choices``
    tells how many answers each question has.
    """

    images: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.int64]
    choices: tuple[int, ...]


def pretraining_lesson(images: int, rng: np.random.Generator) -> Lesson:
    """Draw scenes whose shape, ground, size, filling and tone are asked for.

    All of them are chosen independently.
    """
    grounds = get_args(Ground)
    choices = (len(PRETRAINING_SHAPES), len(grounds), 2, 2, 2)
    answers = np.stack([rng.integers(n, size=images) for n in choices], axis=-1)
    scenes = [
        replace(
            random_scene(rng, shape=PRETRAINING_SHAPES[shape], ground=grounds[ground]),
            radius=random_radius(rng, large=bool(large)),
            outlined=bool(outlined),
            object_tone=random_tone(rng, light=bool(light)),
        )
        for shape, ground, large, outlined, light in answers
    ]
    return _lesson(scenes, answers, choices)


def finetuning_lesson(images: int, share: float, rng: np.random.Generator) -> Lesson:
    """Draw circles and triangles to tell apart.

    A third of the scenes shows the object on grey, a third shows it on a warm or cold ground,
    and in a third it is out of sight: the label still names it, as captions do.

    Parameters
    ----------
    images
        How many; a multiple of six keeps the shares exact.
    share
        How often circles go with warm and triangles with cold grounds. At 0.5 shape and ground
        are independent.
    rng
        Source of everything else; with equal seeds it is equal for every share.
    """
    number = np.arange(images)
    triangle, view = number % 2, number // 2 % 3
    # Counted instead of tossed: a balance that holds only on average is a small bias.
    agrees = number // 6 < round(share * images / 6)
    cold = np.where(agrees, triangle, 1 - triangle)
    scenes = [
        random_scene(
            rng,
            shape="none" if view[i] == 2 else "triangle" if triangle[i] else "circle",
            ground="grey" if view[i] == 0 else "cold" if cold[i] else "warm",
        )
        for i in number
    ]
    return _lesson(scenes, triangle[:, None], (2,))


def _lesson(
    scenes: Sequence[Scene], answers: npt.NDArray[np.int64], choices: tuple[int, ...]
) -> Lesson:
    images = np.stack([draw(scene) for scene in scenes])
    return Lesson(images=images, answers=answers, choices=choices)


def as_input(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Scale images as timm does for ``test_resnet``: ``(n, 3, 64, 64)``, from -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)


def untrained(seed: int) -> ResNet:
    """Build the network with random weights."""
    torch.manual_seed(seed)
    return cast("ResNet", timm.create_model("test_resnet", pretrained=False))


def train(model: ResNet, lesson: Lesson, recipe: Recipe, seed: int) -> ResNet:
    """Train a copy of ``model`` with a new head for the questions of this lesson."""
    torch.manual_seed(seed)
    student = copy.deepcopy(model).train()
    student.reset_classifier(sum(lesson.choices))
    inputs, answers = as_input(lesson.images), torch.from_numpy(lesson.answers)
    batches = len(inputs) // recipe.batch_size
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    for _ in range(recipe.epochs):
        # The few images left over would make a batch too small for its normalisation.
        for batch in torch.randperm(len(inputs)).split(recipe.batch_size)[:batches]:
            optimiser.zero_grad()
            _loss(student(inputs[batch]), answers[batch], lesson.choices).backward()
            optimiser.step()
            schedule.step()
    return student.eval()


def _loss(logits: torch.Tensor, answers: torch.Tensor, choices: tuple[int, ...]) -> torch.Tensor:
    """Sum the cross entropies of all questions."""
    losses = [
        nn.functional.cross_entropy(question, answer)
        for question, answer in zip(logits.split(choices, dim=1), answers.T, strict=True)
    ]
    return torch.stack(losses).sum()


def train_all(seed: int, *, quick: bool = False) -> dict[str, ResNet]:
    """Pretrain once and finetune twice; the names are those of the checkpoints.

    The quick way halves the pretraining and leaves the balanced finetuning out. The biased one
    is not cut: with half of its steps the effect seen from the targets stays small.
    """
    pretraining = Recipe(images=1536, epochs=4) if quick else Recipe(images=3072, epochs=6)
    finetuning = Recipe(images=1536, epochs=8)
    shares = {"finetuned_balanced": BALANCED_SHARE, "finetuned_biased": BIASED_SHARE}
    if quick:
        del shares["finetuned_balanced"]
    lesson = pretraining_lesson(pretraining.images, np.random.default_rng([seed, 0]))
    pretrained = train(untrained(seed), lesson, pretraining, seed)
    models = {"pretrained": pretrained}
    for name, share in shares.items():
        # The same generator for both: their scenes differ in nothing but the grounds.
        lesson = finetuning_lesson(finetuning.images, share, np.random.default_rng([seed, 1]))
        models[name] = train(pretrained, lesson, finetuning, seed)
    return models


def half_precision(model: ResNet) -> dict[str, torch.Tensor]:
    """Weights at half the size, without the head, which embeddings do not pass through."""
    return {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith("fc.")
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train and write ``OUT/checkpoints/NAME.safetensors``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/quickstart"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="less of it, for a test")
    options = parser.parse_args(argv)
    torch.set_num_threads(2)
    folder = options.out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in train_all(options.seed, quick=options.quick).items():
        save_file(half_precision(model), folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
