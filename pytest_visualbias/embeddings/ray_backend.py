"""Embed with many networks on a Ray cluster, whose workers write the cache themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import tempfile
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.embeddings.cache import Cached, EmbeddingCache
from pytest_visualbias.embeddings.embed_model import (
    digest_of_loaded,
    image_vectors,
    network_key,
    with_location,
)
from pytest_visualbias.embeddings.ray_cluster import (
    MachineCapacity,
    RaySettings,
    connection,
    first_line,
)
from pytest_visualbias.embeddings.request import (
    CacheLookup,
    EmbeddingJob,
    EmbeddingOutcome,
    merge_requests,
)
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import (
    EncoderError,
    EngineError,
    VisualBiasError,
)
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.spec.hashing import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from pytest_visualbias.models.encoder import Encoder, Identity
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.stimuli.resolve import Stimulus

CHECKPOINT_KEYS: Final = ("checkpoint", "checkpoints")
POLL_S: Final = 1.0
SEES_ALL_GPUS: Final = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"

# Ray runs a task of a lost worker again, so many times.
RETRIES: Final = 3
MAX_LOST_TASKS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A network and its images, sent to the cluster once; tasks name a range of the images."""

    job: EmbeddingJob
    stimuli: tuple[Stimulus, ...]
    cache: EmbeddingCache
    batch_size: int
    marker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """What a task returns: counts and failures, no vectors."""

    embedded: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    error: str = ""


@dataclass(kw_only=True, slots=True, eq=False)
class _Network:
    """A network, for all models of all specs that use it."""

    jobs: tuple[tuple[int, EmbeddingJob], ...]
    job: EmbeddingJob
    stimuli: tuple[Stimulus, ...] = ()
    open_tasks: int = 0
    embedded: int = 0
    network: str = ""
    error: str = ""
    failures: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    lost_tasks: list[str] = field(default_factory=list)
    holder: list[Any] = field(default_factory=list)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, jobs: tuple[tuple[int, EmbeddingJob], ...]) -> _Network:
        first = jobs[0][1]
        merged = merge_requests(first.request, [job.request for _, job in jobs[1:]])
        return cls(jobs=jobs, job=dataclasses.replace(first, merged_request=merged))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    network: _Network
    start: int
    stop: int

    def __str__(self) -> str:
        stimuli = self.network.stimuli
        return f"images {stimuli[self.start].name} to {stimuli[self.stop - 1].name}"


@dataclass(kw_only=True, slots=True)
class RayRun:
    """Embeds with the networks of all models, each network once."""

    settings: RaySettings
    cache: EmbeddingCache
    progress: Callable[[int, int, str], None]
    _pending: deque[_Task] = field(default_factory=deque)
    _outcomes: dict[int, EmbeddingOutcome] = field(default_factory=dict)
    _left: Counter[int] = field(default_factory=Counter)
    _done: int = 0
    _total: int = 0

    def embed(
        self, jobs: Iterable[tuple[int, EmbeddingJob]]
    ) -> Iterator[tuple[int, EmbeddingOutcome]]:
        """Yield the outcome of each model, once all of its networks are done."""
        networks = list(_networks(jobs))
        self._left = Counter(owner for network in networks for owner, _ in network.jobs)
        for network in networks:
            self._add(network)
            if not network.open_tasks:
                yield from self._finish(network)
        if not self._pending:
            return
        with connection(self.settings) as ray, self._marker() as marker:
            yield from self._run(ray, marker)

    def _add(self, network: _Network) -> None:
        """Queue tasks for what the cache lacks of a network."""
        job = network.job
        network.stimuli = job.merged_request.stimuli
        points = job.merged_request.points
        if job.identity.is_whole:
            cache = dataclasses.replace(self.cache, _memory={})
            lookup = CacheLookup.of(
                cache, job.keys(job.identity.fingerprint("")), job.merged_request
            )
            network.stimuli, points = lookup.missing, lookup.points
            network.job = dataclasses.replace(
                job, merged_request=dataclasses.replace(job.merged_request, points=points)
            )
        # Flattened maps are projected, which takes all of them at once.
        size = self.settings.images_per_task
        if any(point.pooling == "flatten" for point in points):
            size = max(1, len(network.stimuli))
        count = len(network.stimuli)
        tasks = [
            _Task(network=network, start=start, stop=min(start + size, count))
            for start in range(0, count, size)
        ]
        network.open_tasks = len(tasks)
        self._pending.extend(tasks)
        self._total += count

    def _run(self, ray: Any, marker: str) -> Iterator[tuple[int, EmbeddingOutcome]]:
        place = MachineCapacity(ray=ray, settings=self.settings)
        function = ray.remote(embed_task).options(
            num_cpus=self.settings.cpus,
            num_gpus=place.gpus,
            max_retries=RETRIES,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {SEES_ALL_GPUS: "1"}} if place.gpus else None,
        )
        running: dict[Any, _Task] = {}
        while self._pending or running:
            place.look()
            limit = self.settings.workers or 2 * place.capacity or 1
            while self._pending and len(running) < limit:
                task = self._pending.popleft()
                holder = self._send(ray, task.network, place.device, marker)
                reference = function.remote(holder, task.network.key, task.start, task.stop)
                running[reference] = task
            ray.wait([*running], num_returns=1, timeout=POLL_S)
            done, _ = ray.wait([*running], num_returns=len(running), timeout=0)
            for reference in done:
                yield from self._take(ray, reference, running.pop(reference))
            self.progress(self._done, self._total, f"{len(running)} tasks on Ray")

    def _send(self, ray: Any, network: _Network, device: str, marker: str) -> list[Any]:
        """Return a list with the order of a network, which is put into the object store once.

        Ray would unpack the order for each task, were it an argument itself.
        """
        if not network.holder:
            context = network.job.context
            context = dataclasses.replace(context, device=device, digest=digest_of_file)
            order = Order(
                job=dataclasses.replace(network.job, context=context),
                stimuli=network.stimuli,
                cache=dataclasses.replace(self.cache, _memory={}),
                batch_size=self.settings.batch_size,
                marker=marker,
            )
            network.holder.append(ray.put(order))
        return network.holder

    def _take(
        self, ray: Any, reference: Any, task: _Task
    ) -> Iterator[tuple[int, EmbeddingOutcome]]:
        network = task.network
        network.open_tasks -= 1
        self._done += task.stop - task.start
        label = network.job.identity.label
        try:
            result = ray.get(reference)
            network.lost = 0
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, EngineError):
                raise cause from None
            result = self._lost(task, first_line(error))
        network.embedded += result.embedded
        network.failures |= result.failures
        network.error = network.error or result.error
        if result.network and network.network not in ("", result.network):
            network.error = (
                f"the network '{label}' has other weights, or prepares images otherwise, on some "
                "machines; give it a checkpoint"
            )
        network.network = network.network or result.network
        if network.error:
            self._drop(network)
        if not network.open_tasks:
            if network.error and len(network.jobs) > 1:
                for job in network.jobs:  # what one model gets wrong is no other's error
                    self._add(_Network.of((job,)))
            else:
                yield from self._finish(network)

    def _lost(self, task: _Task, reason: str) -> TaskResult:
        """Leave out the images of a task that cost its workers; give up after two in a row."""
        network = task.network
        network.lost += 1
        problem = f"the network '{network.job.identity.label}' lost {task} ({reason})"
        advice = "run again, with smaller tasks (--shard, --batch-size) if memory was short"
        if network.lost >= MAX_LOST_TASKS:
            return TaskResult(error=f"{problem}, and a task before; {advice}")
        network.lost_tasks.append(f"{problem}; {advice}")
        lost = network.stimuli[task.start : task.stop]
        return TaskResult(failures={stimulus.identity: "" for stimulus in lost})

    def _drop(self, network: _Network) -> None:
        """Remove the tasks of a network that cannot be embedded."""
        kept = [task for task in self._pending if task.network is not network]
        network.open_tasks -= len(self._pending) - len(kept)
        self._pending = deque(kept)

    def _finish(self, network: _Network) -> Iterator[tuple[int, EmbeddingOutcome]]:
        """Add a network to the outcome of its models; yield those that are complete."""
        for number, (owner, job) in enumerate(network.jobs):
            identities = {stimulus.identity for stimulus in job.request.stimuli}
            failures = {key: text for key, text in network.failures.items() if key in identities}
            outcome = EmbeddingOutcome(
                images=len(identities) - len(failures),
                networks=1,
                layers=len(job.request.points),
                embedded=0 if number else network.embedded,
                faults=(network.error,)
                if network.error
                else (*filter(None, failures.values()), *network.lost_tasks),
                failed=bool(network.error),
            )
            known = self._outcomes.get(owner)
            self._outcomes[owner] = outcome if known is None else known.joined(outcome)
            self._left[owner] -= 1
            if not self._left[owner]:
                yield owner, self._outcomes[owner]

    @contextlib.contextmanager
    def _marker(self) -> Iterator[str]:
        """Put a file into the cache by which workers know that they see the same folder."""
        folder = self.cache.folder
        if folder is None or self.cache.shared is not None:
            yield ""
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".ray-") as file:
                yield file.name
        except OSError as error:
            raise EngineError(
                f"the cache {folder} cannot be written ({error.strerror})", "name another one"
            ) from None


def _networks(jobs: Iterable[tuple[int, EmbeddingJob]]) -> Iterator[_Network]:
    """Yield each network once, at each precision."""
    groups: dict[tuple[str, str], list[tuple[int, EmbeddingJob]]] = {}
    for owner, job in jobs:
        key = (network_key(job.identity), job.context.precision)
        groups.setdefault(key, []).append((owner, job))
    yield from (_Network.of(tuple(group)) for group in groups.values())


# What follows runs in a worker process, which Ray uses for one task after the other.
_opened: dict[str, tuple[Identity, Encoder]] = {}


class _WriteOnlyCache(EmbeddingCache):
    """The cache of a task: the caller knows what it lacks, so nothing is read."""

    def load(self, key: str, wanted: Collection[str] = ()) -> Cached:  # noqa: ARG002
        """Return nothing: a key may hold far more than the images of a task."""
        return Cached(vectors={}, notes={})

    def load_together(self, key: str, digests: Collection[str]) -> Cached | None:  # noqa: ARG002
        """Return nothing."""
        return None

    def store(self, key: str, vectors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Write vectors."""
        self.append(key, vectors, notes)


_orders: dict[str, Order] = {}


def embed_task(holder: list[Any], key: str, start: int, stop: int) -> TaskResult:
    """Embed a range of the images of an order that lies in the object store."""
    import ray

    if key not in _orders:
        _orders.clear()
        _orders[key] = ray.get(holder[0])
    gpus = [str(number) for number in ray.get_gpu_ids()]
    return embed_images(_on_device(_orders[key], gpus), start, stop)


def _on_device(order: Order, gpus: list[str]) -> Order:
    """Return an order for the GPU that Ray gave to the task, by its number in this process.

    A process that has used CUDA keeps its GPUs, so Ray leaves them all visible (SEES_ALL_GPUS).
    """
    if order.job.context.device != "cuda" or not gpus:
        return order
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = visible.split(",").index(gpus[0]) if visible else int(gpus[0])
    context = dataclasses.replace(order.job.context, device=f"cuda:{number}")
    return dataclasses.replace(order, job=dataclasses.replace(order.job, context=context))


def embed_images(order: Order, start: int, stop: int) -> TaskResult:
    """Embed a range of the images of an order, and write the vectors into the cache."""
    job = order.job
    try:
        _check_folders(order)
        identity, encoder = _open_network(job)
        network = digest_of_loaded(encoder)
        fingerprint = identity.fingerprint("" if identity.is_whole else network)
        wanted = dataclasses.replace(
            job.merged_request, stimuli=order.stimuli[start:stop], words=()
        )
        shard = dataclasses.replace(job, identity=identity, request=wanted, merged_request=wanted)
        counts = [0]
        resources = Resources(
            cache=_cache_of_task(order.cache) if identity.is_whole else order.cache,
            batch_size=order.batch_size,
            progress=lambda _model, done, _total: counts.__setitem__(0, done),
        )
        vectors = image_vectors(shard, fingerprint, lambda: encoder, "", resources)
    except EngineError:
        raise
    except EncoderError as error:
        return TaskResult(error=str(with_location(error, job.entry, [job.identity])))
    except VisualBiasError as error:
        return TaskResult(error=str(error))
    return TaskResult(
        embedded=counts[0],
        failures=dict(vectors.failures),
        network=network,
        error=next(iter(vectors.lost.values()), ""),
    )


def _cache_of_task(cache: EmbeddingCache) -> EmbeddingCache:
    return _WriteOnlyCache(folder=cache.folder, shared=cache.shared, is_required=cache.is_required)


def _check_folders(order: Order) -> None:
    """Raise unless this machine sees the project and the cache of the caller."""
    machine, project = socket.gethostname(), order.job.context.project
    try:
        os.chdir(project)  # the user's code may read files by relative names
    except OSError as error:
        raise EncoderError(
            f"{machine} does not see {project} ({error.strerror})",
            "show every machine of the cluster the same files at the same paths",
        ) from None
    if order.marker and not os.path.exists(order.marker):  # noqa: PTH110 - a name, not a path
        raise EncoderError(
            f"{machine} does not see the cache {order.cache.folder}",
            "name a folder with --cache that every machine sees, or a URL",
        )


def _open_network(job: EmbeddingJob) -> tuple[Identity, Encoder]:
    """Return the network that the caller means, opened for the first task of a process."""
    key = f"{network_key(job.identity)} {job.context.precision} {job.context.device}"
    if key not in _opened:
        _opened.clear()  # the old one goes before the new one comes
        entry = _with_one_checkpoint(job.entry, job.identity.checkpoint)
        identity = _same_identity(entry, job)
        encoder = dataclasses.replace(job, entry=entry, identity=identity).open()
        _opened[key] = (identity, encoder)
    return _opened[key]


def _same_identity(entry: ModelEntry, job: EmbeddingJob) -> Identity:
    """Return the network of this machine that equals the caller's in code, files and versions."""
    identities = find_source(entry.source).identify(entry, job.context)
    differences = [_differences(identity.facts, job.identity.facts) for identity in identities]
    if [] not in differences:
        nearest = min(differences, key=len) if differences else ["missing"]
        raise EncoderError(
            f"on {socket.gethostname()} the network '{job.identity.label}' is another one "
            f"({', '.join(nearest)})",
            "install the same versions and show every machine the same files",
        )
    return identities[differences.index([])]


def _with_one_checkpoint(entry: ModelEntry, checkpoint: Path | None) -> ModelEntry:
    """Return an entry for one checkpoint only: a worker need not digest a whole series."""
    if checkpoint is None or not checkpoint.exists():
        return entry
    keys = [key for key in CHECKPOINT_KEYS if isinstance(getattr(entry, key, None), str | tuple)]
    return entry.model_copy(update=dict.fromkeys(keys, str(checkpoint)))


def _differences(facts: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    return sorted(key for key in {**facts, **expected} if facts.get(key) != expected.get(key))
