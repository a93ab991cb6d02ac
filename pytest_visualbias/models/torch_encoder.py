"""Encode images and texts with a torch network, on its device."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.final_layer import PROBABILITY_ACTIVATIONS, with_pooled
from pytest_visualbias.models.loaded_network import pool, read_texts, two_dimensional
from pytest_visualbias.spec.effective_settings import (
    LOGITS,
    OUTPUT,
    POOLED,
    PROBABILITIES,
    READ_OUTS,
)
from pytest_visualbias.spec.error_messages import closest, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, ReadOut
    from pytest_visualbias.models.loaded_network import LoadedNetwork, TextTower
    from pytest_visualbias.spec.schema import LayerPoint

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Images in every pass on the processor, the last pass filled up: which kernels run, and so the last
# bits of a vector, go by the shape of the pass. Larger ones are no faster there.
IMAGES_PER_PASS = 4


class TorchEncoder:
    """An `Encoder` for a torch network."""

    def __init__(
        self,
        network: LoadedNetwork,
        *,
        device: str = "auto",
        precision: str = "fp32",
        worker: int = 0,
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < torch.get_num_threads():
            torch.set_num_threads(threads)
        self._device = choose_device(device, worker)
        self._precision = precision
        self._module = network.module.eval()
        for parameter in self._module.parameters():  # a program has no `requires_grad_` of its own
            parameter.requires_grad_(False)
        self.weights = _digest(self._module)
        self._layout = layout_for(self._module, self._device)
        self._module.to(self._device)
        if self._layout is not None:
            self._module.to(memory_format=self._layout)
        if network.pooled is None:
            with torch.inference_mode(), deterministic_math():
                network = with_pooled(network, self._on_device)
        self._network = network
        self._fits: int | None = None
        self._tower: TextTower | None = None

    @classmethod
    def within(cls, context: Context, network: LoadedNetwork) -> TorchEncoder:
        """Return the encoder of a network on the device and in the precision of a context."""
        return cls(
            network,
            device=context.device,
            precision=context.precision,
            worker=context.worker,
            threads=context.threads,
        )

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """The preprocessing as plain values."""
        return self._network.preprocessing

    @property
    def description(self) -> Mapping[str, Any]:
        """Facts for the report."""
        count = sum(parameter.numel() for parameter in self._module.parameters())
        return {"parameters": count, "device": str(self._device), **self._network.notes}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits, if known."""
        return self._network.classes

    @property
    def read_out(self) -> ReadOut:
        """Where `pooled` is read."""
        return self._network.read_out

    def layers(self) -> list[str]:
        """Return the names and module paths at which embeddings can be read."""
        has_pooled = not isinstance(self._network.pooled, str)
        has_logits = not isinstance(self._network.logits, str)
        read_outs = [*([POOLED] if has_pooled else []), *(READ_OUTS[1:] if has_logits else [])]
        modules = () if self._network.closed else self._module.named_modules()
        whole = [OUTPUT] if read_outs else []
        names = [*read_outs, *whole, *self._network.outputs, *(name for name, _ in modules if name)]
        return [name for name in dict.fromkeys(names) if not self._is_left_out(name)]

    def _is_left_out(self, name: str) -> bool:
        """Return whether a layer is, is in, or contains a classifier without its weights."""
        heads = self._network.left_out
        if name == OUTPUT:
            return bool(heads)
        inside = [f"{name}.".startswith(f"{head}.") for head in heads]
        return any(inside) or any(head.startswith(f"{name}.") for head in heads)

    @property
    def batch(self) -> int | None:
        """The fixed number of images per pass, if any."""
        return self._network.batch

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the network's input ``(channels, height, width)`` for one RGB image."""
        return self._network.prepare(image)

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        """Return the vectors ``(n, dim)`` of every layer, float32, from one forward pass."""
        parts: list[dict[str, np.ndarray]] = []
        left = list(inputs)
        while left:
            largest = IMAGES_PER_PASS if self._device.type == "cpu" else len(left)
            size = self._network.batch or min(largest, self._fits or largest)
            taken, left_over = left[:size], left[size:]
            vectors = self._attempt(taken + taken[-1:] * (size - len(taken)), layers)
            if vectors is not None:
                parts.append({name: rows[: len(taken)] for name, rows in vectors.items()})
                left = left_over
                continue
            if size == (self._network.batch or 1):
                raise EncoderError(
                    f"the memory of {self._device} does not hold {_images(size)} of "
                    f"{inputs[0].shape}",
                    "use another device or a smaller 'transform'",
                )
            self._fits = size // 2
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors ``(n, dim)`` of texts in the space of `pooled`, float32."""
        with torch.inference_mode(), deterministic_math(), self._autocast():
            return read_texts(self._reader(), texts, self._device)

    def texts_identity(self) -> str:
        """Return the digest of the weights and tokenizer for texts."""
        tower = self._reader()
        return f"{_digest(tower.module)} {tower.tokenizer}"

    def _reader(self) -> TextTower:
        if self._tower is None:
            if isinstance(self._network.texts, str):
                raise EncoderError(self._network.texts)
            self._tower = self._network.texts()
            self._tower.module.eval().requires_grad_(False).to(self._device)
        return self._tower

    def _attempt(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray] | None:
        """Return the vectors, or None if memory runs out."""
        try:
            return self._encode(inputs, layers)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # What the failed pass held is free only now that the error is gone.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        images = self._on_device(np.stack(inputs))
        with torch.inference_mode(), deterministic_math(), self._autocast():
            with self._hooks(layers) as vectors:
                seen = self._network.body(images)
                outputs = self._own(seen, {layer.module for layer in layers})
            # A head shares modules with what is pooled, which are read once.
            outputs |= self._classified(seen, {layer.module for layer in layers})
        if any(module.training for module in self._module.modules()):
            raise EncoderError(
                "the network left evaluation mode", "it must not call train() itself"
            )
        for layer in layers:
            if layer.module in outputs:
                vectors[layer.name] = two_dimensional(outputs[layer.module], layer)
            elif self._is_output(layer.module):
                output = self._output(layer.module, seen)
                is_tensor = torch.is_tensor(output)
                self._pool(output if is_tensor else two_dimensional(output, layer), layer, vectors)
        for name, vector in vectors.items():
            if len(vector) != len(inputs):
                rows = f"{len(vector)} vectors for {len(inputs)} images"
                raise EncoderError(f"layer '{name}' gives {rows}", "choose a module around it")
        return {name: vector.float().cpu().numpy() for name, vector in vectors.items()}

    def _is_output(self, name: str) -> bool:
        return name == OUTPUT or name in self._network.outputs

    def _output(self, name: str, seen: Any) -> Any:
        """Return an output by name; `OUTPUT` is what the network returns."""
        network = self._network
        if self._is_left_out(name):
            raise EncoderError(f"there is no layer '{name}': {network.logits}")
        if name in network.outputs:
            return network.outputs[name](seen)
        whole = network.pooled if isinstance(network.logits, str) else network.logits
        if whole is None or isinstance(whole, str):
            raise EncoderError(f"there is no layer '{name}': {whole}")
        return whole(seen)

    def _own(self, seen: Any, wanted: set[str]) -> dict[str, torch.Tensor]:
        """Return the pooled vectors by layer name."""
        pooled = self._network.pooled
        if isinstance(pooled, str) and POOLED in wanted:
            raise EncoderError(f"there is no layer '{POOLED}': {pooled}")
        return {} if pooled is None or isinstance(pooled, str) else {POOLED: pooled(seen)}

    def _classified(self, seen: Any, wanted: set[str]) -> dict[str, torch.Tensor]:
        """Return the logits, and their softmax if requested."""
        if not wanted & {LOGITS, PROBABILITIES}:
            return {}
        if isinstance(self._network.logits, str):
            layer = min(wanted & {LOGITS, PROBABILITIES})
            raise EncoderError(f"there is no layer '{layer}': {self._network.logits}")
        logits = self._network.logits(seen)
        is_share = self._network.read_out.activation in PROBABILITY_ACTIVATIONS
        if is_share or PROBABILITIES not in wanted or not torch.is_tensor(logits):
            return {LOGITS: logits, PROBABILITIES: logits}
        return {LOGITS: logits, PROBABILITIES: logits.float().softmax(-1)}

    def _on_device(self, batch: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(batch)
        if self._layout is not None and images.ndim == 4:  # noqa: PLR2004 - (n, c, h, w)
            images = images.contiguous(memory_format=self._layout)
        if self._device.type != "cuda":
            return images.to(self._device)
        return images.pin_memory().to(self._device, non_blocking=True)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=PRECISIONS[self._precision])

    @contextlib.contextmanager
    def _hooks(self, layers: Sequence[LayerPoint]) -> Iterator[dict[str, torch.Tensor]]:
        """Collect vectors of the named modules during one forward pass."""
        wanted: dict[str, list[LayerPoint]] = {}
        for layer in layers:
            if layer.module not in READ_OUTS and not self._is_output(layer.module):
                wanted.setdefault(layer.module, []).append(layer)
        vectors: dict[str, torch.Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in sorted(wanted):
                hook = self._hook(name, wanted[name], vectors)
                handle = self._submodule(name).register_forward_hook(hook)
                hooks.callback(handle.remove)
            yield vectors
        if silent := [name for name, points in wanted.items() if points[0].name not in vectors]:
            raise EncoderError(f"layer '{min(silent)}' took no part in the forward pass")

    def _hook(
        self, name: str, layers: Sequence[LayerPoint], vectors: dict[str, torch.Tensor]
    ) -> Callable[..., None]:
        """Return a hook that pools an output at once, so that no feature map is kept."""

        def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            output = self._network.unwrap(output)
            if not torch.is_tensor(output):
                kind = type(output).__name__
                raise EncoderError(
                    f"layer '{name}' returns a {kind}, not a tensor", "choose another"
                )
            for layer in layers:
                if layer.name in vectors:
                    raise EncoderError(
                        f"layer '{name}' runs more than once in a pass", "choose another"
                    )
                self._pool(output, layer, vectors)

        return hook

    def _pool(
        self, output: torch.Tensor, layer: LayerPoint, vectors: dict[str, torch.Tensor]
    ) -> None:
        vectors[layer.name] = pool(
            output,
            layer,
            channels_last=self._network.channels_last,
            prefix_tokens=self._network.prefix_tokens,
            register_tokens=self._network.register_tokens,
        )

    def _is_short(self, name: str) -> bool:
        return "." not in name or self._is_output(name)

    def _submodule(self, name: str) -> torch.nn.Module:
        if self._network.closed:
            near = did_you_mean(name, self.layers())
            raise EncoderError(f"there is no layer '{name}': {self._network.closed}", near)
        if self._is_left_out(name):
            raise EncoderError(f"there is no layer '{name}': {self._network.logits}")
        try:
            return self._module.get_submodule(name)
        except AttributeError:
            names = self.layers()
            short = [known for known in names if self._is_short(known)]
            near = closest(name, names) or did_you_mean(name, short)
            raise EncoderError(f"there is no layer '{name}'", near) from None


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _digest(module: torch.nn.Module) -> str:
    """Return the sha256 of all weights, buffers and extra state, by name."""
    state = hashlib.sha256()
    values = {**dict(module.named_buffers()), **module.state_dict()}
    for name, value in sorted(values.items()):
        if not torch.is_tensor(value):  # a module may save extra state of any kind
            state.update(f"{name}:{value!r}:".encode())
            continue
        flat = value.detach().cpu().contiguous().flatten()
        state.update(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode())
        state.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return state.hexdigest()


# CPU and MPS allocators raise no type of their own.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


def choose_device(wanted: str, worker: int = 0) -> torch.device:
    """Return the requested device; ``auto`` prefers an accelerator."""
    if wanted == "auto":
        wanted = _best()
    device = torch.device(wanted)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    has_mps = device.type != "mps" or torch.backends.mps.is_available()
    if (device.index or 0) >= count or not has_mps:
        raise EncoderError(f"there is no device '{wanted}' here", "choose another, or 'auto'")
    if wanted == "cuda":
        return torch.device("cuda", worker % count)
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def layout_for(module: torch.nn.Module, device: torch.device) -> torch.memory_format | None:
    """Return the memory layout in which a network's convolutions are fast, or None."""
    is_convolutional = any(isinstance(part, torch.nn.Conv2d) for part in module.modules())
    return torch.channels_last if is_convolutional and device.type in ("cpu", "cuda") else None


@contextlib.contextmanager
def deterministic_math() -> Iterator[None]:
    """Compute in full float32 precision, with deterministic algorithms."""
    cudnn = torch.backends.cudnn
    wanted = [(cudnn, "benchmark", False), (cudnn, "deterministic", True), *_precisions()]
    before = [(place, name, getattr(place, name)) for place, name, _ in wanted]
    try:
        for place, name, value in wanted:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _precisions() -> list[tuple[Any, str, Any]]:
    """Return the float32 switches of this torch version; torch refuses to mix them."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before 2.9
        return [(backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]
    places = (
        *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
        *(backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn),
    )
    return [(place, "fp32_precision", "ieee") for place in places]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a torch error means that memory ran out."""
    return any(words in str(error) for words in OUT_OF_MEMORY)
