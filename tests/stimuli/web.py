"""A web server on loopback that misbehaves on request, and images to serve."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.cache
def png(number: int, *, size: int = 40) -> bytes:
    """Return an image that no other number has; its noise does not compress."""
    noise = hashlib.shake_256(str(number).encode()).digest(size * size * 3)
    stream = io.BytesIO()
    Image.frombytes("RGB", (size, size), noise).save(stream, "PNG")
    return stream.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Reply:
    """How requests for a file are answered, if not as a good server does."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    breaks_after: int | None = None  # bytes of the body
    length: int | None = None  # what Content-Length says
    has_length: bool = True
    gate: threading.Event | None = None  # what the rest of the body waits for


@dataclass
class Server:
    """The files that are served, the next answers, and the paths requested so far."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    always: dict[str, Reply] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers from the files of its server, which is also a proxy of them."""

    state: Server

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.state.requests.append(path)
        waiting = self.state.replies.get(path)
        reply = waiting.pop(0) if waiting else self.state.always.get(path, Reply())
        content = self.state.files.get(path) if reply.body is None else reply.body
        if content is None:
            self.send_error(404)
            return
        with contextlib.suppress(OSError):
            self._send(reply, content)

    def _send(self, reply: Reply, content: bytes) -> None:
        self.send_response(reply.status)
        self.send_header("ETag", f'"{sha256(content)}"')
        if reply.has_length:
            self.send_header("Content-Length", str(reply.length or len(content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.gate is not None:
            self.wfile.write(content[:500])
            reply.gate.wait(20)
            content = content[500:]
        self.wfile.write(content[: reply.breaks_after])

    def do_HEAD(self) -> None:
        self.do_GET()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Yield a server that runs in threads of its own."""
    state = Server()
    handler = type("Handler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
