"""Parse manifests of a suite's stimuli: paths, URLs and digests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_visualbias.errors import SpecError, printable
from pytest_visualbias.spec.suites import shipped_folder

UNKNOWN = "-"
COLUMNS = 4
DIGEST = re.compile(r"[0-9a-f]{64}")
SIZE = re.compile(r"[1-9][0-9]{0,14}")
WANTED = "path, URL, sha256 and size, separated by tabs, '-' for what is not known"


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


def parse_manifest(text: str, *, file: str) -> tuple[ManifestEntry, ...]:
    """Parse the text of a manifest."""
    entries: list[ManifestEntry] = []
    faults: list[str] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("\t")
        if fault := _fault(columns):
            faults.append(printable(f"{file}:{number}: {fault}"))
        else:
            entries.append(_entry(columns, number))
    if faults:
        raise SpecError(faults)
    return tuple(entries)


def _fault(columns: list[str]) -> str:
    if len(columns) < COLUMNS:
        return f"has {len(columns)} of {COLUMNS} columns; write {WANTED}"
    path, _, digest, size = columns[:COLUMNS]
    if path in ("", UNKNOWN):
        return "has no path; write one below the folder of the stimuli"
    if digest != UNKNOWN and not DIGEST.fullmatch(digest):
        return f"'{digest}' is no sha256; write its 64 digits (0-9, a-f), or '{UNKNOWN}'"
    if size != UNKNOWN and not SIZE.fullmatch(size):
        return f"'{size}' is no number of bytes; write one, or '{UNKNOWN}'"
    return ""


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
