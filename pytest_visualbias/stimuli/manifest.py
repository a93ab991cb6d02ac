"""Read manifests of a suite's stimuli, and refuse lines that are not safe to follow."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_visualbias.errors import FetchError, LocatedFault, SpecError
from pytest_visualbias.spec.suites import shipped_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LEDGER = "FETCHED.json"  # the record of downloads
UNKNOWN = "-"
COLUMNS = 4
DIGEST = re.compile(r"[0-9a-f]{64}")
SIZE = re.compile(r"[1-9][0-9]{0,14}")
WANTED = "path, URL, sha256 and size, separated by tabs, '-' for what is not known"
SCHEMES = ("http", "https")
MAX_NAME = 255  # bytes, in every common file system

# Windows opens these as devices, whatever their suffix.
DEVICES = frozenset(
    {"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestEntry:
    """A file of the stimuli."""

    path: str
    url: str | None
    sha256: str | None
    size: int | None
    note: str = ""
    line: int = 0

    @property
    def folder(self) -> str:
        """The folder of the file."""
        return self.path.rpartition("/")[0]


def manifest_name(suite: str) -> str:
    """Return the file name of a suite's manifest."""
    return f"{suite}.tsv"


def read_manifest(suite: str) -> tuple[ManifestEntry, ...]:
    """Return the files in the manifest of a shipped suite; none if it has no manifest."""
    path = shipped_folder("data") / "manifests" / manifest_name(suite)
    if not path.is_file():
        return ()
    return parse_manifest(path.read_text(encoding="utf-8"), file=path.name)


def load_manifest(path: Path) -> tuple[ManifestEntry, ...]:
    """Return the files in a user's manifest."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FetchError(f"{path}: is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})", "correct the path") from None
    entries = parse_manifest(text, file=str(path))
    if not entries:
        raise FetchError(f"{path}: lists no file", "write a line for each")
    check_manifest(entries, file=str(path))
    return entries


def parse_manifest(text: str, *, file: str) -> tuple[ManifestEntry, ...]:
    """Parse the text of a manifest."""
    entries: list[ManifestEntry] = []
    faults: list[LocatedFault] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("\t")
        if fault := _line_fault(columns):
            faults.append(LocatedFault(file=file, line=number, problem=fault[0], remedy=fault[1]))
        else:
            entries.append(_entry(columns, number))
    if faults:
        raise SpecError(faults)
    return tuple(entries)


def _line_fault(columns: list[str]) -> tuple[str, str] | None:
    """Return what is wrong with a line and what to write; None if nothing is."""
    if len(columns) < COLUMNS:
        return f"has {len(columns)} of {COLUMNS} columns", f"write {WANTED}"
    path, _, digest, size = columns[:COLUMNS]
    if path in ("", UNKNOWN):
        return "has no path", "write one below the folder of the stimuli"
    if digest != UNKNOWN and not DIGEST.fullmatch(digest):
        return f"'{digest}' is not a sha256", f"write its 64 digits (0-9, a-f), or '{UNKNOWN}'"
    if size != UNKNOWN and not SIZE.fullmatch(size):
        return f"'{size}' is not a number of bytes", f"write one, or '{UNKNOWN}'"
    return None


def _entry(columns: list[str], number: int) -> ManifestEntry:
    path, url, digest, size = columns[:COLUMNS]
    return ManifestEntry(
        path=path,
        url=None if url in ("", UNKNOWN) else url,
        sha256=None if digest == UNKNOWN else digest,
        size=None if size == UNKNOWN else int(size),
        note=" ".join(column for column in columns[COLUMNS:] if column),
        line=number,
    )


def check_manifest(entries: Sequence[ManifestEntry], *, file: str) -> None:
    """Raise if a path leaves the folder, or a URL is not one of http or https."""
    faults = sorted(
        [*_entry_faults(entries), *_collisions(entries)], key=lambda fault: fault[0].line
    )
    if faults:
        raise SpecError(
            [
                LocatedFault(file=file, line=entry.line, place=entry.path, problem=problem)
                for entry, problem in faults
            ]
        )


def _entry_faults(entries: Sequence[ManifestEntry]) -> Iterator[tuple[ManifestEntry, str]]:
    for entry in entries:
        if fault := _path_fault(entry.path):
            yield entry, f"{fault}; write a path below the folder of the stimuli"
        if entry.url is not None and (fault := url_fault(entry.url)):
            yield entry, fault


def _collisions(entries: Sequence[ManifestEntry]) -> Iterator[tuple[ManifestEntry, str]]:
    """Yield the lines that some file systems cannot hold beside another line."""
    names = [_folded(entry.path) for entry in entries]
    folders = {name[:at] for name in names for at, sign in enumerate(name) if sign == "/"}
    first_lines: dict[str, int] = {}
    for entry, name in zip(entries, names, strict=True):
        if name in first_lines:
            yield entry, f"is in line {first_lines[name]} already; remove one of them"
        first_lines.setdefault(name, entry.line)
        if name in folders:
            yield entry, "is a file here and a folder elsewhere; rename one of them"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _path_fault(path: str) -> str:
    if not path.isprintable():
        return "has characters that cannot be printed"
    if "\\" in path or ":" in path:
        return "has '\\' or ':', which mean another place on some systems"
    if path.startswith("/"):
        return "is absolute"
    if _folded(path) == LEDGER.casefold():
        return "is the record of the download"
    return next(filter(None, map(_name_fault, path.split("/"))), "")


def _name_fault(name: str) -> str:
    if name in ("", ".", ".."):
        return f"has a part '{name}'"
    if name.startswith(".") or name.endswith((".", " ")):
        return f"has a part '{name}', which is hidden or renamed on some systems"
    if name.split(".", maxsplit=1)[0].lower() in DEVICES:
        return f"has a part '{name}', which is a device on some systems"
    if len(name.encode()) > MAX_NAME:
        return f"has a part of more than {MAX_NAME} bytes"
    return ""


def url_fault(url: str) -> str:
    """Return what is wrong with a URL and what to do; nothing if it is right."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return f"'{url}' has characters that a URL cannot have; write them as %XX"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"'{url}' is not a URL ({error}); correct it"
    if parts.scheme not in SCHEMES or not host:
        return f"'{url}' is not of http or https; write such a URL"
    if parts.username is not None or parts.password is not None:
        return f"the URL of {host} contains a password; remove it"
    if parts.fragment:
        return f"'{url}' has a '#': archives are not unpacked; write the URL of the file"
    return ""
