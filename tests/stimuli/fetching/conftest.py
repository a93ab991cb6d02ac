"""A real server on the loopback that misbehaves on request, and images to send."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pytest_visualbias.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SUITE = """\
visualbias_suite: 1
title: Squares
licence: CC0 for the squares
citation: A. Painter. Squares. 2020.
source: https://example.org/squares
concepts: {x: sets/x, y: sets/y, a: sets/a, b: sets/b}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""


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
    """How one request is answered; what is not said is as a good server does it.

    Attributes
    ----------
    breaks_after : int or None
        Bytes of the body after which the connection is cut.
    length : int or None
        What Content-Length says.
    drip : float
        Seconds before each piece of the body.
    piece : int
        Bytes of a piece.
    gate : threading.Event or None
        What the answer waits for.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    breaks_after: int | None = None
    length: int | None = None
    has_length: bool = True
    honours_range: bool = True
    drip: float = 0.0
    piece: int = 1 << 16
    gate: threading.Event | None = None


@dataclass
class Server:
    """What is served, how the next requests are answered, and which there were."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    always: dict[str, Reply] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def reply(self, path: str) -> Reply:
        with self.lock:
            waiting = self.replies.get(path, [])
            return waiting.pop(0) if waiting else self.always.get(path, Reply())

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the headers of the requests for a file."""
        return [headers for asked, headers in self.requests if asked == path]


class Handler(BaseHTTPRequestHandler):
    """Answers from the files of its server, which is also a proxy of them."""

    state: Server

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.state.lock:
            self.state.requests.append((path, headers))
        reply = self.state.reply(path)
        if reply.gate is not None:
            reply.gate.wait(10)
        content = self.state.files.get(path) if reply.body is None else reply.body
        if content is None and reply.status == 200:
            self.send_error(404)
            return
        with contextlib.suppress(OSError):
            self._send(path, reply, content or b"", headers)

    def _send(self, path: str, reply: Reply, content: bytes, headers: dict[str, str]) -> None:
        tag = self.state.tags.get(path, f'"{sha256(content)[:8]}"')
        start = self._start(reply, tag, headers)
        if start >= len(content) > 0:
            self.send_response(416)
            self.end_headers()
            return
        is_part = start > 0
        self.send_response(206 if is_part else reply.status)
        if tag:
            self.send_header("ETag", tag)
        if is_part:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        rest = content[start:]
        if reply.has_length:
            length = len(rest) if reply.length is None else reply.length
            self.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        rest = rest if reply.breaks_after is None else rest[: max(0, reply.breaks_after - start)]
        for begin in range(0, len(rest), reply.piece):
            time.sleep(reply.drip)
            self.wfile.write(rest[begin : begin + reply.piece])
            self.wfile.flush()

    def _start(self, reply: Reply, tag: str, headers: dict[str, str]) -> int:
        asked = headers.get("range", "")
        if not reply.honours_range or not asked or headers.get("if-range", tag) != tag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Yield a server that runs in threads of its own."""
    state = Server()
    handler = type("Own", (Handler,), {"state": state})
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


@pytest.fixture
def server() -> Iterator[Server]:
    """A server without files."""
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no folder of data from outside, and no long pauses."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("VISUALBIAS_DATA", "VISUALBIAS_OFFLINE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pytest_visualbias.stimuli.fetching.transfer.PAUSE", 0.01)


@dataclass
class Place:
    """A suite of the user's own with a manifest, and the command that fetches it."""

    folder: Path
    server: Server
    capsys: pytest.CaptureFixture[str]

    @property
    def sets(self) -> Path:
        return self.folder / "sets"

    @property
    def manifest(self) -> Path:
        return self.folder / "own.tsv"

    def serve(self, *paths: str, known: bool = False) -> list[bytes]:
        """Serve an image at each path, list them in the manifest, and return their bytes."""
        contents = [png(number) for number, _ in enumerate(paths)]
        self.server.files.update(zip(paths, contents, strict=True))
        rows = [
            f"{path}\t{self.server.url(path)}\t{sha256(one) if known else '-'}\t"
            f"{len(one) if known else '-'}"
            for path, one in zip(paths, contents, strict=True)
        ]
        self.write(*rows)
        return contents

    def write(self, *rows: str) -> None:
        self.manifest.write_text("# path, url, sha256, size\n" + "".join(f"{r}\n" for r in rows))

    def fetch(self, *arguments: str, accept: bool = True) -> tuple[int, str, str]:
        """Return the exit status, stdout and stderr of a fetch."""
        consent = ["--accept-licence"] if accept else []
        suite = str(self.folder / "own.suite.yaml")
        status = main(
            ["fetch", suite, "--manifest", str(self.manifest), *consent, "--timeout=5", *arguments]
        )
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    def files(self) -> dict[str, bytes]:
        """Return what is in the sets."""
        found = (path for path in sorted(self.sets.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}

    def parts(self) -> list[Path]:
        """Return what is on its way."""
        return sorted((self.folder / ".fetching").glob("*.part"))


@pytest.fixture
def place(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> Place:
    """A suite without any of its images."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.suite.yaml").write_text(SUITE)
    return Place(folder, server, capsys)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for something to become true, for a minute at the most: this machine may be busy."""

    def wait(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end, "it never came"
            time.sleep(0.01)

    return wait
