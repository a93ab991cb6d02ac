"""Explain why a checkpoint does not fit a network."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import format_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch

POSITIONS = ("pos_embed", "position", "rel_pos", "relative_")
IMAGE_CHANNELS = (1, 2, 3, 4)
MATRIX = 2

# Of a layer: a part of a name by itself, or behind a word for layers.
NUMBER = re.compile(r"(?:^|(?<=[.])|(?<=layer)|(?<=layer_)|(?<=block)|(?<=stage))(\d+)[.]")
SAVE_FLOATS = (
    "save the weights as floating-point numbers, or gate the quantised network as a compiled "
    "program"
)
WRITE_SIZE = (
    "write that size: 'arguments: {img_size: 384}' for timm, 'arguments: {image_size: 384}' for "
    "torchvision"
)
OTHER_ARCHITECTURE = "name the architecture that was trained, with its 'arguments'"


class MismatchError(EncoderError):
    """A checkpoint that does not fit its network."""

    def __init__(
        self, problem: str, remedy: str, *, missing: Sequence[str] = (), classifier: str = ""
    ) -> None:
        super().__init__(problem, remedy)
        self.missing = tuple(missing)
        self.classifier = classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatches:
    """All differences between a network and the weights at one place of a checkpoint."""

    wanted: Mapping[str, torch.Tensor]
    state: Mapping[str, torch.Tensor]
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    refusal: str = ""

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        names = (self.missing, self.unknown, self.shapes, self.kinds, self.tied)
        return any(names) or bool(self.refusal)

    @property
    def classifier(self) -> str:
        """The layer whose number of classes is the only difference, or nothing."""
        others = (self.missing, self.unknown, self.kinds, self.tied)
        if any(others) or not self.shapes:
            return ""
        differ = classes_differ(self.shapes, self.wanted, self.state)
        return self.shapes[0].rpartition(".")[0] if differ is not None else ""

    def explained(self) -> tuple[str, str]:
        """Return the cause, with at most five names, and what to do."""
        for cause in (self._values, self._sizes, self._depth, self._convention):
            if (explained := cause()) is not None:
                return explained
        if not (self.missing or self.shapes or self.refusal):
            return (
                f"it has weights that the network does not have: {format_names(self.unknown)}",
                "name the architecture that has them, or list what to leave out under 'ignore'",
            )
        if self.refusal and not self.shapes:
            return self.refusal, OTHER_ARCHITECTURE
        return self._difference(), OTHER_ARCHITECTURE

    def _difference(self) -> str:
        """Return the most informative difference."""
        if self.shapes:
            return f"shapes differ: {format_names([self._both(name) for name in self.shapes])}"
        return f"it lacks {format_names(self.missing)}"

    def _both(self, name: str) -> str:
        return (
            f"{name} ({shape_of(self.state[name])} in the checkpoint, "
            f"{shape_of(self.wanted[name])} in the network)"
        )

    def _values(self) -> tuple[str, str] | None:
        if self.kinds:
            kinds = [
                f"{name} ({str(self.state[name].dtype).removeprefix('torch.')})"
                for name in self.kinds
            ]
            return (
                f"it has values of another kind than the network: {format_names(kinds)}",
                SAVE_FLOATS,
            )
        if self.tied:
            names = format_names(self.tied)
            return (
                f"the network has one weight where the checkpoint has several: {names}",
                OTHER_ARCHITECTURE,
            )
        return None

    def _sizes(self) -> tuple[str, str] | None:
        """Return the cause if only shapes differ."""
        if not self.shapes or self.missing or self.unknown:
            return None
        if (classes := classes_differ(self.shapes, self.wanted, self.state)) is not None:
            saved, expected = classes
            return (
                f"its classifier has {saved} classes, the network's {expected} ({self.shapes[0]})",
                f"build the network for {saved} classes: 'arguments: {{num_classes: {saved}}}'",
            )
        shapes = format_names([self._both(name) for name in self.shapes])
        if all(any(part in name for part in POSITIONS) for name in self.shapes):
            return (f"it was trained at another image size: {shapes}", WRITE_SIZE)
        first = self.shapes[0]
        shape, wanted = self.state[first].shape, self.wanted[first].shape
        if (
            len(self.shapes) == 1
            and len(shape) == len(wanted) == 4  # noqa: PLR2004 - of a convolution
            and (shape[0], *shape[2:]) == (wanted[0], *wanted[2:])
            and shape[1] in IMAGE_CHANNELS
        ):
            counts = f"{_channels(shape[1])}, the network takes {_channels(wanted[1])}"
            return (
                f"it was trained on images of {counts} ({first})",
                "images have three channels; use a 'factory' whose network converts them",
            )
        return None

    def _depth(self) -> tuple[str, str] | None:
        """Return the cause if network or checkpoint has more blocks of the same kind."""
        if self.shapes or self.refusal or bool(self.missing) == bool(self.unknown):
            return None
        names = self.missing or self.unknown
        others = self.state if self.missing else self.wanted
        beyond = [_layer_beyond(name, others) for name in names]
        if not all(beyond):
            return None
        which = ("the network", "it lacks") if self.missing else ("it", "the network lacks")
        return (
            f"{which[0]} has more layers, such as {beyond[0]}: {which[1]} {format_names(names)}",
            "name the architecture of that depth",
        )

    def _convention(self) -> tuple[str, str] | None:
        """Return the cause if the same shapes have other names."""
        if self.shapes or self.refusal or not (self.missing and self.unknown):
            return None
        counter = Counter(tuple(self.state[name].shape) for name in self.unknown)
        here = Counter(tuple(self.wanted[name].shape) for name in self.missing)
        if here - counter:
            return None
        more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
        names = f"the network has {self.missing[0]}{more}, the checkpoint {self.unknown[0]} instead"
        return (
            f"its names follow another convention: {names}",
            "use the source, or the version of the library, that saved it, or rename the weights",
        )


def classes_differ(
    names: Sequence[str],
    wanted: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
) -> tuple[int, int] | None:
    """Return the classes of checkpoint and network if only their number differs."""
    layers = {name.rpartition(".")[0] for name in names}
    weights = [name for name in names if wanted[name].ndim == MATRIX]
    if (
        len(layers) != 1
        or not weights
        or any(name.rpartition(".")[0] in layers for name in wanted if name not in names)
    ):
        return None
    pairs = [(state[name].shape, wanted[name].shape) for name in names]
    if not all(saved and expected and saved[1:] == expected[1:] for saved, expected in pairs):
        return None
    counts = {(saved[0], expected[0]) for saved, expected in pairs}
    return counts.pop() if len(counts) == 1 else None


def shape_of(tensor: torch.Tensor) -> str:
    """Return a shape as text."""
    return "x".join(str(size) for size in tensor.shape) or "scalar"


def _channels(count: int) -> str:
    return "one channel" if count == 1 else f"{count} channels"


def _layer_beyond(name: str, others: Iterable[str]) -> str:
    """Return the numbered layer of a name that exceeds the last layer of others, or nothing."""
    for match in NUMBER.finditer(name):
        stack = name[: match.start()]
        matches = (NUMBER.match(other, len(stack)) for other in others if other.startswith(stack))
        numbers = [int(other[1]) for other in matches if other]
        if numbers and int(match[1]) > max(numbers):
            return name[: match.end() - 1]
    return ""
