"""Open ONNX programs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.compiled import (
    LAST_HINT,
    check_precision,
    check_shape,
    is_channels_last,
    output_readers,
    unreadable_error,
)
from pytest_visualbias.models.encoder import ReadOut, foreign_errors
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.final_layer import (
    PROBABILITY_ACTIVATIONS,
    detect_activation,
    explain_doubt,
    explain_probabilities,
)
from pytest_visualbias.models.loaded_network import pool, two_dimensional
from pytest_visualbias.models.preprocessing import noise
from pytest_visualbias.spec.effective_settings import LOGITS, OUTPUT, POOLED, PROBABILITIES
from pytest_visualbias.spec.error_messages import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.model_entries import ProgramModel
    from pytest_visualbias.spec.schema import LayerPoint

# Operations that only reshape, copy or convert.
VIEWS = frozenset(
    {"Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout"}
    | {"QuantizeLinear", "DequantizeLinear"}
)
QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear")
INTEGER = ("MatMulInteger", "ConvInteger")

# Operations that end networks without a classifier.
FEATURES = frozenset(
    {"GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "ReduceMax"}
    | {"LayerNormalization", "BatchNormalization", "GroupNormalization", "Gather", "Slice"}
    | {"Relu", "Gelu", "HardSwish", "Clip", "Tanh", "Concat", "Conv"}
)
POOLS = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "AveragePool", "Flatten")
ACTIVATIONS = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hardsigmoid",
}
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
RANKS = (2, 3, 4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """An ONNX graph, without its weights."""

    model: Any

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read a file."""
        return cls(model=onnx.load(str(path), load_external_data=False))

    @cached_property
    def _makers(self) -> dict[str, Any]:
        return {name: node for node in self.model.graph.node for name in node.output if name}

    @cached_property
    def _weights(self) -> frozenset[str]:
        stored = {tensor.name for tensor in self.model.graph.initializer}
        constants = {n.output[0] for n in self.model.graph.node if n.op_type == "Constant"}
        unpacked = {
            node.output[0]
            for node in self.model.graph.node
            if node.op_type in ("DequantizeLinear", "Transpose", "Identity", "Cast")
            and node.input[0] in stored
        }
        return frozenset(stored | constants | unpacked)

    def has(self, name: str) -> bool:
        """Return whether a node computes a tensor of this name."""
        return name in self._makers

    def last(self, output: str) -> str:
        """Return the operation that computes an output, with torch's names of activations."""
        node = self._maker(output)
        return "" if node is None else ACTIVATIONS.get(node.op_type, node.op_type)

    def is_known(self, output: str) -> bool:
        """Return whether networks without a classifier end in the operation of an output."""
        return self.last(output) in FEATURES

    def final_input(self, output: str) -> str:
        """Return the input tensor of the linear layer that computes an output, or nothing."""
        node = self._maker(output)
        if node is not None and node.op_type == "Add":
            sums = [self._maker(name) for name in node.input if name not in self._weights]
            node = self._unscaled(sums[0]) if len(sums) == 1 else None
            if node is None or "MatMul" not in node.op_type:
                return ""
        node = self._unscaled(node)
        if node is None or not any(kind in node.op_type for kind in ("Gemm", "MatMul", "Conv")):
            return ""
        # Quantized layers are given a scale and a zero point after every tensor.
        given, weight = node.input[0], node.input[3 if node.op_type.startswith("Q") else 1]
        is_linear = weight in self._weights and given in self._makers
        return self._unquantized(given) if is_linear else ""

    def _unscaled(self, node: Any) -> Any:
        """Return the integer product that a node scales, or the node itself."""
        if node is None or node.op_type != "Mul":
            return node
        makers = [self._maker(name) for name in node.input]
        integers = (maker for maker in makers if maker is not None and maker.op_type in INTEGER)
        return next(integers, node)

    def _unquantized(self, name: str) -> str:
        """Return the tensor before quantization, or the tensor itself."""
        given, node = name, self._makers.get(name)
        while node is not None and node.op_type in (*QUANTIZERS, "DequantizeLinear"):
            name = node.input[0]
            if node.op_type in QUANTIZERS:
                given = name
            node = self._makers.get(name)
        return given

    def candidates(self, output: str) -> list[str]:
        """Return tensors that may be features, the best last."""
        pools = [
            name for name, node in self._makers.items() if node.op_type in POOLS and name != output
        ]
        node = self._maker(output)
        given = "" if node is None else self.final_input(node.input[0])
        return [*(name for name in pools if name != given), *([given] if given else [])]

    def tensors(self) -> list[str]:
        """Return the names of tensors that can be pooled: floating point, two to four axes."""
        value_info = onnx.shape_inference.infer_shapes(self.model).graph.value_info
        known = {info.name: info.type.tensor_type for info in value_info}
        return [
            name
            for name in self._makers
            if name in known
            and known[name].elem_type in FLOATS
            and len(known[name].shape.dim) in RANKS
        ]

    def with_outputs(self, names: Iterable[str]) -> bytes:
        """Return the program with inner tensors as additional outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        content: bytes = model.SerializeToString()
        return content

    def _maker(self, name: str) -> Any:
        """Return the node that computes a tensor, skipping reshapes."""
        node = self._makers.get(name)
        while node is not None and node.op_type in VIEWS:
            node = self._makers.get(node.input[0])
        return node


# As many as in a pass of torch's networks, so that no vector hangs on the batch size.
IMAGES_PER_PASS = 4
UINT8 = "tensor(uint8)"
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, UINT8: np.uint8}
FLOAT_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)")

# Where weights are that lie beside a program which is no longer a file.
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def open_onnx(entry: ProgramModel, identity: Identity, context: Context) -> OnnxEncoder:
    """Load an ONNX program, and return an encoder of it."""
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    program = _Program(path, context)
    return OnnxEncoder(program, entry, digest=identity.fingerprint())


class _Program:
    """An ONNX program that can return any of its tensors."""

    def __init__(self, path: Path, context: Context) -> None:
        self.path = path
        self._context = context
        self._sessions: dict[tuple[str, ...], Any] = {(): self._session(str(path))}
        self.graph = Graph.read(path)

    def session(self, inner: tuple[str, ...] = ()) -> Any:
        """Return the session that also outputs these inner tensors."""
        if inner not in self._sessions:
            self._sessions[inner] = self._session(self.graph.with_outputs(inner))
        return self._sessions[inner]

    def _session(self, content: str | bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._context.threads or 0
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        # What is wrong is raised, and said once.
        options.log_severity_level = 4
        if isinstance(content, bytes):
            options.add_session_config_entry(WEIGHTS_FOLDER, str(self.path.parent))
        providers = _providers(self._context)
        try:
            return onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:  # noqa: BLE001 - onnxruntime has a type for every state
            raise unreadable_error(self.path, "ONNX program", error) from None


def _providers(context: Context) -> list[Any]:
    """Return the execution providers, in order of preference."""
    kind, _, number = context.device.partition(":")
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if kind == "cpu" or (kind == "auto" and not has_cuda):
        return [CPU]
    if kind in ("auto", "cuda") and has_cuda:
        return [(CUDA, {"device_id": int(number or 0), "use_tf32": 0}), CPU]
    raise EncoderError(
        f"onnxruntime has no '{context.device}' here",
        "install onnxruntime-gpu, or run with --visualbias-device=cpu",
    )


class OnnxEncoder:
    """An `Encoder` for an onnxruntime program."""

    def __init__(self, program: _Program, entry: ProgramModel, *, digest: str) -> None:
        self._program = program
        self.weights = digest
        self._input = _only_input(program)
        shape = self._input.shape
        self._is_channels_last = is_channels_last(shape)
        self._own = declared_input(entry, is_whole=self._input.type == UINT8)
        self.batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        order = (shape[3], shape[1], shape[2]) if self._is_channels_last else shape[1:]
        images = np.stack([self.prepare(image) for image in noise(self.batch or IMAGES_PER_PASS)])
        check_shape(tuple(order), images[0].shape)
        self._outputs = [
            output.name for output in program.session().get_outputs() if output.type in FLOAT_TYPES
        ]
        self._read = output_readers(self._outputs)
        self._pooled = ""
        self.read_out = ReadOut()
        seen = self._probed(images)
        if self._read[POOLED] is None:
            self._find_pooled(images, seen)

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """The preprocessing as plain values."""
        return self._own["preprocessing"]  # type: ignore[no-any-return]

    @property
    def description(self) -> Mapping[str, Any]:
        """Facts for the report."""
        device = self._program.session().get_providers()[0]
        return {"device": device, "program": self._program.path.name}

    def layers(self) -> list[str]:
        """Return the names at which embeddings can be read."""
        has_logits = not isinstance(self._read[LOGITS], str)
        names = [] if isinstance(self._read[POOLED], str) else [POOLED]
        names += [LOGITS, PROBABILITIES] if has_logits else []
        inner = self._program.graph.tensors()
        return list(dict.fromkeys([*names, *self._read["outputs"], *inner]))

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the network's input ``(channels, height, width)`` for one RGB image."""
        return self._own["prepare"](image)  # type: ignore[no-any-return]

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        """Return the vectors ``(n, dim)`` of every layer, float32."""
        size = self.batch or IMAGES_PER_PASS
        inner = self._inner(layers)
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(inputs), size):
            taken = list(inputs[start : start + size])
            seen = self._run(np.stack(taken + taken[-1:] * (size - len(taken))), inner)
            vectors = {layer.name: self._vectors(seen, layer, size) for layer in layers}
            parts.append({name: rows[: len(taken)] for name, rows in vectors.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _inner(self, layers: Sequence[LayerPoint]) -> tuple[str, ...]:
        """Return the inner tensors that layers are read from."""
        wanted = {self._pooled if layer.module == POOLED else layer.module for layer in layers}
        graph = self._program.graph
        return tuple(sorted(name for name in wanted - {*self._read["outputs"]} if graph.has(name)))

    def _run(self, images: np.ndarray, inner: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        if self._is_channels_last:
            images = images.transpose(0, 2, 3, 1)
        kind = DTYPES[self._input.type]
        # Pixels are whole numbers but for rounding.
        given = np.ascontiguousarray(images.round() if kind is np.uint8 else images, dtype=kind)
        session = self._program.session(inner)
        outputs = session.run(None, {self._input.name: given})
        names = [output.name for output in session.get_outputs()]
        seen = {
            name: torch.from_numpy(value)
            for name, value in zip(names, outputs, strict=True)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        }
        if len(self._outputs) == 1:
            seen.setdefault(OUTPUT, seen[self._outputs[0]])
        return seen

    def _vectors(self, seen: Mapping[str, torch.Tensor], layer: LayerPoint, size: int) -> Any:
        output = self._output(seen, layer)
        if len(output) != size:
            rows = f"{len(output)} vectors for {size} images"
            raise EncoderError(f"layer '{layer.name}' gives {rows}", "choose another output")
        return output.float().numpy()

    def _output(self, seen: Mapping[str, torch.Tensor], layer: LayerPoint) -> torch.Tensor:
        module = layer.module
        key = LOGITS if module == PROBABILITIES else module
        if key in (POOLED, LOGITS) and (key == module or module not in seen):
            read = self._read[key]
            if isinstance(read, str):
                raise EncoderError(f"there is no layer '{module}': {read}")
            vectors = two_dimensional(read(seen), layer)
            is_share = self.read_out.activation in PROBABILITY_ACTIVATIONS
            return (
                vectors.float().softmax(-1) if module == PROBABILITIES and not is_share else vectors
            )
        if module not in seen:
            near = did_you_mean(module, self.layers())
            raise EncoderError(f"the program has no floating point tensor '{module}'", near)
        return pool(seen[module], layer, channels_last=False, prefix_tokens=0)

    def _probed(self, images: np.ndarray) -> dict[str, torch.Tensor]:
        """Run the program once."""
        hint = "" if isinstance(self._input.shape[1], int) else f", or {LAST_HINT}"
        problem = f"{self._program.path} does not take the images that 'transform' makes"
        with foreign_errors(problem, f"correct it{hint}"):
            return self._run(images)

    def _find_pooled(self, images: np.ndarray, seen: Mapping[str, torch.Tensor]) -> None:
        """Find the features of a program with one output."""
        (output,), graph = self._outputs, self._program.graph
        inner = graph.final_input(output)
        if inner and _is_vector(self._run(images, (inner,)).get(inner), len(images)):
            self._pooled = inner
            self._read[POOLED] = lambda seen: seen[inner]
            self.read_out = ReadOut(module=inner, side="input")
            return
        scores = seen[output].flatten(1)
        activation = detect_activation(scores, graph.last(output))
        self._read[POOLED] = self._read[LOGITS]
        self.read_out = ReadOut(module=output, side="output", activation=activation)
        if activation:
            self._read[POOLED] = explain_probabilities(activation, graph.candidates(output))
        else:
            doubt = explain_doubt(scores, is_known=graph.is_known(output))
            self.read_out = dataclasses.replace(self.read_out, doubt=doubt)


def _is_vector(tensor: torch.Tensor | None, count: int) -> bool:
    """Return whether a tensor holds one vector per image."""
    if tensor is None or tensor.ndim < 2 or len(tensor) != count:  # noqa: PLR2004 - (n, dim)
        return False
    return tensor.shape[2:].numel() == 1


def _only_input(program: _Program) -> Any:
    inputs = program.session().get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in DTYPES:  # noqa: PLR2004
        inputs_text = ", ".join(
            f"{tensor.name} {tensor.type}{tensor.shape}" for tensor in inputs[:6]
        )
        raise EncoderError(
            f"{program.path} takes {inputs_text}",
            "export a program of one batch of images (n, 3, height, width) in floating point or "
            "uint8",
        )
    return inputs[0]
