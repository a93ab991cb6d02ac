"""What a manifest may not say: paths that lead elsewhere, URLs that are none of ours to follow."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_visualbias.errors import FetchError, SpecError, printable
from pytest_visualbias.stimuli.fetching.ledger import LEDGER
from pytest_visualbias.stimuli.manifest import ManifestEntry, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCHEMES = ("http", "https")
LONGEST = 255  # bytes of a name, in every file system that is common

# What Windows opens as a device, whatever its suffix.
DEVICES = frozenset(
    {"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)


def load_manifest(path: Path) -> tuple[ManifestEntry, ...]:
    """Return the files that a manifest of the user's lists."""
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


def check_manifest(entries: Sequence[ManifestEntry], *, file: str) -> None:
    """Raise where following a manifest would not be safe."""
    faults = [*_faults_of_each(entries), *_faults_of_all(entries)]
    if faults:
        ordered = sorted(faults, key=lambda fault: fault[0].line)
        raise SpecError(
            [printable(f"{file}:{entry.line}: {entry.path}: {text}") for entry, text in ordered]
        )


def _faults_of_each(entries: Sequence[ManifestEntry]) -> Iterator[tuple[ManifestEntry, str]]:
    for entry in entries:
        if fault := _path_fault(entry.path):
            yield entry, f"{fault}; write a path below the folder of the stimuli"
        if entry.url is not None and (fault := url_fault(entry.url)):
            yield entry, fault


def _faults_of_all(entries: Sequence[ManifestEntry]) -> Iterator[tuple[ManifestEntry, str]]:
    """Yield what two lines cannot both have on every file system."""
    folders = {
        "/".join(parts[:end])
        for parts in (_folded(entry.path).split("/") for entry in entries)
        for end in range(1, len(parts))
    }
    seen: dict[str, int] = {}
    for entry in entries:
        name = _folded(entry.path)
        if name in seen:
            yield entry, f"stands in line {seen[name]} already; remove one of them"
        seen.setdefault(name, entry.line)
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
        return "is the record of what was fetched"
    return next(filter(None, map(_part_fault, path.split("/"))), "")


def _part_fault(name: str) -> str:
    if name in ("", ".", ".."):
        return f"has a part '{name}'"
    if name.startswith(".") or name.endswith((".", " ")):
        return f"has a part '{name}', which is hidden or renamed on some systems"
    if name.split(".", maxsplit=1)[0].lower() in DEVICES:
        return f"has a part '{name}', which is a device on some systems"
    if len(name.encode()) > LONGEST:
        return f"has a part of more than {LONGEST} bytes"
    return ""


def url_fault(url: str) -> str:
    """Return what is wrong with a URL, and what to do; nothing where nothing is."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return f"'{url}' has characters that a URL cannot have; write them as %XX"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"'{url}' is no URL ({error}); correct it"
    if parts.scheme not in SCHEMES or not host:
        return f"'{url}' is not of http or https; give such a URL"
    if parts.username is not None or parts.password is not None:
        return f"the URL of {host} has a password in it; leave it out"
    if parts.fragment:
        return f"'{url}' has a '#': members of archives are not unpacked; give the URL of the file"
    return ""
