"""Embed the models of a run, each once, and find networks that cannot be built early."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.embeddings.embed_model import (
    distinct_networks,
    embed_stimuli,
    identify,
    network_key,
    probe_networks,
    uncached_networks,
)
from pytest_visualbias.embeddings.request import ModelRequest, request_for
from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.evaluation.measurement import EmbeddedModel
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.spec.effective_settings import axis_of
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.model_entries import EmbeddingsModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pytest_visualbias.embeddings.request import EmbeddingRequest
    from pytest_visualbias.embeddings.table import ModelVectors, Resources, Trial
    from pytest_visualbias.evaluation.baseline import Baseline
    from pytest_visualbias.evaluation.preflight import Preflight
    from pytest_visualbias.evaluation.settings import RunSettings
    from pytest_visualbias.models.encoder import Identity
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.stimuli.mirror import Mirror


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSpec:
    """A spec with its preflight and its baseline, before any model is loaded."""

    path: Path
    file: SpecFile
    preflight: Preflight
    baseline: Baseline | None = None


@dataclass(kw_only=True, slots=True)
class ModelEmbedder:
    """Embeds the stimuli of specs with their models; vectors and errors are kept."""

    settings: RunSettings
    resources: Resources
    mirror: Mirror
    digest: Callable[[Path], str] = digest_of_file
    _embedded: dict[tuple[Path, str], EmbeddedModel | VisualBiasError] = field(default_factory=dict)
    _checkpoints: dict[tuple[Path, str], Sequence[Identity]] = field(default_factory=dict)
    _expected: list[tuple[LoadedSpec, str]] = field(default_factory=list)
    _unbuilt: list[tuple[LoadedSpec, str]] = field(default_factory=list)
    _requests: dict[str, list[tuple[Path, EmbeddingRequest]]] = field(default_factory=dict)

    def expect(self, models: Iterable[tuple[LoadedSpec, str]]) -> None:
        """Announce the models of the specs that this run will embed."""
        self._expected = list(models)
        self._unbuilt = list(self._expected)

    def embed(self, spec: LoadedSpec, model: str) -> EmbeddedModel:
        """Return a model with its vectors; of a training run, its last checkpoint."""
        key = model_key(spec, model)
        if key not in self._embedded:
            self._build_ahead(key)
        if key not in self._embedded:
            try:
                self._embedded[key] = self.embed_checkpoint(spec, model)
            except VisualBiasError as error:
                self._embedded[key] = error
            except OSError as error:  # an impossible path
                self._embedded[key] = EncoderError.of_path(error)
        embedded = self._embedded[key]
        if isinstance(embedded, VisualBiasError):
            raise embedded
        return embedded

    def known(self, spec: LoadedSpec, model: str) -> EmbeddedModel | None:
        """Return a model that was embedded, without embedding it."""
        embedded = self._embedded.get(model_key(spec, model))
        return embedded if isinstance(embedded, EmbeddedModel) else None

    def embed_all(self, spec: LoadedSpec, model: str) -> ModelVectors:
        """Embed with every checkpoint of a model, so that the cache holds all vectors."""
        earlier = [
            _emptied(trial)
            for identity in self.series(spec, model)[:-1]
            for trial in self.embed_checkpoint(spec, model, identity).measured.trials
        ]
        vectors = self.embed(spec, model).measured
        return dataclasses.replace(vectors, trials=(*earlier, *vectors.trials))

    def embed_checkpoint(
        self, spec: LoadedSpec, model: str, identity: Identity | None = None
    ) -> EmbeddedModel:
        """Embed with a model, or with a checkpoint of its training run, the last by default."""
        entry, sets = spec.file.spec.models[model], spec.preflight.models[model]
        series = self.series(spec, model) if axis_of(entry) is not None else ()
        chosen = [identity] if identity is not None else [*series[-1:]]
        request = ModelRequest(
            file=spec.file,
            model=model,
            sets=sets,
            context=self.context(spec),
            identities=chosen or None,
            all_identities=series,
            other_requests={} if isinstance(entry, EmbeddingsModel) else self._other_requests(spec),
        )
        vectors = embed_stimuli(request, self.resources)
        return EmbeddedModel(name=model, sets=sets, measured=vectors)

    def series(self, spec: LoadedSpec, model: str) -> Sequence[Identity]:
        """Return the checkpoints of a training run, listed once, as training may add more."""
        key, entry = model_key(spec, model), spec.file.spec.models[model]
        if key not in self._checkpoints:
            is_series = axis_of(entry) is not None
            self._checkpoints[key] = identify(entry, self.context(spec)) if is_series else ()
        return self._checkpoints[key]

    def identities(self, spec: LoadedSpec, model: str) -> Sequence[Identity]:
        """Return the identities of the weights of a model."""
        try:
            return identify(spec.file.spec.models[model], self.context(spec))
        except OSError as error:  # an impossible path
            raise EncoderError.of_path(error) from None

    def context(self, spec: LoadedSpec) -> Context:
        """Return the folders, device and precision for the models of a spec."""
        settings = self.settings
        return Context(
            folder=spec.file.folder,
            project=settings.project,
            digest=self.digest,
            device=settings.device,
            precision=settings.precision,
            offline=settings.offline,
            worker=settings.worker,
            threads=settings.threads,
            modules=settings.modules,
            mirror=self.mirror,
        )

    def _build_ahead(self, first: tuple[Path, str]) -> None:
        """Build the networks that lack vectors before any image, to report their errors at once."""
        built: set[tuple[Any, ...]] = set()
        while self._unbuilt:
            spec, model = self._unbuilt.pop(0)
            key, entry = model_key(spec, model), spec.file.spec.models[model]
            if key in self._embedded or isinstance(entry, EmbeddingsModel):
                continue
            context = self.context(spec)
            request = request_for(spec.file, model, spec.preflight.models[model])
            try:
                identities = self.series(spec, model) or identify(entry, context)
                places = frozenset((point.module, point.pooling) for point in request.points)
                precision = getattr(entry, "precision", None)
                networks = (*map(network_key, identities), precision, places)
                if networks in built and all(identity.is_whole for identity in identities):
                    continue
                unknown = uncached_networks(
                    entry, identities, context, request, self.resources.cache
                )
                built.add(networks)
                if not unknown or (key == first and not unknown[1:]):
                    continue
                _, reasons = probe_networks(
                    entry, distinct_networks(entry, unknown), context, request
                )
                if len(reasons) == len(request.points):
                    raise EncoderError(next(iter(reasons.values())))
            except VisualBiasError as error:
                self._embedded[key] = error
            except OSError as error:  # an impossible path
                self._embedded[key] = EncoderError.of_path(error)

    def _other_requests(self, spec: LoadedSpec) -> dict[str, list[EmbeddingRequest]]:
        """Return what other specs request of each network, so that a network is loaded once."""
        while self._expected:
            other, model = self._expected.pop()
            entry = other.file.spec.models[model]
            if isinstance(entry, EmbeddingsModel):
                continue
            request = request_for(other.file, model, other.preflight.models[model])
            with contextlib.suppress(VisualBiasError):  # reported by the tests that need it
                for identity in identify(entry, self.context(other)):
                    network = network_key(identity)
                    self._requests.setdefault(network, []).append((other.path, request))
        return {
            network: [request for path, request in requests if path != spec.path]
            for network, requests in self._requests.items()
        }


def model_key(spec: LoadedSpec, model: str) -> tuple[Path, str]:
    """Return the key of a model in a run."""
    return spec.path, model


def _emptied(trial: Trial) -> Trial:
    """Return a network without its vectors, as those of a whole run exceed the memory."""
    tables = {name: dataclasses.replace(table, vectors={}) for name, table in trial.tables.items()}
    return dataclasses.replace(trial, tables=tables)
