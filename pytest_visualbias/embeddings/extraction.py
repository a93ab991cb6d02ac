"""Embedding images in batches: decoding in threads ahead of the network, memory bounded."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from pytest_visualbias.embeddings.decoding import decode
from pytest_visualbias.errors import EncoderError, StimulusError, VisualBiasError
from pytest_visualbias.models.steadiness import check_steady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    import numpy as np

    from pytest_visualbias.models.encoder import Encoder
    from pytest_visualbias.spec.schema import LayerPoint
    from pytest_visualbias.spec.stimuli import Stimulus

    Lose = Callable[[LayerPoint, str], None]

__all__ = ["check_network", "extract", "vector_lengths"]

AHEAD = 2


def extract(
    encoder: Encoder,
    stimuli: Sequence[Stimulus],
    layers: Sequence[LayerPoint],
    *,
    batch_size: int,
    decoders: int,
    keep: Callable[[LayerPoint, Sequence[str], np.ndarray], None],
    progress: Callable[[int, int], None],
    lose: Lose | None = None,
) -> dict[str, str]:
    """Embed stimuli at all layers in one forward pass each.

    Parameters
    ----------
    encoder : Encoder
        The model.
    stimuli : sequence of Stimulus
        Distinct images.
    layers : sequence of LayerPoint
        Where to read.
    batch_size : int
        Images in one forward pass; results do not depend on it beyond rounding.
    decoders : int
        Threads that decode and preprocess while the network computes. Three batches are held.
    keep : callable
        Given a layer, the identities of some images and their vectors ``(n, dim)`` float32.
    progress : callable
        Told how many of how many are done, after every batch.
    lose : callable, optional
        Told of a layer that cannot be read, and why; the others are read then. Without it such a
        layer is an error.

    Returns
    -------
    dict of str to str
        A sentence by the identity of every stimulus that could not be decoded.

    Raises
    ------
    EncoderError
        For whatever goes wrong in the network, unless `lose` is told.
    """
    failures: dict[str, str] = {}
    left, done = list(layers), 0
    for batch in _prepared(encoder, stimuli, batch_size, decoders):
        good = {}
        for stimulus, result in batch:
            if isinstance(result, str):
                failures[stimulus.identity] = result
            else:
                good[stimulus.identity] = result
        if good and left:
            encoded = _encode_readable(encoder, good, left, lose)
            left = [layer for layer in left if layer.name in encoded]
            for layer in left:
                keep(layer, [*good], encoded[layer.name])
            if not left:
                break
        done += len(batch)
        progress(done, len(stimuli))
    return failures


def check_network(encoder: Encoder, layers: Sequence[LayerPoint]) -> None:
    """Check that the vectors of an image depend on nothing else, at the layers that can be read.

    Raises
    ------
    EncoderError
        For a random network, and one whose vectors depend on the other images of a pass.
    """

    def encode(inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        given = {str(index): one for index, one in enumerate(inputs)}
        return _encode_readable(encoder, given, layers, lambda _layer, _reason: None)

    check_steady(encode, partial(_own_input, encoder), batch=getattr(encoder, "batch", None))


def vector_lengths(
    encoder: Encoder, layers: Sequence[LayerPoint]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the length of the vectors of each layer, and why others cannot be read.

    One blank image passes through the network.
    """
    reasons: dict[str, str] = {}
    inputs = {"blank": _own_input(encoder, Image.new("RGB", (256, 256)))}
    found = _encode_readable(
        encoder, inputs, layers, lambda layer, reason: reasons.update({layer.name: reason})
    )
    return {one.name: found[one.name].shape[1] for one in layers if one.name in found}, reasons


def _own_input(encoder: Encoder, image: Image.Image) -> np.ndarray:
    """Return the input of an image that no set holds, so that the model is at fault."""
    try:
        return encoder.prepare(image)
    except VisualBiasError:
        raise
    except Exception as error:  # the transform is somebody else's
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"the model cannot preprocess images ({reason}); correct its image processor or "
            "'transform'"
        ) from error


def _encode_readable(
    encoder: Encoder,
    inputs: Mapping[str, np.ndarray],
    layers: Sequence[LayerPoint],
    lose: Lose | None,
) -> dict[str, np.ndarray]:
    """Return the vectors of all layers but those that cannot be read, which are told."""
    try:
        return _encode(encoder, inputs, layers)
    except EncoderError:
        if lose is None:
            raise
    found: dict[str, np.ndarray] = {}
    for layer in layers:
        try:
            found |= _encode(encoder, inputs, [layer])
        except EncoderError as error:
            lose(layer, str(error))
    return found


def _encode(
    encoder: Encoder, inputs: Mapping[str, np.ndarray], layers: Sequence[LayerPoint]
) -> dict[str, np.ndarray]:
    try:
        return encoder.encode(list(inputs.values()), layers)
    except VisualBiasError:
        raise
    except Exception as error:  # it is the user's network
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"the network fails on an input of {next(iter(inputs.values())).shape} ({reason}); "
            "check 'transform' and the architecture"
        ) from error


def _prepared(
    encoder: Encoder, stimuli: Sequence[Stimulus], batch_size: int, decoders: int
) -> Iterator[list[tuple[Stimulus, np.ndarray | str]]]:
    """Yield batches of inputs, a few of them being made while one is used."""
    with ThreadPoolExecutor(decoders, thread_name_prefix="visualbias-decode") as pool:
        waiting: list[list[tuple[Stimulus, Future[np.ndarray | str]]]] = []
        for start in range(0, len(stimuli), batch_size):
            chunk = stimuli[start : start + batch_size]
            waiting.append([(one, pool.submit(_prepare, encoder, one)) for one in chunk])
            if len(waiting) > AHEAD:
                yield [(one, future.result()) for one, future in waiting.pop(0)]
        for batch in waiting:
            yield [(one, future.result()) for one, future in batch]


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
