"""Download the published stimuli of a suite into a folder, and verify them."""

from __future__ import annotations

import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import filelock
from PIL import Image

from pytest_visualbias.errors import FetchError
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.manifest import LEDGER
from pytest_visualbias.stimuli.transfer import (
    TOOL,
    WORK,
    Absence,
    Checked,
    GoneError,
    Ledger,
    Record,
    Request,
    UnreachedError,
    download_file,
    new_record,
    now,
    read_ledger,
    unwritable,
    write_ledger,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.stimuli.manifest import ManifestEntry
    from pytest_visualbias.stimuli.transfer import DownloadOptions

PARTS = "parts"
LOCK_TIMEOUT = 0.1  # seconds
MAX_UNREACHED = 5  # files in a row without an answer: the network is at fault
REPLACE = "remove it, and fetch it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorSite:
    """Another place of the same files."""

    prefix: str
    place: str

    def url(self, url: str) -> str | None:
        """Return the URL of a file at this mirror; None if the mirror does not have it."""
        if self.prefix:
            return self.place + url[len(self.prefix) :] if url.startswith(self.prefix) else None
        parts = urlsplit(url)
        return self.place.rstrip("/") + url.removeprefix(f"{parts.scheme}://{parts.netloc}")


def mirrored(url: str, mirrors: Sequence[MirrorSite]) -> str:
    """Return the URL at the first mirror that has the file, else the URL itself."""
    return next((other for mirror in mirrors if (other := mirror.url(url)) is not None), url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """The stimuli of one suite and their folder."""

    name: str
    title: str
    source: str
    licence: str
    citation: str
    manifest: str
    folder: Path
    entries: tuple[ManifestEntry, ...]


@dataclass(slots=True)
class Inventory:
    """The state of the files in a manifest."""

    records: dict[str, Record] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)
    wanted: list[Request] = field(default_factory=list)
    absent: list[ManifestEntry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    fetched: int = 0
    untried: int = 0
    misnamed: list[str] = field(default_factory=list)


class Progress(Protocol):
    """Shows the progress of a download."""

    def wait(self) -> None:
        """Say that another process uses the folder."""

    def begin(self, total: int) -> None:
        """Begin the download of `total` files."""

    def step(self, size: int) -> None:
        """Count a file of `size` bytes."""


def take_inventory(
    entries: Sequence[ManifestEntry],
    folder: Path,
    records: Mapping[str, Record],
    mirrors: Sequence[MirrorSite] = (),
) -> Inventory:
    """Verify the files that exist; change nothing."""
    inventory = Inventory()
    for entry in entries:
        record = records.get(entry.path)
        try:
            path = _path(folder, entry.path)
            if path.exists():
                inventory.records[entry.path] = _verified(entry, path, record)
                if record is None:
                    inventory.unrecorded.append(entry.path)
            elif entry.url is None:
                inventory.absent.append(entry)
            else:
                url = mirrored(entry.url, mirrors)
                inventory.wanted.append(Request(entry=entry, url=url, first=record))
        except FetchError as error:
            inventory.refused[entry.path] = str(error)
        except OSError as error:
            inventory.refused[entry.path] = f"cannot be read ({error.strerror}); permit it"
    return inventory


def _path(folder: Path, name: str) -> Path:
    """Return the path of a file; refuse links, files and folders in its way."""
    target = folder / name
    for path in (target, *target.parents[: name.count("/")]):
        if path.is_symlink():
            raise FetchError(f"{path} is a link", "remove it")
        if path.exists() and path.is_dir() == (path == target):
            kind = "a folder" if path == target else "not a folder"
            raise FetchError(f"{path} is {kind}", "move it away")
    return target


def _verified(entry: ManifestEntry, path: Path, record: Record | None) -> Record:
    """Return the record of an existing file; raise if the file is wrong."""
    digest, size = digest_of_file(path), path.stat().st_size
    if entry.sha256 not in (None, digest) or entry.size not in (None, size):
        raise FetchError("is not the file of the manifest", REPLACE)
    if record is None:
        try:
            return new_record(entry, path)
        except FetchError as error:
            raise FetchError(error.problem, REPLACE) from None
    if record.sha256 == digest or entry.sha256 is not None:
        checked: Checked = "manifest" if entry.sha256 is not None else "first use"
        return record.model_copy(update={"checked": checked, "sha256": digest, "size": size})
    raise FetchError(
        f"has changed since {record.date}",
        f"{REPLACE}; to keep it, remove its entry from {LEDGER}",
    )


def fetch(
    download: Download, options: DownloadOptions, mirrors: Sequence[MirrorSite], progress: Progress
) -> Inventory:
    """Download the missing stimuli of a suite, and verify the others."""
    folder = download.folder
    try:
        with _locked(folder / WORK, progress.wait):
            ledger = _ledger(download)
            inventory = take_inventory(download.entries, folder, ledger.files, mirrors)
            ledger.files.update(inventory.records)
            wanted = {request.entry.path for request in inventory.wanted}
            ledger.due[:] = sorted(({*ledger.due} - inventory.records.keys()) | wanted)
            write_ledger(folder, ledger)
            shutil.rmtree(folder / WORK / PARTS, ignore_errors=True)  # left by a killed process
            progress.begin(len(wanted))
            _fetch_wanted(_Target(folder, ledger, inventory), options, progress)
    except OSError as error:
        raise unwritable(folder, error) from None
    return inventory


@contextlib.contextmanager
def _locked(folder: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a folder; call `wait` if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=LOCK_TIMEOUT)
    except filelock.Timeout:
        wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _ledger(download: Download) -> Ledger:
    """Return the record of the folder, with what the suite states now."""
    old = read_ledger(download.folder)
    if old is not None and old.suite != download.name:
        raise FetchError(
            f"{download.folder}: holds the files of the suite '{old.suite}'",
            "choose another folder with --data",
        )
    is_accepted = old is not None and old.licence == download.licence
    return Ledger(
        version=1,
        suite=download.name,
        title=download.title,
        source=download.source,
        licence=download.licence,
        citation=download.citation,
        manifest=download.manifest,
        accepted=old.accepted if old is not None and is_accepted else now(),
        tool=TOOL,
        files=old.files if old is not None else {},
        gone=old.gone if old is not None else {},
        due=old.due if old is not None else [],
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """The folder of a download, and what is recorded about it."""

    folder: Path
    ledger: Ledger
    inventory: Inventory

    def place(self, request: Request, part: Path, record: Record) -> None:
        """Record a file, then put it into its place."""
        path = request.entry.path
        target = _path(self.folder, path)
        if Image.registered_extensions().get(target.suffix.lower()) != record.format:
            self.inventory.misnamed.append(path)
        self.ledger.files[path] = record
        self.ledger.gone.pop(path, None)
        # In this order: a process killed in between fetches the file again.
        self._finish(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        self.inventory.records[path] = record
        self.inventory.fetched += 1

    def refuse(self, request: Request, error: FetchError) -> None:
        """Note why a file did not come."""
        path = request.entry.path
        self.inventory.refused[path] = f"{error.problem} ({request.url}); {error.remedy}"
        if isinstance(error, GoneError):
            absence = Absence(url=request.url, date=now(), reason=error.problem)
            self.ledger.gone[path] = absence
            self._finish(path)

    def _finish(self, path: str) -> None:
        self.ledger.due.remove(path)
        write_ledger(self.folder, self.ledger)


def _fetch_wanted(target: _Target, options: DownloadOptions, progress: Progress) -> None:
    """Download files several at a time; give up if no server can be reached."""
    stop = threading.Event()
    parts = target.folder / WORK / PARTS
    wanted = target.inventory.wanted
    unreached = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        tasks = {
            pool.submit(download_file, request, parts, options, stop): request for request in wanted
        }
        try:
            for number, task in enumerate(as_completed(tasks), 1):
                try:
                    part, record = task.result()
                    target.place(tasks[task], part, record)
                    progress.step(record.size)
                    unreached = 0
                except FetchError as error:
                    target.refuse(tasks[task], error)
                    progress.step(0)
                    unreached = unreached + 1 if isinstance(error, UnreachedError) else 0
                if unreached == MAX_UNREACHED:
                    target.inventory.untried = len(wanted) - number
                    return
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
