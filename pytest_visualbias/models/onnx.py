"""The source ``onnx``: ONNX programs, computed by onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.pooling import pool, two_dimensional
from pytest_visualbias.models.programs import (
    check_precision,
    check_shape,
    output_outs,
    unreadable,
)
from pytest_visualbias.models.steadiness import check_steady, noise
from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.layers import LOGITS, POOLED, PROBABILITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import LayerPoint, ProgramModel

__all__ = ["OnnxEncoder", "open_onnx"]

# As many as in a pass of torch's networks, so that no vector hangs on the batch size.
PASS = 4
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CLOSED = "an inner layer of an ONNX program cannot be read; export it as an output"
COLOURS = 3


def open_onnx(entry: ProgramModel, identity: Identity, context: Context) -> OnnxEncoder:
    """Load an ONNX program and make an encoder of it.

    Raises
    ------
    EncoderError
        For a file that is none, a device that onnxruntime does not have here, and a program that
        takes something else than a batch of images.
    """
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    session = _session(path, context)
    return OnnxEncoder(session, declared_input(entry), path=path, digest=identity.fingerprint())


def _session(path: Path, context: Context) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = context.threads or 0
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # What is wrong is raised, and said once.
    options.log_severity_level = 4
    providers = _providers(context)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # noqa: BLE001 - onnxruntime has a type for every state
        raise unreadable(path, "ONNX program", error) from None


def _providers(context: Context) -> list[Any]:
    """Return what computes, in order of preference."""
    kind, _, number = context.device.partition(":")
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if kind == "cpu" or (kind == "auto" and not has_cuda):
        return [CPU]
    if kind in ("auto", "cuda") and has_cuda:
        return [(CUDA, {"device_id": int(number or 0), "use_tf32": 0}), CPU]
    raise EncoderError(
        f"onnxruntime has no '{context.device}' here; install onnxruntime-gpu, or run with "
        "--visualbias-device=cpu"
    )


class OnnxEncoder:
    """An `Encoder` over a program of onnxruntime.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The program.
    own : mapping
        ``prepare`` and ``preprocessing``.
    path : Path
        Of the file.
    digest : str
        Of all that the vectors depend on.
    """

    def __init__(self, session: Any, own: Mapping[str, Any], *, path: Path, digest: str) -> None:
        self._session = session
        self._own = own
        self._path = path
        self.weights = digest
        self._input = _only_input(session, path)
        shape = self._input.shape
        self._is_channels_last = shape[3] == COLOURS != shape[1]
        self._batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        order = (shape[3], shape[1], shape[2]) if self._is_channels_last else shape[1:]
        check_shape(tuple(order), self.prepare(noise(1)[0]).shape)
        names = [one.name for one in session.get_outputs()]
        self._read = output_outs(names)
        self._check()

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """What is done to a decoded image, as plain values."""
        return self._own["preprocessing"]  # type: ignore[no-any-return]

    @property
    def description(self) -> Mapping[str, Any]:
        """Facts for the report."""
        return {"device": self._session.get_providers()[0], "program": self._path.name}

    def layers(self) -> list[str]:
        """Return the names at which embeddings can be read."""
        has_logits = not isinstance(self._read[LOGITS], str)
        own = [] if isinstance(self._read[POOLED], str) else [POOLED]
        own += [LOGITS, PROBABILITIES] if has_logits else []
        return list(dict.fromkeys([*own, *self._read["outputs"]]))

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the network's input ``(channels, height, width)`` for one RGB image."""
        return self._own["prepare"](image)  # type: ignore[no-any-return]

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        """Return the vectors ``(n, dim)`` of every layer, float32.

        Raises
        ------
        EncoderError
            For a layer that is no output, or whose output cannot be pooled.
        """
        size = self._batch or PASS
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(inputs), size):
            taken = list(inputs[start : start + size])
            seen = self._run(np.stack(taken + taken[-1:] * (size - len(taken))))
            found = {layer.name: self._vectors(seen, layer, size) for layer in layers}
            parts.append({name: rows[: len(taken)] for name, rows in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run(self, images: np.ndarray) -> dict[str, torch.Tensor]:
        if self._is_channels_last:
            images = images.transpose(0, 2, 3, 1)
        given = np.ascontiguousarray(images, dtype=KINDS[self._input.type])
        found = self._session.run(None, {self._input.name: given})
        names = [one.name for one in self._session.get_outputs()]
        return {
            name: torch.from_numpy(value)
            for name, value in zip(names, found, strict=True)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        }

    def _vectors(self, seen: Mapping[str, torch.Tensor], layer: LayerPoint, size: int) -> Any:
        output = self._output(seen, layer)
        if len(output) != size:
            rows = f"{len(output)} vectors for {size} images"
            raise EncoderError(f"layer '{layer.name}' gives {rows}; choose another output")
        return output.float().numpy()

    def _output(self, seen: Mapping[str, torch.Tensor], layer: LayerPoint) -> torch.Tensor:
        module = layer.module
        key = LOGITS if module == PROBABILITIES else module
        if key in (POOLED, LOGITS) and (key == module or module not in seen):
            read = self._read[key]
            if isinstance(read, str):
                raise EncoderError(f"there is no layer '{module}': {read}")
            vectors = two_dimensional(read(seen), layer)
            return vectors.float().softmax(-1) if module == PROBABILITIES else vectors
        if module not in seen:
            near = did_you_mean(module, self.layers())
            raise EncoderError(f"there is no layer '{module}': {CLOSED}; {near}")
        return pool(seen[module], layer, channels_last=False, prefix_tokens=0)

    def _check(self) -> None:
        try:
            check_steady(self._run, self.prepare, batch=self._batch)
        except EncoderError:
            raise
        except Exception as error:  # noqa: BLE001 - the program is somebody else's
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise EncoderError(
                f"{self._path} does not take the images that 'transform' makes ({reason}); "
                "correct it"
            ) from None


def _only_input(session: Any, path: Path) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in KINDS:  # noqa: PLR2004
        shown = ", ".join(f"{one.name} {one.type}{one.shape}" for one in inputs[:6])
        raise EncoderError(
            f"{path} takes {shown}; export a program of one batch of images (n, 3, height, width) "
            "in floating point"
        )
    return inputs[0]
