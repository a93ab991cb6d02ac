"""The tutorial, done as it is written, shows what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks_of

PAGE = "docs/tutorial.md"
SPEC = "bias_specs/shapes.bias.yaml"
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?")
BAR = re.compile(r"[ ─●╎│]{2,}")


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
            lines = [line.rstrip() for line in shown.splitlines()]
            for line in filter(None, block.text.splitlines()):
                assert any(same(line, other) for other in lines), f"{block}: {line}\n{shown}"
    assert (folder / "report.html").is_file()


def same(line: str, other: str) -> bool:
    """Whether two lines differ at most in what another processor's last bits change.

    Words are equal; numbers of the same form may differ by two in their last digit, and bars of
    them by a column.
    """
    words, others = (NUMBER.sub("#", BAR.sub(" ", text)) for text in (line, other))
    if words != others:
        return False
    pairs = zip(NUMBER.findall(line), NUMBER.findall(other), strict=True)
    return all(abs(Decimal(a) - Decimal(b)) <= 2 * last_digit(a) for a, b in pairs)


def last_digit(number: str) -> Decimal:
    """Return the worth of the last digit of a number as it is written; nothing for whole ones."""
    parts = Decimal(number).as_tuple()
    is_whole = not {".", "e"} & set(number)
    return Decimal(0) if is_whole else Decimal((0, (1,), int(parts.exponent)))


def test_lines_that_tell_another_result_are_not_the_same() -> None:
    shown = "effect +1.38 (+0.71 to +1.53), adjusted p = 5.5e-05, 20 images"
    assert same(shown, shown.replace("1.53", "1.54").replace("5.5e", "5.4e"))
    for old, new in [("1.38", "1.41"), ("+0.71", "-0.71"), ("5.5e-05", "5.5e-04"), ("20", "21")]:
        assert not same(shown, shown.replace(old, new))
    assert not same(shown, shown.replace("effect", "growth"))


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
