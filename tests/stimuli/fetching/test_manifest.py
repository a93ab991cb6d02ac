"""What a manifest may say, and what is refused before anything is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import FetchError, SpecError
from pytest_visualbias.stimuli.fetching.manifest import load_manifest
from pytest_visualbias.stimuli.manifest import WANTED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stimuli.fetching.conftest import Place

URL = "https://example.org/x.png"


def faults(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a manifest, without its own name."""
    path = folder / "own.tsv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError) as caught:
        load_manifest(path)
    assert all(fault.startswith(f"{path}:") for fault in caught.value.faults)
    return [fault.removeprefix(f"{path}:") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("../x.png", "has a part '..'"),
        ("a/../../x.png", "has a part '..'"),
        ("a/./x.png", "has a part '.'"),
        ("a//x.png", "has a part ''"),
        ("a/", "has a part ''"),
        ("/etc/passwd", "is absolute"),
        ("//server/share/x.png", "is absolute"),
        ("C:/x.png", "has '\\' or ':', which mean another place on some systems"),
        ("x.png:stream", "has '\\' or ':', which mean another place on some systems"),
        ("..\\x.png", "has '\\' or ':', which mean another place on some systems"),
        ("a/x\0.png", "has characters that cannot be printed"),
        ("a/\x1b[31m.png", "has characters that cannot be printed"),
        ("a/\u202egnp.x", "has characters that cannot be printed"),
        ("FETCHED.json", "is the record of what was fetched"),
        ("fetched.JSON", "is the record of what was fetched"),
        (".fetching/lock", "has a part '.fetching', which is hidden or renamed on some systems"),
        ("a/x.png.", "has a part 'x.png.', which is hidden or renamed on some systems"),
        ("a/ /x.png", "has a part ' ', which is hidden or renamed on some systems"),
        ("a/nul.png", "has a part 'nul.png', which is a device on some systems"),
        ("x" * 256, "has a part of more than 255 bytes"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str, what: str) -> None:
    (fault,) = faults(tmp_path, f"{path}\t{URL}\t-\t-\n")
    assert fault.startswith("1: ")
    assert fault.endswith(f": {what}; write a path below the folder of the stimuli")
    assert fault.isprintable()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("file:///etc/passwd", "is not of http or https; give such a URL"),
        ("ftp://example.org/x.png", "is not of http or https; give such a URL"),
        ("https:///x.png", "is not of http or https; give such a URL"),
        ("x.png", "is not of http or https; give such a URL"),
        ("http://[::1/x.png", "is no URL ("),
        ("http://example.org:port/x.png", "is no URL ("),
        ("https://example.org/a b.png", "has characters that a URL cannot have"),
        ("https://example.org/é.png", "has characters that a URL cannot have"),
        ("https://me:secret@example.org/x.png", "has a password in it; leave it out"),
        ("https://example.org/all.zip#x.png", "members of archives are not unpacked"),
    ],
)
def test_a_url_that_is_not_ours_to_follow_is_refused(tmp_path: Path, url: str, what: str) -> None:
    (fault,) = faults(tmp_path, f"x.png\t{url}\t-\t-\n")
    assert fault.startswith("1: x.png: ")
    assert what in fault
    assert "secret" not in fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "x.png",
            f"has 1 of 4 columns; write {WANTED}",
        ),
        ("-\t-\t-\t-", "has no path; write one below the folder of the stimuli"),
        (
            f"x.png\t{URL}\tABC\t-",
            "'ABC' is no sha256; write its 64 digits (0-9, a-f), or '-'",
        ),
        (f"x.png\t{URL}\t-\t-5", "'-5' is no number of bytes; write one, or '-'"),
        (f"x.png\t{URL}\t-\t0", "'0' is no number of bytes; write one, or '-'"),
        (f"x.png\t{URL}\t-\tmany", "'many' is no number of bytes; write one, or '-'"),
    ],
)
def test_a_line_that_cannot_be_understood_is_refused(tmp_path: Path, line: str, fault: str) -> None:
    assert faults(tmp_path, f"# a comment\n\n{line}\n") == [f"3: {fault}"]


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("a/x.png", "a/x.png", "stands in line 1 already; remove one of them"),
        ("a/x.png", "A/X.png", "stands in line 1 already; remove one of them"),
        ("é.png", "é.png", "stands in line 1 already; remove one of them"),
        ("a/x.png/y.png", "a/x.png", "is a file here and a folder elsewhere; rename one of them"),
    ],
)
def test_two_files_that_not_every_disk_can_hold_are_refused(
    tmp_path: Path, first: str, second: str, what: str
) -> None:
    rows = "".join(f"{path}\t{URL}\t-\t-\n" for path in (first, second))
    assert faults(tmp_path, rows) == [f"2: {second}: {what}"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    rows = [f"../x.png\t{URL}\t-\t-", "y.png\tftp://x/y\t-\t-", f"z.png\t{URL}\t-\t-"]
    found = faults(tmp_path, "\n".join(rows))
    assert [fault.partition(":")[0] for fault in found] == ["1", "2"]


def test_nothing_is_asked_for_where_one_line_is_not_safe(place: Place) -> None:
    place.serve("sets/x/1.png")
    with place.manifest.open("a") as stream:
        stream.write(f"../1.png\t{place.server.url('sets/x/1.png')}\t-\t-\n")
    status, _, complaints = place.fetch()
    assert status == 1
    assert complaints.startswith(f"{place.manifest}:3: ../1.png: has a part '..'; ")
    assert place.server.requests == []
    assert place.files() == {}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read (No such file or directory); correct the path"),
        (b"\xff", "is not UTF-8 (byte 0); save it as UTF-8"),
        (b"# nothing\n", "lists no file; write a line for each"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "own.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FetchError) as caught:
        load_manifest(path)
    assert str(caught.value) == f"{path}: {what}"


def test_what_windows_writes_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes(f"\ufeff# path\r\na/x.png\t{URL}\t{'0' * 64}\t5\tsmall\r\n".encode())
    (entry,) = load_manifest(path)
    assert (entry.path, entry.url, entry.size, entry.note) == ("a/x.png", URL, 5, "small")
    assert (entry.folder, entry.line) == ("a", 2)
