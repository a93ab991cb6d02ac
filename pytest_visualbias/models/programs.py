"""Compiled networks of any format: their outputs by name, and how images come to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.layers import LOGITS, OUTPUT, POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_visualbias.models.encoder import Context

__all__ = [
    "LAST_HINT",
    "check_precision",
    "check_shape",
    "is_channels_last",
    "named_outputs",
    "output_outs",
    "unreadable",
]


COLOURS = 3
LAST_HINT = (
    "if the program takes channels last (n, height, width, 3), export it so that its input states "
    "this shape"
)


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


def is_channels_last(shape: Sequence[Any]) -> bool:
    """Whether a program states an input ``(n, height, width, 3)``; free sizes are no numbers."""
    return bool(shape[3] == COLOURS != shape[1])


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
    """Return the floating point tensors that a program gives by name.

    One is ``output``; of several, each has its index or its key behind that: ``output.0``.
    """
    return dict(_leaves(output, OUTPUT))


def _leaves(output: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if torch.is_tensor(output):
        if output.is_floating_point():
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

    The one output of a program is its logits, and `final_layer.with_pooled` finds its features. Of
    several outputs, those named ``pooled`` and ``logits`` are meant.
    """
    if not names:
        raise EncoderError("the program gives no tensor; compile one that does")
    read: dict[str, Any] = {}
    for wanted in (POOLED, LOGITS):
        called = [name for name in names if name.rpartition(".")[2] == wanted]
        meant = called[0] if called else names[0]
        if called or len(names) == 1:
            read[wanted] = None if wanted == POOLED and not called else _reader(meant)
        else:
            read[wanted] = (
                f"the program has {len(names)} outputs; say which one is meant, such as "
                f"'layers: {{{wanted}: {names[0]}}}' at the model"
            )
    outputs = {name: _reader(name) for name in names}
    if len(names) == 1:
        outputs[OUTPUT] = _reader(names[0])
    return {**read, "outputs": outputs}


def _reader(name: str) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    return lambda seen: seen[name]
