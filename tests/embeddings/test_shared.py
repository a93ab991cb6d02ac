"""A cache of several machines: the same files, damaged ones dropped, and faults told."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.cli.cache import prune_shared_cache, shared_cache_lines
from pytest_visualbias.embeddings.cache import FORMAT, EmbeddingCache, SharedCache
from pytest_visualbias.embeddings.extraction import CacheWriter
from pytest_visualbias.errors import StorageError
from pytest_visualbias.spec.schema import LayerPoint
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = hashlib.sha256(b"a network").hexdigest()
OTHER = hashlib.sha256(b"another one").hexdigest()
VECTORS = {"one": np.arange(4, dtype=np.float32), "two": np.ones(4, np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder that stands for what lies at a URL."""
    return tmp_path / "store"


def machine(store: Path, name: str) -> EmbeddingCache:
    shared = SharedCache(url=Url(store.as_uri()))
    return EmbeddingCache(folder=store.parent / name, shared=shared)


def files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


def same(found: dict[str, np.ndarray]) -> bool:
    return found.keys() == VECTORS.keys() and all(
        np.array_equal(found[name], VECTORS[name]) for name in VECTORS
    )


def break_down(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Let methods of stores fail; return the list in which each call is noted."""
    calls: list[str] = []

    def failing(name: str) -> object:
        def fail(*_: object, **__: object) -> None:
            calls.append(name)
            raise StorageError("s3://b cannot be reached", reason="s3://b: out of reach")

        return fail

    for name in names:
        monkeypatch.setattr(Store, name, failing(name))
    return calls


def test_what_one_machine_keeps_the_other_one_finds(store: Path) -> None:
    machine(store, "a").store(KEY, VECTORS, {"note": "n"})
    other = machine(store, "b")
    found = other.load(KEY, VECTORS)
    assert same(dict(found.vectors))
    assert found.notes == {"note": "n"}
    names = [one.relative_to(store) for one in files(store)]
    for name in ("a", "b"):
        assert [one.relative_to(store.parent / name) for one in files(store.parent / name)] == names
    assert not [one for one in names if one.suffix == ".part"]


def test_vectors_that_may_only_be_compared_together_come_together(store: Path) -> None:
    machine(store, "a").store_together(KEY, VECTORS, {})
    assert machine(store, "b").load_together(KEY, ["one", "two", "three"]) is None
    found = machine(store, "b").load_together(KEY, ["one", "two"])
    assert found is not None
    assert same(dict(found.vectors))


def test_what_lies_here_is_read_without_asking(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(store, "a").store(KEY, VECTORS, {})
    calls = break_down(monkeypatch, "listing", "fetch", "entry")
    assert same(dict(machine(store, "a").load(KEY, VECTORS).vectors))
    assert calls == []


def test_a_key_is_listed_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    really = Store.listing

    def listing(at: Store, path: str = "", *, deep: bool = False) -> object:
        listed.append(path)
        return really(at, path, deep=deep)

    machine(store, "a").store(KEY, VECTORS, {})
    monkeypatch.setattr(Store, "listing", listing)
    cache = machine(store, "b")
    for wanted in (["one"], ["three"], ["four"]):
        cache.load(KEY, wanted)
    assert listed == [f"{FORMAT}/{KEY}"]


def test_to_fill_a_cache_puts_there_what_lies_here_already(store: Path) -> None:
    EmbeddingCache(folder=store.parent / "a").store(KEY, VECTORS, {})
    assert same(dict(machine(store, "a").load(KEY, VECTORS).vectors))
    assert files(store) == [], "a warm run asks for nothing"
    cache = machine(store, "a")
    assert cache.shared is not None
    cache.shared.fills = True
    cache.load(KEY, VECTORS)
    assert same(dict(machine(store, "b").load(KEY, VECTORS).vectors))


def test_what_is_found_to_be_here_only_is_put_there_where_that_is_allowed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddingCache(folder=store.parent / "a").store(KEY, {"one": VECTORS["one"]}, {})
    with monkeypatch.context() as patch:
        break_down(patch, "write")
        assert machine(store, "a").load(KEY, VECTORS).vectors.keys() == {"one"}
    assert files(store) == []
    machine(store, "a").load(KEY, VECTORS)
    assert machine(store, "b").load(KEY, VECTORS).vectors.keys() == {"one"}


@pytest.mark.parametrize("damage", ["cut", "flipped", "strayed", "renamed"])
def test_a_damaged_object_is_dropped_and_never_believed(store: Path, damage: str) -> None:
    machine(store, "a").store(KEY, VECTORS, {})
    (path,) = files(store)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-5])
    elif damage == "flipped":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "renamed":
        path = path.rename(path.with_name(f"{'0' * 64}.safetensors"))
    else:
        strayed = path.parents[1] / OTHER / path.name
        strayed.parent.mkdir()
        path = path.rename(strayed)
    cache = machine(store, "b")
    key = OTHER if damage == "strayed" else KEY
    assert cache.load(key, VECTORS).vectors == {}
    assert not path.exists()
    assert files(store.parent / "b") == []
    cache.store(key, VECTORS, {})
    assert same(dict(machine(store, "c").load(key, VECTORS).vectors))


def test_what_the_cache_has_not_written_is_not_fetched(store: Path) -> None:
    folder = store / FORMAT / KEY
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "run.sh", f"{'a' * 64}.txt"):
        (folder / name).write_bytes(b"anything")
    assert machine(store, "b").load(KEY, VECTORS).vectors == {}
    assert files(store.parent / "b") == []
    assert len(files(store)) == 3


def test_a_cache_that_cannot_be_read_is_an_error_and_asked_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = machine(store, "b")
    calls = break_down(monkeypatch, "listing")
    for key in (KEY, OTHER, KEY):
        with pytest.raises(StorageError, match="cannot be reached"):
            cache.load(key, VECTORS)
    assert calls == ["listing"]
    with pytest.raises(StorageError):
        SharedCache(url=Url(store.as_uri())).check()


def test_a_cache_that_cannot_be_written_costs_the_run_nothing_and_is_told(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = break_down(monkeypatch, "write")
    cache = machine(store, "a")
    keys = {"pooled": (KEY, OTHER)}
    keeper = CacheWriter(cache, keys, {"pooled": set()}, {})
    point = LayerPoint(name="pooled", module="pooled")
    for name, vector in VECTORS.items():
        keeper.add(point, [name], vector[None])
        keeper.flush()
    keeper.finish()
    assert same(keeper.vectors["pooled"])
    assert keeper.unwritten == "s3://b: out of reach"
    assert calls == ["write"]
    assert same(dict(EmbeddingCache(folder=store.parent / "a").load(KEY).vectors))


def test_pruning_removes_the_longest_unwritten_and_nobody_elses_files(store: Path) -> None:
    cache = machine(store, "a")
    cache.store(KEY, VECTORS, {})
    cache.store(OTHER, VECTORS, {})
    (mine,) = files(store / FORMAT / KEY)
    os.utime(mine, (1, 1))
    part = store / FORMAT / OTHER / f"{'b' * 64}.safetensors.1a2b.part"
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    (store / "README").write_text("of somebody else")
    shared = SharedCache(url=Url(store.as_uri()))
    said = list(shared_cache_lines(shared))
    assert said[1].startswith("2 keys")
    assert said[-1] == "to prune: 1 leftover of killed runs"
    told = prune_shared_cache(shared, limit=None, unused_for=86_400.0, is_all=False)
    assert told.startswith("removed 1 key and 1 leftover")
    (theirs,) = files(store / FORMAT)
    assert theirs.parent.name == OTHER
    prune_shared_cache(shared, limit=None, unused_for=None, is_all=True)
    assert [one.name for one in files(store)] == ["README"]


def test_a_cache_that_is_not_there_yet_is_empty(store: Path) -> None:
    shared = SharedCache(url=Url(store.as_uri()))
    shared.check()
    assert list(shared_cache_lines(shared))[1].startswith("0 keys")
    assert "removed 0 keys" in prune_shared_cache(shared, limit=1, unused_for=None, is_all=False)
