"""The tutorial, done as it is written, shows what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks_of

PAGE = "docs/tutorial.md"
SPEC = "bias_specs/shapes.bias.yaml"


@pytest.mark.slow
@pytest.mark.torch
def test_every_command_of_the_tutorial_shows_what_stands_below_it(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "data").symlink_to(ROOT / "data")
    folder, shown = repository, ""
    for block in blocks_of(PAGE):
        if block.language == "yaml":
            write_spec(folder / SPEC, block)
        elif block.language == "console":
            folder, shown = run(block, folder)
        else:
            lines = {line.rstrip() for line in shown.splitlines()}
            for line in filter(None, block.text.splitlines()):
                assert line in lines, f"{block}: {line}\n{shown}"
    assert (folder / "report.html").is_file()


def write_spec(path: Path, block: Block) -> None:
    """Write a spec, or the part of one from its concepts on."""
    text = block.text
    if "visualbias: 1" not in text:
        text = path.read_text(encoding="utf-8").partition("concepts:")[0] + text
    path.write_text(text, encoding="utf-8")


def run(block: Block, folder: Path) -> tuple[Path, str]:
    """Run the lines of a block; return where it ends, and what was shown."""
    script = "\n".join(line.removeprefix("$ ") for line in block.text.splitlines())
    done = subprocess.run(
        ["bash", "-c", f"{script}\npwd > {folder.parents[0]}/place"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    place = Path((folder.parents[0] / "place").read_text(encoding="utf-8").strip())
    return place, done.stdout + done.stderr


def environment() -> dict[str, str]:
    """Return that of somebody at a terminal of 80 columns, whose programs are these."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "GITHUB_ACTIONS")}
    return kept | {
        "COLUMNS": "80",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "-p no:hypothesispytest",
    }
