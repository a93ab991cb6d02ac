"""Embeddings kept by content: found again, never taken for others, never half there."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from pytest_visualbias.embeddings.cache import EmbeddingCache, _checksum

if TYPE_CHECKING:
    from collections.abc import Callable

NOTES: dict[str, Any] = {"preprocessing": {"size": [8, 8]}, "description": {"parameters": 3}}
KEY = "0" * 64


def vectors(*digests: str) -> dict[str, np.ndarray]:
    return {
        digest: np.random.default_rng([*digest.encode()]).normal(size=5).astype(np.float32)
        for digest in digests
    }


def assert_same(found: Any, expected: dict[str, np.ndarray]) -> None:  # noqa: ANN401
    assert found.keys() == expected.keys()
    for digest, row in expected.items():
        np.testing.assert_array_equal(found[digest], row)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_stored_is_found_by_another_run(tmp_path: Path) -> None:
    EmbeddingCache(folder=tmp_path).store(KEY, vectors("a", "b"), NOTES)
    found = EmbeddingCache(folder=tmp_path).load(KEY)
    assert_same(found.vectors, vectors("a", "b"))
    assert found.notes == NOTES
    assert all(row.dtype == np.float32 for row in found.vectors.values())


def test_equal_vectors_of_several_runs_make_one_file(tmp_path: Path) -> None:
    for _ in range(8):  # safetensors orders metadata differently each time
        EmbeddingCache(folder=tmp_path).append(KEY, vectors("a", "b"), NOTES)
    (path,) = files(tmp_path)
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a", "b"))


def test_adding_images_adds_a_file_and_changes_none(tmp_path: Path) -> None:
    EmbeddingCache(folder=tmp_path).store(KEY, vectors("a", "b"), NOTES)
    (first,) = files(tmp_path)
    content = first.read_bytes()
    EmbeddingCache(folder=tmp_path).store(KEY, vectors("c"), NOTES)
    assert len(files(tmp_path)) == 2
    assert first.read_bytes() == content
    assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a", "b", "c"))


def test_what_another_process_stored_after_a_look_is_found(tmp_path: Path) -> None:
    """A network is looked for before it is built, and again when its lock is had."""
    mine, theirs = EmbeddingCache(folder=tmp_path), EmbeddingCache(folder=tmp_path)
    assert mine.load(KEY, ("a", "b")).vectors == {}
    theirs.store(KEY, vectors("a"), NOTES)
    assert_same(mine.load(KEY, ("a", "b")).vectors, vectors("a"))
    theirs.store(KEY, vectors("b"), NOTES)
    found = mine.load(KEY, ("a", "b"))
    assert_same(found.vectors, vectors("a", "b"))
    assert found.notes == NOTES


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    found = EmbeddingCache(folder=tmp_path / "not made yet").load(KEY)
    assert (found.vectors, found.notes) == ({}, {})


def test_another_key_never_answers(tmp_path: Path) -> None:
    cache = EmbeddingCache(folder=tmp_path)
    cache.store(KEY, vectors("a"), NOTES)
    for other in ("1" * 64, KEY[:-1], KEY + "0"):
        assert cache.load(other).vectors == {}
        assert EmbeddingCache(folder=tmp_path).load(other).vectors == {}


def test_no_vectors_make_no_file(tmp_path: Path) -> None:
    EmbeddingCache(folder=tmp_path).store(KEY, {}, NOTES)
    assert files(tmp_path) == []


class TestMemory:
    def test_without_a_folder_what_is_stored_is_kept_for_the_run(self) -> None:
        cache = EmbeddingCache(folder=None)
        cache.store(KEY, vectors("a"), NOTES)
        cache.store(KEY, vectors("b"), NOTES)
        assert_same(cache.load(KEY).vectors, vectors("a", "b"))
        assert EmbeddingCache(folder=None).load(KEY).vectors == {}

    def test_files_are_read_once_in_a_run(self, tmp_path: Path) -> None:
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        cache = EmbeddingCache(folder=tmp_path)
        cache.load(KEY)
        for path in files(tmp_path):
            path.unlink()
        assert_same(cache.load(KEY).vectors, vectors("a"))

    def test_storing_adds_to_what_was_found_on_disk(self, tmp_path: Path) -> None:
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        cache = EmbeddingCache(folder=tmp_path)
        cache.store(KEY, vectors("b"), NOTES)
        assert_same(cache.load(KEY).vectors, vectors("a", "b"))

    def test_a_disk_that_refuses_does_not_lose_what_was_computed(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.touch()
        cache = EmbeddingCache(folder=blocked)
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            cache.store(KEY, vectors("a"), NOTES)
        assert_same(cache.load(KEY).vectors, vectors("a"))


def without(content: bytes, **metadata: str) -> bytes:
    """Return the vectors of a cache file with other metadata."""
    return safetensors.numpy.save(safetensors.numpy.load(content), metadata or None)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[:-3],
    "text": lambda _: b"damaged",
    "a bit of a vector": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "no metadata": without,
    "no digest of the vectors": lambda content: without(content, digests='["a", "b"]', notes="{}"),
    "fewer names than vectors": lambda content: without(
        content,
        digests='["a"]',
        notes="{}",
        sha256=hashlib.sha256(safetensors.numpy.load(content)["vectors"].tobytes()).hexdigest(),
    ),
    "other arrays": lambda _: safetensors.numpy.save({"x": np.ones(3)}, {"digests": "[]"}),
}


class TestDamage:
    @pytest.mark.parametrize("how", DAMAGES)
    def test_a_damaged_file_is_dropped_and_the_others_are_read(
        self, tmp_path: Path, how: str
    ) -> None:
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a", "b"), NOTES)
        (path,) = files(tmp_path)
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("c"), NOTES)
        path.write_bytes(DAMAGES[how](path.read_bytes()))
        found = EmbeddingCache(folder=tmp_path).load(KEY)
        assert_same(found.vectors, vectors("c"))
        assert not path.exists()

    def test_a_file_of_another_network_is_dropped(self, tmp_path: Path) -> None:
        """Copied there by whatever tool, it would be taken for vectors of this one."""
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        (path,) = files(tmp_path)
        strayed = path.parent.with_name("1" * 64) / path.name
        strayed.parent.mkdir()
        path.rename(strayed)
        assert EmbeddingCache(folder=tmp_path).load("1" * 64).vectors == {}
        assert not strayed.exists()

    def test_what_was_dropped_can_be_stored_again(self, tmp_path: Path) -> None:
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        (path,) = files(tmp_path)
        path.write_bytes(b"damaged")
        cache = EmbeddingCache(folder=tmp_path)
        assert cache.load(KEY).vectors == {}
        cache.store(KEY, vectors("a"), NOTES)
        assert len(files(tmp_path)) == 1
        assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a"))

    def test_a_file_that_cannot_be_read_now_is_not_dropped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody else's file, or too many open ones, say nothing about its content."""
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)

        def refuse(*_args: object, **_keys: object) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr("safetensors.safe_open", refuse)
            assert EmbeddingCache(folder=tmp_path).load(KEY).vectors == {}
        assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a"))

    def test_other_files_in_the_folder_are_left_alone(self, tmp_path: Path) -> None:
        EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        note = files(tmp_path)[0].with_name("notes.txt")
        note.write_text("mine")
        assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a"))
        assert note.exists()


class TestWholeFiles:
    def test_a_write_that_fails_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", refuse)
            with pytest.raises(OSError, match="No space left"):
                EmbeddingCache(folder=tmp_path).store(KEY, vectors("a"), NOTES)
        assert files(tmp_path) == []

    def test_a_writer_that_is_killed_leaves_nothing_that_is_read(self, tmp_path: Path) -> None:
        """Killed between the first bytes and the last: the next run finds nothing, and works."""
        code = (
            "import os, signal, sys, pathlib, numpy as np\n"
            "from pytest_visualbias.embeddings.cache import EmbeddingCache\n"
            "def killed(self, target):\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "pathlib.Path.replace = killed\n"
            "rows = {'a': np.ones(5, dtype=np.float32)}\n"
            f"EmbeddingCache(folder=pathlib.Path(sys.argv[1])).store('{KEY}', rows, {{}})\n"
        )
        result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
        assert result.returncode == -signal.SIGKILL, result.stderr
        left = files(tmp_path)
        assert [path.suffix for path in left] == [".part"]
        cache = EmbeddingCache(folder=tmp_path)
        assert cache.load(KEY).vectors == {}
        cache.store(KEY, vectors("a"), NOTES)
        assert_same(EmbeddingCache(folder=tmp_path).load(KEY).vectors, vectors("a"))


WRITER = """
import pathlib, sys, time, numpy as np
from pytest_visualbias.embeddings.cache import EmbeddingCache

folder, who, key = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(folder / f"ready {who}").touch()
while len([*folder.glob("ready *")]) < 2:
    time.sleep(0.001)
for i in range(40):
    cache = EmbeddingCache(folder=folder)
    with cache.lock(key):
        known = cache.load(key).vectors
        for name, row in known.items():
            assert (row == float(name)).all(), (name, row)
        if str(i) not in known:
            (folder / f"made {i} by {who}").touch()
            cache.store(key, {str(i): np.full(5, i, dtype=np.float32)}, {"by": who})
"""


def test_two_processes_share_the_work_and_read_only_what_is_whole(tmp_path: Path) -> None:
    """Under the lock each vector is computed by one of them, and the other finds it."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), who, KEY],
            stderr=subprocess.PIPE,
            env=os.environ.copy(),
        )
        for who in ("one", "other")
    ]
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len([*tmp_path.glob("made *")]) == 40, "a vector was computed twice"
    found = EmbeddingCache(folder=tmp_path).load(KEY).vectors
    assert_same(found, {str(i): np.full(5, i, dtype=np.float32) for i in range(40)})


def test_without_a_folder_the_lock_is_free() -> None:
    with EmbeddingCache(folder=None).lock(KEY), EmbeddingCache(folder=None).lock(KEY):
        pass


OTHER_NOTES: list[Any] = [
    [],
    "text",
    {"preprocessing": []},
    {"description": "x"},
    {"classes": {"0": "dog"}},
    {"classes": [1]},
    {"read_out": {"place": "fc"}},
    {"read_out": {"module": 1}},
]


@pytest.mark.parametrize("notes", OTHER_NOTES, ids=str)
def test_notes_of_other_types_are_damage_even_with_their_checksum(
    tmp_path: Path,
    notes: Any,  # noqa: ANN401
) -> None:
    """Who can write to a shared cache can compute checksums, and must not end in a traceback."""
    cache = EmbeddingCache(folder=tmp_path)
    cache.store(KEY, vectors("a", "b"), {"classes": ["dog"]})
    (path,) = tmp_path.rglob("*.safetensors")
    with safetensors.safe_open(path, framework="numpy") as stored:
        rows, metadata = stored.get_tensor("vectors"), stored.metadata()
    metadata["notes"] = json.dumps(notes)
    metadata["sha256"] = _checksum(KEY, rows, metadata)
    safetensors.numpy.save_file({"vectors": rows}, path, metadata=metadata)
    assert not EmbeddingCache(folder=tmp_path).load(KEY).vectors
