"""The way to a cluster of Ray and back, without a word of Ray's on the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final, TextIO

from pytest_visualbias.embeddings.engines.late import LateCrew
from pytest_visualbias.embeddings.engines.ray import Place, RayCrew, alive
from pytest_visualbias.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S: Final = 5.0
LOCAL: Final = "local"
AUTO: Final = "auto"
CLIENT: Final = "ray://"

# What begins every HTTP/2 connection, and so every one to Ray, and the type of frame that answers.
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
SETTINGS: Final = 4


@contextlib.contextmanager
def crew_when_needed(
    address: str, *, cpus: int, gpus: float | None, device: str
) -> Iterator[LateCrew]:
    """Connect to a cluster as soon as there is work for it, and leave it in the end."""
    _refuse_unknown(_where(address))
    with contextlib.ExitStack() as held:

        def connect() -> tuple[RayCrew, str]:
            crew = held.enter_context(crew_at(address, cpus=cpus, gpus=gpus))
            return crew, crew.device(device)

        yield LateCrew(connect=connect)


@contextlib.contextmanager
def crew_at(address: str, *, cpus: int, gpus: float | None) -> Iterator[RayCrew]:
    """Connect to a cluster, and leave it in the end."""
    with _quietly():
        import ray

        is_ours = not ray.is_initialized()
        if is_ours:
            _connect(ray, address)
        try:
            if gpus is None:
                gpus = float(any(node["Resources"].get("GPU") for node in alive(ray)))
            crew = RayCrew(ray=ray, place=Place(cpus=cpus, gpus=gpus))
            try:
                yield crew
            finally:
                crew.leave()
        finally:
            if is_ours:
                ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    where = _where(address)
    _refuse_unknown(where)
    _probe(where)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if where == LOCAL:
        quiet["include_dashboard"] = False
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # whoever wants that can say so
    try:
        ray.init(address=where, **quiet)
    except Exception as error:  # noqa: BLE001 - Ray has no type of its own for this
        raise EngineError(_unreachable(address, where, error)) from None


def _where(address: str) -> str:
    return os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address


def _unreachable(address: str, where: str, error: Exception) -> str:
    if where == AUTO:
        return (
            "no Ray cluster runs on this machine; name one with --address HOST:PORT, or start one "
            "for this call with --address local"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"Ray at '{address}' cannot be used ({reason}); correct --address"


def _refuse_unknown(where: str) -> None:
    _, separator, port = where.removeprefix(CLIENT).rpartition(":")
    if where not in (AUTO, LOCAL) and not (separator and port.isdecimal()):
        raise UsageError(
            f"'{where}' is no address of Ray", "give auto, local, HOST:PORT or ray://HOST:PORT"
        )


def _probe(where: str) -> None:
    """Make sure that something like Ray answers: Ray itself would try for minutes."""
    if where in (AUTO, LOCAL):
        return
    host, _, port = where.removeprefix(CLIENT).rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
            if os.environ.get("RAY_USE_TLS") == "1":
                return
            connection.settimeout(CONNECT_S)
            connection.sendall(PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise EngineError(
            f"nothing answers at '{where}' ({reason})", "start Ray there, or correct --address"
        ) from None
    if len(answer) < 4 or answer[3] != SETTINGS:  # noqa: PLR2004 - the type is the fourth byte
        raise EngineError(f"what answers at '{where}' is not Ray", "correct --address")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what Ray has to say off the terminal; what went wrong is said by us."""
    shown = sys.stdout
    sys.stdout = _MainThreadOnly(shown)
    try:
        with warnings.catch_warnings():
            # Deprecations within Ray, which whoever calls this cannot mend.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=ResourceWarning)
            yield
    finally:
        sys.stdout = shown


class _MainThreadOnly:
    """A stream on which only the main thread writes: Ray's threads print what its logs say."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or not."""
        if threading.current_thread() is threading.main_thread():
            return self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
