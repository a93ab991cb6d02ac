"""Checkpoints and images at ``hf://``: huggingface_hub's own code, against a server on loopback."""

from __future__ import annotations

import json
import socket
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import fsspec
import pytest

from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.mirror import Mirror
from pytest_visualbias.stimuli.resolve import resolve_concept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.nightly
pytest.importorskip("huggingface_hub", reason="speaks to the hub; not in every environment")

API = "/api/models/ada/nets"
FILES = "/ada/nets/resolve/main/"
OK = 200


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that reading files takes; of any other repository it is silent."""

    files: dict[str, bytes]
    asked: list[str]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        if path in (API, f"{API}/revision/main"):
            self._answer({"id": "ada/nets", "sha": "a" * 40, "siblings": []})
        elif path.startswith(f"{API}/tree/main"):
            self._answer(self._folder(path.removeprefix(f"{API}/tree/main").strip("/")))
        elif path.removeprefix(FILES) in self.files:
            self._answer(self.files[path.removeprefix(FILES)])
        else:
            self._answer({"error": "who are you?"}, 401)

    def _folder(self, folder: str) -> list[dict[str, Any]]:
        start = f"{folder}/" if folder else ""
        found = {}
        for name, content in self.files.items():
            if name.startswith(start):
                head, *rest = name.removeprefix(start).split("/")
                kind, size = ("directory", 0) if rest else ("file", len(content))
                digest = sha1(content, usedforsecurity=False).hexdigest()
                found[head] = {"type": kind, "path": f"{start}{head}", "size": size, "oid": digest}
        return [*found.values()]

    def _answer(self, body: Any, status: int = OK) -> None:  # noqa: ANN401
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if status != OK:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("Fresh", (Hub,), {"files": {}, "asked": []})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": address, "token": False})
        yield handler
        running.shutdown()
        thread.join()
    fsspec.get_filesystem_class("hf").clear_instance_cache()


def test_a_series_of_checkpoints_is_fetched_once(hub: type[Hub], tmp_path: Path) -> None:
    hub.files |= {f"run/epoch_{step}.pt": bytes([step]) * step for step in (1, 2, 10)}
    hub.files["README.md"] = b"none of them"
    pattern = "hf://ada/nets/run/epoch_*.pt"
    mirror = Mirror(folder=tmp_path)
    found = {path.name: path.read_bytes() for path in mirror.files(pattern)}
    assert found == {f"epoch_{step}.pt": bytes([step]) * step for step in (1, 2, 10)}
    assert mirror.origin(mirror.files(pattern)[1]) == "hf://ada/nets/run/epoch_10.pt"
    hub.asked.clear()
    assert len(Mirror(folder=tmp_path).files(pattern)) == 3
    assert not [one for one in hub.asked if one.startswith(FILES)], "they have not changed"
    hub.files["run/epoch_2.pt"] = b"another"
    assert b"another" in [path.read_bytes() for path in Mirror(folder=tmp_path).files(pattern)]


def test_a_folder_of_images_has_the_names_that_it_has_there(hub: type[Hub], tmp_path: Path) -> None:
    hub.files |= {f"stimuli/x/{name}.png": name.encode() for name in "abc"}
    root = Url("hf://ada/nets/stimuli")
    images = resolve_concept("c", "x", root, mirror=Mirror(folder=tmp_path))
    assert [stimulus.name for stimulus in images.stimuli] == ["x/a.png", "x/b.png", "x/c.png"]
    assert [s.path.read_bytes() for s in images.stimuli if s.path] == [b"a", b"b", b"c"]
    with pytest.raises(StorageError, match="access is refused"):
        resolve_concept("c", "x", Url("hf://ada/secret"), mirror=Mirror(folder=tmp_path))


def test_a_missing_file_is_told_apart_from_a_refusal(hub: type[Hub], tmp_path: Path) -> None:
    for name, is_missing in (("nets/nothing.pt", True), ("secret/a.pt", False)):
        with pytest.raises(StorageError, match=f"hf://ada/{name}") as caught:
            Mirror(folder=tmp_path).files(f"hf://ada/{name}")
        assert caught.value.is_missing == is_missing


def test_a_hub_that_does_not_answer_is_no_missing_file(
    hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": address, "token": False})
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        Mirror(folder=tmp_path).files("hf://ada/nets/a.pt")
    assert not caught.value.is_missing
