"""What an encoder is, and how one is found by the name of its source.

A source has two halves. ``identify`` says, without loading anything heavy, exactly which weights
an entry of a spec means; ``open`` loads them. They are named here as text and imported when first
used, so that collecting specs costs no torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.models.source_code import (
    code_files,
    digest_of_code,
    module_path,
    uninstalled_root,
)
from pytest_visualbias.spec.consistency import SOURCES_GROUP
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping
from pytest_visualbias.spec.model_entries import MODEL_SOURCES
from pytest_visualbias.spec.urls import Url, is_url
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

    import numpy as np
    from PIL import Image

    from pytest_visualbias.spec.model_entries import ModelEntry, ModelSource
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = [
    "Context",
    "Encoder",
    "Identity",
    "InMemory",
    "NamesClasses",
    "ReadOut",
    "ReadsTexts",
    "Source",
    "StatesReadOut",
    "find_source",
    "missing",
]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ForeignSource:
    """A source that an entry point names."""

    point: EntryPoint
    source: Source

    def identify(self, entry: ModelEntry, context: Context) -> Sequence[Identity]:
        """Return its identities, with the version of its code and the digest of its file."""
        code = self._code(context)
        return [
            dataclasses.replace(
                identity, facts={**identity.facts, **code, **_checkpoint(identity, context)}
            )
            for identity in self.source.identify(entry, context)
        ]

    def open(self, entry: ModelEntry, identity: Identity, context: Context) -> Encoder:
        """Load one of them."""
        return self.source.open(entry, identity, context)

    def _code(self, context: Context) -> dict[str, str]:
        package = self.point.dist
        facts = {"package": "" if package is None else f"{package.name} {package.version}"}
        # Code that is edited where it lies changes under one version.
        root = uninstalled_root(self.point.module.partition(".")[0])
        start = None if root is None else module_path(self.point.module, root)
        if root is None or start is None:
            return facts
        files = code_files(start, dataclasses.replace(context, folder=root))
        return {**facts, "package code": digest_of_code(files)}


def _checkpoint(identity: Identity, context: Context) -> dict[str, str]:
    path = identity.checkpoint
    if path is None or "checkpoint" in identity.facts or not path.is_file():
        return {}
    return {"checkpoint": context.digest(path)}


# What has to be installed besides, by the module that is missed then, and how to get it.
EXTRAS = {
    "open_clip": "open-clip",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "peft": "peft",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InMemory:
    """A network that Python code holds.

    Attributes
    ----------
    module : torch.nn.Module
        It is copied, and stays as it is.
    transform : callable or None
        One RGB image (PIL) to the network's input ``(channels, height, width)``, a tensor or an
        array. None where the entry or the network itself says it.
    """

    module: Any
    transform: Callable[[Image.Image], Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where models are looked for and how they are run.

    Attributes
    ----------
    folder : Path
        Of the spec file; relative paths start here.
    project : Path
        Of the repository; modules of factories are found below it.
    digest : callable
        Returns the sha256 of a file; it may be one that was remembered.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``.
    offline : bool
        Whether the network must not be touched.
    worker : int
        Number of this process among those of a run.
    threads : int or None
        This process's share of the processors; None for all.
    modules : mapping of str to InMemory
        Networks that Python code holds, by the key in their entry.
    mirror : Mirror
        Brings what lies at URLs.
    """

    folder: Path
    project: Path
    digest: Callable[[Path], str] = digest_of_file
    device: str = "auto"
    precision: str = "fp32"
    offline: bool = False
    worker: int = 0
    threads: int | None = None
    modules: Mapping[str, InMemory] = field(default_factory=dict)
    mirror: Mirror = field(default_factory=Mirror)

    def located(self, text: str) -> Path:
        """Return the file that a text in a spec means: relative to it, or a copy of a URL's.

        Raises
        ------
        StorageError
            Where the URL's cannot be had.
        """
        return self.mirror.file(Url(text)) if is_url(text) else self.folder / text


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Exactly which weights are meant, known before they are loaded.

    Attributes
    ----------
    label : str
        As shown to people: a file, a seed.
    facts : mapping of str to str
        Everything that the embeddings depend on: source, name, versions, digests, transform.
    checkpoint : Path or None
        The file of the weights.
    origin : str
        The URL that the file was fetched from, as shown to people.
    seed : int or None
        Of untrained weights.
    step : str
        Of a series, the place in it: the number of an epoch, say. Vectors do not depend on it.
    texts : str
        What `facts` do not say of how texts are read: the digest of a tokenizer's files.
    is_whole : bool
        Whether `facts` say everything; else the digest of the loaded weights belongs to them.
    is_kept : bool
        Whether vectors may be kept: what other code does to images, nothing says for sure.
    """

    label: str
    facts: Mapping[str, str]
    checkpoint: Path | None = None
    origin: str = ""
    seed: int | None = None
    step: str = ""
    texts: str = ""
    is_whole: bool = True
    is_kept: bool = True

    def fingerprint(self, weights: str = "") -> str:
        """Return the digest of all facts, and of the weights where these do not say them."""
        # Some sources have a fact of this name: which weights, or their digest.
        key = "weights" if "weights" not in self.facts else "loaded_weights"
        return digest_of_mapping({**self.facts, key: "" if self.is_whole else weights})


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOut:
    """Where `pooled` is read, and what the output of the network is.

    Attributes
    ----------
    module : str
        A layer, or the name of an output.
    side : {"input", "output", ""}
        Of that layer; empty where the network's library defines `pooled`.
    activation : {"softmax", "log_softmax", "sigmoid", ""}
        Of the output, if it holds probabilities.
    doubt : str
        Why `pooled` may not be features.
    """

    module: str = ""
    side: str = ""
    activation: str = ""
    doubt: str = ""


class Encoder(Protocol):
    """A loaded model that turns images into vectors."""

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """What is done to a decoded image, as plain values."""
        ...  # pragma: no cover

    @property
    def description(self) -> Mapping[str, Any]:
        """Facts for the report: parameters, device, keys of the checkpoint left out."""
        ...  # pragma: no cover

    @property
    def weights(self) -> str:
        """Digest of the weights as loaded."""
        ...  # pragma: no cover

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the network's input ``(channels, height, width)`` for one RGB image."""
        ...  # pragma: no cover

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        """Return the vectors ``(n, dim)`` of every layer, float32, by its name."""
        ...  # pragma: no cover

    def layers(self) -> list[str]:
        """Return the module paths at which embeddings can be read."""
        ...  # pragma: no cover


@runtime_checkable
class ReadsTexts(Protocol):
    """What an encoder has besides where its model compares images with texts."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors ``(n, dim)`` of texts, float32, in the space of ``pooled``."""
        ...  # pragma: no cover

    def texts_identity(self) -> str:
        """Digest of what they are computed by: weights and tokenizer."""
        ...  # pragma: no cover


@runtime_checkable
class NamesClasses(Protocol):
    """What an encoder has besides where its network says what its classes are called."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names, in the order of its logits; none where it does not say it."""
        ...  # pragma: no cover


@runtime_checkable
class StatesReadOut(Protocol):
    """What an encoder has besides where `pooled` had to be found in its network."""

    @property
    def read_out(self) -> ReadOut:
        """Where `pooled` is read, and what the output of the network is."""
        ...  # pragma: no cover


class Source(Protocol):
    """What a package registers under ``pytest_visualbias.sources``."""

    def identify(self, entry: ModelEntry, context: Context) -> Sequence[Identity]:
        """Return the identities that an entry means, one per trial; import nothing heavy."""
        ...  # pragma: no cover

    def open(self, entry: ModelEntry, identity: Identity, context: Context) -> Encoder:
        """Load one of them."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shipped:
    """A source of this package; its functions are imported when they are called."""

    source: ModelSource

    def identify(self, entry: ModelEntry, context: Context) -> Sequence[Identity]:
        return _imported(self.source.identify)(entry, context)  # type: ignore[no-any-return]

    def open(self, entry: ModelEntry, identity: Identity, context: Context) -> Encoder:
        return _imported(self.source.open)(entry, identity, context)  # type: ignore[no-any-return]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(f"pytest_visualbias.models.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise EncoderError(missing(error.name)) from None


def missing(module: str) -> str:
    """Return what to do where the package of an extra is not installed."""
    extra = EXTRAS[module]
    return f"the package '{module}' is not installed; pip install 'pytest-visualbias[{extra}]'"


@contextlib.contextmanager
def foreign_errors(problem: str, remedy: str, *, with_type: bool = False) -> Iterator[None]:
    """Raise an error of a library, or of the user's code, as an `EncoderError`."""
    try:
        yield
    except VisualBiasError:
        raise
    except Exception as error:
        reason = first_line(error)
        if with_type and reason != type(error).__name__:
            reason = f"{type(error).__name__}: {reason}"
        raise EncoderError(f"{problem} ({reason})", remedy) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def find_source(name: str) -> Source:
    """Return the source of this name.

    Raises
    ------
    EncoderError
        Where the package that provides it cannot be imported.
    """
    if name in MODEL_SOURCES:
        return _Shipped(source=MODEL_SOURCES[name])
    for point in importlib.metadata.entry_points(group=SOURCES_GROUP):
        if point.name == name:
            try:
                return ForeignSource(point=point, source=point.load())
            except ImportError as error:
                raise EncoderError(f"the source '{name}' ({point.value}) fails: {error}") from None
    raise EncoderError(f"there is no source '{name}'", "install the package that provides it")
