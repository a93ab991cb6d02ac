"""What breaks off, stalls, is killed or meets another of its kind, and how it goes on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.stimuli.fetching.ledger import read_ledger
from tests.stimuli.fetching.conftest import Reply, png

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stimuli.fetching.conftest import Place

    Until = Callable[[Callable[[], bool]], None]

ONE, TWO = "sets/x/1.png", "sets/x/2.png"
PORT = 1  # nobody listens there


def start(place: Place, *arguments: str) -> subprocess.Popen[str]:
    """Start a fetch in a process of its own."""
    command = [sys.executable, "-m", "pytest_visualbias", "fetch"]
    suite = [str(place.folder / "own.suite.yaml"), "--manifest", str(place.manifest)]
    return subprocess.Popen(
        [*command, *suite, "--accept-licence", "--timeout=20", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )


class TestResuming:
    def test_what_broke_off_goes_on_where_it_was(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000), Reply(breaks_after=2500)]
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        first, second, third = place.server.asked(ONE)
        assert "range" not in first
        assert (second["range"], third["range"]) == ("bytes=1000-", "bytes=2500-")
        assert second["if-range"].startswith('"')
        assert place.parts() == []

    def test_it_goes_on_in_another_run(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        assert place.fetch("--retries=0")[0] == 1
        assert place.files() == {}
        (part,) = place.parts()
        assert part.read_bytes() == one[:1000]
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        assert place.server.asked(ONE)[1]["range"] == "bytes=1000-"

    def test_a_server_without_ranges_is_asked_for_all_of_it(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.server.always[ONE] = Reply(honours_range=False)
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        assert place.server.asked(ONE)[1]["range"] == "bytes=1000-"

    def test_a_file_that_changed_meanwhile_is_taken_from_its_start(self, place: Place) -> None:
        place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        place.server.files[ONE] = png(9)
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: png(9)}

    def test_a_server_that_sends_the_rest_of_another_file_is_seen_through(
        self, place: Place
    ) -> None:
        """It takes no notice of If-Range; the mixture would be an image like any other."""
        path = "sets/x/1.ppm"
        one, other = (b"P6 40 40 255\n" + bytes([value]) * 4800 for value in (10, 200))
        place.serve(path)
        place.server.files[path] = one
        place.server.replies[path] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        place.server.files[path] = other
        rest = {"Content-Range": f"bytes 1000-{len(other) - 1}/{len(other)}"}
        place.server.replies[path] = [
            Reply(status=206, headers=rest, body=other[1000:], honours_range=False)
        ]
        assert place.fetch()[0] == 0
        assert place.files() == {path: other}

    def test_all_of_a_file_that_was_not_put_into_its_place_is_not_asked_for_again(
        self, place: Place
    ) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        (part,) = place.parts()
        part.write_bytes(one)
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        assert len(place.server.asked(ONE)) == 1

    def test_halves_of_two_files_that_nothing_tells_apart_are_never_kept(
        self, place: Place
    ) -> None:
        """The server says nothing about versions, so only the sha256 can tell."""
        one, other = png(0), png(9)
        place.serve(ONE, known=True)
        place.server.tags[ONE] = ""
        place.server.files[ONE] = other
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        place.server.files[ONE] = one
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        ranges = [headers.get("range") for headers in place.server.asked(ONE)]
        assert ranges == [None, "bytes=1000-", None]

    def test_without_a_version_and_a_digest_it_starts_again(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.tags[ONE] = ""
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        assert "range" not in place.server.asked(ONE)[1]

    def test_a_weak_version_is_none(self, place: Place) -> None:
        place.serve(ONE)
        place.server.tags[ONE] = 'W/"about"'
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        assert place.fetch()[0] == 0
        assert "range" not in place.server.asked(ONE)[1]

    def test_more_than_there_is_to_have_starts_again(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        (part,) = place.parts()
        part.write_bytes(b"x" * (len(one) + 5))
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}

    def test_another_url_starts_again(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.server.replies[ONE] = [Reply(breaks_after=1000)]
        place.fetch("--retries=0")
        place.server.files[f"mirror/{ONE}"] = one
        assert place.fetch(f"--mirror={place.server.url('mirror')}")[0] == 0
        assert "range" not in place.server.asked(f"mirror/{ONE}")[0]

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_trouble_that_passes_is_no_trouble(self, place: Place, status: int) -> None:
        place.serve(ONE)
        place.server.replies[ONE] = [Reply(status=status, body=b"")] * 2
        status_line, _, complaints = place.fetch()
        assert (status_line, complaints) == (0, "")
        assert len(place.server.asked(ONE)) == 3

    def test_a_server_is_given_the_time_it_asks_for(self, place: Place) -> None:
        place.serve(ONE)
        busy = Reply(status=503, headers={"Retry-After": "1"}, body=b"")
        place.server.replies[ONE] = [busy]
        began = time.monotonic()
        assert place.fetch()[0] == 0
        assert time.monotonic() - began >= 1


class TestStalling:
    def test_silence_is_a_failure_after_the_timeout(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(drip=1.5, piece=1000)
        status, _, complaints = place.fetch("--timeout=0.3", "--retries=0")
        assert status == 1
        assert complaints.startswith(f"own: {ONE}: stalled for 0.3 s (")

    def test_a_drip_that_never_stops_is_a_failure_too(self, place: Place) -> None:
        """No read takes as long as the timeout, and the file would take a minute."""
        (one,) = place.serve(ONE)
        place.server.always[ONE] = Reply(drip=0.1, piece=8)
        began = time.monotonic()
        status, _, complaints = place.fetch("--timeout=0.5", "--retries=0")
        assert status == 1
        assert "bytes a second" in complaints
        assert time.monotonic() - began < 20 < len(one) / 8 * 0.1
        assert place.files() == {}

    def test_when_nobody_answers_the_rest_is_not_asked_for(self, place: Place) -> None:
        paths = [f"sets/x/{number}.png" for number in range(30)]
        place.write(*(f"{path}\thttp://127.0.0.1:{PORT}/{path}\t-\t-" for path in paths))
        status, said, complaints = place.fetch("--retries=0", "--jobs=2")
        assert status == 1
        lines = complaints.splitlines()
        assert len(lines) == 6
        assert all("the server cannot be reached (Connection refused)" in one for one in lines[:5])
        assert lines[5] == (
            "own: 25 more were not asked for, as no server can be reached; check the network, or "
            "give --proxy or --mirror"
        )
        assert "0 of 30 files are there" in said

    def test_one_dead_server_among_others_does_not_stop_them(self, place: Place) -> None:
        place.serve(*(f"sets/x/{number}.png" for number in range(8)))
        rows = place.manifest.read_text().splitlines()[1:]
        dead = [f"sets/y/{n}.png\thttp://127.0.0.1:{PORT}/{n}\t-\t-" for n in range(8)]
        place.write(*(row for pair in zip(rows, dead, strict=True) for row in pair))
        assert place.fetch("--retries=0", "--jobs=1")[0] == 1
        assert len(place.files()) == 8


class TestKilling:
    def test_a_killed_process_leaves_nothing_that_looks_finished_and_the_next_goes_on(
        self, place: Place, until: Until
    ) -> None:
        one, two = place.serve(ONE, TWO)
        place.server.replies[TWO] = [Reply(drip=0.2, piece=700)]
        process = start(place, "--jobs=1")
        until(lambda: place.files() == {ONE: one} and len(place.parts()) == 1)
        until(lambda: place.parts()[0].stat().st_size >= 1400)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert place.files() == {ONE: one}
        ledger = read_ledger(place.folder)
        assert ledger is not None
        assert (set(ledger.files), ledger.due) == ({ONE}, [TWO])
        assert place.fetch(accept=False)[0] == 0
        assert place.files() == {ONE: one, TWO: two}
        assert len(place.server.asked(ONE)) == 1
        assert int(place.server.asked(TWO)[1]["range"].removeprefix("bytes=").rstrip("-")) >= 1400

    def test_killed_between_its_note_and_the_file_it_asks_again(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.fetch()
        path = place.folder / "FETCHED.json"
        whole = json.loads(path.read_text())
        line = json.dumps({"path": ONE, "record": whole["files"].pop(ONE), "absence": None})
        whole["due"] = [ONE]
        path.write_text(json.dumps(whole))
        # A line that a loss of power made bytes of no meaning, and one that was being written.
        journal = f"{line}\n".encode() + b'{"path": "\xfa\xff"\n{"path": "sets/x'
        (place.folder / ".fetching" / "journal.jsonl").write_bytes(journal)
        (place.folder / ONE).unlink()
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one}
        place.server.files[ONE] = png(9)
        (place.folder / ONE).unlink()
        assert place.fetch()[0] == 1, "what came first is remembered"

    @pytest.mark.skipif(os.name == "nt", reason="signals of a terminal are other ones there")
    def test_an_interrupt_ends_soon_in_a_sentence_and_the_next_run_goes_on(
        self, place: Place, until: Until
    ) -> None:
        one, two = place.serve(ONE, TWO)
        place.server.replies[TWO] = [Reply(drip=0.5, piece=100)]
        process = start(place, "--jobs=2")
        until(lambda: place.files() == {ONE: one} and len(place.parts()) == 1)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=5)
        assert process.returncode == 130
        assert complaints == "interrupted; the same command goes on from here\n"
        assert not (place.folder / ".fetching" / "journal.jsonl").exists()
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: one, TWO: two}


def test_of_two_processes_one_waits_and_finds_everything(place: Place, until: Until) -> None:
    paths = [f"sets/x/{number}.png" for number in range(6)]
    contents = place.serve(*paths)
    gate = threading.Event()
    place.server.replies[paths[0]] = [Reply(gate=gate)]
    first = start(place, "--jobs=1")
    until(lambda: len(place.server.requests) > 0)
    second = start(place, "--jobs=1")
    assert second.stderr is not None
    assert second.stderr.readline() == "own: another process is fetching it; waiting\n"
    gate.set()
    said = [process.communicate(timeout=30) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert [complaints for _, complaints in said] == ["", ""]
    assert "6 of 6 files are there" in said[1][0]
    assert "0 of them fetched now" in said[1][0]
    assert place.files() == dict(zip(paths, contents, strict=True))
    assert sorted(path for path, _ in place.server.requests) == paths


def test_several_files_come_at_once(place: Place) -> None:
    paths = [f"sets/x/{number}.png" for number in range(8)]
    place.serve(*paths)
    for path in paths:
        place.server.always[path] = Reply(drip=1.5)
    began = time.monotonic()
    assert place.fetch("--jobs=8")[0] == 0
    assert time.monotonic() - began < 8 * 1.5


def test_a_folder_that_cannot_be_written_is_one_sentence(place: Place) -> None:
    place.serve(ONE)
    (place.folder / ".fetching").write_text("in the way")
    status, _, complaints = place.fetch()
    assert status == 1
    assert complaints == (
        f"{place.folder}: cannot be written (File exists); free space or permit it\n"
    )


def test_a_full_disk_ends_the_whole_run_in_a_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, chunk: object) -> int:
            raise OSError(28, "No space left on device")

    place.serve(*(f"sets/x/{number}.png" for number in range(20)))
    monkeypatch.setattr(
        "pytest_visualbias.stimuli.fetching.store.Part.appended", lambda part: Full(), raising=True
    )
    status, _, complaints = place.fetch("--jobs=1")
    assert status == 1
    assert "cannot be written (No space left on device)" in complaints
    assert len(complaints.splitlines()) == 1
    assert len(place.server.requests) < 5
