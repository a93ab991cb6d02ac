"""Compiled networks of any format: their outputs by name, and how images come to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.layers import LOGITS, POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_visualbias.models.encoder import Context

__all__ = [
    "check_precision",
    "check_shape",
    "named_outputs",
    "output_outs",
    "unreadable",
]

OUTPUT = "output"


def check_precision(context: Context) -> None:
    """Refuse another precision than the program's own.

    Raises
    ------
    EncoderError
        For any but ``fp32``, which stands for "as it was compiled".
    """
    if context.precision != "fp32":
        raise EncoderError(
            f"a compiled program computes in its own precision, not in {context.precision}; leave "
            "--visualbias-precision out, and give networks a 'precision' in the spec"
        )


def check_shape(wanted: tuple[Any, ...], prepared: tuple[int, ...]) -> None:
    """Compare what a program takes with what the transform of its entry makes.

    Parameters
    ----------
    wanted : tuple
        ``(channels, height, width)``; what is no number is free.
    prepared : tuple of int
        Of a prepared image.

    Raises
    ------
    EncoderError
        Where they differ.
    """
    fixed = [size if isinstance(size, int) and size > 0 else None for size in wanted]
    pairs = zip(fixed, prepared, strict=False)
    if len(fixed) == len(prepared) and all(size in (None, own) for size, own in pairs):
        return
    shown, own = ("x".join(str(size or "?") for size in sizes) for sizes in (fixed, prepared))
    raise EncoderError(
        f"the program takes images of {shown} and 'transform' makes {own}; write the size that it "
        "was compiled for"
    )


def unreadable(path: Any, kind: str, error: Exception) -> EncoderError:
    """Return what to say of a file that cannot be loaded."""
    # What torch's reader of archives adds to its first sentence helps nobody.
    text = str(error).strip().partition(". ")[0] or type(error).__name__
    reason = text.splitlines()[0]
    return EncoderError(
        f"{path} is no {kind} that can be loaded here, or is damaged ({reason}); copy or save it "
        "again"
    )


def named_outputs(output: Any) -> dict[str, torch.Tensor]:
    """Return the tensors that a program gives by name.

    One is ``output``; of several, each has its index or its key behind that: ``output.0``.
    """
    return dict(_leaves(output, OUTPUT))


def _leaves(output: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if torch.is_tensor(output):
        yield name, output
        return
    parts: Any = ()
    if isinstance(output, tuple | list):
        parts = enumerate(output)
    elif isinstance(output, dict):
        parts = output.items()
    for key, value in parts:
        yield from _leaves(value, f"{name}.{key}")


def output_outs(names: list[str]) -> dict[str, Any]:
    """Return how the outputs of a program are read, as `Network` takes it.

    What a program gives is both its features and its logits, as it is of a factory; where it
    gives several things, those are meant that are called so.
    """
    if not names:
        raise EncoderError("the program gives no tensor; compile one that does")
    read: dict[str, Callable[[Mapping[str, torch.Tensor]], torch.Tensor] | str] = {}
    for wanted in (POOLED, LOGITS):
        called = [name for name in names if name.rpartition(".")[2] == wanted]
        meant = called[0] if called else names[0]
        if called or len(names) == 1:
            read[wanted] = _reader(meant)
        else:
            read[wanted] = (
                f"the program has {len(names)} outputs; say which one is meant, such as "
                f"'layers: {{{wanted}: {names[0]}}}' at the model"
            )
    return {**read, "outputs": {name: _reader(name) for name in names}}


def _reader(name: str) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    return lambda seen: seen[name]
