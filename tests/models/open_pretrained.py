"""A user's process, for test_hub: opens a pretrained timm model and prints what came of it.

Arguments are steps, each ``online:NAME`` or ``offline:NAME``; a JSON list of results is printed.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path


def refuse_other_hosts() -> None:
    """Let this process reach the loopback only, so that no test touches a real network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] != "127.0.0.1":
            raise OSError(f"a test reached for {address}")
        connect(self, address)

    def no_names(host: str, *_args: object, **_keys: object) -> list[object]:
        if host != "127.0.0.1":
            raise socket.gaierror(f"a test asked for {host}")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, int(str(_args[0]))))]

    socket.socket.connect = guarded  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = no_names  # type: ignore[assignment]


def opened(name: str, *, offline: bool) -> str:
    """Return the digest of the weights, or the sentence of the error."""
    from pytest_visualbias.errors import VisualBiasError
    from pytest_visualbias.models.encoder import Context, find_source
    from pytest_visualbias.spec.model_entries import TimmModel

    here = Path()
    context = Context(folder=here, project=here, device="cpu", offline=offline)
    entry = TimmModel(source="timm", name=name, pretrained=True)
    source = find_source("timm")
    try:
        return source.open(entry, source.identify(entry, context)[0], context).weights
    except VisualBiasError as error:
        return str(error)


if __name__ == "__main__":
    refuse_other_hosts()
    steps = [argument.split(":") for argument in sys.argv[1:]]
    print(json.dumps([opened(name, offline=how == "offline") for how, name in steps]))  # noqa: T201
