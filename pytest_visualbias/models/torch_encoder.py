"""A network in evaluation mode whose layers are read by hooks, in one forward pass."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.layers import POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["Network", "TorchEncoder", "choose_device"]

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """What a source provides: the module, its input, and its own pooled features.

    Attributes
    ----------
    module : torch.nn.Module
        With its weights.
    pooled : callable
        Images ``(n, c, h, w)`` to the vectors ``(n, dim)`` before any classifier.
    prepare : callable
        One RGB image to an array ``(c, h, w)``.
    preprocessing : mapping
        What `prepare` does, as plain values.
    channels_last : bool
        Whether feature maps are ``(n, h, w, c)``.
    prefix_tokens : int
        How many tokens before the patches are not patches, such as the class token.
    notes : mapping
        Facts for the report.
    """

    module: torch.nn.Module
    pooled: Callable[[torch.Tensor], torch.Tensor]
    prepare: Callable[[Image.Image], np.ndarray]
    preprocessing: Mapping[str, Any]
    channels_last: bool = False
    prefix_tokens: int = 0
    notes: Mapping[str, Any]


def choose_device(wanted: str) -> torch.device:
    """Return the device that is wanted; ``auto`` takes an accelerator where there is one.

    Raises
    ------
    EncoderError
        For a device that this machine does not have.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    has_mps = device.type != "mps" or torch.backends.mps.is_available()
    if (device.index or 0) >= count or not has_mps:
        raise EncoderError(f"there is no device '{wanted}' here; choose another, or 'auto'")
    return device


class TorchEncoder:
    """An `Encoder` over a torch network.

    Parameters
    ----------
    network : Network
        Taken over: moved to the device and put in evaluation mode.
    device : str
        As `choose_device` takes it.
    precision : str
        ``fp32``, or ``bf16`` or ``fp16`` for autocast.
    """

    def __init__(self, network: Network, *, device: str = "auto", precision: str = "fp32") -> None:
        self._network = network
        self._device = choose_device(device)
        self._precision = precision
        self._module = network.module.eval().requires_grad_(requires_grad=False)
        self.weights = _digest(self._module)
        self._module.to(self._device)

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """What is done to a decoded image, as plain values."""
        return self._network.preprocessing

    @property
    def description(self) -> Mapping[str, Any]:
        """Facts for the report."""
        count = sum(parameter.numel() for parameter in self._module.parameters())
        return {"parameters": count, "device": str(self._device), **self._network.notes}

    def layers(self) -> list[str]:
        """Return the module paths at which embeddings can be read."""
        return [POOLED, *(name for name, _ in self._module.named_modules() if name)]

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the network's input ``(channels, height, width)`` for one RGB image."""
        return self._network.prepare(image)

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        """Return the vectors ``(n, dim)`` of every layer, float32, from one forward pass.

        Raises
        ------
        EncoderError
            For a layer that the network does not have, or whose output cannot be pooled.
        """
        hooked = [layer for layer in layers if layer.module != POOLED]
        with self._outputs({layer.module for layer in hooked}) as outputs:
            pooled = self._forward(np.stack(inputs))
        if any(module.training for module in self._module.modules()):
            raise EncoderError("the network left evaluation mode; it must not call train() itself")
        vectors = {layer.name: self._pool(outputs[layer.module], layer) for layer in hooked}
        for layer in layers:
            if layer.module == POOLED:
                vectors[layer.name] = _two_dimensional(pooled, layer)
        for name, vector in vectors.items():
            if len(vector) != len(inputs):
                rows = f"{len(vector)} vectors for {len(inputs)} images"
                raise EncoderError(f"layer '{name}' gives {rows}; choose a module around it")
        return {name: vector.float().cpu().numpy() for name, vector in vectors.items()}

    def _forward(self, batch: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(batch).to(self._device)
        with torch.inference_mode(), self._autocast():
            return self._network.pooled(images)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=PRECISIONS[self._precision])

    @contextlib.contextmanager
    def _outputs(self, modules: set[str]) -> Iterator[dict[str, torch.Tensor]]:
        """Collect what the named modules return during one forward pass."""
        outputs: dict[str, torch.Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in sorted(modules):
                handle = self._submodule(name).register_forward_hook(_keep(outputs, name))
                hooks.callback(handle.remove)
            yield outputs
        if silent := modules - outputs.keys():
            raise EncoderError(f"layer '{min(silent)}' took no part in the forward pass")

    def _submodule(self, name: str) -> torch.nn.Module:
        try:
            return self._module.get_submodule(name)
        except AttributeError:
            names = self.layers()
            near = did_you_mean(name, names)
            if not near.startswith("did"):
                near = did_you_mean(name, [known for known in names if "." not in known])
            raise EncoderError(f"there is no layer '{name}'; {near}") from None

    def _pool(self, output: torch.Tensor, layer: LayerPoint) -> torch.Tensor:
        """Make one vector per image from a feature map, a grid of tokens or a vector."""
        if output.ndim == 4:  # noqa: PLR2004 - a feature map
            if self._network.channels_last:
                output = output.permute(0, 3, 1, 2)
            return _pool_map(output, layer)
        if output.ndim == 3:  # noqa: PLR2004 - tokens
            return _pool_tokens(output, layer, self._network.prefix_tokens)
        return _two_dimensional(output, layer)


def _keep(outputs: dict[str, torch.Tensor], name: str) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if not torch.is_tensor(output):
            kind = type(output).__name__
            raise EncoderError(f"layer '{name}' returns a {kind}, not a tensor; choose another")
        if name in outputs:
            raise EncoderError(f"layer '{name}' runs more than once in a pass; choose another")
        # What follows may work in place, as ReLU often does, on the very tensor.
        outputs[name] = output.clone()

    return hook


def _pool_map(output: torch.Tensor, layer: LayerPoint) -> torch.Tensor:
    if layer.pooling == "mean":
        return output.mean(dim=(2, 3))
    if layer.pooling == "max":
        return output.amax(dim=(2, 3))
    if layer.pooling == "flatten":
        return output.flatten(1)
    raise EncoderError(f"layer '{layer.name}' is a feature map without a class token; use mean")


def _pool_tokens(output: torch.Tensor, layer: LayerPoint, prefix: int) -> torch.Tensor:
    if layer.pooling == "cls":
        if prefix == 0:
            raise EncoderError(f"layer '{layer.name}' has no class token; use mean")
        return output[:, 0]
    if layer.pooling == "flatten":
        return output.flatten(1)
    patches = output[:, prefix:]
    return patches.mean(dim=1) if layer.pooling == "mean" else patches.amax(dim=1)


def _two_dimensional(output: Any, layer: LayerPoint) -> torch.Tensor:
    if not torch.is_tensor(output) or output.ndim != 2:  # noqa: PLR2004 - (n, dim)
        shape = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise EncoderError(
            f"layer '{layer.name}' gives {shape} where (n, dim) is needed; name a module to pool"
        )
    vectors: torch.Tensor = output
    return vectors


def _digest(module: torch.nn.Module) -> str:
    """Return the sha256 of all weights and buffers, by name."""
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        state.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        state.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return state.hexdigest()
