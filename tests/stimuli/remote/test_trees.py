"""Folders of images at URLs: the same sets as of a local folder, and nothing fetched twice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import StimulusError, StorageError
from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote.entries import Entry
from pytest_visualbias.stimuli.remote.mirror import Mirror
from pytest_visualbias.stimuli.remote.store import Store
from pytest_visualbias.stimuli.resolve import StimulusSet, fetch_concept, resolve_concept

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stimuli.remote.conftest import Lab

NAMES = (
    *("people/b.png", "people/a.JPG", "people/c.webp", "people/notes.txt", "people/.hidden.png"),
    *("people/Thumbs.db", "people/more/d.png", "people/more/deep/e.png", "people/ü ä.png"),
    *("people/.private/f.png", "cars/a.png", "odd/listed.dat"),
)
Said = str | dict[str, Any]
CONCEPTS: dict[str, Said] = {
    "folder": "people",
    "slash": "people/",
    "dotted": "./people/more",
    "pattern": {"path": "people", "pattern": "*.png"},
    "deep": {"path": "people", "pattern": "**/*.png"},
    "inner": {"path": "people", "pattern": "more/*"},
    "no match": {"path": "people", "pattern": "z*"},
    "files": {"path": "people", "files": ("c.webp", "b.png", "more/d.png")},
    "hidden": {"path": "people", "files": (".hidden.png",)},
    "other": {"path": "odd", "files": ("listed.dat",)},
    "root": {"files": ("cars/a.png",)},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")
    for name in NAMES:
        path = tmp_path / "stimuli" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {name}".encode())
    return tmp_path / "stimuli"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all images that are fetched from now on."""
    names = []
    really = Store.fetch

    def fetch(store: Store, entry: Entry, target: Path) -> None:
        names.append(entry.name)
        really(store, entry, target)

    monkeypatch.setattr(Store, "fetch", fetch)
    return names


def concept(said: Said) -> str | ConceptFiles:
    return said if isinstance(said, str) else ConceptFiles(**said)


def resolved(said: Said, root: Path | Url, mirror: Mirror) -> StimulusSet:
    wanted = concept(said)
    return resolve_concept("c", wanted, fetch_concept(wanted, root, mirror))


def shown(found: StimulusSet) -> tuple[object, ...]:
    """Everything that a set is, but where its files lie."""
    return tuple((one.name, one.digest) for one in found.stimuli), found.others, found.digest


@pytest.mark.parametrize("said", CONCEPTS.values(), ids=CONCEPTS)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_set_is_the_same_as_of_a_local_folder(
    folder: Path, tmp_path: Path, lab: Lab, said: Said, kind: str
) -> None:
    for name in NAMES:
        lab.put(name, (folder / name).read_bytes())
    url = Url(folder.as_uri() if kind == "file" else lab.url)
    mirror = Mirror(folder=tmp_path / "cache")
    here = resolved(said, folder, mirror)
    assert shown(resolved(said, url, mirror)) == shown(here)
    again = Mirror(folder=tmp_path / "cache")
    assert shown(resolved(said, url, again)) == shown(here)


def test_concepts_that_share_a_root_do_not_spoil_each_other(folder: Path, tmp_path: Path) -> None:
    url = Url(folder.as_uri())
    for _ in range(2):
        mirror = Mirror(folder=tmp_path / "cache")
        for said in CONCEPTS.values():
            assert shown(resolved(said, url, mirror)) == shown(resolved(said, folder, mirror))


def test_only_what_is_wanted_is_fetched_and_only_once(
    folder: Path, tmp_path: Path, fetched: list[str]
) -> None:
    url = Url(folder.as_uri())
    for _ in range(2):
        resolved("people", url, Mirror(folder=tmp_path / "cache"))
    assert sorted(fetched) == ["a.JPG", "b.png", "c.webp", "ü ä.png"]


def test_what_was_added_changed_and_removed_there_is_so_here(
    folder: Path, tmp_path: Path, fetched: list[str]
) -> None:
    url = Url(folder.as_uri())
    resolved("people", url, Mirror(folder=tmp_path / "cache"))
    fetched.clear()
    (folder / "people/b.png").write_bytes(b"longer content than before")
    (folder / "people/new.png").write_bytes(b"new")
    (folder / "people/a.JPG").unlink()
    shutil.rmtree(folder / "people/more")
    mirror = Mirror(folder=tmp_path / "cache")
    assert shown(resolved("people", url, mirror)) == shown(resolved("people", folder, mirror))
    assert sorted(fetched) == ["b.png", "new.png"]


def test_a_copy_that_was_lost_or_cut_is_fetched_again(
    folder: Path, tmp_path: Path, fetched: list[str]
) -> None:
    url = Url(folder.as_uri())
    found = resolved("people", url, Mirror(folder=tmp_path / "cache"))
    fetched.clear()
    for stimulus, content in zip(found.stimuli[:2], (b"", None), strict=True):
        assert stimulus.path is not None
        if content is None:
            stimulus.path.unlink()
        else:
            stimulus.path.write_bytes(content)
    assert shown(resolved("people", url, Mirror(folder=tmp_path / "cache"))) == shown(found)
    assert sorted(fetched) == ["a.JPG", "b.png"]


def test_what_was_fetched_before_a_fault_is_not_fetched_again(
    folder: Path, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = Url(folder.as_uri())
    count = Store.fetch

    def fail(store: Store, entry: Entry, target: Path) -> None:
        if entry.name == "b.png":
            raise StorageError("the line is down")
        count(store, entry, target)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "fetch", fail)
        with pytest.raises(StorageError, match="the line is down"):
            resolved("people", url, Mirror(folder=tmp_path / "cache"))
    assert sorted(fetched) == ["a.JPG", "c.webp", "ü ä.png"]
    fetched.clear()
    assert len(resolved("people", url, Mirror(folder=tmp_path / "cache"))) == 4
    assert fetched == ["b.png"]


def test_without_a_network_a_set_is_whole_or_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Url, "is_near", property(lambda _: False))
    url = Url(folder.as_uri())
    cache = tmp_path / "cache"
    with pytest.raises(StorageError, match="/people was not fetched whole yet, and this run is"):
        resolved("people", url, Mirror(folder=cache, offline=True))
    found = resolved("people", url, Mirror(folder=cache))
    shutil.rmtree(folder)
    assert shown(resolved("people", url, Mirror(folder=cache, offline=True))) == shown(found)
    with pytest.raises(StorageError, match="/cars was not fetched whole yet"):
        resolved("cars", url, Mirror(folder=cache, offline=True))
    assert found.stimuli[0].path is not None
    found.stimuli[0].path.unlink()
    with pytest.raises(StorageError, match="/people was not fetched whole yet"):
        resolved("people", url, Mirror(folder=cache, offline=True))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("../other", "leads out of"),
        ({"path": "people", "pattern": "../../*"}, "leads out of"),
        ({"path": "people", "files": ("../../x.png",)}, "leads out of"),
        ({"path": "people", "files": ("/etc/hostname",)}, "'/etc/hostname' does not lie below"),
        ("s3://bucket/people", "s3://bucket/people is no path; write URLs as 'stimuli', the root"),
        ("nothing", "cannot be read (nothing is there); correct the URL"),
    ],
)
def test_what_no_url_means_is_one_sentence(
    folder: Path, tmp_path: Path, said: Said, told: str
) -> None:
    with pytest.raises(StorageError) as caught:
        resolved(said, Url(folder.as_uri()), Mirror(folder=tmp_path / "cache"))
    assert told in str(caught.value)


def test_a_pattern_that_is_none_is_told_as_of_a_local_folder(folder: Path, tmp_path: Path) -> None:
    said: Said = {"path": "people", "pattern": "a\0b"}
    told = []
    for root in (folder, Url(folder.as_uri())):
        try:
            found: object = shown(resolved(said, root, Mirror(folder=tmp_path / "cache")))
        except StimulusError as error:
            found = str(error).partition(": ")[2]
        told.append(found)
    assert told[0] == told[1]


def test_a_listed_file_that_is_not_there_is_missing_as_of_a_local_folder(
    folder: Path, tmp_path: Path
) -> None:
    said: Said = {"path": "people", "files": ("b.png", "gone.png")}
    with pytest.raises(StimulusError, match=r"gone\.png cannot be read \(No such file"):
        resolved(said, Url(folder.as_uri()), Mirror(folder=tmp_path / "cache"))


def test_an_absolute_path_is_of_this_machine(folder: Path, tmp_path: Path, lab: Lab) -> None:
    mirror = Mirror(folder=tmp_path / "cache")
    here = resolved(str(folder / "people"), folder.parent / "elsewhere", mirror)
    assert shown(resolved(str(folder / "people"), Url(lab.url), mirror)) == shown(here)


def test_a_store_that_lists_names_leading_elsewhere_writes_nothing_there(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.put("people/a.png", b"content")
    evil = Entry(path=f"{lab.root}/people/../../../../evil.png", size=4, stamp="1")
    monkeypatch.setattr(Store, "listing", lambda *_, **__: [evil])
    with pytest.raises(StorageError, match=r"holds '\.\.', which can be no file here"):
        resolved("people", Url(lab.url), Mirror(folder=tmp_path / "cache"))
    assert list(tmp_path.rglob("*evil*")) == []


def test_what_is_far_too_large_for_an_image_is_not_fetched(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.put("people/a.png", b"content")
    large = Entry(path=f"{lab.root}/people/a.png", size=1 << 40, stamp="1")
    monkeypatch.setattr(Store, "listing", lambda *_, **__: [large])
    with pytest.raises(StorageError, match="has 1,099,511,627,776 bytes; it is no image"):
        resolved("people", Url(lab.url), Mirror(folder=tmp_path / "cache"))
