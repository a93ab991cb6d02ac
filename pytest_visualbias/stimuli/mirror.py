"""Keep local copies of files at URLs, one for each version of their content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote import entry_of, open_store

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from pytest_visualbias.stimuli.remote import Entry, Store

FETCHED = "fetched"
MATCHES, INDEX, TREE = "matches.json", "tree.json", "tree"
THREADS = 8
SHORT = 16
MAX_NAME = 255  # bytes, in every common file system
FORBIDDEN = "\0/" if os.sep == "/" else "\0/\\:"
OFFLINE = "and this run is offline; fetch it once with a network"
Result = TypeVar("Result")
Choose = Callable[[Any], tuple[list[Any], list[Any]]]


class TemporaryFolder:
    """A folder that is removed with this object, or when Python ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="visualbias-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The files chosen in a folder at a URL, copied, and the names of the others."""

    root: Path
    paths: tuple[Path, ...]
    others: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Mirror:
    """Copies files from URLs, once for each version."""

    folder: Path | None = None
    offline: bool = False
    _origins: dict[Path, Url] = field(default_factory=dict, repr=False)
    _temporary: TemporaryFolder | None = field(default=None, repr=False)
    _results: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def files(self, text: str) -> list[Path]:
        """Return local copies of the file at a URL, or of all files that a pattern matches."""
        url = Url(text)
        copy = self._matching if url.has_magic else self._single
        return self._once(text, lambda: copy(url))

    def file(self, url: Url) -> Path:
        """Return a local copy of the file at a URL."""
        if url.has_magic:
            raise StorageError(f"{url} is a pattern", "name one file")
        return self.files(url.text)[0]

    def origin(self, path: Path) -> str:
        """Return the URL of a local copy, without credentials; nothing for other files."""
        return self._origins[path].shown if path in self._origins else ""

    def select(self, url: Url, path: str, key: str, choose: Choose) -> Selection:
        """Return local copies of the files that `choose` selects in a folder below a URL.

        `choose` returns paths of universal_pathlib: those to copy, and others whose names matter.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        inner = "/".join(_safe_name(part, url) for part in parts)
        return self._once((url.text, inner, key), lambda: self._select(url, inner, key, choose))

    def _once(self, key: Hashable, find: Callable[[], Result]) -> Result:
        """Return the result of the first call, or raise its error again: requests take time."""
        if key not in self._results:
            try:
                self._results[key] = find()
            except StorageError as error:
                self._results[key] = error
        result: Result = self._results[key]
        if isinstance(result, StorageError):
            raise result
        return result

    def _is_unreachable(self, url: Url) -> bool:
        return self.offline and not url.is_near

    def _single(self, url: Url) -> list[Path]:
        if self._is_unreachable(url):
            return [self._latest(url)]
        store = open_store(url)
        entry = store.entry()
        if entry.is_folder:
            raise StorageError(f"{url} is a folder", f"name a file, or a pattern like {url / '*'}")
        return [self._copy(url, store, entry, url.name)]  # an entry's name may end in a signature

    def _matching(self, url: Url) -> list[Path]:
        index = self._home(url) / MATCHES
        if self._is_unreachable(url):
            names = _read_json(index)
            if not names:
                raise StorageError(f"{url} was not fetched yet, {OFFLINE}")
            return [self._latest(Url(str(name))) for name in names]
        store = open_store(url)
        matches = [(Url(store.url_of(entry)), entry) for entry in store.matching()]
        if not matches:
            raise StorageError(f"{url} matches no file", "correct the pattern", is_missing=True)
        paths = [self._copy(match, store, entry, entry.name) for match, entry in matches]
        with self._alone(url):
            _write_json(index, [match.text for match, _ in matches])
        return paths

    def _copy(self, url: Url, store: Store, entry: Entry, name: str) -> Path:
        # Without a stamp, nothing tells one content from another: it is downloaded every time.
        version = _digest(entry.stamp or os.urandom(SHORT).hex())[:SHORT]
        path = self._home(url) / version / _safe_name(name, url)
        with self._alone(url):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_whole(path, entry.size):
                store.fetch(entry, path)
            os.utime(path.parent)  # the version that an offline run uses
        self._origins[path] = url
        return path

    def _latest(self, url: Url) -> Path:
        """Return the copy that was used last."""
        versions = self._home(url).glob("*")
        copies = [copy for version in versions if (copy := version / url.name).is_file()]
        if not copies:
            raise StorageError(f"{url} was not fetched yet, {OFFLINE}")
        path = max(copies, key=lambda copy: copy.parent.stat().st_mtime_ns)
        self._origins[path] = url
        return path

    def _select(self, url: Url, path: str, key: str, choose: Choose) -> Selection:
        index_file, tree = self._home(url) / INDEX, self._home(url) / TREE
        part = json.dumps([path, key])
        if self._is_unreachable(url):
            index = _Index.read(index_file)
            names = index.parts.get(part, ([],))[0]
            if part not in index.parts or not all(index.has(tree, name) for name in names):
                raise StorageError(f"{url / path} was not fetched whole yet, {OFFLINE}")
        else:
            store = open_store(url / path if path else url)
            with self._alone(url):
                index = _Index.read(index_file)
                with store.faults("read"):
                    entries, others = _choose(store, path, choose)
                try:
                    index.update(tree, store, entries)
                    index.parts[part] = ([*entries], others)
                finally:
                    index.write(index_file)
        names, others = index.parts[part]
        return Selection(
            root=tree, paths=tuple(tree / name for name in names), others=tuple(others)
        )

    def _home(self, url: Url) -> Path:
        """Return the folder for all copies of a URL."""
        if self.folder is None and self._temporary is None:
            self._temporary = TemporaryFolder()
        root = self.folder if self._temporary is None else self._temporary.folder
        assert root is not None  # noqa: S101 - for the type checker
        return root / FETCHED / _digest(url.without_signature)

    @contextlib.contextmanager
    def _alone(self, url: Url) -> Iterator[None]:
        """Let one process of this machine at a time change the copies of a URL."""
        home = self._home(url)
        try:
            home.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as held:
                # Some file systems have no locks; then a file may be downloaded twice.
                with contextlib.suppress(NotImplementedError):
                    held.enter_context(filelock.FileLock(home / ".lock"))
                yield
                os.utime(home)  # used now, as far as pruning is concerned
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StorageError(
                f"{home} cannot be written ({reason})", "choose another --visualbias-cache"
            ) from None


@dataclass(kw_only=True, slots=True)
class _Index:
    """The copied files of a folder: stamp and size by name, and the parts that are whole."""

    files: dict[str, list[Any]] = field(default_factory=dict)
    parts: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Index:
        stored = _read_json(path)
        is_sound = isinstance(stored, dict) and stored.keys() == {"files", "parts"}
        return cls(**stored) if is_sound else cls()

    def write(self, path: Path) -> None:
        _write_json(path, {"files": self.files, "parts": self.parts})

    def has(self, tree: Path, name: str) -> bool:
        """Return whether the copy of a file is whole."""
        return name in self.files and _is_whole(tree / name, self.files[name][1])

    def update(self, tree: Path, store: Store, entries: Mapping[str, Entry]) -> None:
        """Download the files that changed."""

        def fetch(name: str) -> None:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            store.fetch(entries[name], tree / name)
            self.files[name] = [entries[name].stamp, entries[name].size]

        changed = [
            name
            for name, entry in entries.items()
            if not entry.stamp
            or self.files.get(name) != [entry.stamp, entry.size]
            or not self.has(tree, name)
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(fetch, changed):
                pass


def _choose(store: Store, path: str, choose: Choose) -> tuple[dict[str, Entry], list[str]]:
    """Return the chosen files by their path below the URL, and the names of the others."""
    from upath import UPath

    url = store.files.unstrip_protocol(store.root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about stores that it does not know by name
        folder = UPath(url, **store.files.storage_options)
    if not store.entry().is_folder and not folder.is_dir():  # over HTTP, a folder is a page
        raise StorageError(f"{store.url} is not a folder", "correct the URL or the path")
    chosen, others = choose(folder)
    # Some stores list the folder itself, as an empty object in it.
    others = [file for file in others if file.name != folder.name or file.exists()]
    names = [
        "/".join(_safe_name(part, store.url) for part in file.relative_to(folder).parts)
        for file in chosen
    ]
    entries = {}
    for name, file in zip(names, chosen, strict=True):
        with store.faults("read", file.path):
            entries[f"{path}/{name}" if path else name] = entry_of(file.fs.info(file.path))
    return entries, [f"{file.name}/" if file.is_dir() else file.name for file in others]


def _safe_name(name: str, url: Url) -> str:
    """Return a name that leads to no other folder."""
    is_long = len(name.encode("utf-8", "surrogateescape")) > MAX_NAME
    if name in ("", ".", "..") or is_long or any(sign in name for sign in FORBIDDEN):
        shown = f"{name[:40]}..." if is_long else name
        raise StorageError(f"{url}: '{shown}' cannot be the name of a file here", "rename it there")
    return name


def _is_whole(path: Path, size: int | None) -> bool:
    try:
        return path.stat().st_size == size or size is None
    except OSError:
        return False


def _read_json(path: Path) -> Any:  # noqa: ANN401
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None


def _write_json(path: Path, content: object) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(content), encoding="ascii")
    part.replace(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
