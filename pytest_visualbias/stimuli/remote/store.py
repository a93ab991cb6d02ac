"""The few things that are asked of a store at a URL, each with its faults as one sentence."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_visualbias.errors import StorageError
from pytest_visualbias.stimuli.remote.credentials import KEYS
from pytest_visualbias.stimuli.remote.entries import entry_of
from pytest_visualbias.stimuli.remote.faults import UnfitError, fault_of
from pytest_visualbias.stimuli.remote.packages import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.spec.urls import Url
    from pytest_visualbias.stimuli.remote.entries import Entry

INSTALL = "install it with: pip install 'pytest-visualbias[remote]'"

# A put to these is seen whole or not at all; elsewhere a file is moved to its name.
WHOLE = ("s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "adl", "oss", "r2", "memory")

# An address that does not answer costs a minute at most; whoever sets other values is heeded.
PATIENCE: Final[dict[str, dict[str, Any]]] = {
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"total_max_attempts": 2, "mode": "standard"},
    }
}
ATTEMPTS = 2

# Of what does not say how large it is.
UNTOLD = 50_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A file system of fsspec, seen from one URL."""

    url: Url
    root: str
    _files: Any

    def entry(self, path: str = "") -> Entry:
        """Return what the store says of one path below the URL."""
        with self._faults("read", path):
            self._files.invalidate_cache()
            return entry_of(self._files.info(self._at(path)))

    def listing(self, path: str = "", *, deep: bool = False) -> list[Entry]:
        """Return what lies in a folder, or below it, in the order of names, by one call."""
        at = self._at(path)
        with self._faults("read", path):
            self._files.invalidate_cache()
            if deep:
                found = [*self._files.find(at, detail=True, withdirs=True).values()]
                if not found and not self._files.exists(at):
                    raise FileNotFoundError
            else:
                found = self._files.ls(at, detail=True)
        entries = (entry_of(one) for one in found)
        # Some stores list the folder itself, as an empty object that stands for it.
        inside = [entry for entry in entries if entry.path.rstrip("/") != at.rstrip("/")]
        return sorted(inside, key=lambda one: one.path)

    def matching(self) -> list[Entry]:
        """Return the files that the URL, a pattern, matches."""
        with self._faults("read", ""):
            self._files.invalidate_cache()
            found = self._files.glob(self.root, detail=True)
        entries = sorted((entry_of(one) for one in found.values()), key=lambda one: one.path)
        return [entry for entry in entries if not entry.is_folder]

    def url_of(self, entry: Entry) -> str:
        """Return the URL of something in the store."""
        return str(self._files.unstrip_protocol(entry.path))

    def fetch(self, entry: Entry, target: Path) -> None:
        """Bring a file whole, or not at all, with the size that the store says it has."""
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
        os.close(handle)
        try:
            with self._faults("read", entry.path):
                self._fill(entry, Path(name))
            Path(name).replace(target)
        finally:
            with contextlib.suppress(OSError):
                Path(name).unlink()

    def _fill(self, entry: Entry, part: Path) -> None:
        free = shutil.disk_usage(part.parent).free
        if entry.size is not None and entry.size > free:
            raise UnfitError(f"it has {entry.size:,} bytes, and {free:,} are free here")
        limit = min(free, UNTOLD) if entry.size is None else entry.size
        self._files.get_file(entry.path, str(part), callback=_bounded(limit))
        size = part.stat().st_size
        if entry.size is not None and size != entry.size:
            raise UnfitError(f"{size:,} bytes came in place of {entry.size:,}")

    def read(self, path: str = "") -> bytes:
        """Return the bytes of a file."""
        with self._faults("read", path):
            self._files.invalidate_cache()
            content: bytes = self._files.cat_file(self._at(path))
            return content

    def write(self, content: bytes, path: str = "") -> None:
        """Write a file so that it is there with all of its bytes or not at all."""
        goal = self._at(path)
        with self._faults("written", path):
            if self.url.scheme in WHOLE:
                self._files.pipe_file(goal, content)
                return
            self._files.makedirs(goal.rpartition("/")[0], exist_ok=True)
            part = f"{goal}.{secrets.token_hex(4)}.part"
            try:
                self._files.pipe_file(part, content)
                self._files.mv(part, goal)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._files.rm_file(part)
                raise

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files by the names that the store has for them."""
        if paths:
            with self._faults("removed", ""):
                self._files.rm([*paths])

    def _at(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    @contextlib.contextmanager
    def _faults(self, what: str, path: str) -> Iterator[None]:
        below = path.removeprefix(self.root)
        shown = (self.url / below if below else self.url).shown
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - stores raise whatever their library raises
            raise fault_of(error, shown, what) from None


def open_store(url: Url) -> Store:
    """Return the store of a URL; nothing is asked of it yet."""
    try:
        import fsspec
        import fsspec.core
        from fsspec.registry import known_implementations
    except ImportError:
        raise StorageError(f"{url}: URLs need fsspec", INSTALL) from None
    scheme = url.scheme
    if url.has_password and scheme in KEYS:
        raise StorageError(f"{url}: {scheme}:// takes no keys from the URL", KEYS[scheme])
    try:
        files, root = fsspec.core.url_to_fs(
            f"{scheme}{url.text[len(scheme) :]}", **_patience(scheme, fsspec.config.conf)
        )
    except ImportError:
        hint = known_implementations.get(scheme, {}).get("err", "")
        raise StorageError(f"{url}: {lacking(scheme, hint)}") from None
    except Exception as error:  # noqa: BLE001 - of any library
        if scheme not in fsspec.available_protocols():
            raise StorageError(f"{url}: fsspec knows no {scheme}://", "correct the URL") from None
        raise fault_of(error, url.shown, "opened") from None
    if scheme in ("s3", "s3a"):
        files.retries = ATTEMPTS  # on top of those of botocore
    return Store(url=url, root=str(root), _files=files)


def _patience(scheme: str, configured: Any) -> dict[str, Any]:  # noqa: ANN401 - fsspec's
    """Return bounds on waiting for an object store, where its configuration has none."""
    if scheme not in ("s3", "s3a") or "config_kwargs" in configured.get("s3", {}):
        return {}
    return PATIENCE


def _bounded(limit: int) -> Any:  # noqa: ANN401 - a class of fsspec, which is imported late
    """Return a callback of fsspec that stops a transfer which brings more than was said."""
    import fsspec.callbacks

    class Bounded(fsspec.callbacks.Callback):  # type: ignore[misc] # untyped
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if self.value > limit:
                raise UnfitError(f"more than {limit:,} bytes came")

    return Bounded()
