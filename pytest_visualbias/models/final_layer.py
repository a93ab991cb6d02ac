"""Find the final linear layer of a network, and the kind of its output."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import ReadOut, foreign_errors
from pytest_visualbias.models.preprocessing import noise
from pytest_visualbias.spec.effective_settings import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

    from pytest_visualbias.models.loaded_network import LoadedNetwork


def head_readers(
    model: torch.nn.Module,
    head: str,
    *,
    run: Callable[[torch.Tensor], Any] | None = None,
    no_logits: str = "",
) -> dict[str, Any]:
    """Return how a network with a classifier is read, as keywords of `LoadedNetwork`."""
    classifier = model.get_submodule(head)

    def body(images: torch.Tensor) -> tuple[torch.Tensor, Any]:
        given: list[torch.Tensor] = []
        handle = classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            output = (run or model)(images)
        finally:
            handle.remove()
        if len(given) != 1:
            raise EncoderError(f"the classifier '{head}' ran {len(given)} times in a pass")
        return _flat(given[0]), output

    return {
        "body": body,
        "pooled": lambda seen: seen[0],
        "logits": no_logits or (lambda seen: seen[1]),
        "left_out": (head,) if no_logits else (),
    }


def _flat(features: torch.Tensor) -> torch.Tensor:
    """Return vectors; of a feature map, the mean over positions."""
    is_map = features.ndim == 4  # noqa: PLR2004 - (n, c, h, w)
    # What follows may work in place on the very tensor.
    return features.mean(dim=(2, 3)) if is_map else features.clone()


# Images of the pass that shows what a network returns.
PROBE_IMAGES = 4

# An output with at most so many columns, all from 0 to 1, is more likely probabilities.
MAX_PROBABILITIES = 20
TOLERANCE = 1e-3

# Operations that compute a linear layer, and the place of its input among their arguments.
LINEAR = {"linear": 0, "addmm": 1, "mm": 0, "linear_dynamic": 0}
LINEAR |= dict.fromkeys(("conv2d", "convolution", "_convolution"), 0)

# Operations that only reshape, copy or convert.
VIEWS = frozenset(
    {"view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze", "to", "_to_copy"}
    | {"detach", "alias", "contiguous", "clone", "slice", "expand", "dropout", "feature_dropout"}
)

# Operations that end networks without a classifier.
FEATURES = frozenset(
    {"mean", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d", "max_pool2d", "amax"}
    | {"max_pool2d_with_indices", "adaptive_max_pool2d", "select", "index", "cat", "conv2d"}
    | {"_convolution"}
    | {"layer_norm", "native_layer_norm", "batch_norm", "native_batch_norm", "group_norm"}
    | {"_native_batch_norm_legit_no_training", "native_group_norm", "convolution"}
    | {"relu", "gelu", "silu", "hardswish", "hardtanh", "relu6", "tanh"}
)

# Activations whose output is probabilities.
PROBABILITY_ACTIVATIONS = ("softmax", "sigmoid")
SIGMOIDS = ("sigmoid", "hardsigmoid")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FinalLayer:
    """The output of one forward pass, and the layer that computes it."""

    output: torch.Tensor
    module: str
    is_linear: bool
    before: tuple[str, ...]
    last: str

    @property
    def is_known(self) -> bool:
        """Whether networks without a classifier end in this operation."""
        return self.last in FEATURES


class Operations(TorchDispatchMode):
    """Records the last operation of a pass, and the last linear operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.last = ""
        self.linear: tuple[Any, Any] = (None, None)

    def __torch_dispatch__(
        self,
        func: Any,
        _types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and record it."""
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.rpartition("::")[2].removesuffix("_")  # noqa: SLF001 - no other way
        if name in LINEAR:
            self.linear = args[LINEAR[name]], made
        elif name == "add" and args[0] is self.linear[1]:
            self.linear = self.linear[0], made  # the bias
        if name not in VIEWS:
            self.last = name
        return made


def find_final_layer(
    module: torch.nn.Module, run: Callable[[], Any], *, closed: bool = False
) -> FinalLayer | None:
    """Run a network once and find the layer whose output it returns."""
    calls: list[tuple[str, Any]] = []
    parts = {} if closed else {name: part for name, part in module.named_modules() if name}
    layers = {name for name, part in parts.items() if is_linear(part)}
    leaves = {name for name, part in parts.items() if not any(part.children())}

    def recorder(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: calls.append((name, output))

    handles = [
        parts[name].register_forward_hook(recorder(name))
        for name in parts
        if name in layers | leaves
    ]
    try:
        with Operations() as operations:
            output = run()
    finally:
        for handle in handles:
            handle.remove()
    if not torch.is_tensor(output) or output.ndim == 0:
        return None
    is_vector = output.shape[2:].numel() == 1
    same = [index for index, (_, made) in enumerate(calls) if are_equal(made, output)]
    final = [index for index in same if is_vector and calls[index][0] in layers]
    by_operation = is_vector and are_equal(operations.linear[1], output)
    first = (final or same)[-1:] if final or by_operation else []
    before = [(name, made) for name, made in calls[: first[0] if first else None]]
    while before and (before[-1][0] in layers or has_same_shape(before[-1][1], output)):
        before.pop()  # class scores
    return FinalLayer(
        output=output,
        module=calls[final[-1]][0] if final else "",
        is_linear=bool(final) or by_operation,
        before=tuple(dict.fromkeys(name for name, made in before if torch.is_tensor(made))),
        last=operations.last,
    )


def final_linear(module: torch.nn.Module, prepare: Callable[[Image.Image], np.ndarray]) -> str:
    """Return the name of the linear layer whose output a network returns, or nothing."""
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(PROBE_IMAGES)]))
    try:
        with torch.inference_mode():
            final_layer = find_final_layer(module.eval(), lambda: module(images))
    except Exception:  # noqa: BLE001 - it is the user's network
        return ""
    return final_layer.module if final_layer is not None and final_layer.is_linear else ""


def is_linear(module: torch.nn.Module) -> bool:
    """Return whether a module is a linear layer, including quantised and adapted ones."""
    is_point = isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1)
    return is_point or "Linear" in type(module).__name__


def are_equal(made: Any, output: torch.Tensor) -> bool:
    """Return whether two outputs are equal except for axes of length 1."""
    if not torch.is_tensor(made) or made.numel() != output.numel() or len(made) != len(output):
        return False
    return torch.equal(made.float().flatten(), output.float().flatten())


def has_same_shape(made: Any, output: torch.Tensor) -> bool:
    """Return whether a layer's output has the shape of the network's output."""
    return torch.is_tensor(made) and made.shape == output.shape


def detect_activation(output: torch.Tensor, last: str) -> str:
    """Return the activation if an output ``(n, classes)`` holds probabilities."""
    if output.ndim != 2:  # noqa: PLR2004 - (n, classes)
        return ""
    rows = output.float()
    if rows.shape[1] > 1 and not bool((rows == rows[:1]).all()):
        if bool((rows >= 0).all()) and _sums_to_one(rows):
            return "softmax"
        if bool((rows <= 0).all()) and _sums_to_one(rows.exp()):
            return "log_softmax"
    return "sigmoid" if rows.shape[1] <= MAX_PROBABILITIES and last in SIGMOIDS else ""


def _sums_to_one(rows: torch.Tensor) -> bool:
    return bool(((rows.sum(1) - 1).abs() <= TOLERANCE).all())


def explain_doubt(output: torch.Tensor, *, is_known: bool) -> str:
    """Return why an output may not be features, or nothing."""
    if output.ndim != 2:  # noqa: PLR2004 - pooled, or refused, by what reads it
        return ""
    columns, rows = output.shape[1], output.float()
    is_share = columns <= MAX_PROBABILITIES and bool((rows >= 0).all()) and bool((rows <= 1).all())
    if is_known and not is_share:
        return ""
    kind = "look like probabilities" if is_share else "may be class scores"
    return (
        f"'pooled' is what the network returns, and these {columns} numbers {kind}; write "
        "'layers: {pooled: output}' at the model if they are its embedding, else name a layer"
    )


def explain_probabilities(activation: str, candidates: Sequence[str]) -> str:
    """Return why probabilities are not `pooled`, and what to write."""
    kind = "log-probabilities" if activation == "log_softmax" else "probabilities"
    near = [*reversed(candidates[-3:])]
    if near:
        others = f" (or {', '.join(near[1:])})" if near[1:] else ""
        todo = f"write 'layers: {{pooled: {near[0]}}}'{others}"
    else:
        todo = "return the features as an output"
    return (
        f"the network returns {kind} ({activation}), not features; {todo}, or "
        f"'layers: {{pooled: output}}' to compare the {kind}"
    )


def with_pooled(
    network: LoadedNetwork, on_device: Callable[[np.ndarray], torch.Tensor]
) -> LoadedNetwork:
    """Return a network with features: the input of its final linear layer, or its output."""
    images = np.stack([network.prepare(image) for image in noise(network.batch or PROBE_IMAGES)])
    output = network.outputs[OUTPUT]
    problem = f"the network fails on an input of {images[0].shape}"
    with foreign_errors(problem, "check 'transform' and the architecture"):
        final_layer = find_final_layer(
            network.module,
            lambda: output(network.body(on_device(images))),
            closed=bool(network.closed),
        )
    if final_layer is not None and final_layer.is_linear:
        return _with_layer_input(network, final_layer)
    read_out = ReadOut(module=OUTPUT, side="output")
    if final_layer is None:
        return dataclasses.replace(network, pooled=output, read_out=read_out)
    activation = detect_activation(final_layer.output, final_layer.last)
    if activation:
        read_out = dataclasses.replace(read_out, activation=activation)
        reason = explain_probabilities(activation, final_layer.before)
        return dataclasses.replace(network, pooled=reason, read_out=read_out)
    doubt = explain_doubt(final_layer.output, is_known=final_layer.is_known)
    read_out = dataclasses.replace(read_out, doubt=doubt)
    return dataclasses.replace(network, pooled=output, read_out=read_out)


def _with_layer_input(network: LoadedNetwork, final_layer: FinalLayer) -> LoadedNetwork:
    """Return a network whose features are the input of its final linear layer."""
    body = _hooked(network, final_layer.module) if final_layer.module else _recorded(network)
    logits = network.logits
    return dataclasses.replace(
        network,
        body=body,
        pooled=lambda seen: seen[0],
        logits=logits if isinstance(logits, str) else lambda seen: logits(seen[1]),
        outputs={name: _second(read) for name, read in network.outputs.items()},
        read_out=ReadOut(module=final_layer.module or "the final linear operation", side="input"),
    )


def _second(read: Callable[[Any], torch.Tensor]) -> Callable[[Any], torch.Tensor]:
    return lambda seen: read(seen[1])


def _hooked(
    network: LoadedNetwork, name: str
) -> Callable[[torch.Tensor], tuple[torch.Tensor, Any]]:
    layer = network.module.get_submodule(name)

    def body(images: torch.Tensor) -> tuple[torch.Tensor, Any]:
        given: list[torch.Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            output = network.body(images)
        finally:
            handle.remove()
        return _vectors(given[-1] if given else None), output

    return body


def _recorded(network: LoadedNetwork) -> Callable[[torch.Tensor], tuple[torch.Tensor, Any]]:
    def body(images: torch.Tensor) -> tuple[torch.Tensor, Any]:
        with Operations() as operations:
            output = network.body(images)
        return _vectors(operations.linear[0]), output

    return body


def _vectors(given: Any) -> torch.Tensor:
    if not torch.is_tensor(given):
        raise EncoderError("the final linear layer took no part in a pass", "name a layer")
    # What follows may work in place on the very tensor.
    return given.flatten(1).clone()
