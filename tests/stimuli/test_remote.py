"""Files and folders at URLs: each version copied once, whole or not at all, under safe names."""

from __future__ import annotations

import functools
import shutil
import socket
import sys
import threading
import uuid
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from pytest_visualbias.errors import StimulusError, StorageError
from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.mirror import FETCHED, Mirror
from pytest_visualbias.stimuli.remote import Entry, Store, open_store
from pytest_visualbias.stimuli.resolve import StimulusSet, resolve_concept
from tests.stimuli.web import Reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

nightly = pytest.mark.nightly
SECRET = "S3cr3t"


@dataclass
class Memory:
    """A folder of fsspec's file system in memory."""

    files: Any
    root: str

    @property
    def url(self) -> str:
        return f"memory:/{self.root}"

    def put(self, name: str, content: bytes) -> str:
        self.files.pipe_file(f"{self.root}/{name}", content)
        return f"{self.url}/{name}"


@pytest.fixture
def memory() -> Memory:
    return Memory(files=fsspec.filesystem("memory"), root=f"/{uuid.uuid4().hex}")


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every URL for one that needs a network."""
    monkeypatch.setattr(Url, "is_near", property(lambda _: False))


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are downloaded from now on."""
    names = []
    fetch = Store.fetch

    def note(store: Store, entry: Entry, target: Path) -> None:
        names.append(entry.name)
        fetch(store, entry, target)

    monkeypatch.setattr(Store, "fetch", note)
    return names


def content(text: str, cache: Path, *, offline: bool = False) -> list[bytes]:
    """Return what a new run reads at a URL."""
    return [path.read_bytes() for path in Mirror(folder=cache, offline=offline).files(text)]


def test_each_version_is_downloaded_once(
    memory: Memory, tmp_path: Path, fetched: list[str]
) -> None:
    url = memory.put("a.pt", b"first")
    mirror = Mirror(folder=tmp_path)
    (first,) = mirror.files(url)
    assert (first.name, first.read_bytes(), mirror.origin(first)) == ("a.pt", b"first", url)
    assert content(url, tmp_path) == [b"first"]
    assert fetched == ["a.pt"]
    memory.put("a.pt", b"other")
    assert mirror.files(url) == [first], "in one run, a URL means one content"
    assert Mirror(folder=tmp_path).file(Url(url)).read_bytes() == b"other"
    assert first.read_bytes() == b"first", "another run may be reading it"


def test_a_copy_that_lost_bytes_is_downloaded_again(memory: Memory, tmp_path: Path) -> None:
    url = memory.put("a.pt", b"content")
    Mirror(folder=tmp_path).files(url)[0].write_bytes(b"con")
    assert content(url, tmp_path) == [b"content"]


def test_without_a_stamp_every_run_downloads_anew(
    memory: Memory, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_visualbias.stimuli.remote.STAMPS", ())
    url = memory.put("a.pt", b"content")
    assert [content(url, tmp_path) for _ in range(2)] == [[b"content"], [b"content"]]
    assert len(fetched) == 2


def test_a_pattern_gives_files_in_the_order_of_names(memory: Memory, tmp_path: Path) -> None:
    for name in ("run/epoch_2.pt", "run/epoch_1.pt", "run/other.pt", "run/deep/epoch_3.pt"):
        memory.put(name, name.encode())
    pattern = f"{memory.url}/run/epoch_*.pt"
    assert content(pattern, tmp_path) == [b"run/epoch_1.pt", b"run/epoch_2.pt"]
    with pytest.raises(StorageError) as caught:
        Mirror(folder=tmp_path).files(f"{memory.url}/nothing*")
    assert caught.value.is_missing


def test_offline_uses_the_last_copies_or_refuses(memory: Memory, tmp_path: Path, far: None) -> None:
    url, pattern = memory.put("a.pt", b"first"), f"{memory.url}/*.pt"
    for text in (url, pattern):
        with pytest.raises(StorageError, match="offline"):
            content(text, tmp_path, offline=True)
    content(pattern, tmp_path)
    memory.put("a.pt", b"other")
    for text in (url, pattern):
        content(text, tmp_path)
    memory.files.rm(memory.root, recursive=True)
    for text in (url, pattern):
        assert content(text, tmp_path, offline=True) == [b"other"]


@pytest.mark.parametrize("size", [3, 30])
def test_another_size_than_the_store_states_is_refused(
    memory: Memory, tmp_path: Path, size: int
) -> None:
    store = open_store(Url(memory.put("a.pt", b"content")))
    with pytest.raises(StorageError):
        store.fetch(Entry(path=store.root, size=size, stamp=""), tmp_path / "a.pt")
    assert [*tmp_path.iterdir()] == []


def test_without_a_cache_copies_go_with_the_run(memory: Memory) -> None:
    mirror = Mirror()
    path = mirror.files(memory.put("a.pt", b"content"))[0]
    assert path.read_bytes() == b"content"
    del mirror
    assert not path.exists()


@pytest.mark.parametrize("name", ["run", "run/*.pt", "run/nothing.pt"])
def test_one_file_is_no_folder_pattern_or_missing_file(
    memory: Memory, tmp_path: Path, name: str
) -> None:
    memory.put("run/a.pt", b"")
    with pytest.raises(StorageError) as caught:
        Mirror(folder=tmp_path).file(Url(f"{memory.url}/{name}"))
    assert caught.value.is_missing == (name == "run/nothing.pt")
    assert f"{memory.url}/run" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / FETCHED).write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path)):
        content(memory.put("a.pt", b"content"), tmp_path)


@pytest.mark.parametrize("url", ["s3://key:S3cr3t@lab/a", "gs://key:S3cr/3t@lab/a", "s4://lab/a"])
def test_a_url_that_means_nothing_is_refused_without_its_keys(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_store(Url(url))
    scheme = url.partition("://")[0]
    assert str(caught.value).startswith(f"{scheme}://lab/a: ")
    assert "3t" not in str(caught.value)


def test_a_missing_package_of_a_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StorageError, match="gcsfs"):
        open_store(Url("gs://bucket/a"))


def test_the_scheme_has_no_case(memory: Memory, tmp_path: Path) -> None:
    url = memory.put("a.pt", b"content").replace("memory:", "Memory:")
    assert content(url, tmp_path) == [b"content"]


class Refused(Exception):  # noqa: N818 - named like botocore's
    """An error of an object store, as botocore raises it."""

    @property
    def response(self) -> dict[str, dict[str, str]]:
        return {"Error": {"Code": "AccessDenied", "Message": SECRET}}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(f"key={SECRET}"), "access is refused: PermissionError"),
        (ConnectionRefusedError(SECRET), "it cannot be reached: ConnectionRefusedError"),
        (TimeoutError(SECRET), "it cannot be reached: TimeoutError"),
        (OSError(28, SECRET), "the disk is full"),
        (FileNotFoundError(SECRET), "nothing is there"),
        (Refused(SECRET), "AccessDenied"),
        (RuntimeError(SECRET), "RuntimeError"),
    ],
)
def test_an_error_is_reported_without_the_words_of_the_library(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    store = open_store(Url(memory.put("a.pt", b"content")))
    monkeypatch.setattr(type(memory.files), "info", fail)
    with pytest.raises(StorageError) as caught:
        store.entry()
    assert f"({reason})" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would show it"
    assert caught.value.is_missing == isinstance(error, FileNotFoundError)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder with pages of links, and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class TestServers:
    def test_http_serves_files_and_changes_are_noticed(self, tmp_path: Path) -> None:
        with serving() as server:
            query = f"?X-Amz-Signature={SECRET}"
            server.files["a.pt"] = server.files[f"a.pt{query}"] = b"first"
            signed = f"{server.url('a.pt')}{query}"
            mirror = Mirror(folder=tmp_path)
            (path,) = mirror.files(signed)
            assert (path.name, path.read_bytes()) == ("a.pt", b"first")
            assert mirror.origin(path) == server.url("a.pt")
            server.files["a.pt"] = b"other"
            assert content(server.url("a.pt"), tmp_path) == [b"other"]

    @nightly
    def test_over_http_a_folder_is_a_page_of_links(self, folder: Path, tmp_path: Path) -> None:
        handler = functools.partial(QuietHandler, directory=str(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            root = Url(f"http://127.0.0.1:{server.server_port}")
            for concept in ("people/more", {"path": "people/more", "pattern": "**/*.png"}):
                here = shown(resolved(concept, folder, tmp_path))
                assert shown(resolved(concept, root, tmp_path / "cache")) == here
            with pytest.raises(StorageError):
                resolved("people/b.png", root, tmp_path / "cache")
            server.shutdown()
            thread.join()

    @nightly
    @pytest.mark.parametrize("status", [403, 404, 503])
    def test_a_refusal_is_told_apart_from_nothing(self, status: int) -> None:
        """Each of them is a FileNotFoundError of fsspec."""
        with serving() as server:
            server.always["a.pt"] = Reply(status=status, body=b"")
            with pytest.raises(StorageError) as caught:
                open_store(Url(server.url("a.pt"))).entry()
        assert caught.value.is_missing == (status == 404)

    @nightly
    def test_a_truncated_answer_leaves_no_copy(self, tmp_path: Path) -> None:
        with serving() as server:
            server.files["a.pt"] = b"content"
            server.always["a.pt"] = Reply(breaks_after=3)
            with pytest.raises(StorageError):
                content(server.url("a.pt"), tmp_path)
        assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}

    @nightly
    def test_a_dead_server_is_not_one_that_lacks_the_file(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.pt"
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            open_store(Url(url)).entry()
        assert not caught.value.is_missing

    def test_s3_serves_files_and_folders_and_changes_are_noticed(
        self, bucket: Callable[[str, bytes], None], tmp_path: Path, fetched: list[str]
    ) -> None:
        for name in ("x/b.png", "x/a.png", "x/notes.txt", "x/deep/c.png"):
            bucket(name, name.encode())
        bucket("x/", b"")  # how consoles make a folder
        assert content("s3://lab/x/*.png", tmp_path) == [b"x/a.png", b"x/b.png"]
        root, cache = Url("s3://lab"), tmp_path / "stimuli"
        images = resolve_concept("c", "x", root, mirror=Mirror(folder=cache))
        assert [stimulus.name for stimulus in images.stimuli] == ["x/a.png", "x/b.png"]
        assert images.others == ("deep/", "notes.txt")
        fetched.clear()
        bucket("x/a.png", b"other")
        again = resolve_concept("c", "x", root, mirror=Mirror(folder=cache))
        assert fetched == ["a.png"]
        assert again.digest != images.digest
        store = open_store(Url("s3://lab/out.json"))
        store.write(b"{}")
        assert store.read() == b"{}"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], None]]:
    """Yield a function that puts an object into the bucket 'lab' of a server on loopback."""
    pytest.importorskip("s3fs", reason="speaks S3; not in every environment")
    pytest.importorskip("moto", reason="serves S3 on loopback; not in every environment")
    import boto3
    import moto.server

    server = moto.server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="lab")
    yield lambda name, body: client.put_object(Bucket="lab", Key=name, Body=body)
    server.stop()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


NAMES = (
    *("people/b.png", "people/a.JPG", "people/c.webp", "people/notes.txt", "people/.hidden.png"),
    *("people/Thumbs.db", "people/more/d.png", "people/more/deep/e.png", "people/ü ä#1?.png"),
    *("people/.private/f.png", "people/x[1].png", "cars/a.png", "odd/listed.dat"),
)
CONCEPTS: dict[str, str | dict[str, Any]] = {
    "folder": "people",
    "slash": "people/",
    "dotted": "./people/more",
    "pattern": {"path": "people", "pattern": "*.png"},
    "deep": {"path": "people", "pattern": "**/*.png"},
    "inner": {"path": "people", "pattern": "more/*"},
    "no match": {"path": "people", "pattern": "z*"},
    "files": {"path": "people", "files": ("c.webp", "b.png", "more/d.png")},
    "hidden": {"path": "people", "files": (".hidden.png",)},
    "other": {"path": "odd", "files": ("listed.dat",)},
    "root": {"files": ("cars/a.png",)},
}


def resolved(
    concept: str | Mapping[str, Any], root: Path | Url, cache: Path, *, offline: bool = False
) -> StimulusSet:
    """Return the set that a new run finds."""
    files = concept if isinstance(concept, str) else ConceptFiles(**concept)
    return resolve_concept("c", files, root, mirror=Mirror(folder=cache, offline=offline))


def shown(stimuli: StimulusSet) -> tuple[object, ...]:
    """Return everything about a set but the folder of its files."""
    names = [(stimulus.name, stimulus.digest) for stimulus in stimuli.stimuli]
    return names, stimuli.others, stimuli.digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "stimuli" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {name}".encode())
    return tmp_path / "stimuli"


class TestFolders:
    @pytest.mark.parametrize("concept", CONCEPTS.values(), ids=CONCEPTS)
    @pytest.mark.parametrize("kind", ["file", "memory"])
    def test_a_set_equals_that_of_a_local_folder(
        self, folder: Path, tmp_path: Path, memory: Memory, concept: str, kind: str
    ) -> None:
        for name in NAMES:
            memory.put(name, (folder / name).read_bytes())
        url = Url(folder.as_uri() if kind == "file" else memory.url)
        for other in (concept, "people", concept):
            here = shown(resolved(other, folder, tmp_path))
            assert shown(resolved(other, url, tmp_path / "cache")) == here

    def test_only_changed_and_lost_files_are_downloaded_again(
        self, folder: Path, tmp_path: Path, fetched: list[str]
    ) -> None:
        url, cache = Url(folder.as_uri()), tmp_path / "cache"
        for _ in range(2):
            first = resolved("people", url, cache)
        assert sorted(fetched) == ["a.JPG", "b.png", "c.webp", "x[1].png", "ü ä#1?.png"]
        fetched.clear()
        paths = {stimulus.name: stimulus.path for stimulus in first.stimuli}
        for name in ("people/c.webp", "people/x[1].png"):
            path = paths[name]
            assert path is not None
            path.write_bytes(b"cut") if name.endswith("webp") else path.unlink()
        (folder / "people/b.png").write_bytes(b"longer content than before")
        (folder / "people/new.png").write_bytes(b"new")
        (folder / "people/a.JPG").unlink()
        shutil.rmtree(folder / "people/more")
        again = resolved("people", url, cache)
        assert shown(again) == shown(resolved("people", folder, tmp_path))
        assert sorted(fetched) == ["b.png", "c.webp", "new.png", "x[1].png"]

    def test_a_run_that_broke_off_goes_on(
        self,
        folder: Path,
        tmp_path: Path,
        fetched: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        url, cache = Url(folder.as_uri()), tmp_path / "cache"
        note = Store.fetch

        def fail(store: Store, entry: Entry, target: Path) -> None:
            if entry.name.startswith("ü"):  # the last one
                raise StorageError("the line is down")
            note(store, entry, target)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "fetch", fail)
            with pytest.raises(StorageError, match="the line is down"):
                resolved("people", url, cache)
        assert len(fetched) == 4
        fetched.clear()
        assert len(resolved("people", url, cache)) == 5
        assert fetched == ["ü ä#1?.png"]

    def test_offline_a_set_is_whole_or_refused(
        self, folder: Path, tmp_path: Path, far: None
    ) -> None:
        url, cache = Url(folder.as_uri()), tmp_path / "cache"
        with pytest.raises(StorageError, match="offline"):
            resolved("people", url, cache, offline=True)
        online = resolved("people", url, cache)
        shutil.rmtree(folder)
        assert shown(resolved("people", url, cache, offline=True)) == shown(online)
        with pytest.raises(StorageError, match="offline"):
            resolved("cars", url, cache, offline=True)
        assert online.stimuli[0].path is not None
        online.stimuli[0].path.unlink()
        with pytest.raises(StorageError, match="offline"):
            resolved("people", url, cache, offline=True)

    @pytest.mark.parametrize(
        "concept",
        [
            "../other",
            {"path": "people", "pattern": "../../*"},
            {"path": "people", "pattern": "/etc/*"},
            {"path": "people", "files": ("../../x.png",)},
            {"path": "people", "files": ("/etc/hostname",)},
            {"path": "people", "files": ("gone.png",)},
            "s3://bucket/people",
            "people/b.png",
            "nothing",
        ],
    )
    def test_what_is_not_below_the_root_is_refused(
        self, folder: Path, tmp_path: Path, concept: str
    ) -> None:
        cache = tmp_path / "cache"
        with pytest.raises((StorageError, StimulusError)):
            resolved(concept, Url(folder.as_uri()), cache)
        assert not [path for path in cache.rglob("*") if path.suffix in (".png", ".part")]

    @pytest.mark.parametrize("name", ["../../../evil.png", "a/../b.png", "x" * 256])
    def test_a_store_that_lists_unsafe_names_writes_nothing(
        self, tmp_path: Path, memory: Memory, name: str
    ) -> None:
        memory.put("people/a.png", b"content")
        mirror = Mirror(folder=tmp_path / "cache")
        with pytest.raises(StorageError, match="name of a file"):
            mirror.select(Url(memory.url), "people", "", lambda folder: ([folder / name], []))
        assert not [*tmp_path.rglob("*.png")]

    def test_an_absolute_path_is_of_this_machine(
        self, folder: Path, tmp_path: Path, memory: Memory
    ) -> None:
        concept = str(folder / "people")
        here = shown(resolved(concept, tmp_path / "elsewhere", tmp_path))
        assert shown(resolved(concept, Url(memory.url), tmp_path / "cache")) == here
