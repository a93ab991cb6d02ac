"""Compare texts with recorded ones; GOLDEN=write records them again."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias import __version__
from tests.plugin.conftest import Project, project

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["project"]

ROOT = Path(__file__).resolve().parents[2]
TEXTS = Path(__file__).with_name("texts")
# Lines of pytest about the machine, and what differs between two runs or two releases.
MACHINE = re.compile(
    r"^(platform|cachedir|rootdir|configfile|plugins|hypothesis profile)\b.*\n", re.MULTILINE
)
TIME = re.compile(r"\b\d+\.\d+ ?s\b")
RULE = re.compile(r"^(=+) (.* in TIME.*?) =+$", re.MULTILINE)
DIGEST = re.compile(
    r"\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12}\b"
)
LIBRARY = re.compile(
    r"\b(python|numpy|pytest|scipy|timm|torch|pillow)( |: |=)\d+\.\d+(\.\w+)*", re.IGNORECASE
)


def without_what_varies(text: str, folder: Path) -> str:
    """Return a text without times, versions, digests and the path of a folder."""
    text = text.replace(str(folder), "FOLDER").replace(str(ROOT), "REPOSITORY")
    text = text.replace(__version__, "VERSION")
    text = RULE.sub(r"=== \2 ===", TIME.sub("TIME", MACHINE.sub("", text)))
    text = LIBRARY.sub(r"\1\2VERSION", DIGEST.sub("DIGEST", text))
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


@pytest.fixture
def golden(project: Project) -> Callable[[str, str], None]:
    """Compare a text with the recorded one of this name."""

    def compare(name: str, text: str) -> None:
        path = TEXTS / name
        text = without_what_varies(text, project.path)
        if os.environ.get("GOLDEN") == "write":
            path.write_text(text, encoding="utf-8")
        recorded = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        changes = difflib.unified_diff(recorded, text.splitlines(), "recorded", "now", lineterm="")
        assert text.splitlines() == recorded, (
            f"{name} changed; if that is meant, run `make golden` and read the difference\n"
            + "\n".join(changes)
        )

    return compare
