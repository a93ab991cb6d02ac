"""Files that are certainly what they were are not read again to be told apart."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli import digest_cache
from tests.plugin.conftest import sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

CACHE = ".pytest_cache/d/visualbias"
IMAGES = 20
CHECKPOINTS = ["after.safetensors", "before.safetensors"]


def test_a_second_run_reads_neither_checkpoints_nor_images(
    networks: Project, hashed: list[str]
) -> None:
    networks.gate()
    first = networks.report()
    assert len(hashed) == IMAGES + len(CHECKPOINTS)
    hashed.clear()
    networks.gate()
    assert hashed == []
    assert networks.report() == first


def test_rehash_reads_them_all_on_the_command_line_or_in_the_ini_file(
    networks: Project, hashed: list[str]
) -> None:
    networks.gate()
    expected = sorted(hashed)
    hashed.clear()
    networks.gate("--visualbias-rehash")
    assert sorted(hashed) == expected
    hashed.clear()
    networks.pytester.makeini("[pytest]\nvisualbias_rehash = true")
    networks.gate()
    assert sorted(hashed) == expected


def test_no_cache_remembers_nothing_between_runs(networks: Project, hashed: list[str]) -> None:
    for _ in range(2):
        networks.gate("--visualbias-no-cache")
    assert len(hashed) == 2 * (IMAGES + len(CHECKPOINTS))


def test_a_checkpoint_changed_behind_its_size_and_mtime_is_another(
    networks: Project, hashed: list[str]
) -> None:
    networks.gate()
    assert networks.report()["models"][0]["trials"] != networks.report()["models"][1]["trials"]
    path = networks.path / "after.safetensors"
    before = path.stat()
    path.write_bytes((networks.path / "before.safetensors").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    hashed.clear()
    networks.gate()
    assert hashed == ["after.safetensors"]
    models = networks.report()["models"]
    assert models[0]["trials"][0]["checkpoint"] == models[1]["trials"][0]["checkpoint"]


def test_damaged_memory_is_made_again(networks: Project, hashed: list[str]) -> None:
    networks.gate()
    first = networks.report()
    memo = networks.path / CACHE / digest_cache.DIGESTS_FILE
    memo.write_text("damaged")
    hashed.clear()
    networks.gate()
    assert networks.report() == first
    assert len(hashed) == IMAGES + len(CHECKPOINTS)
    assert len(json.loads(memo.read_text())["files"]) == len(hashed)


@pytest.mark.slow
def test_workers_share_what_they_remember(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every worker hashes the images and saves at its end; what is left is whole and true."""
    project.drawn()
    time.sleep(2.1)  # else they are too fresh to be remembered
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("-p", "xdist.plugin", "-p", "pytest_visualbias.plugin")
    result = project.pytester.runpytest_subprocess(*plugins, "--visualbias", "-n2")
    assert "before.safetensors" in sentences(result)
    stored = json.loads((project.path / CACHE / digest_cache.DIGESTS_FILE).read_text())["files"]
    assert len(stored) == IMAGES
    for name, (_, digest) in stored.items():
        assert digest_of_file(project.path / name) == digest
