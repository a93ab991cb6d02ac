"""Files that came from somebody else: each is measured or told in one sentence, and none is run."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.acceptance.conftest import PIXELS
from tests.plugin.conftest import MODELS, one_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SETS = "{x: x, y: y, a: a, b: b}"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
SPEC = "bias_specs/x.bias.yaml"
CHECKPOINT = """
  after: {source: timm, name: test_resnet, checkpoint: ../after.pt}
"""


class Payload:
    """What leaves a file behind where it is loaded as a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def bomb(pixels: int) -> bytes:
    """Return a PNG of a few bytes that says that it has so many pixels in height and width."""
    head = struct.pack(">IIBBBBB", pixels, pixels, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(
    networks: Project, serial: Gate
) -> None:
    """Loading knows nothing of workers."""
    import torch

    left = networks.path / "left-by-the-payload"
    torch.save({"conv1.weight": torch.zeros(3), "x": Payload(left)}, networks.path / "after.pt")
    networks.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=CHECKPOINT,
        concepts=SETS,
    )
    serial.says(1, "after.pt")
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (name, content)
        for name in ("after.safetensors", "after.pt")
        for content in (POINTER, b"", b"\xff" * 64)
    ],
)
def test_a_checkpoint_that_is_none_is_one_sentence(
    networks: Project, serial: Gate, name: str, content: bytes
) -> None:
    """Loading knows nothing of workers."""
    (networks.path / name).write_bytes(content)
    given = () if name == "after.safetensors" else (f"--visualbias-after={name}",)
    command = ["'git lfs pull'"] if content == POINTER else []
    serial.says(1, name, "1 passed, 1 error", *command, given=given)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
@pytest.mark.parametrize("content", [POINTER, b""], ids=["pointer", "empty"])
def test_stored_vectors_that_are_none_are_one_sentence(
    project: Project, serial: Gate, kind: str, content: bytes
) -> None:
    """Specs are read alike in every process."""
    project.pair()
    project.spec(models=MODELS.replace("after.safetensors", f"after.{kind}"))
    (project.path / f"after.{kind}").write_bytes(content)
    command = ["'git lfs pull'"] if content else []
    serial.says(1, f"after.{kind} ", "1 passed, 1 error", *command)


def test_stored_vectors_that_say_they_are_larger_than_memory_are_one_sentence(
    project: Project, serial: Gate
) -> None:
    """Specs are read alike in every process."""
    project.pair()
    project.spec(models=MODELS.replace("after.safetensors", "after.npz"))
    head = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50, 16)}
    np.lib.format.write_array_header_1_0(head, shape)
    with zipfile.ZipFile(project.path / "after.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue())
    serial.says(1, "after.npz ", "Unable to allocate", "1 passed, 1 error")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ""),
        (POINTER, "'git lfs pull'"),
        (b"<html>404</html>", ""),
        (bomb(60_000), "89 million pixels"),
        (bomb(9_000), "image file is truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "EPS"),
    ],
    ids=["empty", "pointer", "page", "bomb", "small bomb", "program"],
)
def test_an_image_that_is_none_is_one_sentence(
    pixels: Project, serial: Gate, content: bytes, said: str
) -> None:
    """An image is decoded in one process, whichever."""
    (pixels.path / "stimuli/x/2.png").write_bytes(content)
    serial.says(1, "stimuli/x/2.png", said, "2 errors")


def test_an_image_of_another_kind_than_its_name_says_is_measured(
    pixels: Project, serial: Gate
) -> None:
    """What it holds counts."""
    from PIL import Image

    path = pixels.path / "stimuli/x/2.png"
    with Image.open(path) as image:
        image.save(path, format="bmp")
    serial()
    assert pixels.row()["n_x"] == 5


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(99)),
        "a: " + "[" * 100_000,
        "a: " + "{b: " * 100_000,
        "a: " + "9" * 100_000,
        "a: !!python/object/apply:os.mkdir [left-by-the-payload]",
    ],
    ids=["aliases", "lists", "mappings", "digits", "tag"],
)
def test_a_hostile_spec_costs_no_time(pixels: Project, serial: Gate, text: str) -> None:
    """Specs are read alike in every process."""
    (pixels.path / SPEC).write_text(text)
    start = time.process_time()
    assert len(serial.says(2, f"{SPEC}:")) < 100_000
    assert time.process_time() - start < 5
    assert not (pixels.path / "left-by-the-payload").exists()


# No UTF-8; line breaks, which names of published sets have; codes of terminals.
NAMES = {
    b"\xff.png": r"\udcff.png",
    b"line\nbreak.png": r"line\nbreak.png",
    b"trailing\n.png": r"trailing\n.png",
    b"\x1b[2J.png": r"\x1b[2J.png",
}
REPORTS = [f"--visualbias-{kind}=out.{kind}" for kind in ("html", "md", "csv")]


def test_images_of_any_name_are_measured(pixels: Project, gate: Gate) -> None:
    folder = pixels.path / "stimuli/x"
    for index, name in enumerate(NAMES):
        (folder / f"{index}.png").rename(folder / os.fsdecode(name))
    text = gate.says(1, given=("-vv", *REPORTS))
    assert pixels.breaches() == [("effect", True)]
    assert pixels.row()["n_x"] == 5
    assert "\x1b[2J" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_told_in_one_line_whatever_it_holds(
    pixels: Project, serial: Gate, name: bytes
) -> None:
    """Sentences are made in one process, whichever."""
    (pixels.path / "stimuli/x" / os.fsdecode(name)).write_bytes(b"none")
    text = serial.says(1, f"stimuli/x/{NAMES[name]} ", "2 errors", given=("-vv", *REPORTS))
    assert "\x1b[2J" not in text


LOOPS: dict[str, Callable[[Path], object]] = {
    "folder": lambda folder: (folder / "loop").symlink_to(folder, target_is_directory=True),
    "itself": lambda folder: (folder / "loop").symlink_to(folder / "loop"),
}


@pytest.mark.parametrize("kind", [*LOOPS])
@pytest.mark.parametrize("concept", ["x", "{path: x, pattern: '**/*.png'}"])
def test_links_that_go_in_circles_are_no_way_to_stay(
    pixels: Project, serial: Gate, kind: str, concept: str
) -> None:
    """Sets are found alike in every process."""
    LOOPS[kind](pixels.path / "stimuli/x")
    pixels.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=PIXELS,
        concepts=f"{{x: {concept}, y: y, a: a, b: b}}",
    )
    serial.says(1)
    assert pixels.row()["n_x"] == 5


def test_an_image_that_links_to_itself_is_missing(pixels: Project, serial: Gate) -> None:
    """Sets are found alike in every process."""
    image = pixels.path / "stimuli/x/2.png"
    image.unlink()
    image.symlink_to(image)
    serial.says(1, "stimuli/x/2.png ", "Too many levels of symbolic links", "2 errors")


@pytest.mark.slow
def test_a_set_of_many_files_takes_time_that_grows_as_they_do(pixels: Project) -> None:
    """Of 10,000 links to one image, some seconds; before, the square of their number."""
    folder = pixels.path / "stimuli/x"
    for index in range(10_000):
        os.link(folder / "0.png", folder / f"many-{index}.png")
    command = [sys.executable, "-m", "pytest_visualbias", "check", SPEC]
    before = os.times().children_user
    done = subprocess.run(command, cwd=pixels.path, capture_output=True, text=True)
    assert os.times().children_user - before < 20
    assert "= 9996 more" in done.stdout
    assert len(done.stdout) < 10_000
