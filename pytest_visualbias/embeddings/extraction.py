"""Run images through an encoder in batches, and collect the pooled vectors."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from pytest_visualbias.errors import EncoderError, StimulusError, StorageError
from pytest_visualbias.models.encoder import foreign_errors
from pytest_visualbias.models.preprocessing import noise
from pytest_visualbias.stimuli.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.models.encoder import Encoder
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.stimuli.resolve import Stimulus

    ReportUnreadable = Callable[[LayerPoint, str], None]

LARGEST: Final = 100_000
BLOCK_BYTES: Final = 2**26


class DiskBackedRows:
    """Large rows in a temporary file, which is deleted with this object."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this object
        self.names: list[str] = []

    def add(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Append rows ``(n, dim)``."""
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.names += names

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def rows(self) -> np.ndarray:
        """Return all rows ``(n, dim)``, memory-mapped."""
        self._file.flush()
        flat = np.memmap(self._file, dtype=np.float32, mode="r")
        return flat.reshape(len(self.names), -1)


def isometric_projection(rows: np.ndarray) -> np.ndarray:
    """Return shorter rows that have the same cosines with each other."""
    squares, products = _products(rows)
    finite = np.isfinite(squares)
    norms = np.sqrt(np.where(finite & (squares > 0), squares, 1.0))
    cosines = np.where(np.outer(finite, finite), products, 0.0) / np.outer(norms, norms)
    values, vectors = np.linalg.eigh((cosines + cosines.T) / 2)
    projected: np.ndarray = vectors * np.sqrt(np.maximum(values, 0.0))
    projected[squares == 0] = 0.0
    projected[~finite] = np.nan
    return projected.astype(np.float32)


def _products(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared norms ``(n,)`` and inner products ``(n, n)`` of all rows."""
    count, dim = rows.shape
    width = max(1, math.floor(BLOCK_BYTES / (8 * count)))
    products = np.zeros((count, count))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, dim, width):
            block = rows[:, start : start + width].astype(np.float64)
            products += block @ block.T
    return np.diagonal(products).copy(), products


# A killed run loses less than this much of its work.
FLUSH_INTERVAL_S: Final = 30.0


class CacheWriter:
    """Buffers the vectors of a model and writes them to the cache."""

    def __init__(
        self,
        cache: EmbeddingCache,
        keys: Mapping[str, tuple[str, str]],
        known: Mapping[str, set[str]],
        notes: Mapping[str, Any],
    ) -> None:
        self._cache, self._keys, self._known, self._notes = cache, keys, known, notes
        self.unwritten = ""
        self._pending: dict[str, dict[str, np.ndarray]] = {name: {} for name in keys}
        self._spilled: dict[str, DiskBackedRows] = {}
        self._flushed = time.monotonic()
        self.vectors: dict[str, dict[str, np.ndarray]] = {name: {} for name in keys}

    def add(self, layer: LayerPoint, identities: Sequence[str], rows: np.ndarray) -> None:
        """Add the rows ``(n, dim)`` of images at a layer."""
        if layer.pooling == "flatten" and rows.shape[1] > LARGEST:
            self._spill(layer, identities, rows)
            return
        for identity, row in zip(identities, rows, strict=True):
            if identity not in self._known[layer.name]:
                # A view would keep the whole batch alive.
                self._pending[layer.name][identity] = row.copy()
        if time.monotonic() - self._flushed > FLUSH_INTERVAL_S:
            self.flush()

    def _spill(self, layer: LayerPoint, identities: Sequence[str], rows: np.ndarray) -> None:
        folder = self._cache.folder
        try:
            if layer.name not in self._spilled:
                # Beside the cache there is room; where it cannot be written, the system's place.
                can_write = folder is not None and os.access(folder, os.W_OK)
                self._spilled[layer.name] = DiskBackedRows(folder if can_write else None)
            self._spilled[layer.name].add(identities, rows)
        except OSError as error:
            raise EncoderError(
                f"layer '{layer.name}' gives {rows.shape[1]:,} values for each image, which pass "
                f"through a file ({error.strerror})",
                "free space, or use another pooling",
            ) from None

    def flush(self) -> None:
        """Write pending vectors; ignore errors, which cost the next run time only."""
        for name, vectors in self._pending.items():
            self.vectors[name] |= vectors
            try:
                self._cache.store(self._keys[name][0], vectors, self._notes)
            except (OSError, StorageError) as error:
                self.unwritten = _reason(error)
            self._pending[name] = {}
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Write all vectors, with the projections of large feature maps."""
        self.flush()
        for name, spilled in self._spilled.items():
            rows = isometric_projection(spilled.rows())
            spilled.close()
            self.vectors[name] = dict(zip(spilled.names, rows, strict=True))
            try:
                self._cache.store_together(self._keys[name][1], self.vectors[name], self._notes)
            except (OSError, StorageError) as error:
                self.unwritten = _reason(error)

    def close(self) -> None:
        """Write what was computed, also after an error."""
        self.flush()
        for spilled in self._spilled.values():
            spilled.close()


def _reason(error: OSError | StorageError) -> str:
    return error.reason if isinstance(error, StorageError) else error.strerror or str(error)


BATCHES_AHEAD = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionRequest:
    """Images to embed at some layers, and the functions that take what comes of it."""

    stimuli: Sequence[Stimulus]
    layers: Sequence[LayerPoint]
    batch_size: int
    decoders: int
    add: Callable[[LayerPoint, Sequence[str], np.ndarray], None]
    progress: Callable[[int, int], None] = lambda _done, _total: None
    report_unreadable: ReportUnreadable | None = None


def extract(encoder: Encoder, request: ExtractionRequest) -> dict[str, str]:
    """Embed stimuli at all layers, with one forward pass per batch; return failures by identity."""
    failures: dict[str, str] = {}
    readable, done = list(request.layers), 0
    for batch in _prepare_batches(encoder, request):
        inputs = {}
        for stimulus, result in batch:
            if isinstance(result, str):
                failures[stimulus.identity] = result
            else:
                inputs[stimulus.identity] = result
        if inputs and readable:
            encoded = _encode_readable(encoder, inputs, readable, request.report_unreadable)
            readable = [layer for layer in readable if layer.name in encoded]
            for layer in readable:
                request.add(layer, [*inputs], encoded[layer.name])
            if not readable:
                break
        done += len(batch)
        request.progress(done, len(request.stimuli))
    return failures


def check_network(encoder: Encoder, layers: Sequence[LayerPoint]) -> None:
    """Check that the vector of an image does not depend on other images or on chance."""

    def encode(inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        given = {str(index): image for index, image in enumerate(inputs)}
        return _encode_readable(encoder, given, layers, lambda _layer, _reason: None)

    check_determinism(encode, partial(_prepare_own, encoder), batch=getattr(encoder, "batch", None))


def vector_lengths(
    encoder: Encoder, layers: Sequence[LayerPoint]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the length of the vectors of each layer, and why others cannot be read."""
    reasons: dict[str, str] = {}
    inputs = {"blank": _prepare_own(encoder, Image.new("RGB", (256, 256)))}
    vectors = _encode_readable(
        encoder, inputs, layers, lambda layer, reason: reasons.update({layer.name: reason})
    )
    return {
        layer.name: vectors[layer.name].shape[1] for layer in layers if layer.name in vectors
    }, reasons


def _prepare_own(encoder: Encoder, image: Image.Image) -> np.ndarray:
    """Return the input of a synthetic image, so that errors are the model's fault."""
    remedy = "correct its image processor or 'transform'"
    with foreign_errors("the model cannot preprocess images", remedy):
        return encoder.prepare(image)


def _encode_readable(
    encoder: Encoder,
    inputs: Mapping[str, np.ndarray],
    layers: Sequence[LayerPoint],
    report_unreadable: ReportUnreadable | None,
) -> dict[str, np.ndarray]:
    """Return the vectors of all readable layers, and report the others."""
    try:
        return _encode(encoder, inputs, layers)
    except EncoderError:
        if report_unreadable is None:
            raise
    vectors: dict[str, np.ndarray] = {}
    for layer in layers:
        try:
            vectors |= _encode(encoder, inputs, [layer])
        except EncoderError as error:
            report_unreadable(layer, str(error))
    return vectors


def _encode(
    encoder: Encoder, inputs: Mapping[str, np.ndarray], layers: Sequence[LayerPoint]
) -> dict[str, np.ndarray]:
    problem = f"the network fails on an input of {next(iter(inputs.values())).shape}"
    with foreign_errors(problem, "check 'transform' and the architecture"):
        return encoder.encode(list(inputs.values()), layers)


def _prepare_batches(
    encoder: Encoder, request: ExtractionRequest
) -> Iterator[list[tuple[Stimulus, np.ndarray | str]]]:
    """Yield batches of inputs, and prepare a few batches ahead."""
    stimuli, size = request.stimuli, request.batch_size
    with ThreadPoolExecutor(request.decoders, thread_name_prefix="visualbias-decode") as pool:
        waiting: list[list[tuple[Stimulus, Future[np.ndarray | str]]]] = []
        for start in range(0, len(stimuli), size):
            chunk = stimuli[start : start + size]
            waiting.append(
                [(stimulus, pool.submit(_prepare, encoder, stimulus)) for stimulus in chunk]
            )
            if len(waiting) > BATCHES_AHEAD:
                yield [(stimulus, future.result()) for stimulus, future in waiting.pop(0)]
        for batch in waiting:
            yield [(stimulus, future.result()) for stimulus, future in batch]


def _prepare(encoder: Encoder, stimulus: Stimulus) -> np.ndarray | str:
    if stimulus.path is None:
        return f"{stimulus.name} is a stored vector, not an image; use the source 'embeddings'"
    try:
        content = stimulus.path.read_bytes()
        # Or what another image gives would be kept as this one's.
        if hashlib.sha256(content).hexdigest() != stimulus.digest:
            return f"{stimulus.path} was changed during the run; run again"
        return encoder.prepare(decode(stimulus.path, content))
    except OSError as error:
        return f"{stimulus.path} cannot be decoded ({error}); replace the file"
    except StimulusError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the transform is somebody else's
        reason = str(error) or type(error).__name__
        return f"{stimulus.path} cannot be preprocessed ({reason}); replace it or check 'transform'"


# Far above what another order of additions changes, far below what dropout does.
MAX_CHANGE = 1e-3

# Other images in a pass move a vector by up to 6 % where int8 takes its scale from the whole pass,
# and by 20 % or more where normalization takes mean and variance from it.
MAX_BATCH_CHANGE = 0.1

# Divides by the batches of most programs, so that few passes are filled up.
CHECK_IMAGES = 8


def check_determinism(
    encode: Callable[[Sequence[np.ndarray]], Mapping[str, np.ndarray]],
    prepare: Callable[[Image.Image], np.ndarray],
    *,
    batch: int | None = None,
) -> None:
    """Embed noise, in another order and with other images; raise if vectors differ."""
    # In another order the same images share a pass.
    count = batch if batch is not None and CHECK_IMAGES % batch else CHECK_IMAGES
    images = [prepare(image) for image in noise(count)]
    first, again = encode(images), encode(images[::-1])
    for layer, rows in first.items():
        if deviation(rows, again[layer][::-1]) > MAX_CHANGE:
            raise EncoderError(
                f"the network gives an image another vector in another pass (layer '{layer}'): it "
                "is random, or not in evaluation mode",
                "turn dropout and random masks off, or save it after eval()",
            )
    # In another order a batch has the same statistics.
    bright = [prepare(image) for image in noise(count, seed=1, darkest=1)]
    beside = encode([images[0], *bright[1:]])
    for layer, rows in first.items():
        if deviation(rows[:1], beside[layer][:1]) > MAX_BATCH_CHANGE:
            raise EncoderError(
                "the network gives an image another vector beside other images (layer "
                f"'{layer}'): it takes statistics or attention from the whole batch",
                "save it after eval(), or compute them per image",
            )


def deviation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference of two arrays relative to the largest value."""
    largest = float(np.abs(first).max(initial=0))
    difference = float(np.abs(first - second).max(initial=0))
    return difference / largest if largest else difference
