"""Digests are remembered only for files that are certainly what they were."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping
from pytest_visualbias.stimuli import digest_cache
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE, DigestCache

MINUTE = 60_000_000_000


def later() -> int:
    """Return a moment at which every file of a test is old."""
    return time.time_ns() + MINUTE


def memo(folder: Path | None, *, rehash: bool = False) -> DigestCache:
    """Return what another run, a minute later, has."""
    file = None if folder is None else folder / DIGESTS_FILE
    return DigestCache(file=file, rehash=rehash, clock=later)


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read since the list was last cleared."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return digest_of_file(path)

    monkeypatch.setattr(digest_cache, "digest_of_file", noted)
    return names


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_text("first")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder that is not made yet."""
    return tmp_path / "cache" / "deep"


def filled(cache: Path, *paths: Path) -> None:
    one = memo(cache)
    for path in paths:
        one.of(path)
    one.save()


class TestTrust:
    def test_a_file_that_is_what_it_was_is_not_read_again(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        first = memo(cache)
        assert [first.of(image), first.of(image)] == [sha256("first")] * 2
        assert hashed == ["image.png"], "once in a run"
        first.save()
        assert memo(cache).of(image) == sha256("first")
        assert hashed == ["image.png"], "and once for all runs"

    def test_a_change_that_keeps_size_and_mtime_is_noticed(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        filled(cache, image)
        before = image.stat()
        time.sleep(0.02)  # more than a tick of the clock, as two seconds are
        image.write_text("other")
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert image.stat().st_size == before.st_size
        assert image.stat().st_mtime_ns == before.st_mtime_ns
        assert memo(cache).of(image) == sha256("other")

    def test_a_file_put_in_its_place_is_noticed(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        filled(cache, image)
        before = image.stat()
        twin = image.with_name("twin")
        twin.write_text("other")
        os.utime(twin, ns=(before.st_atime_ns, before.st_mtime_ns))
        twin.replace(image)
        assert memo(cache).of(image) == sha256("other")

    def test_a_link_that_points_elsewhere_is_noticed(self, image: Path, cache: Path) -> None:
        link = image.with_name("link")
        link.symlink_to(image)
        filled(cache, link)
        image.with_name("other").write_text("other")
        link.unlink()
        link.symlink_to(image.with_name("other"))
        assert memo(cache).of(link) == sha256("other")

    def test_a_file_that_changed_a_moment_ago_is_not_remembered(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        """An edit within the same tick would leave its times as they are."""
        changed = image.stat().st_ctime_ns
        for age, times in [(1_999_999_999, 2), (2_000_000_000, 1)]:
            hashed.clear()
            for _ in range(2):
                run = DigestCache(
                    file=cache / DIGESTS_FILE, clock=functools.partial(int, changed + age)
                )
                run.of(image)
                run.save()
            assert hashed == ["image.png"] * times, age

    def test_the_clock_is_that_of_the_file_system(self, image: Path, cache: Path) -> None:
        """By the real clock, a file of this very moment is not remembered."""
        run = DigestCache.inside(cache)
        run.of(image)
        run.save()
        assert not (cache / DIGESTS_FILE).exists()

    def test_times_in_the_future_are_never_trusted(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        os.utime(image, ns=(0, later() + MINUTE))
        for _ in range(2):
            filled(cache, image)
        assert hashed == ["image.png"] * 2

    def test_an_edit_while_the_file_is_hashed_is_noticed(
        self, image: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def overtaken(path: Path) -> str:
            digest = digest_of_file(path)
            time.sleep(0.02)
            path.write_text("other")
            return digest

        with monkeypatch.context() as patched:
            patched.setattr(digest_cache, "digest_of_file", overtaken)
            filled(cache, image)
        assert memo(cache).of(image) == sha256("other")

    def test_rehash_reads_every_file_once_and_replaces_what_is_known(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        filled(cache, image)
        stored = json.loads((cache / DIGESTS_FILE).read_text())
        stored["files"][str(image)][1] = sha256("a lie")
        stored["sha256"] = digest_of_mapping(stored["files"])
        (cache / DIGESTS_FILE).write_text(json.dumps(stored))
        assert memo(cache).of(image) == sha256("a lie")
        again = memo(cache, rehash=True)
        hashed.clear()
        assert [again.of(image), again.of(image)] == [sha256("first")] * 2
        again.save()
        assert again.of(image) == sha256("first")
        assert hashed == ["image.png"]
        assert memo(cache).of(image) == sha256("first")


def test_without_a_folder_digests_are_remembered_for_the_run(
    image: Path, hashed: list[str]
) -> None:
    run = memo(None)
    assert [run.of(image), run.of(image)] == [sha256("first")] * 2
    run.save()
    assert hashed == ["image.png"]
    memo(None).of(image)
    assert hashed == ["image.png"] * 2


def test_a_relative_path_is_one_of_its_folder(
    image: Path, cache: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(cache, image)
    other = image.parent / "other"
    other.mkdir()
    (other / image.name).write_text("other")
    monkeypatch.chdir(image.parent)
    assert memo(cache).of(Path(image.name)) == sha256("first")
    assert len(hashed) == 1
    monkeypatch.chdir(other)
    assert memo(cache).of(Path(image.name)) == sha256("other")


def test_what_cannot_be_read_raises_as_without_a_memory(tmp_path: Path, cache: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory") as caught:
            memo(cache).of(path)
        assert caught.value.filename == str(path)


def test_a_name_that_is_not_text_is_remembered(
    tmp_path: Path, cache: Path, hashed: list[str]
) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    path.write_text("first")
    for _ in range(2):
        filled(cache, path)
    assert len(hashed) == 1


class TestFile:
    def test_nothing_new_writes_nothing(self, image: Path, cache: Path) -> None:
        filled(cache, image)
        before = (cache / DIGESTS_FILE).stat()
        filled(cache, image)
        assert (cache / DIGESTS_FILE).stat() == before

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b"1",
            b'{"version": 1, "sha256": "", "files": {}}',
            b"[" * 100_000,
        ],
    )
    def test_a_damaged_file_is_ignored_and_replaced(
        self, image: Path, cache: Path, hashed: list[str], content: bytes
    ) -> None:
        cache.mkdir(parents=True)
        (cache / DIGESTS_FILE).write_bytes(content)
        filled(cache, image)
        filled(cache, image)
        assert hashed == ["image.png"]

    def test_one_wrong_digit_is_damage(self, image: Path, cache: Path, hashed: list[str]) -> None:
        filled(cache, image)
        text = (cache / DIGESTS_FILE).read_text()
        digest = sha256("first")
        (cache / DIGESTS_FILE).write_text(text.replace(digest, f"{int(digest, 16) ^ 1:064x}"))
        assert memo(cache).of(image) == digest
        assert len(hashed) == 2

    def test_a_file_of_another_version_is_ignored(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        filled(cache, image)
        stored = json.loads((cache / DIGESTS_FILE).read_text())
        (cache / DIGESTS_FILE).write_text(json.dumps({**stored, "version": 2}))
        memo(cache).of(image)
        assert len(hashed) == 2

    def test_what_others_wrote_meanwhile_stays(
        self, image: Path, cache: Path, hashed: list[str]
    ) -> None:
        other = image.with_name("other.png")
        other.write_text("other")
        runs = [memo(cache), memo(cache)]
        runs[0].of(image)
        runs[1].of(other)
        for run in runs:
            run.save()
        hashed.clear()
        filled(cache, image, other)
        assert hashed == []

    def test_files_that_are_gone_are_forgotten(self, image: Path, cache: Path) -> None:
        other = image.with_name("other.png")
        other.write_text("other")
        filled(cache, image)
        image.unlink()
        filled(cache, other)
        assert [*json.loads((cache / DIGESTS_FILE).read_text())["files"]] == [str(other)]

    def test_of_too_many_the_latest_are_kept(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(digest_cache, "MAX_ENTRIES", 3)
        paths = [tmp_path / str(number) for number in range(5)]
        for path in paths:
            path.write_text(path.name)
            filled(cache, path)
        kept = json.loads((cache / DIGESTS_FILE).read_text())["files"]
        assert [Path(name).name for name in kept] == ["2", "3", "4"]

    def test_a_folder_that_refuses_costs_time_only(self, image: Path, hashed: list[str]) -> None:
        blocked = image.with_name("file")
        blocked.touch()
        for _ in range(2):
            filled(blocked / "cache", image)
        assert hashed == ["image.png"] * 2

    def test_a_write_that_fails_leaves_what_was_there(
        self, image: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled(cache, image)
        before = (cache / DIGESTS_FILE).read_text()

        def refuse(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        other = image.with_name("other.png")
        other.write_text("other")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", refuse)
            filled(cache, other)
        assert (cache / DIGESTS_FILE).read_text() == before
        assert list(cache.glob("*.part")) == []

    def test_a_lock_that_nobody_gives_back_costs_patience_only(
        self, image: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(digest_cache, "LOCK_TIMEOUT_S", 0.05)
        cache.mkdir(parents=True)
        with filelock.FileLock(f"{cache / DIGESTS_FILE}.lock"):
            filled(cache, image)
        assert not (cache / DIGESTS_FILE).exists()


WRITER = """
import pathlib, sys, time
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE, DigestCache

folder, who = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / f"ready {who}").touch()
while len([*folder.glob("ready *")]) < 3:
    time.sleep(0.001)
for number in range(15):
    memo = DigestCache(file=folder / DIGESTS_FILE, clock=lambda: time.time_ns() + 10**10)
    memo.of(folder / f"{who} {number}")
    memo.save()
"""


@pytest.mark.slow
def test_processes_that_save_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    paths = [tmp_path / f"{who} {number}" for who in names for number in range(15)]
    for path in paths:
        path.write_text(path.name)
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), who], stderr=subprocess.PIPE)
        for who in names
    ]
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    stored = json.loads((tmp_path / DIGESTS_FILE).read_text())["files"]
    assert {name: digest for name, (_, digest) in stored.items()} == {
        str(path): sha256(path.name) for path in paths
    }
