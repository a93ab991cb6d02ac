"""What a manifest may state, and what is refused before anything is requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import FetchError, SpecError
from pytest_visualbias.stimuli.manifest import load_manifest

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://example.org/x.png"
DIGEST = "0" * 64


def faulty_lines(folder: Path, *rows: str) -> list[int]:
    """Return the lines of a manifest that are faulty."""
    path = folder / "own.tsv"
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError) as caught:
        load_manifest(path)
    assert all(str(fault).isprintable() for fault in caught.value.faults)
    assert "secret" not in str(caught.value)
    return [fault.line or 0 for fault in caught.value.faults]


PATHS = [
    *("../x.png", "a/../../x.png", "a/./x.png", "a//x.png", "a/", "/etc/passwd"),
    *("//server/share/x.png", "C:/x.png", "x.png:stream", "..\\x.png", "a/x\0.png"),
    *("a/\x1b[31m.png", "a/\u202egnp.x", "FETCHED.json", "fetched.JSON", ".fetching/lock"),
    *("a/x.png.", "a/ /x.png", "a/nul.png", "x" * 256),
]
URLS = [
    *("file:///etc/passwd", "ftp://example.org/x.png", "https:///x.png", "x.png"),
    *("http://[::1/x.png", "http://example.org:port/x.png", "https://example.org/a b.png"),
    *("https://example.org/\u00e9.png", "https://me:secret@example.org/x.png"),
    "https://example.org/all.zip#x.png",
]
ROWS = ["x.png", "-\t-\t-\t-", f"x.png\t{URL}\tABC\t-"]
SIZES = ["-5", "0", "many"]


@pytest.mark.parametrize(
    "row",
    [
        *(f"{path}\t{URL}\t-\t-" for path in PATHS),
        *(f"x.png\t{url}\t-\t-" for url in URLS),
        *ROWS,
        *(f"x.png\t{URL}\t-\t{size}" for size in SIZES),
    ],
)
def test_a_line_that_is_unsafe_or_unclear_is_refused(tmp_path: Path, row: str) -> None:
    assert faulty_lines(tmp_path, "# a comment", "", row) == [3]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/x.png", "a/x.png"),
        ("a/x.png", "A/X.png"),
        ("\u00e9.png", "e\u0301.png"),
        ("a/x.png/y.png", "a/x.png"),
    ],
)
def test_two_files_that_not_every_disk_can_hold_are_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    assert faulty_lines(tmp_path, f"{first}\t{URL}\t-\t-", f"{second}\t{URL}\t-\t-") == [2]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    rows = (f"../x.png\t{URL}\t-\t-", "y.png\tftp://x/y\t-\t-", f"z.png\t{URL}\t-\t-")
    assert faulty_lines(tmp_path, *rows) == [1, 2]


@pytest.mark.parametrize("content", [None, b"\xff", b"# nothing\n"])
def test_a_manifest_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FetchError) as caught:
        load_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_manifest_written_on_windows_reads_alike(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes(f"\ufeff# path\r\na/x.png\t{URL}\t{DIGEST}\t5\tsmall\r\n".encode())
    (entry,) = load_manifest(path)
    assert (entry.path, entry.url, entry.sha256) == ("a/x.png", URL, DIGEST)
    assert (entry.size, entry.note, entry.folder, entry.line) == (5, "small", "a", 2)
