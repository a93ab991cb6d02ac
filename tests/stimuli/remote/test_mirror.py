"""Local copies of files at URLs: each version once, whole or not at all, under safe names."""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote.entries import Entry
from pytest_visualbias.stimuli.remote.mirror import Mirror
from pytest_visualbias.stimuli.remote.names import below, refuse_unsafe
from pytest_visualbias.stimuli.remote.packages import PACKAGES, lacking
from pytest_visualbias.stimuli.remote.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stimuli.remote.conftest import Lab


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are fetched from now on."""
    names = []
    really = Store.fetch

    def fetch(store: Store, entry: Entry, target: Path) -> None:
        names.append(entry.name)
        really(store, entry, target)

    monkeypatch.setattr(Store, "fetch", fetch)
    return names


def left(folder: Path) -> list[str]:
    """The names of all files below a folder but those of locks."""
    return sorted(one.name for one in folder.rglob("*") if one.is_file() and one.name != ".lock")


def test_a_version_is_fetched_once_and_another_one_again(
    lab: Lab, tmp_path: Path, fetched: list[str]
) -> None:
    url = lab.put("a.pt", b"first")
    first = Mirror(folder=tmp_path).files(url)
    assert [path.read_bytes() for path in first] == [b"first"]
    assert [path.name for path in first] == ["a.pt"]
    assert Mirror(folder=tmp_path).files(url) == first
    assert fetched == ["a.pt"]
    lab.put("a.pt", b"other")
    assert Mirror(folder=tmp_path).file(Url(url)).read_bytes() == b"other"
    assert first[0].read_bytes() == b"first", "another run may be reading it"


def test_through_a_run_a_url_means_one_content(lab: Lab, tmp_path: Path) -> None:
    url = lab.put("a.pt", b"first")
    mirror = Mirror(folder=tmp_path)
    first = mirror.files(url)
    lab.put("a.pt", b"other")
    assert mirror.files(url) == first
    assert mirror.origin(first[0]) == url


def test_a_copy_that_lost_bytes_is_fetched_again(
    lab: Lab, tmp_path: Path, fetched: list[str]
) -> None:
    url = lab.put("a.pt", b"content")
    Mirror(folder=tmp_path).files(url)[0].write_bytes(b"con")
    assert Mirror(folder=tmp_path).files(url)[0].read_bytes() == b"content"


def test_a_pattern_gives_its_files_in_the_order_of_names(lab: Lab, tmp_path: Path) -> None:
    for name in ("run/epoch_2.pt", "run/epoch_1.pt", "run/other.pt", "run/deep/epoch_3.pt"):
        lab.put(name, name.encode())
    found = Mirror(folder=tmp_path).files(f"{lab.url}/run/epoch_*.pt")
    assert [path.read_bytes() for path in found] == [b"run/epoch_1.pt", b"run/epoch_2.pt"]
    with pytest.raises(StorageError, match=r"memory://.*/nothing\* matches no file; correct"):
        Mirror(folder=tmp_path).files(f"{lab.url}/nothing*")


def test_without_a_network_only_what_lies_there_is_used(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Url, "is_near", property(lambda _: False))
    offline = Mirror(folder=tmp_path, offline=True)
    url, pattern = lab.put("a.pt", b"content"), f"{lab.url}/*.pt"
    with pytest.raises(StorageError, match=r"a\.pt was not fetched yet, and this run is offline"):
        offline.files(url)
    with pytest.raises(StorageError, match=r"\*\.pt was not fetched yet"):
        offline.files(pattern)
    assert len(Mirror(folder=tmp_path).files(pattern)) == 1
    lab.files.rm(lab.root, recursive=True)
    offline = Mirror(folder=tmp_path, offline=True)
    assert [path.read_bytes() for path in offline.files(pattern)] == [b"content"]


def test_of_several_versions_the_last_that_was_used_serves_without_a_network(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Url, "is_near", property(lambda _: False))
    for content in (b"first", b"other"):
        url = lab.put("a.pt", content)
        Mirror(folder=tmp_path).files(url)
    offline = Mirror(folder=tmp_path, offline=True)
    assert offline.files(url)[0].read_bytes() == b"other"


@pytest.mark.parametrize(("size", "told"), [(3, "more than 3"), (30, "7 bytes came in place")])
def test_what_is_not_as_large_as_was_said_is_refused_and_leaves_nothing(
    lab: Lab, tmp_path: Path, size: int, told: str
) -> None:
    url = lab.put("a.pt", b"content")
    store = open_store(Url(url))
    with pytest.raises(StorageError, match=told):
        store.fetch(Entry(path=store.root, size=size, stamp=""), tmp_path / "a.pt")
    assert left(tmp_path) == []


def test_more_than_the_disk_holds_is_not_begun(lab: Lab, tmp_path: Path) -> None:
    store = open_store(Url(lab.put("a.pt", b"content")))
    with pytest.raises(StorageError, match=r"it has 1,000,000,.* bytes, and .* are free here"):
        store.fetch(Entry(path=store.root, size=10**18, stamp=""), tmp_path / "a.pt")


def test_without_a_cache_copies_go_with_the_run(lab: Lab) -> None:
    mirror = Mirror()
    path = mirror.files(lab.put("a.pt", b"content"))[0]
    assert path.read_bytes() == b"content"
    del mirror
    assert not path.exists()


def test_a_folder_is_no_checkpoint(lab: Lab, tmp_path: Path) -> None:
    lab.put("run/a.pt", b"")
    with pytest.raises(StorageError, match="is a folder; name a file, or a pattern"):
        Mirror(folder=tmp_path).files(f"{lab.url}/run")


@pytest.mark.parametrize(
    ("name", "told"),
    [("run", "/run is a folder; name a file$"), ("run/*.pt", r"is a pattern; name")],
)
def test_where_one_file_is_meant_a_pattern_and_a_folder_are_refused(
    lab: Lab, tmp_path: Path, name: str, told: str
) -> None:
    lab.put("run/a.pt", b"")
    with pytest.raises(StorageError, match=told):
        Mirror(folder=tmp_path).file(Url(f"{lab.url}/{name}"))


def test_the_name_of_a_store_has_no_case(lab: Lab, tmp_path: Path) -> None:
    url = lab.put("a.pt", b"content").replace("memory:", "Memory:")
    assert Mirror(folder=tmp_path).files(url)[0].read_bytes() == b"content"


def test_what_is_missing_is_one_sentence(lab: Lab, tmp_path: Path) -> None:
    url = f"{lab.url}/nothing.pt"
    with pytest.raises(StorageError) as caught:
        Mirror(folder=tmp_path).files(url)
    assert str(caught.value) == f"{url} cannot be read (nothing is there); correct the URL"
    assert caught.value.is_missing


def test_a_cache_that_cannot_be_written_is_one_sentence(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "fetched").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot be written .*choose another"):
        Mirror(folder=tmp_path).files(lab.put("a.pt", b"content"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(StorageError, match="can be no file here; rename it there"):
        refuse_unsafe(name, Url("s3://b"))


@pytest.mark.parametrize("path", ["b/root/../x", "b/root/a/../../x", "b/root//x", "b/root/./x"])
def test_an_object_below_a_root_cannot_leave_it(path: str) -> None:
    with pytest.raises(StorageError):
        below(path, "b/root", Url("s3://b/root"))


def test_an_object_beside_a_root_is_not_below_it() -> None:
    with pytest.raises(StorageError, match="does not lie below it"):
        below("b/rooted/x", "b/root", Url("s3://b/root"))
    assert below("b/root/a b/ü.png", "b/root", Url("s3://b/root")) == "a b/ü.png"


def test_without_fsspec_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StorageError) as caught:
        open_store(Url("s3://bucket/a"))
    assert str(caught.value) == (
        "s3://bucket/a: URLs need fsspec; install it with: pip install 'pytest-visualbias[remote]'"
    )


def test_without_the_package_of_a_store_a_sentence_names_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StorageError) as caught:
        open_store(Url("gs://bucket/a"))
    assert str(caught.value) == ("gs://bucket/a: gs:// needs the package gcsfs; pip install gcsfs")


def test_every_store_that_fsspec_knows_has_its_package_or_what_fsspec_says(lab: Lab) -> None:
    """A sentence for each that is not in fsspec itself, and an order to install something."""
    from fsspec.registry import known_implementations

    others = {
        scheme: str(known["err"])
        for scheme, known in known_implementations.items()
        if "err" in known
    }
    assert {"s3", "gs", "hf", "abfs", "https", "sftp"} <= others.keys()
    for scheme, hint in others.items():
        said = lacking(scheme, hint)
        assert f"; pip install {PACKAGES[scheme]}" in said if scheme in PACKAGES else said == hint
    assert "install it with pip" in lacking("mine")
    # What no package of ours is named for is rare, or no store of files.
    assert {*others} - {*PACKAGES} <= {"asynclocal", "dask", "libarchive", "pyscript"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "s3://key:S3cr/3t@lab/a",
            (
                "s3://lab/a: s3:// takes no keys from the URL; give AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"
            ),
        ),
        (
            "gs://key:S3cr3t@lab/a",
            ("gs://lab/a: gs:// takes no keys from the URL; give GOOGLE_APPLICATION_CREDENTIALS"),
        ),
    ],
)
def test_keys_in_the_url_of_a_bucket_are_no_bucket(lab: Lab, url: str, told: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_store(Url(url))
    assert str(caught.value) == told


def test_what_no_store_is_called_is_said(lab: Lab) -> None:
    with pytest.raises(StorageError, match=r"fsspec knows no s4://; correct the URL"):
        open_store(Url("s4://bucket/a"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError("key=S3cr3t"), "access is refused: PermissionError"),
        (ConnectionRefusedError("S3cr3t"), "it cannot be reached: ConnectionRefusedError"),
        (TimeoutError("S3cr3t"), "it cannot be reached: TimeoutError"),
        (RuntimeError("S3cr3t"), "RuntimeError"),
        (OSError(28, "S3cr3t"), "the disk is full"),
        (NotImplementedError("S3cr3t"), "such a store cannot do that"),
    ],
)
def test_a_fault_is_told_without_the_words_of_the_library(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    store = open_store(Url(lab.put("a.pt", b"content")))
    monkeypatch.setattr(type(lab.files), "info", fail)
    with pytest.raises(StorageError) as caught:
        store.entry()
    assert told in str(caught.value)
    assert "S3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would show it"


class Answering(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def answering(lab: Lab) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="fsspec reads https:// with it")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "nothing is there); correct the URL"),
        (
            403,
            (
                "access is refused, or nothing is there: HTTP 403); check the URL, the credentials "
                "and their rights"
            ),
        ),
        (503, "HTTP 503); check the URL and the store"),
    ],
)
def test_what_a_server_answers_is_told_apart_from_nothing(
    answering: str, status: int, told: str
) -> None:
    """All of them are the same fault of fsspec's: that the file is not there."""
    url = f"{answering}/{status}/a.pt"
    with pytest.raises(StorageError) as caught:
        open_store(Url(url)).entry()
    assert str(caught.value) == f"{url} cannot be read ({told}"
    assert caught.value.is_missing == (status == 404)


def test_a_server_that_does_not_answer_is_not_one_that_lacks_the_file(answering: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.pt"
    with pytest.raises(StorageError) as caught:
        open_store(Url(url)).entry()
    assert str(caught.value) == (
        f"{url} cannot be read (it cannot be reached: ClientConnectorError); check the address and "
        "the network, or stay offline (pytest --visualbias-offline, visualbias embed --offline)"
    )
    assert not caught.value.is_missing
