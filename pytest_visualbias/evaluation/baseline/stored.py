"""Files written whole or not at all, and JSON read strictly."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, making its folder; line breaks stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        # A pipe or /dev/stdout is written to; to rename onto it would put a file in its place.
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        return
    # A link goes on pointing to where it does.
    goal = path.resolve()
    # Not by tempfile, whose files nobody else may read: this one is shared.
    temporary = goal.with_name(f".{goal.name[:100]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        temporary.replace(goal)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def load_strict(text: str) -> Any:  # noqa: ANN401 - what a file holds can be anything
    """Return what a text of JSON holds."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice, as a bad merge leaves it: the later one would win unseen."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' stands twice")
    return unique


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
