"""Copies of what lies at URLs take room in the cache, and go when nobody used them for long."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache_maintenance import clear, evict_to_limit, list_cache, prune

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAY = 86_400.0


def fetched(cache: Path, digit: str, *, days: float = 0, size: int = 100) -> Path:
    """Make copies of a checkpoint and of a folder of images, used so long ago."""
    home = cache / "fetched" / (digit * 64)
    for name in ("0123456789abcdef/epoch_7.pt", "tree/x/1.png", "tree/y/2.png", ".lock"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == ".lock" else bytes(size))
    moment = time.time() - days * DAY
    os.utime(home, (moment, moment))
    return home


def test_what_was_fetched_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetched(tmp_path, "a")
    fetched(tmp_path, "b")
    assert list_cache(tmp_path).size == 600
    assert main(["cache", "info", "--cache", str(tmp_path)]) == 0
    assert "copies of 2 URLs: 600 B" in capsys.readouterr().out.splitlines()


def test_the_least_recently_used_goes_whole(tmp_path: Path) -> None:
    old, older = fetched(tmp_path, "a", days=2), fetched(tmp_path, "b", days=3)
    assert prune(tmp_path, limit=400).keys == 1
    assert old.is_dir()
    assert not older.exists()
    assert prune(tmp_path, unused_for=DAY).keys == 1
    assert not old.exists()


def test_what_a_run_of_today_may_be_reading_stays(tmp_path: Path) -> None:
    home = fetched(tmp_path, "a", days=0.5)
    for removed in (prune(tmp_path, limit=0, unused_for=0.0), evict_to_limit(tmp_path, 0)):
        assert removed.keys == 0
    assert len([one for one in home.rglob("*") if one.is_file()]) == 4


def test_all_means_what_was_fetched_too_and_nobody_elses_files(tmp_path: Path) -> None:
    home = fetched(tmp_path, "a")
    (tmp_path / "fetched/README").write_text("of somebody else")
    assert clear(tmp_path).keys == 1
    assert not home.exists()
    assert (tmp_path / "fetched/README").is_file()
