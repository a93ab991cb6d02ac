"""``visualbias fetch`` against a server on loopback: files, record, exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.cli.fetch import _Bar
from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import FetchError
from pytest_visualbias.stimuli import transfer
from pytest_visualbias.stimuli.manifest import ManifestEntry
from tests.stimuli.web import Reply, Server, png, serving, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

nightly = pytest.mark.nightly
ONE, TWO = "sets/x/1.png", "sets/x/2.png"
NOWHERE = "http://127.0.0.1:1"  # nobody listens on port 1
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "visualbias_data")
SUITE = """\
visualbias_suite: 1
title: Squares
licence: CC0 for the squares
citation: A. Painter. Squares. 2020.
source: https://example.org/squares
concepts: {x: sets/x, y: sets/y, a: sets/a, b: sets/b}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy or folder from outside, and no pauses between attempts."""
    for name in (*VARIABLES, "visualbias_offline", "xdg_data_home"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)


@dataclass
class Place:
    """A user's suite with a manifest, and the command that fetches it."""

    folder: Path
    server: Server
    capsys: pytest.CaptureFixture[str]

    @property
    def manifest(self) -> Path:
        return self.folder / "own.tsv"

    def serve(self, *paths: str, known: bool = False) -> list[bytes]:
        """Serve an image at each path, list them in the manifest, and return their bytes."""
        contents = [png(number) for number, _ in enumerate(paths)]
        self.server.files.update(zip(paths, contents, strict=True))
        self.write(
            *(
                f"{path}\t{self.server.url(path)}\t{sha256(image) if known else '-'}\t-"
                for path, image in zip(paths, contents, strict=True)
            )
        )
        return contents

    def write(self, *rows: str) -> None:
        self.manifest.write_text("".join(f"{row}\n" for row in rows))

    def fetch(self, *arguments: str, accept: bool = True) -> tuple[int, str, str]:
        """Return the exit status, stdout and stderr of a fetch."""
        consent = ["--accept-licence"] if accept else []
        suite = str(self.folder / "own.suite.yaml")
        manifest = ["--manifest", str(self.manifest)]
        status = main(["fetch", suite, *manifest, *consent, "--timeout=5", *arguments])
        output = self.capsys.readouterr()
        assert "Traceback" not in output.err
        return status, output.out, output.err

    def files(self) -> dict[str, bytes]:
        """Return all files but the suite, the manifest, the record and the lock."""
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        names = {path.relative_to(self.folder).as_posix(): path for path in paths}
        return {
            name: path.read_bytes()
            for name, path in names.items()
            if "/" in name and name != ".fetching/lock"
        }

    @property
    def ledger(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "FETCHED.json").read_text())
        return content


@pytest.fixture
def place(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> Place:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.suite.yaml").write_text(SUITE)
    return Place(folder, server, capsys)


def test_files_come_once_and_the_record_says_what_and_from_where(place: Place) -> None:
    one, two = place.serve(ONE, TWO)
    status, output, complaints = place.fetch()
    assert (status, complaints) == (0, "")
    assert "CC0 for the squares" in output
    assert place.files() == {ONE: one, TWO: two}
    ledger = place.ledger
    assert (ledger["version"], ledger["suite"], ledger["due"]) == (1, "own", [])
    assert ledger["files"][ONE] == {
        "url": place.server.url(ONE),
        "came_from": None,
        "sha256": sha256(one),
        "size": len(one),
        "format": "PNG",
        "date": ledger["files"][ONE]["date"],
        "checked": "first use",
        "tool": ledger["tool"],
    }
    place.server.requests.clear()
    assert place.fetch(accept=False)[0] == 0, "the licence was accepted"
    assert place.server.requests == []
    assert place.ledger == ledger


class TestLicence:
    @pytest.mark.parametrize("answer", [None, "", "no"])
    def test_nothing_is_requested_unless_it_is_accepted(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, answer: str | None
    ) -> None:
        place.serve(ONE)
        if answer is not None:
            monkeypatch.setattr("sys.stdin.isatty", lambda: True)
            monkeypatch.setattr("sys.stdout.isatty", lambda: True)
            monkeypatch.setattr("builtins.input", lambda _: answer)
        assert place.fetch(accept=False)[0] == 2
        assert place.server.requests == []
        assert {path.name for path in place.folder.iterdir()} == {"own.suite.yaml", "own.tsv"}

    @nightly
    def test_a_terminal_is_asked_and_another_licence_is_accepted_again(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.serve(ONE)
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin.isatty", lambda: True)
            patch.setattr("sys.stdout.isatty", lambda: True)
            patch.setattr("builtins.input", lambda _: "Yes")
            assert place.fetch(accept=False)[0] == 0
        suite = place.folder / "own.suite.yaml"
        suite.write_text(suite.read_text().replace("CC0 for", "GPL for"))
        assert place.fetch(accept=False)[0] == 2
        assert place.ledger["licence"] == "CC0 for the squares"


RIGHT = png(0)
REFUSALS = {
    # name: manifest's sha256 and size, answer, requests with one retry
    "other bytes": (sha256(png(9)), "-", Reply(), 2),
    "no such host": (sha256(RIGHT), "-", Reply(302, {"Location": "http://a..b/"}, b""), 2),
    "larger than listed": ("-", "100", Reply(), 1),
    "larger, not announced": ("-", "100", Reply(has_length=False), 1),
    "smaller than listed": ("-", "999999", Reply(), 1),
    "too large for an image": ("-", "-", Reply(length=300_000_000), 1),
    "less than announced": ("-", "-", Reply(length=len(RIGHT) + 50), 2),
    "more than announced": ("-", "-", Reply(length=len(RIGHT) - 500), 1),
    "cut, not announced": ("-", "-", Reply(has_length=False, breaks_after=1000), 2),
    "empty": ("-", "-", Reply(body=b""), 2),
    "a page": ("-", "-", Reply(body=b"  <!DOCTYPE html><p>Sign in"), 1),
    "a pointer": ("-", "-", Reply(body=b"version https://git-lfs.github.com/spec/v1\n"), 1),
    "a program": ("-", "-", Reply(body=b"%!PS-Adobe-3.0 EPSF-3.0\n"), 1),
    "compressed": ("-", "-", Reply(headers={"Content-Encoding": "gzip"}), 1),
    "forbidden": ("-", "-", Reply(status=403, body=b""), 1),
    "overloaded": ("-", "-", Reply(status=503, body=b""), 2),
    "throttled": ("-", "-", Reply(status=429, body=b""), 2),
    "to a file": ("-", "-", Reply(status=302, headers={"Location": "file:///etc/passwd"}), 1),
    "to ftp": ("-", "-", Reply(status=302, headers={"Location": "ftp://127.0.0.1/x.png"}), 1),
    "escapes": ("-", "-", Reply(status=302, headers={"Location": "x://a\x1bb"}), 1),
}


@nightly
class TestRefusals:
    @pytest.mark.parametrize("case", REFUSALS)
    def test_a_wrong_answer_leaves_no_file(self, place: Place, case: str) -> None:
        digest, size, reply, requests = REFUSALS[case]
        place.serve(ONE, TWO)
        urls = [place.server.url(path) for path in (ONE, TWO)]
        place.write(f"{ONE}\t{urls[0]}\t{digest}\t{size}", f"{TWO}\t{urls[1]}\t-\t-")
        place.server.always[ONE] = reply
        status, _, complaints = place.fetch("--retries=1")
        assert status == 1
        (line,) = complaints.splitlines()
        assert line.startswith(f"own: {ONE}: ")
        assert place.server.url(ONE) in line
        assert line.isprintable()
        assert place.files() == {TWO: png(1)}, "the other file is not held up"
        assert place.ledger["due"] == [ONE]
        assert place.server.requests.count(ONE) == requests

    @pytest.mark.parametrize("status", [404, 410])
    def test_a_file_that_is_gone_is_recorded_and_not_asked_for_twice(
        self, place: Place, status: int
    ) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(status=status, body=b"")
        assert place.fetch()[0] == 1
        assert (place.ledger["due"], [*place.ledger["gone"]]) == ([], [ONE])
        assert place.server.requests == [ONE]

    @pytest.mark.parametrize(
        "inside", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "fe80::1", "100.64.0.1"]
    )
    def test_a_redirect_from_outside_into_a_private_network(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, inside: str
    ) -> None:
        """Addresses are a fake's: the server counts as outside, the target does not."""
        hosts = {"127.0.0.1": "93.184.215.14", "inside.example": inside}
        names = SimpleNamespace(getaddrinfo=lambda host, *_: [(0, 0, 0, "", (hosts[host], 0))])
        monkeypatch.setattr(transfer, "socket", names)
        place.serve(ONE)
        target = {"Location": "http://inside.example/x.png"}
        place.server.always[ONE] = Reply(status=302, headers=target, body=b"")
        assert place.fetch("--retries=0")[0] == 1
        assert place.files() == {}
        assert place.server.requests == [ONE]

    @pytest.mark.parametrize("obstacle", ["link", "dead link", "folder", "linked folder"])
    def test_what_is_in_the_way_is_never_followed_or_replaced(
        self, place: Place, tmp_path: Path, obstacle: str
    ) -> None:
        place.serve(ONE)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        path = place.folder / ONE
        if obstacle == "linked folder":
            (place.folder / "sets").symlink_to(elsewhere)
        else:
            path.parent.mkdir(parents=True)
            if obstacle == "folder":
                path.mkdir()
            else:
                path.symlink_to(place.manifest if obstacle == "link" else tmp_path / "nothing")
        manifest = place.manifest.read_text()
        assert place.fetch()[0] == 1
        assert [*elsewhere.iterdir()] == []
        assert place.manifest.read_text() == manifest
        assert place.server.requests == []


def test_a_redirect_from_https_to_http_is_refused() -> None:
    entry = ManifestEntry(path=ONE, url=None, sha256=None, size=None)
    request = transfer.Request(entry=entry, url="")
    options = transfer.DownloadOptions(proxy="http://192.0.2.1:3128")
    check = transfer._Transfer(request, options, threading.Event())._check_redirect
    check("http://192.0.2.7/x", "https://192.0.2.7/y")
    with pytest.raises(FetchError):
        check("https://192.0.2.7/x", "http://192.0.2.7/y")


@nightly
class TestFirstUse:
    def test_later_files_must_equal_the_first(self, place: Place) -> None:
        (first,) = place.serve(ONE)
        place.fetch()
        (place.folder / ONE).unlink()
        place.server.files[ONE] = other = png(77)
        assert place.fetch()[0] == 1
        assert place.files() == {}
        place.server.files[ONE] = first
        assert place.fetch()[0] == 0
        (place.folder / ONE).unlink()
        place.server.files[ONE] = other
        changed = place.ledger
        del changed["files"][ONE]
        (place.folder / "FETCHED.json").write_text(json.dumps(changed))
        assert place.fetch()[0] == 0, "its entry was removed from the record"
        assert place.files() == {ONE: other}

    def test_a_file_that_was_changed_here_is_refused_and_left(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        (place.folder / ONE).write_bytes(png(77))
        assert place.fetch()[0] == 1
        assert place.files() == {ONE: png(77)}

    @pytest.mark.parametrize("is_right", [True, False])
    def test_a_manifest_that_learns_the_digest_decides(self, place: Place, is_right: bool) -> None:
        (one,) = place.serve(ONE)
        place.fetch()
        digest = sha256(one if is_right else png(77))
        place.write(f"{ONE}\t{place.server.url(ONE)}\t{digest}\t-")
        assert place.fetch()[0] == (0 if is_right else 1)
        checked = place.ledger["files"][ONE]["checked"]
        assert checked == ("manifest" if is_right else "first use")
        assert place.files() == {ONE: one}

    def test_a_file_without_a_record_is_kept_if_it_is_an_image(self, place: Place) -> None:
        place.serve(ONE, TWO)
        (place.folder / "sets/x").mkdir(parents=True)
        (place.folder / ONE).write_bytes(png(5))
        (place.folder / TWO).write_text("<html>")
        assert place.fetch()[0] == 1
        assert place.files() == {ONE: png(5), TWO: b"<html>"}
        assert place.ledger["files"][ONE]["url"] is None
        assert TWO not in place.ledger["files"]
        assert place.server.requests == []

    def test_another_format_than_the_name_says_is_listed(self, place: Place) -> None:
        place.serve("sets/x/1.jpg", TWO)
        status, output, _ = place.fetch()
        assert (status, output.count("sets/x/1.jpg"), output.count(TWO)) == (0, 1, 0)


@nightly
class TestBreaking:
    def test_the_next_run_fetches_only_what_is_missing(self, place: Place) -> None:
        one, two = place.serve(ONE, TWO)
        place.server.replies[TWO] = [Reply(breaks_after=1000)]
        assert place.fetch("--retries=0")[0] == 1
        assert place.files() == {ONE: one}
        place.server.requests.clear()
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one, TWO: two}
        assert place.server.requests == [TWO]

    def test_trouble_that_passes_is_retried(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(status=500, body=b""), Reply(breaks_after=1000)]
        assert place.fetch()[::2] == (0, "")
        assert place.files() == {ONE: one}
        assert len(place.server.requests) == 3

    def test_a_silent_server_times_out(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(gate=threading.Event())
        assert place.fetch("--timeout=0.2", "--retries=0")[0] == 1
        place.server.always[ONE].gate.set()  # type: ignore[union-attr]
        assert place.files() == {}

    def test_without_a_network_most_files_are_not_requested(self, place: Place) -> None:
        place.write(*(f"sets/x/{n}.png\t{NOWHERE}/{n}\t-\t-" for n in range(30)))
        status, _, complaints = place.fetch("--retries=0", "--jobs=2")
        assert status == 1
        assert len(complaints.splitlines()) == 6
        assert len(place.ledger["due"]) == 30

    def test_dead_servers_do_not_stop_others(self, place: Place) -> None:
        place.serve(*(f"sets/x/{number}.png" for number in range(8)))
        rows = place.manifest.read_text().splitlines()
        dead = [f"sets/y/{number}.png\t{NOWHERE}/{number}\t-\t-" for number in range(8)]
        place.write(*(row for pair in zip(rows, dead, strict=True) for row in pair))
        assert place.fetch("--retries=0", "--jobs=1")[0] == 1
        assert len(place.files()) == 8

    def test_a_full_disk_ends_the_whole_run(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def move(*_: object) -> None:
            raise OSError(28, "No space left on device")

        place.serve(*(f"sets/x/{number}.png" for number in range(20)))
        monkeypatch.setattr("pooch.core.shutil", SimpleNamespace(move=move))
        status, _, complaints = place.fetch("--jobs=1")
        assert (status, len(complaints.splitlines())) == (1, 1)
        assert "No space left on device" in complaints
        assert len(place.server.requests) < 5
        assert place.files() == {}

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
    def test_a_process_that_ends_early_leaves_nothing_unfinished(
        self, place: Place, until: Until, end: signal.Signals
    ) -> None:
        one, two = place.serve(ONE, TWO)
        gate = threading.Event()
        place.server.replies[TWO] = [Reply(gate=gate)]
        process = start(place, "--timeout=2")
        until(lambda: (place.folder / ONE).exists() and TWO in place.server.requests)
        process.send_signal(end)
        _, complaints = process.communicate(timeout=30)
        gate.set()
        assert process.returncode == (130 if end is signal.SIGINT else -signal.SIGKILL), complaints
        assert not (place.folder / TWO).exists()
        assert ([*place.ledger["files"]], place.ledger["due"]) == ([ONE], [TWO])
        assert place.fetch(accept=False)[0] == 0
        assert place.files() == {ONE: one, TWO: two}
        assert place.server.requests.count(ONE) == 1

    def test_two_processes_fetch_a_folder_one_after_the_other(
        self, place: Place, until: Until
    ) -> None:
        paths = [f"sets/x/{number}.png" for number in range(4)]
        place.serve(*paths)
        gate = threading.Event()
        place.server.replies[paths[0]] = [Reply(gate=gate)]
        first = start(place)
        until(lambda: len(place.server.requests) == len(paths))
        second = start(place)
        assert second.stderr is not None
        assert "waiting" in second.stderr.readline()
        gate.set()
        for process in (first, second):
            process.communicate(timeout=30)
            assert process.returncode == 0
        assert sorted(place.server.requests) == paths


if TYPE_CHECKING:
    Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def until() -> Until:
    """Wait for a condition, for a minute at most: the machine may be busy."""

    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait


def start(place: Place, *arguments: str) -> subprocess.Popen[str]:
    """Start a fetch in a process of its own."""
    suite = [str(place.folder / "own.suite.yaml"), "--manifest", str(place.manifest)]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest_visualbias",
            "fetch",
            *suite,
            "--accept-licence",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )


class TestOptions:
    @pytest.mark.parametrize(
        ("only", "wanted"),
        [
            (["sets/y"], {"sets/y/1.png"}),
            (["sets/x", "sets/y"], {ONE, "sets/y/1.png"}),
            (["sets/"], {ONE, "sets/y/1.png", "sets/yz/1.png"}),
        ],
    )
    @nightly
    def test_only_some_sets(self, place: Place, only: list[str], wanted: set[str]) -> None:
        place.serve(ONE, "sets/y/1.png", "sets/yz/1.png", "other/1.png")
        assert place.fetch(*(f"--only={name}" for name in only))[0] == 0
        assert {*place.files()} == wanted

    def test_a_dry_run_changes_and_requests_nothing(self, place: Place) -> None:
        place.serve(ONE, TWO, known=True)
        assert place.fetch("--dry-run", accept=False)[::2] == (0, "")
        assert place.server.requests == []
        assert {path.name for path in place.folder.iterdir()} == {"own.suite.yaml", "own.tsv"}

    @nightly
    @pytest.mark.parametrize("how", ["option", "variable"])
    def test_offline_verifies_files_and_names_missing_ones(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        place.serve(ONE, TWO)
        place.fetch()
        (place.folder / TWO).unlink()
        place.server.requests.clear()
        monkeypatch.setenv("VISUALBIAS_OFFLINE", "1" if how == "variable" else "")
        arguments = ["--offline"] if how == "option" else []
        status, _, complaints = place.fetch(*arguments, accept=False)
        assert status == 1
        (line,) = complaints.splitlines()
        assert line.startswith(f"own: {TWO}: ")
        assert place.server.requests == []

    @nightly
    def test_mirrors_replace_the_host_or_a_prefix(self, place: Place) -> None:
        place.write(
            f"{ONE}\thttps://nowhere.invalid/a/{ONE}?raw=1\t-\t-",
            f"{TWO}\thttps://nowhere.invalid/deep/{TWO}\t-\t-",
        )
        place.server.files |= {f"mine/a/{ONE}?raw=1": png(1), TWO: png(2)}
        prefix = f"--mirror=https://nowhere.invalid/deep/={place.server.address}/"
        assert place.fetch(prefix, f"--mirror={place.server.url('mine/')}")[0] == 0
        assert place.files() == {ONE: png(1), TWO: png(2)}
        assert place.ledger["files"][TWO]["url"] == place.server.url(TWO)

    @nightly
    @pytest.mark.parametrize("how", ["option", "variable"])
    def test_a_proxy_is_asked_for_whole_urls(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        url = f"http://nowhere.invalid/{ONE}"
        place.write(f"{ONE}\t{url}\t-\t-")
        place.server.files[url] = png(1)
        if how == "variable":
            monkeypatch.setenv("http_proxy", place.server.address)
        arguments = [f"--proxy={place.server.address}"] if how == "option" else []
        assert place.fetch(*arguments)[0] == 0
        assert place.files() == {ONE: png(1)}
        assert place.ledger["files"][ONE]["url"] == url

    @nightly
    def test_a_redirect_is_followed_and_recorded(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.files["c"] = one
        for path, status, target in ((ONE, 302, "a"), ("a", 308, "c")):
            headers = {"Location": place.server.url(target)}
            place.server.always[path] = Reply(status=status, headers=headers, body=b"")
        assert place.fetch()[0] == 0
        assert place.ledger["files"][ONE]["came_from"] == place.server.url("c")
        assert place.files() == {ONE: one}

    @nightly
    def test_another_folder_takes_the_files_of_one_suite(
        self, place: Place, tmp_path: Path
    ) -> None:
        place.serve(ONE)
        assert place.fetch(f"--data={tmp_path / 'data'}")[0] == 0
        assert (tmp_path / "data" / "own" / ONE).is_file()
        assert place.files() == {}
        place.fetch()
        (place.folder / "own.suite.yaml").rename(place.folder / "two.suite.yaml")
        suite, manifest = str(place.folder / "two.suite.yaml"), f"--manifest={place.manifest}"
        assert main(["fetch", suite, manifest, "--accept-licence"]) == 1
        assert place.ledger["suite"] == "own"

    @nightly
    def test_a_file_without_a_url_is_listed_and_no_fault(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.write(f"{ONE}\t{place.server.url(ONE)}\t-\t-", f"{TWO}\t-\t-\t-\tlost upstream")
        status, output, complaints = place.fetch()
        assert (status, complaints) == (0, "")
        assert TWO in output
        assert "lost upstream" in output
        assert (place.files(), place.ledger["due"]) == ({ONE: one}, [])

    @pytest.mark.parametrize(
        "argument",
        [
            "--only=sets/z",
            "--mirror=ftp://x/",
            "--mirror=",
            "--mirror=http://a.example/=http://b.example/",
            "--proxy=socks5://me:secret@x:1",
        ],
    )
    def test_a_wrong_option_is_named(self, place: Place, argument: str) -> None:
        place.serve(ONE)
        status, _, complaints = place.fetch(argument)
        assert status == 2
        assert complaints.startswith(argument.partition("=")[0])
        assert "secret" not in complaints
        assert place.server.requests == []

    @pytest.mark.parametrize(
        "argument", ["--timeout=0", "--timeout=nan", "--jobs=0", "--retries=-1"]
    )
    def test_a_wrong_number_is_a_usage_error(self, place: Place, argument: str) -> None:
        with pytest.raises(SystemExit) as left:
            place.fetch(argument)
        assert left.value.code == 2


@pytest.mark.parametrize(
    "arguments", [["iaet"], ["sb-ssl", "--manifest=x.tsv"], ["own.suite.yaml"]]
)
def test_a_suite_that_cannot_be_fetched_is_a_usage_error(
    place: Place, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(place.folder)
    assert main(["fetch", *arguments]) == 2
    assert len(place.capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("suite", "folder"),
    [("ieat", "ieat"), ("sb-ssl", "ieat"), ("ranjit-coco", None), ("ranjit-openimages", None)],
)
def test_the_shipped_manifests_are_safe_to_follow(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suite: str,
    folder: str | None,
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", str(tmp_path))
    assert main(["fetch", suite, "--dry-run"]) == 0
    assert f"  to: {tmp_path / (folder or suite)}\n" in capsys.readouterr().out
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 2}'])
def test_an_unreadable_record_is_named_and_left(place: Place, text: str) -> None:
    place.serve(ONE)
    path = place.folder / "FETCHED.json"
    path.write_text(text)
    status, _, complaints = place.fetch()
    assert status == 1
    assert complaints.startswith(f"{path}: ")
    assert path.read_text() == text
    assert place.server.requests == []


def test_a_folder_that_cannot_be_written_is_one_line(place: Place) -> None:
    place.serve(ONE)
    (place.folder / ".fetching").write_text("in the way")
    status, _, complaints = place.fetch()
    assert (status, len(complaints.splitlines())) == (1, 1)
    assert complaints.startswith(str(place.folder))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_counts_files_and_bytes_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with contextlib.closing(_Bar("own")) as bar:
        bar.begin(3)
        for size in (1500, 1500, 0):
            bar.step(size)
    output = capsys.readouterr()
    assert output.out == ""
    assert ("3/3" in output.err, "3.0 kB" in output.err) == (is_terminal, is_terminal)
