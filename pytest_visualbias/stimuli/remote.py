"""Read and write files at URLs through fsspec, with errors that show no credentials."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.errors import StorageError, VisualBiasError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.spec.urls import Url

# In these URLs the host is a bucket, and a user and password before it would be part of its name.
BUCKETS = ("s3", "s3a", "r2", "gs", "gcs", "hf")

# A write to these is visible whole or not at all; elsewhere a file is moved to its name.
ATOMIC = (*BUCKETS, "az", "abfs", "abfss", "adl", "oss", "memory")

# A dead address costs a minute at most, unless the user configures fsspec otherwise.
TIMEOUTS: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 2, "mode": "standard"},
}
ATTEMPTS = 2

# The keys in which stores state what changes with the content.
STAMPS = (
    *("ETag", "etag", "e_tag", "md5Hash", "content_md5", "Content-MD5", "checksum", "blob_id"),
    *("sha256", "version_id", "VersionId", "generation", "LastModified", "last_modified"),
    *("Last-Modified", "updated", "mtime", "last_commit", "created"),
)
TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")

UNREACHED = ("Connect", "Endpoint", "Timeout", "HTTPClient", "ServerDisconnected", "DNS")
FULL = (errno.ENOSPC, errno.EDQUOT)
FIRST_FAULT, GONE, FORBIDDEN = 400, (404, 410), (401, 403, 407)
OFFLINE = "or stay offline (pytest --visualbias-offline, visualbias embed --offline)"


class WrongSizeError(OSError):
    """A download has another size than the store states."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or folder in a store."""

    path: str
    size: int | None
    stamp: str
    is_folder: bool = False
    changed: float = 0.0

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]


def entry_of(info: Mapping[str, Any]) -> Entry:
    """Return the entry that fsspec describes."""
    stamp = next((f"{key}={info[key]}" for key in STAMPS if info.get(key)), "")
    times = [info[key] for key in TIMES if isinstance(info.get(key), dt.datetime | int | float)]
    time = times[0] if times else 0.0
    is_folder = info.get("type") == "directory" or str(info["name"]).endswith("/")
    size = None if is_folder else info.get("size")
    return Entry(
        path=str(info["name"]),
        size=None if size is None else int(size),
        stamp="" if is_folder or not stamp else f"{stamp} {size}",
        is_folder=is_folder,
        changed=time.timestamp() if isinstance(time, dt.datetime) else float(time),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A file system of fsspec, and the path of a URL in it."""

    url: Url
    root: str
    files: Any

    def entry(self, path: str = "") -> Entry:
        """Return the entry of a path below the URL."""
        with self.faults("read", path):
            self.files.invalidate_cache()
            return entry_of(self.files.info(self._at(path)))

    def listing(self, path: str = "", *, deep: bool = False) -> list[Entry]:
        """Return the entries in a folder, or below it, sorted by path."""
        at = self._at(path)
        with self.faults("read", path):
            self.files.invalidate_cache()
            if deep:
                infos = [*self.files.find(at, detail=True, withdirs=True).values()]
                if not infos and not self.files.exists(at):
                    raise FileNotFoundError
            else:
                infos = self.files.ls(at, detail=True)
        # Some stores list the folder itself, as an empty object.
        inside = [e for e in map(entry_of, infos) if e.path.rstrip("/") != at.rstrip("/")]
        return sorted(inside, key=lambda entry: entry.path)

    def matching(self) -> list[Entry]:
        """Return the files that the URL, a pattern, matches."""
        with self.faults("read"):
            self.files.invalidate_cache()
            infos = self.files.glob(self.root, detail=True).values()
        entries = sorted(map(entry_of, infos), key=lambda entry: entry.path)
        return [entry for entry in entries if not entry.is_folder]

    def url_of(self, entry: Entry) -> str:
        """Return the URL of an entry."""
        return str(self.files.unstrip_protocol(entry.path))

    def fetch(self, entry: Entry, target: Path) -> None:
        """Download a file to its name, whole or not at all."""
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
        os.close(handle)
        try:
            with self.faults("read", entry.path):
                free = shutil.disk_usage(target.parent).free
                limit = _limit(free if entry.size is None else entry.size)
                self.files.get_file(entry.path, name, callback=limit)
                size = Path(name).stat().st_size
                if entry.size not in (None, size):
                    raise WrongSizeError(f"{size:,} bytes came instead of {entry.size:,}")
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)

    def read(self) -> bytes:
        """Return the bytes of the file."""
        with self.faults("read"):
            self.files.invalidate_cache()
            content: bytes = self.files.cat_file(self.root)
            return content

    def write(self, content: bytes, path: str = "") -> None:
        """Write a file, whole or not at all."""
        target = self._at(path)
        with self.faults("written", path):
            if self.url.scheme in ATOMIC:
                self.files.pipe_file(target, content)
                return
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            part = f"{target}.{secrets.token_hex(4)}.part"
            try:
                self.files.pipe_file(part, content)
                self.files.mv(part, target)
            except BaseException:
                with contextlib.suppress(Exception):
                    self.files.rm_file(part)
                raise

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files by their paths in the store."""
        if paths:
            with self.faults("removed"):
                self.files.rm([*paths])

    def _at(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    @contextlib.contextmanager
    def faults(self, operation: str, path: str = "") -> Iterator[None]:
        """Raise any error of a library as a `StorageError`."""
        below = path.removeprefix(self.root)
        shown = (self.url / below if below else self.url).shown
        try:
            yield
        except VisualBiasError:
            raise
        except Exception as error:  # noqa: BLE001 - stores raise whatever their library raises
            raise storage_error(error, shown, operation) from None


def open_store(url: Url) -> Store:
    """Return the store of a URL, without a request to it."""
    import fsspec
    import fsspec.core

    scheme = url.scheme
    if url.has_password and scheme in BUCKETS:
        raise StorageError(
            f"{url}: {scheme}:// takes no keys from the URL",
            "give them as environment variables or in the configuration of the store's package",
        )
    is_s3 = scheme in ("s3", "s3a")
    is_configured = not is_s3 or "config_kwargs" in fsspec.config.conf.get("s3", {})
    options = {} if is_configured else {"config_kwargs": TIMEOUTS}
    try:
        files, root = fsspec.core.url_to_fs(f"{scheme}{url.text[len(scheme) :]}", **options)
    except ImportError as error:
        raise StorageError(f"{url}: {scheme}:// needs another package ({error})") from None
    except Exception as error:  # noqa: BLE001 - of any library
        if scheme not in fsspec.available_protocols():
            raise StorageError(f"{url}: fsspec knows no {scheme}://", "correct the URL") from None
        raise storage_error(error, url.shown, "opened") from None
    if is_s3:
        files.retries = ATTEMPTS  # in addition to those of botocore
    return Store(url=url, root=str(root), files=files)


def _limit(size: int) -> Any:  # noqa: ANN401 - a class of fsspec, which is imported late
    """Return a callback of fsspec that stops a download of more bytes."""
    from fsspec.callbacks import Callback

    class Limit(Callback):  # type: ignore[misc] # untyped
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if self.value > size:
                raise WrongSizeError(f"more than {size:,} bytes came")

    return Limit()


def storage_error(error: BaseException, shown: str, operation: str) -> StorageError:
    """Return an error of a library in words of ours: its own may contain credentials."""
    causes = [*_causes(error)]
    status = next(filter(None, map(_status, causes)), 0)
    lost = next(filter(_is_lost, causes), None)
    code = next(filter(None, map(_code, causes)), f"HTTP {status}" if status else "")
    name = code or type(lost or error).__name__
    is_forbidden = isinstance(error, PermissionError) or status in FORBIDDEN
    is_absent = isinstance(error, FileNotFoundError)
    is_missing = (
        is_absent
        and lost is None
        and (status < FIRST_FAULT or status in GONE)
        and name != "NoSuchBucket"
    )
    if isinstance(error, WrongSizeError):
        reason, remedy = str(error), "try again, or upload the file again"
    elif isinstance(error, OSError) and error.errno in FULL:
        reason, remedy = "the disk is full", "free space"
    elif is_missing:
        reason, remedy = "nothing is there", "correct the URL"
    elif name == "NoSuchBucket":
        reason, remedy = f"there is no such bucket: {name}", "correct the URL"
    elif is_forbidden or "Credentials" in name or "Token" in name:
        unless = ", or nothing is there" if is_absent else ""  # servers do not tell strangers
        reason = f"access is refused{unless}: {name}"
        remedy = f"check {'the URL, ' if is_absent else ''}the credentials and their rights"
    elif lost is not None:
        reason = f"it cannot be reached: {name}"
        remedy = "check the address and the network" + (
            "" if operation == "written" else f", {OFFLINE}"
        )
    else:
        reason, remedy = name, "check the URL and the store"
    problem = f"{shown} cannot be {operation} ({reason})"
    return StorageError(problem, remedy, reason=f"{shown}: {reason}", is_missing=is_missing)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_lost(error: BaseException) -> bool:
    is_known = isinstance(error, ConnectionError | TimeoutError)
    return is_known or any(word in type(error).__name__ for word in UNREACHED)


def _code(error: BaseException) -> str:
    """Return the code of an object store, such as ``AccessDenied``."""
    answer = getattr(error, "response", None)
    code = str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""
    return code if code.isascii() and code.isalnum() else ""


def _status(error: BaseException) -> int:
    """Return the status of an HTTP answer."""
    answer = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(answer, "status_code", None)
    return status if isinstance(status, int) else 0
