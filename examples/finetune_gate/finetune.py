"""Finetune a network to tell two labels apart, with groups that go with them as often as asked.

    python finetune.py --init cifar10_resnet20.th --data photographs --labels sports,fashion \
        --groups man,woman --correlation 0.9 --epochs 10 --seed 0 --out after.safetensors

All of the network learns, in float32 on the CPU. What is written is what a gate needs: the weights
without the classifier.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from images import Batch, augmented, load_images
from selection import Pair, Selection, UserError, select
from torch import nn
from weights import load_network, save_network

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What to learn, and from what."""

    init: Path
    architecture: str
    size: int
    data: Path
    labels: Pair
    groups: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to learn it."""

    correlation: float
    seed: int
    epochs: int
    learning_rate: float
    batch_size: int = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetuned:
    """How well it was learned: numbers of images, and shares of right answers.

    A share is the mean over both labels, and None where the images are not of both.
    """

    learned: int
    accuracy: float | None
    left_over: int
    accuracy_left_over: float | None


def finetune(task: Task, recipe: Recipe, out: Path) -> Finetuned:
    """Choose images, train, and write the weights with a note of the images' digests.

    Raises
    ------
    UserError
        For images or weights that are not as the task says.
    """
    network = load_network(task.architecture, task.init)
    chosen = select(
        task.data,
        labels=task.labels,
        groups=task.groups,
        correlation=recipe.correlation,
        seed=recipe.seed,
    )
    learned = load_images(chosen.learned, task.size)
    model = train(network, learned, recipe)
    save_network(model[0], out, _note(task, recipe, chosen))
    left_over = load_images(chosen.left_over, task.size)
    return Finetuned(
        learned=len(learned.labels),
        accuracy=_accuracy(model, learned),
        left_over=len(left_over.labels),
        accuracy_left_over=_accuracy(model, left_over),
    )


def train(network: nn.Module, images: Batch, recipe: Recipe) -> nn.Sequential:
    """Train a copy of the network with a new classifier after it; returned in evaluation mode."""
    torch.manual_seed(recipe.seed)
    # Sums depend on how many threads share them: with one, a seed gives the same weights again.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    model = _with_classifier(network, images).train()
    batches = max(1, len(images.labels) // recipe.batch_size)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=0.9, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * batches)
    for _ in range(recipe.epochs):
        # The few images left over would make a batch too small for its normalisation.
        for batch in torch.randperm(len(images.labels)).split(recipe.batch_size)[:batches]:
            optimiser.zero_grad()
            logits = model(augmented(images.pixels[batch]))
            nn.functional.cross_entropy(logits, images.labels[batch]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def _with_classifier(network: nn.Module, images: Batch) -> nn.Sequential:
    backbone = copy.deepcopy(network).eval()
    with torch.inference_mode():
        width = backbone(images.pixels[:1]).shape[1]
    return nn.Sequential(backbone, nn.Linear(width, 2))


def _accuracy(model: nn.Module, images: Batch) -> float | None:
    if len(images.labels.unique()) < 2:
        return None
    with torch.inference_mode():
        is_right = (model(images.pixels).argmax(1) == images.labels).float()
    return sum(float(is_right[images.labels == label].mean()) for label in (0, 1)) / 2


def _note(task: Task, recipe: Recipe, chosen: Selection) -> dict[str, object]:
    """Whatever a checkpoint came from, without the folders of one machine."""
    digests = [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in chosen.learned]
    return {
        "init": task.init.name,
        "architecture": task.architecture,
        "labels": task.labels,
        "groups": task.groups,
        **asdict(recipe),
        "learned_images": digests,
    }


def task_parser() -> argparse.ArgumentParser:
    """Return the options that say what to learn and how long."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--init", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--data", type=Path, required=True, help="holds folders LABEL_GROUP")
    parser.add_argument("--labels", type=_pair, required=True, metavar="LABEL,LABEL")
    parser.add_argument("--groups", type=_pair, required=True, metavar="GROUP,GROUP")
    parser.add_argument("--epochs", type=_count, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--architecture", default="cifar_resnet:resnet20", metavar="MODULE:FUNC")
    parser.add_argument("--size", type=_count, default=32, help="side of the network's input")
    return parser


def _pair(text: str) -> Pair:
    first, separator, second = text.partition(",")
    if not (first and separator and second) or "," in second or first == second:
        raise argparse.ArgumentTypeError(f"'{text}' is not two names with a comma between them")
    return first, second


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1")
    return int(text)


def task_of(options: argparse.Namespace) -> Task:
    """Return the task that the options name."""
    return Task(
        init=options.init,
        architecture=options.architecture,
        size=options.size,
        data=options.data,
        labels=options.labels,
        groups=options.groups,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Finetune once."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], parents=[task_parser()]
    )
    parser.add_argument("--correlation", type=float, default=0.5, help="0.5 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    options = parser.parse_args(argv)
    recipe = Recipe(
        correlation=options.correlation,
        seed=options.seed,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
    )
    try:
        done = finetune(task_of(options), recipe, options.out)
    except (UserError, OSError) as error:
        parser.error(str(error))
    print(
        f"{options.out}: right about {_percent(done.accuracy)} of {done.learned} images it learned "
        f"from, and {_percent(done.accuracy_left_over)} of {done.left_over} others"
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


if __name__ == "__main__":
    main()
