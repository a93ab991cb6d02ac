"""What is known about the files of a suite's stimuli: names, places, digests; never an image."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_visualbias.spec.shipped import shipped

__all__ = ["ManifestEntry", "read_manifest"]

UNKNOWN = "-"
COLUMNS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestEntry:
    """One file of the stimuli.

    Attributes
    ----------
    path : str
        Below the folder of the stimuli.
    url : str or None
        Where it can be had.
    sha256 : str or None
        Of its bytes.
    size : int or None
        In bytes.
    note : str
        What is worth knowing, such as that it is missing upstream.
    """

    path: str
    url: str | None
    sha256: str | None
    size: int | None
    note: str = ""

    @property
    def folder(self) -> str:
        """The set that it belongs to."""
        return self.path.rpartition("/")[0]


def read_manifest(suite: str) -> tuple[ManifestEntry, ...]:
    """Return the files of a suite that ships; none where nothing is known of them."""
    path = shipped("data") / "manifests" / f"{suite}.tsv"
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(_entry(line) for line in lines if line and not line.startswith("#"))


def _entry(line: str) -> ManifestEntry:
    columns = line.split("\t")
    path, url, sha256, size = (None if text == UNKNOWN else text for text in columns[:COLUMNS])
    return ManifestEntry(
        path=str(path),
        url=url,
        sha256=sha256,
        size=None if size is None else int(size),
        note="".join(columns[COLUMNS:]),
    )
