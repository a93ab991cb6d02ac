"""The console script about the cache: where it is, what it holds, and pruning it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache import FORMAT, EmbeddingCache
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

Output = pytest.CaptureFixture[str]
BELOW = ".pytest_cache/d/visualbias"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no cache in the environment."""
    monkeypatch.delenv("VISUALBIAS_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(folder: Path, number: int, *, days: int) -> Path:
    """Store three images under a key that was used on a day of January 2026; return its file."""
    rows = {f"{digest:064x}": np.ones(100, np.float32) for digest in range(number, number + 3)}
    EmbeddingCache(folder=folder).store(f"{number:064x}", rows, {})
    path = folder / FORMAT / f"{number:064x}"
    moment = time.mktime((2026, 1, days, 12, 30, 0, 0, 0, -1))
    os.utime(path, (moment, moment))
    (file,) = path.iterdir()
    return file


def kept(folder: Path) -> list[int]:
    """Return the numbers of the keys that still have vectors."""
    return sorted(int(path.parent.name, 16) for path in folder.rglob("*.safetensors"))


def said(capsys: Output, *arguments: str, status: int = 0) -> str:
    """Return what the script says on stdout, or on stderr where it is not well."""
    assert main(["cache", *arguments]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


class TestPlace:
    def test_it_is_the_option_else_the_environment_else_pytests_own(
        self, here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("option", "environment", BELOW):
            (here / name).mkdir(parents=True)
        assert said(capsys, "info").startswith(f"cache in {here / BELOW}\n")
        monkeypatch.setenv("VISUALBIAS_CACHE", "environment")
        assert said(capsys, "info").startswith("cache in environment\n")
        assert said(capsys, "info", "--cache", "option").startswith("cache in option\n")

    def test_pytests_own_is_that_of_the_nearest_folder_of_the_project_that_has_one(
        self, here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / BELOW).mkdir(parents=True)
        (here / "pyproject.toml").touch()
        (here / "a" / "b").mkdir(parents=True)
        monkeypatch.chdir(here / "a" / "b")
        assert said(capsys, "info").startswith(f"cache in {here / BELOW}\n")
        (here / "a" / BELOW).mkdir(parents=True)
        assert said(capsys, "info").startswith(f"cache in {here / 'a' / BELOW}\n")

    def test_a_cache_above_the_project_is_somebody_elses(
        self, here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / BELOW).mkdir(parents=True)
        (here / "project" / "below").mkdir(parents=True)
        monkeypatch.chdir(here / "project" / "below")
        assert "there is no cache" in said(capsys, "info", status=1)
        (here / "project" / "pytest.ini").touch()
        assert "there is no cache" in said(capsys, "info", status=1)

    @pytest.mark.parametrize("action", ["info", "prune"])
    def test_a_folder_that_is_not_there_is_one_sentence(
        self, here: Path, capsys: Output, action: str
    ) -> None:
        (here / "file").touch()
        for arguments, sentence in [
            ([], f"there is no cache in {here / BELOW}; say with --cache where it is\n"),
            (["--cache=gone"], "there is no cache in gone; say with --cache where it is\n"),
            (["--cache=file"], "file is not a folder; say with --cache where the cache is\n"),
        ]:
            assert said(capsys, action, *arguments, status=1) == sentence
        assert sorted(path.name for path in here.iterdir()) == ["file"], "and none is made"

    def test_a_folder_that_cannot_be_read_is_one_sentence(
        self, here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(folder: Path) -> None:
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr("pytest_visualbias.cli.cache.list_cache", refuse)
        assert said(capsys, "info", "--cache=.", status=1) == (
            ". cannot be read (Permission denied); correct its permissions\n"
        )


class TestInfo:
    def test_it_says_what_lies_there_and_since_when(self, here: Path, capsys: Output) -> None:
        for number, days in ((1, 3), (2, 20), (9, 7)):
            size = fill(here / "cache", number, days=days).stat().st_size
        (here / "cache" / DIGESTS_FILE).write_text("x" * 2500)
        assert said(capsys, "info", "--cache=cache").splitlines() == [
            "cache in cache",
            "3 keys, each a network at a layer",
            "7 images",
            f"3 files, {3 * size / 1000:.1f} kB",
            "used between 2026-01-03 12:30 and 2026-01-20 12:30",
            "digests of files: 2.5 kB",
        ]

    def test_an_empty_cache_holds_nothing(self, here: Path, capsys: Output) -> None:
        assert said(capsys, "info", "--cache=.").splitlines() == [
            "cache in .",
            "0 keys, each a network at a layer",
            "0 images",
            "0 files, 0 B",
            "digests of files: 0 B",
        ]

    def test_it_says_what_pruning_would_remove_in_any_case(
        self, here: Path, capsys: Output
    ) -> None:
        size = fill(here, 1, days=3).stat().st_size
        (here / FORMAT).rename(here / str(int(FORMAT) - 1))
        part = fill(here, 2, days=3).with_name("x.part")
        part.write_text("half")
        os.utime(part, (0, 0))
        lines = said(capsys, "info", "--cache=.").splitlines()
        assert lines[1] == "1 key, each a network at a layer"
        assert lines[-2:] == [
            f"to prune: 1 key of older versions, {size / 1000:.1f} kB",
            "to prune: 1 leftover of killed runs, 4 B",
        ]


class TestPrune:
    @pytest.fixture
    def size(self, here: Path) -> int:
        """Bytes of each of three keys, used one after the other."""
        sizes = {fill(here, number, days=10 * number).stat().st_size for number in (1, 2, 3)}
        (size,) = sizes
        return size

    def test_under_a_size_the_latest_stay(self, here: Path, capsys: Output, size: int) -> None:
        told = said(capsys, "prune", "--cache=.", "--max-size", f"{2 * size}B")
        assert kept(here) == [2, 3]
        gone, left = f"{size / 1000:.1f} kB", f"{2 * size / 1000:.1f} kB"
        assert told == f"removed 1 key and 0 leftovers, {gone}; {left} left in .\n"

    def test_what_was_used_within_an_age_stays(self, here: Path, capsys: Output, size: int) -> None:
        os.utime(here / FORMAT / f"{1:064x}")
        said(capsys, "prune", "--cache=.", "--older-than", "12h")
        assert kept(here) == [1]

    def test_without_a_limit_all_keys_stay(self, here: Path, capsys: Output, size: int) -> None:
        told = said(capsys, "prune", "--cache=.")
        assert told.startswith("removed 0 keys and 0 leftovers, 0 B; ")
        assert kept(here) == [1, 2, 3]

    def test_all_leaves_nothing(self, here: Path, capsys: Output, size: int) -> None:
        (here / DIGESTS_FILE).write_text("{}")
        told = said(capsys, "prune", "--cache=.", "--all")
        assert told.endswith("; 0 B left in .\n")
        assert [path for path in here.rglob("*") if path.is_file()] == []

    def test_all_with_a_limit_is_a_wrong_call(self, here: Path, capsys: Output, size: int) -> None:
        for limit in ("--max-size=1GB", "--older-than=1d"):
            assert said(capsys, "prune", "--cache=.", "--all", limit, status=2) == (
                "--all removes everything; leave out --max-size and --older-than\n"
            )
        assert kept(here) == [1, 2, 3]

    def test_what_cannot_be_removed_is_said_and_is_1(
        self, here: Path, capsys: Output, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Path) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(type(here), "unlink", refuse)
            told = said(capsys, "prune", "--cache=.", "--max-size=0B", status=1)
        assert told.count("cannot be removed (Permission denied)\n") == 3

    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("--max-size=2", "'2' is not a size; write one such as 500MB or 2GB"),
            ("--older-than=30", "'30' is not an age; write one such as 12h or 30d"),
            ("--older-than=month", "'month' is not an age; write one such as 12h or 30d"),
            ("--cache=", "the path is empty; give one"),
        ],
    )
    def test_a_limit_that_means_nothing_is_a_wrong_call(
        self, capsys: Output, argument: str, sentence: str
    ) -> None:
        with pytest.raises(SystemExit) as left:
            main(["cache", "prune", argument])
        assert left.value.code == 2
        assert sentence in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("age", "seconds"), [("1h", 3600), ("2 D", 172_800), ("1.5w", 907_200)]
    )
    def test_ages_are_in_hours_days_and_weeks(
        self, here: Path, capsys: Output, age: str, seconds: int
    ) -> None:
        for number, off in ((1, -60), (2, 60)):
            path = fill(here, number, days=1).parent
            moment = time.time() - seconds + off
            os.utime(path, (moment, moment))
        said(capsys, "prune", "--cache=.", f"--older-than={age}")
        assert kept(here) == [2]


def test_what_is_piped_is_the_same_text(here: Path) -> None:
    fill(here, 1, days=3)
    command = [sys.executable, "-m", "pytest_visualbias", "cache", "info", "--cache=."]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cache in .\n1 key, each a network at a layer\n3 images\n")
    assert "\x1b" not in done.stdout
