"""Cache digests of files by size and time."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import filelock

from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIGESTS_FILE = "digests.json"
VERSION = 1

# As git does: an edit within one tick of the file system's clock leaves the times as they are, so
# what was hashed this soon after a change is hashed again. The coarsest clock has ticks of 2 s.
SETTLED_NS = 2_000_000_000
MAX_ENTRIES = 200_000
LOCK_TIMEOUT_S = 10.0
Stamp: TypeAlias = tuple[int, ...]
Entry: TypeAlias = tuple[Stamp, str]


@dataclass(kw_only=True, slots=True)
class DigestCache:
    """Digests by path, valid while size, times and inode of the file are unchanged."""

    file: Path | None = None
    rehash: bool = False
    clock: Callable[[], int] = time.time_ns
    _known: dict[str, Entry] | None = field(default=None, repr=False)
    _fresh: dict[str, Entry] = field(default_factory=dict, repr=False)

    @classmethod
    def inside(cls, folder: Path | None, *, rehash: bool = False) -> DigestCache:
        """Return the digest cache of a cache folder."""
        return cls(file=None if folder is None else folder / DIGESTS_FILE, rehash=rehash)

    def of(self, path: Path) -> str:
        """Return the sha256 of a file's bytes, in hex; read the file only if it changed."""
        # Both are taken before the bytes, so that an edit meanwhile is later than either.
        moment, stamp = self.clock(), _file_stamp(path)
        name = str(path.absolute())
        if (entry := self._find(name)) is not None and entry[0] == stamp:
            return entry[1]
        digest = digest_of_file(path)
        _, modified, changed, _ = stamp
        if max(modified, changed) <= moment - SETTLED_NS:
            self._fresh[name] = (stamp, digest)
        return digest

    def save(self) -> None:
        """Add the new digests to the file; ignore errors, which cost time only."""
        if self.file is None or not self._fresh:
            return
        # filelock has a NotImplementedError for file systems without locks.
        with contextlib.suppress(OSError, NotImplementedError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self.file}.lock", timeout=LOCK_TIMEOUT_S):
                _write(self.file, _merge(_read(self.file), self._fresh))
            self._known, self._fresh = {**(self._known or {}), **self._fresh}, {}

    def _find(self, name: str) -> Entry | None:
        if self._known is None:
            self._known = {} if self.file is None or self.rehash else _read(self.file)
        return self._fresh.get(name) or self._known.get(name)


def _file_stamp(path: Path) -> Stamp:
    status = path.stat()
    # Setting the time of modification back changes the other one; a renamed file has its inode.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _merge(old: Mapping[str, Entry], fresh: Mapping[str, Entry]) -> dict[str, Entry]:
    """Join old and fresh digests; drop deleted files and the oldest of too many."""
    kept = {
        name: entry
        for name, entry in old.items()
        # Path.exists raises where a folder must not be entered.
        if name not in fresh and os.path.exists(name)  # noqa: PTH110
    }
    return dict([*kept.items(), *fresh.items()][-MAX_ENTRIES:])


def _read(file: Path) -> dict[str, Entry]:
    """Return the digests in a file; none if it is missing, damaged or unreadable."""
    try:
        stored = json.loads(file.read_text(encoding="ascii"))
        files = stored["files"]
        if stored["version"] != VERSION or stored["sha256"] != digest_of_mapping(files):
            return {}
        return {name: (tuple(stamp), digest) for name, (stamp, digest) in files.items()}
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
        return {}


def _write(file: Path, files: Mapping[str, Entry]) -> None:
    """Write a file atomically."""
    content = {"version": VERSION, "sha256": digest_of_mapping(files), "files": files}
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=DIGESTS_FILE, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            json.dump(content, stream)
        Path(temporary).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
