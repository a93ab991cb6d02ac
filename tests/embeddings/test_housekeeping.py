"""A cache is kept small without losing what is used, nor anything that is not its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import filelock
import numpy as np
import pytest

from pytest_visualbias.embeddings.cache import FORMAT, EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import (
    clear,
    count_images,
    evict_to_limit,
    list_cache,
    prune,
)
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0


def key(number: int) -> str:
    return f"{number:064x}"


def vectors(*digests: str) -> dict[str, np.ndarray]:
    return {digest: np.ones(100, np.float32) for digest in digests}


def age(path: Path, days: float) -> None:
    moment = time.time() - days * DAY
    os.utime(path, (moment, moment))


def keep(folder: Path, number: int, *digests: str, days: float = 0.0) -> Path:
    """Store vectors under a key that was used so many days ago; return its folder."""
    EmbeddingCache(folder=folder).store(key(number), vectors(*digests or ("a",)), {})
    path = folder / FORMAT / key(number)
    age(path, days)
    return path


def outdated(folder: Path, number: int, *, days: float = 0.0) -> Path:
    """Return the folder of a key that an older version of the cache has stored."""
    older = folder / str(int(FORMAT) - 1)
    older.mkdir(exist_ok=True)
    return keep(folder, number, days=days).rename(older / key(number))


def is_kept(path: Path) -> bool:
    """Whether a key still has vectors."""
    return bool(list(path.glob("*.safetensors")))


def size_of(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


class TestSurvey:
    def test_keys_are_told_with_their_files_bytes_and_use(self, tmp_path: Path) -> None:
        keep(tmp_path, 1, "a", "b")
        first = keep(tmp_path, 1, "c", days=3)
        second = keep(tmp_path, 2, "a", days=8)
        found = list_cache(tmp_path)
        assert [one.path for one in found.keys] == [second, first], "the longest unused first"
        assert [len(one.files) for one in found.keys] == [1, 2]
        assert [one.size for one in found.keys] == [size_of(second), size_of(first)]
        assert found.size == size_of(tmp_path)
        assert found.keys[0].used == pytest.approx(time.time() - 8 * DAY, abs=60)
        assert count_images(found.keys) == 3

    def test_a_key_of_an_older_format_goes_before_any_other(self, tmp_path: Path) -> None:
        keep(tmp_path, 1, days=9)
        older = outdated(tmp_path, 2)
        first, second = list_cache(tmp_path).keys
        assert first.path == older
        assert [first.is_outdated, second.is_outdated] == [True, False]

    def test_nothing_is_found_where_nothing_is(self, tmp_path: Path) -> None:
        found = list_cache(tmp_path / "gone")
        assert (found.keys, found.size, found.leftovers) == ((), 0, {})

    def test_a_damaged_file_has_no_images(self, tmp_path: Path) -> None:
        path = keep(tmp_path, 1, "a", "b")
        keep(tmp_path, 2, "c")
        next(path.iterdir()).write_bytes(b"damaged")
        assert count_images(list_cache(tmp_path).keys) == 1

    def test_remembered_digests_are_of_its_size(self, tmp_path: Path) -> None:
        (tmp_path / DIGESTS_FILE).write_text("x" * 70)
        assert list_cache(tmp_path).memo == list_cache(tmp_path).size == 70


class TestBound:
    def test_the_least_recently_used_go_until_the_rest_is_under_the_size(
        self, tmp_path: Path
    ) -> None:
        paths = [keep(tmp_path, number, days=number) for number in range(4)]
        one = size_of(paths[0])
        removed = evict_to_limit(tmp_path, 2 * one + 1)
        assert [is_kept(path) for path in paths] == [True, True, False, False]
        assert (removed.keys, removed.size, removed.problems) == (2, 2 * one, [])

    def test_a_size_that_is_just_met_removes_nothing(self, tmp_path: Path) -> None:
        paths = [keep(tmp_path, number, days=number) for number in range(3)]
        assert evict_to_limit(tmp_path, size_of(tmp_path)).keys == 0
        assert evict_to_limit(tmp_path, size_of(tmp_path) - 1).keys == 1
        assert [is_kept(path) for path in paths] == [True, True, False]

    def test_keys_of_another_version_stay_while_there_is_room(self, tmp_path: Path) -> None:
        older, newer = outdated(tmp_path, 1), keep(tmp_path, 2, days=50)
        evict_to_limit(tmp_path, size_of(tmp_path))
        assert is_kept(older)
        evict_to_limit(tmp_path, size_of(newer))
        assert [is_kept(older), is_kept(newer)] == [False, True]

    def test_it_takes_along_what_killed_runs_left(self, tmp_path: Path) -> None:
        part = keep(tmp_path, 1) / "x.part"
        part.write_text("half")
        age(part, 1.1)
        assert evict_to_limit(tmp_path, 10**9).leftovers == 1
        assert not part.exists()

    def test_a_folder_that_is_not_there_or_not_readable_is_no_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert evict_to_limit(tmp_path / "gone", 0).keys == 0

        def refuse(folder: Path) -> None:
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr("pytest_visualbias.embeddings.cache_maintenance.list_cache", refuse)
        assert evict_to_limit(tmp_path, 0).keys == 0


class TestPrune:
    def test_without_limits_only_what_nobody_needs_goes(self, tmp_path: Path) -> None:
        kept = keep(tmp_path, 1, days=400)
        older = outdated(tmp_path, 2)
        removed = prune(tmp_path)
        assert is_kept(kept)
        assert not older.parent.exists()
        assert removed.keys == 1

    def test_a_newer_format_is_not_taken_for_an_older_one(self, tmp_path: Path) -> None:
        path = keep(tmp_path, 1)
        newer = (tmp_path / FORMAT).rename(tmp_path / str(int(FORMAT) + 1))
        prune(tmp_path)
        assert is_kept(newer / path.name)

    def test_what_was_not_used_for_so_long_goes(self, tmp_path: Path) -> None:
        paths = [keep(tmp_path, days, days=days) for days in (29, 31)]
        assert prune(tmp_path, unused_for=30 * DAY).keys == 1
        assert [is_kept(path) for path in paths] == [True, False]

    @pytest.mark.parametrize(("left", "days"), [(3, 30.0), (2, 2.5), (1, 30.0), (1, 0.5)])
    def test_of_size_and_age_both_hold(self, tmp_path: Path, left: int, days: float) -> None:
        paths = [keep(tmp_path, number, days=number) for number in range(5)]
        prune(tmp_path, limit=left * size_of(paths[0]), unused_for=days * DAY)
        expected = [number < left and number < days for number in range(5)]
        assert [is_kept(path) for path in paths] == expected

    def test_unfinished_files_go_after_a_day(self, tmp_path: Path) -> None:
        folder = keep(tmp_path, 1)
        parts = [folder / "old.part", folder / "new.part", tmp_path / f"{DIGESTS_FILE}x.part"]
        for part, days in zip(parts, (1.1, 0.9, 1.1), strict=True):
            part.write_text("half")
            age(part, days)
        removed = prune(tmp_path)
        assert [part.exists() for part in parts] == [False, True, False]
        assert (removed.leftovers, removed.size) == (2, 8)

    def test_the_empty_folder_of_a_key_goes_a_day_after_its_files(self, tmp_path: Path) -> None:
        path = keep(tmp_path, 1)
        for days, is_there in ((0.0, True), (0.9, True), (1.1, False)):
            age(path, days)
            prune(tmp_path, limit=0)
            assert path.exists() == is_there
            assert list_cache(tmp_path).keys == ()

    def test_a_folder_of_which_only_unfinished_files_are_left_goes_with_them(
        self, tmp_path: Path
    ) -> None:
        home = tmp_path / FORMAT
        for number, days in ((1, 2.0), (2, 0.5)):
            part = home / key(number) / "x.part"
            part.parent.mkdir(parents=True)
            part.touch()
            age(part, days)
            age(part.parent, days)
        prune(tmp_path)
        assert [path.name for path in home.iterdir()] == [key(2)]

    def test_locks_go_after_a_day_unless_a_process_holds_them(self, tmp_path: Path) -> None:
        keep(tmp_path, 1)
        locks = [tmp_path / FORMAT / f"{key(number)}.lock" for number in range(3)]
        for lock in locks:
            lock.touch()
            age(lock, 2)
        locks[2].touch()
        with filelock.FileLock(locks[0]):
            age(locks[0], 2)
            removed = prune(tmp_path)
            assert [lock.exists() for lock in locks] == [True, False, True]
        assert removed.leftovers == 1
        assert removed.problems == []

    def test_a_key_used_since_it_was_looked_at_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = keep(tmp_path, 1, days=9)
        found = list_cache(tmp_path)
        os.utime(path)
        monkeypatch.setattr(
            "pytest_visualbias.embeddings.cache_maintenance.list_cache", lambda _: found
        )
        assert prune(tmp_path, limit=0).keys == 0
        assert is_kept(path)

    def test_what_somebody_else_removed_first_is_no_problem(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(tmp_path, 1)
        keep(tmp_path, 2)
        found = list_cache(tmp_path)
        clear(tmp_path)
        monkeypatch.setattr(
            "pytest_visualbias.embeddings.cache_maintenance.list_cache", lambda _: found
        )
        removed = prune(tmp_path, limit=0)
        assert (removed.keys, removed.size, removed.problems) == (0, 0, [])

    def test_what_cannot_be_removed_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = keep(tmp_path, 1)
        (file,) = path.iterdir()

        def refuse(self: Path) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(type(file), "unlink", refuse)
            removed = prune(tmp_path, limit=0)
        assert removed.problems == [f"{file} cannot be removed (Permission denied)"]
        assert (removed.keys, removed.size) == (0, 0)


class TestClear:
    def test_nothing_is_left_but_folders_in_which_processes_may_be_at_work(
        self, tmp_path: Path
    ) -> None:
        keep(tmp_path, 1)
        outdated(tmp_path, 2)
        with EmbeddingCache(folder=tmp_path).lock(key(3)):
            pass
        (tmp_path / DIGESTS_FILE).write_text("{}")
        with filelock.FileLock(tmp_path / f"{DIGESTS_FILE}.lock"):
            pass
        removed = clear(tmp_path)
        assert {*tmp_path.rglob("*")} == {tmp_path / FORMAT, tmp_path / FORMAT / key(1)}
        assert removed.keys == 2

    def test_what_is_being_written_or_held_stays(self, tmp_path: Path) -> None:
        part = keep(tmp_path, 1) / "x.part"
        part.touch()
        cache = EmbeddingCache(folder=tmp_path)
        with cache.lock(key(1)):
            clear(tmp_path)
            left = {path for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {part, tmp_path / FORMAT / f"{key(1)}.lock"}


def test_nothing_is_touched_that_the_cache_has_not_written(tmp_path: Path) -> None:
    """Somebody may point at a folder of checkpoints, or put notes beside the vectors."""
    own = keep(tmp_path, 1, days=99)
    elsewhere = tmp_path / "elsewhere"
    keep(elsewhere, 5)
    others = [
        tmp_path / "model.safetensors",
        tmp_path / "1" / "run" / "model.safetensors",
        tmp_path / "1" / key(4)[1:] / "model.safetensors",
        tmp_path / "runs" / key(4) / "model.safetensors",
        tmp_path / "1" / "model.lock",
        tmp_path / "other.part",
        own / "notes.txt",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        age(path, 99)
    age(own, 99)
    (tmp_path / "7").symlink_to(elsewhere / FORMAT)
    (tmp_path / FORMAT / key(6)).symlink_to(elsewhere / FORMAT / key(5))
    linked = size_of(elsewhere)
    for remove in (prune, clear, lambda folder: evict_to_limit(folder, 0)):
        remove(tmp_path)
        assert [path for path in others if not path.exists()] == []
        assert size_of(elsewhere) == linked
    assert [path.name for path in own.iterdir()] == ["notes.txt"]


WORKER = """
import pathlib, sys, time, numpy as np
from pytest_visualbias.embeddings.cache import EmbeddingCache

folder = pathlib.Path(sys.argv[1])
(folder / "ready").touch()
for i in range(300):
    name = f"{i % 7:064x}"
    cache = EmbeddingCache(folder=folder)
    with cache.lock(name):
        found = cache.load(name).vectors
        assert all((row == float(which)).all() for which, row in found.items()), found
        cache.store(name, {str(i): np.full(50, i, dtype=np.float32)}, {})
(folder / "done").touch()
"""


@pytest.mark.slow
def test_a_process_at_work_loses_time_only(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], stderr=subprocess.PIPE
    ) as process:
        while not (tmp_path / "ready").exists() and process.poll() is None:
            time.sleep(0.001)
        removed = 0
        while not (tmp_path / "done").exists() and process.poll() is None:
            removed += evict_to_limit(tmp_path, 2000).keys + clear(tmp_path).keys
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert removed > 0
