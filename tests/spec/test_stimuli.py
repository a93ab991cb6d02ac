"""From a concept to its stimuli."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.stimuli.resolve import StimulusSet, resolve_concept

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of stimuli whose files hold their own names."""
    for name in ("set/b.png", "set/a.JPG", "set/C.webp", "set/sub/d.png", "other/e.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)
    return tmp_path


def names(stimuli: StimulusSet) -> list[str]:
    return [one.name for one in stimuli.stimuli]


def test_a_folder_is_its_images_in_the_order_of_their_names(root: Path) -> None:
    stimuli = resolve_concept("c", "set", root)
    assert names(stimuli) == ["set/C.webp", "set/a.JPG", "set/b.png"]
    assert (len(stimuli), stimuli.others, stimuli.concept) == (3, ("sub/",), "c")


def test_a_digest_is_that_of_the_content(root: Path) -> None:
    first = resolve_concept("c", "set", root).stimuli[0]
    assert first.digest == first.identity == hashlib.sha256(b"set/C.webp").hexdigest()
    assert first.path == root / "set" / "C.webp"


def test_a_set_has_a_digest_of_its_images_and_their_order(root: Path) -> None:
    def digest(*files: str) -> str:
        return resolve_concept("c", ConceptFiles(path="set", files=files), root).digest

    assert digest("b.png", "a.JPG") == digest("b.png", "a.JPG")
    assert len({digest("b.png", "a.JPG"), digest("a.JPG", "b.png"), digest("a.JPG")}) == 3


SUFFIXES = "avif bmp gif jfif jpe jpeg jpg pbm pgm png ppm tif tiff webp Jpg"


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_images_are_known_by_their_suffix_in_any_case(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    assert names(resolve_concept("c", ".", tmp_path)) == [f"a.{suffix}"]


def test_hidden_files_and_clutter_are_passed_over_in_silence(root: Path) -> None:
    for name in (".DS_Store", "._a.png", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (root / "set" / name).touch()
    stimuli = resolve_concept("c", "set", root)
    assert (len(stimuli), stimuli.others) == (3, ("sub/",))


def test_files_that_are_no_images_are_named(root: Path) -> None:
    for name in ("notes.txt", "image", "b.png.part"):
        (root / "set" / name).touch()
    stimuli = resolve_concept("c", "set", root)
    assert len(stimuli) == 3
    assert stimuli.others == ("b.png.part", "image", "notes.txt", "sub/")


def test_a_missing_folder_is_an_error(root: Path) -> None:
    with pytest.raises(StimulusError) as caught:
        resolve_concept("c", "sett", root)
    assert str(root / "sett") in str(caught.value)
    assert "did you mean set?" in str(caught.value)


def test_a_file_in_place_of_a_folder_is_an_error(root: Path) -> None:
    with pytest.raises(StimulusError, match=r"b\.png is not a folder"):
        resolve_concept("c", "set/b.png", root)


def test_an_empty_folder_is_an_empty_set(root: Path) -> None:
    (root / "empty").mkdir()
    assert len(resolve_concept("c", "empty", root)) == 0


class TestFiles:
    def test_are_taken_as_listed_in_their_order(self, root: Path) -> None:
        files = ConceptFiles(path="set", files=("b.png", "sub/d.png", "a.JPG"))
        assert names(resolve_concept("c", files, root)) == [
            "set/b.png",
            "set/sub/d.png",
            "set/a.JPG",
        ]

    def test_may_have_any_suffix(self, root: Path) -> None:
        (root / "set" / "image").touch()
        files = ConceptFiles(path="set", files=("image",))
        assert names(resolve_concept("c", files, root)) == ["set/image"]

    def test_a_missing_one_is_an_error_that_names_it(self, root: Path) -> None:
        files = ConceptFiles(path="set", files=("b.png", "missing.png"))
        with pytest.raises(StimulusError, match=r"set/missing\.png"):
            resolve_concept("c", files, root)

    def test_a_folder_is_none(self, root: Path) -> None:
        with pytest.raises(StimulusError, match="set/sub"):
            resolve_concept("c", ConceptFiles(path="set", files=("sub",)), root)


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*.png", ["set/b.png"]),
            ("**/*.png", ["set/b.png", "set/sub/d.png"]),
            ("[ab].*", ["set/a.JPG", "set/b.png"]),
            ("../other/*", ["set/../other/e.png"]),
            ("*.txt", []),
        ],
    )
    def test_chooses_below_the_folder(self, root: Path, pattern: str, expected: list[str]) -> None:
        files = ConceptFiles(path="set", pattern=pattern)
        assert names(resolve_concept("c", files, root)) == expected

    def test_does_not_look_into_hidden_folders(self, root: Path) -> None:
        """Notebooks leave copies of images in `.ipynb_checkpoints`."""
        hidden = root / "set" / ".ipynb_checkpoints"
        hidden.mkdir()
        (hidden / "b-checkpoint.png").touch()
        files = ConceptFiles(path="set", pattern="**/*.png")
        assert names(resolve_concept("c", files, root)) == ["set/b.png", "set/sub/d.png"]

    def test_an_absolute_one_is_an_error(self, root: Path) -> None:
        files = ConceptFiles(path="set", pattern="/abs/*.png")
        with pytest.raises(StimulusError, match="correct 'path', 'pattern' or 'files'"):
            resolve_concept("c", files, root)


def test_a_path_with_a_null_byte_is_an_error(root: Path) -> None:
    with pytest.raises(StimulusError, match="correct 'path', 'pattern' or 'files'"):
        resolve_concept("c", ConceptFiles(path="set", files=("a\0.png",)), root)
    with pytest.raises(StimulusError, match=r"does not exist|correct 'path'"):
        resolve_concept("c", "se\0t", root)


@pytest.mark.parametrize("pattern", [None, "*.png"])
def test_a_link_to_nothing_is_a_missing_image(root: Path, pattern: str | None) -> None:
    """Images kept by git-annex or DVC that were not fetched must not shrink a set unseen."""
    (root / "set" / "z.png").symlink_to(root / "annex" / "object")
    with pytest.raises(StimulusError, match=r"set/z\.png"):
        resolve_concept("c", ConceptFiles(path="set", pattern=pattern), root)


def test_a_link_to_an_image_is_that_image(root: Path) -> None:
    (root / "set" / "z.png").symlink_to(root / "other" / "e.png")
    last = resolve_concept("c", "set", root).stimuli[-1]
    assert last.digest == hashlib.sha256(b"other/e.png").hexdigest()


def test_an_absolute_path_is_not_below_the_root(root: Path) -> None:
    stimuli = resolve_concept("c", str(root / "other"), root / "set")
    assert names(stimuli) == [(root / "other" / "e.png").as_posix()]


def test_a_name_that_is_not_utf_8_can_still_be_written_to_a_report(root: Path) -> None:
    try:
        (root / "set" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    for name in names(resolve_concept("c", "set", root)):
        assert name.encode()
