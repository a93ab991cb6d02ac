"""What a store says of one thing in it, in the same words for all stores."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What fsspec's file systems call the thing that changes with the content.
STAMPS = (
    *("ETag", "etag", "e_tag", "md5Hash", "content_md5", "Content-MD5", "checksum", "blob_id"),
    *("sha256", "version_id", "VersionId", "generation", "LastModified", "last_modified"),
    *("Last-Modified", "updated", "mtime", "last_commit", "created"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a store says of one thing in it."""

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
    """Return what the information of a file system of fsspec says."""
    stamp = next((f"{key}={info[key]}" for key in STAMPS if info.get(key)), "")
    size = info.get("size")
    is_folder = info.get("type") == "directory" or str(info["name"]).endswith("/")
    return Entry(
        path=str(info["name"]),
        size=int(size) if isinstance(size, int | float) and not is_folder else None,
        stamp="" if is_folder else f"{stamp} {size}".strip() if stamp else "",
        is_folder=is_folder,
        changed=_moment(info),
    )


def _moment(info: Mapping[str, Any]) -> float:
    for key in ("LastModified", "last_modified", "updated", "mtime", "created"):
        found = info.get(key)
        if isinstance(found, int | float):
            return float(found)
        if isinstance(found, dt.datetime):
            return found.timestamp()
    return 0.0
