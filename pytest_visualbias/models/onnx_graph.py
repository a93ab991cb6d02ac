"""The graph of an ONNX program: its final linear layer, and its tensors by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import onnx

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Graph"]

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
    """A program, its weights left where they are.

    Attributes
    ----------
    model : onnx.ModelProto
        The program.
    """

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
        stored = {one.name for one in self.model.graph.initializer}
        constants = {n.output[0] for n in self.model.graph.node if n.op_type == "Constant"}
        unpacked = {
            node.output[0]
            for node in self.model.graph.node
            if node.op_type in ("DequantizeLinear", "Transpose", "Identity", "Cast")
            and node.input[0] in stored
        }
        return frozenset(stored | constants | unpacked)

    def has(self, name: str) -> bool:
        """Whether a node makes a tensor of this name."""
        return name in self._makers

    def last(self, output: str) -> str:
        """Return the operation that makes an output, with activations as torch names them."""
        node = self._maker(output)
        return "" if node is None else ACTIVATIONS.get(node.op_type, node.op_type)

    def is_known(self, output: str) -> bool:
        """Whether networks without a classifier end in the operation that makes an output."""
        return self.last(output) in FEATURES

    def final_input(self, output: str) -> str:
        """Return the tensor that the linear layer which makes an output is given, or nothing."""
        node = self._maker(output)
        if node is not None and node.op_type == "Add":
            sums = [self._maker(one) for one in node.input if one not in self._weights]
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
        """Return the product of integers that a node scales, or the node itself."""
        if node is None or node.op_type != "Mul":
            return node
        makers = [self._maker(one) for one in node.input]
        integers = (one for one in makers if one is not None and one.op_type in INTEGER)
        return next(integers, node)

    def _unquantized(self, name: str) -> str:
        """Return the tensor that was quantized to give this one, or the tensor itself."""
        given, node = name, self._makers.get(name)
        while node is not None and node.op_type in (*QUANTIZERS, "DequantizeLinear"):
            name = node.input[0]
            if node.op_type in QUANTIZERS:
                given = name
            node = self._makers.get(name)
        return given

    def candidates(self, output: str) -> list[str]:
        """Return tensors that could be features where an output is not; the best one last."""
        pools = [
            one for one, node in self._makers.items() if node.op_type in POOLS and one != output
        ]
        node = self._maker(output)
        given = "" if node is None else self.final_input(node.input[0])
        return [*(one for one in pools if one != given), *([given] if given else [])]

    def tensors(self) -> list[str]:
        """Return the names of tensors that can be pooled: floating point, of two to four axes."""
        found = onnx.shape_inference.infer_shapes(self.model).graph.value_info
        known = {one.name: one.type.tensor_type for one in found}
        return [
            name
            for name in self._makers
            if name in known
            and known[name].elem_type in FLOATS
            and len(known[name].shape.dim) in RANKS
        ]

    def with_outputs(self, names: Iterable[str]) -> bytes:
        """Return the program with inner tensors among its outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        content: bytes = model.SerializeToString()
        return content

    def _maker(self, name: str) -> Any:
        """Return the node that makes a tensor, before what only reshapes it."""
        node = self._makers.get(name)
        while node is not None and node.op_type in VIEWS:
            node = self._makers.get(node.input[0])
        return node
