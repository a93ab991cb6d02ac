"""Published weights, from a hub on the loopback: no test here touches a real network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import timm
import torch

from pytest_visualbias.models.torch_encoder import _digest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.torch, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("open_pretrained.py")
NAME = "test_resnet.r160_in1k"
OTHER = "test_vit.r160_in1k"
PLACE = f"timm/{NAME}/resolve/main/model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(content: bytes, place: str) -> Iterator[tuple[str, list[str]]]:
    """Serve one file below ``/place/resolve/main/``; yield the address and the requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, *, with_body: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            found = self.path == f"/{place}"
            body = content if found else b"not found"
            self.send_response(200 if found else 404)
            if found:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def published() -> tuple[bytes, str]:
    """Weights of a network that no seed of ours makes, and their digest."""
    with torch.random.fork_rng():
        torch.manual_seed(77)
        model: Any = timm.create_model("test_resnet", pretrained=False)
    content = safetensors.torch.save(model.state_dict())
    return content, _digest(model)


def test_published_weights_come_from_the_hub_and_offline_from_the_cache_alone(
    published: tuple[bytes, str], tmp_path: Path
) -> None:
    """One process asks in turn: offline, online, offline again, and for what the hub lacks."""
    content, digest = published
    with serve(content, PLACE) as (address, asked):
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.lower().endswith("_proxy") and not key.startswith(("HF_", "TORCH_"))
        }
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1"}
        steps = [f"offline:{NAME}", f"online:{NAME}", f"offline:{NAME}", f"online:{OTHER}"]
        command = [sys.executable, str(PROGRAM), *steps]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before, online, offline, missing = json.loads(result.stdout)
    assert before == (
        f"the weights of '{NAME}' are not on this machine and --visualbias-offline is given; "
        "give a 'checkpoint' or run once without it"
    )
    assert online == offline == digest
    assert missing.startswith(f"timm cannot make '{OTHER}' (")
    assert missing.endswith(
        "; give a 'checkpoint', or 'pretrained: false' for untrained weights, or check the network"
    )
    # The hub's library may ask which tools call it. Offline, nobody was asked: what is left are the
    # requests of the two other steps.
    asked = [line for line in asked if "/api/agent-harnesses" not in line]
    assert asked[:2] == [f"HEAD /{PLACE}", f"GET /{PLACE}"]
    assert [line for line in asked[2:] if OTHER not in line] == []
    assert asked[2:]
