"""Small versions of images that are still what they were."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from pytest_visualbias.reports.html.thumbnails import SIDE, make_thumbnails
from pytest_visualbias.reports.image_examples import ImageInfluence
from tests.reports.html.samples import drawn


def of(name: str, identity: str, folder: str = "stimuli") -> ImageInfluence:
    return ImageInfluence(
        role="X", name=name, identity=identity, folder=folder, without=0.5, change=0.1
    )


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    """Digests of three pictures in ``stimuli``, by name."""
    return drawn(tmp_path / "stimuli", 3, side=200)


def opened(address: str) -> Image.Image:
    head, _, data = address.partition(";base64,")
    assert head in ("data:image/webp", "data:image/jpeg")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_an_image_is_shown_small_and_once_however_often_it_stands_there(
    images: dict[str, str], tmp_path: Path
) -> None:
    wanted = [of(name, digest) for name, digest in images.items()]
    found = make_thumbnails([*wanted, *wanted], tmp_path)
    assert list(found.pictures) == list(images.values())
    assert (found.missing, found.cut) == (0, 0)
    assert all(opened(one).size == (SIDE, SIDE) for one in found.pictures.values())


def test_a_file_that_is_another_one_now_is_not_shown(
    images: dict[str, str], tmp_path: Path
) -> None:
    """The page must not show an image as one that it is not."""
    other = (tmp_path / "stimuli/001.png").read_bytes()
    (tmp_path / "stimuli/000.png").write_bytes(other)
    found = make_thumbnails([of(name, digest) for name, digest in images.items()], tmp_path)
    assert list(found.pictures) == list(images.values())[1:]
    assert found.missing == 1


def test_what_cannot_be_shown_is_counted(tmp_path: Path) -> None:
    broken = b"not an image"
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "stimuli/broken.png").write_bytes(broken)
    os.mkfifo(tmp_path / "stimuli/pipe.png")
    wanted = [
        of("gone.png", "1"),
        of("broken.png", hashlib.sha256(broken).hexdigest()),
        of("pipe.png", "2"),
        of("nul\x00.png", "3"),
        of("x" * 5000, "4"),
    ]
    found = make_thumbnails(wanted, tmp_path)
    assert (dict(found.pictures), found.missing) == ({}, 5)


def test_rows_of_stored_vectors_are_no_images(tmp_path: Path) -> None:
    assert make_thumbnails([of("a", "a", folder="")], tmp_path).missing == 0


def test_what_does_not_fit_the_budget_is_left_out_and_counted(
    images: dict[str, str], tmp_path: Path
) -> None:
    wanted = [of(name, digest) for name, digest in images.items()]
    sizes = [len(one) for one in make_thumbnails(wanted, tmp_path).pictures.values()]
    found = make_thumbnails(wanted, tmp_path, budget=sizes[0] + sizes[1])
    assert list(found.pictures) == list(images.values())[:2]
    assert found.cut == 1


def test_a_folder_outside_the_project_is_absolute(images: dict[str, str], tmp_path: Path) -> None:
    folder = (tmp_path / "stimuli").as_posix()
    found = make_thumbnails([of("000.png", images["000.png"], folder)], Path("/nowhere"))
    assert len(found.pictures) == 1
