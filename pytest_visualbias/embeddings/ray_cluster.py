"""Connect to a Ray cluster, and count what its machines hold."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import socket
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.errors import EngineError, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_S: Final = 5.0

# How often machines are counted, and how long none may be large enough; longer if --workers says
# that some will come.
LOOK_S: Final = 5.0
PATIENCE_S: Final = 60.0
STARTING_S: Final = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RaySettings:
    """Where to compute, and what a task takes of a machine."""

    address: str
    cpus: int
    gpus: float | None
    device: str
    workers: int | None
    shard: int
    batch_size: int

    @property
    def images_per_task(self) -> int:
        """The images of a task: whole batches, so that the batches are those of one process."""
        return math.ceil(self.shard / self.batch_size) * self.batch_size


def require_ray() -> None:
    """Raise if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "the engine 'ray' needs Ray, which is not installed",
            "pip install 'pytest-visualbias[ray]'",
        )


@dataclass(kw_only=True, slots=True)
class MachineCapacity:
    """What a task takes of a machine, and how many tasks the machines hold that are there."""

    ray: Any
    settings: RaySettings
    gpus: float = 0.0
    capacity: int = 0
    _looked: float = -math.inf
    _had_room: bool = False
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take one GPU for a task, without an option, if the cluster has any."""
        self.gpus = self.settings.gpus or 0.0
        if self.settings.gpus is None:
            self.gpus = float(any(resources.get("GPU") for resources in self._machines()))
        if self.settings.device == "cuda" and not self.gpus:
            raise UsageError("--device cuda needs GPUs in the cluster, and --gpus-per-task over 0")

    @property
    def device(self) -> str:
        """Where workers compute: Ray hides no GPU from a task that has none."""
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if self.gpus else "cpu"

    def look(self) -> None:
        """Count the tasks that the machines hold; raise if none was large enough for a while."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self.capacity = sum(
            tasks_on(resources, self.settings.cpus, self.gpus) for resources in self._machines()
        )
        if self.capacity:
            self._had_room, self._since = True, now
            return
        patience = PATIENCE_S if self._had_room else 0.0
        if now - self._since >= (STARTING_S if self.settings.workers else patience):
            gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
            raise EngineError(
                f"no machine of the cluster has {self.settings.cpus} CPU{gpus} for a task",
                "ask for less with --cpus-per-task or --gpus-per-task, or say with --workers how "
                "many will come",
            )

    def _machines(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]


def tasks_on(resources: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Return how many tasks a machine holds at once."""
    tasks = math.floor(resources.get("CPU", 0.0) / cpus)
    if not gpus:
        return tasks
    # A share is of one GPU: what is left over of several does not add up.
    count = resources.get("GPU", 0.0)
    shares = math.floor(count) * math.floor(1 / gpus + 1e-9)
    return min(tasks, shares if gpus < 1 else math.floor(count / gpus))


@contextlib.contextmanager
def connection(settings: RaySettings) -> Iterator[Any]:
    """Connect to a cluster, or start one for this call, and leave it in the end."""
    address = settings.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    _check_address(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within Ray
        import ray

        is_ours = not ray.is_initialized()
        if is_ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                ray.init(
                    address=address,
                    include_dashboard=False if address == "local" else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except Exception as error:  # noqa: BLE001 - Ray has no type of its own for this
                raise EngineError(
                    f"Ray at '{address}' cannot be used ({first_line(error)})",
                    "start it, correct --address, or start one for this call with --address local",
                ) from None
        try:
            yield ray
        finally:
            if is_ours:
                ray.shutdown()


def _check_address(address: str) -> None:
    """Raise unless something listens at the address: Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not (separator and port.isdecimal()):
        raise UsageError(
            f"'{address}' is no address of Ray", "give auto, local, HOST:PORT or ray://HOST:PORT"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise EngineError(
            f"nothing answers at '{address}' ({reason})", "start Ray there, or correct --address"
        ) from None


def first_line(error: BaseException) -> str:
    """Return the name and the first line of an error, or of what caused it on a worker."""
    cause = getattr(error, "cause", None)
    shown = cause if isinstance(cause, Exception) else error
    lines = [line.strip() for line in str(shown).splitlines() if line.strip()]
    name = type(shown).__name__
    return printable(f"{name}: {lines[0]}" if lines else name)
