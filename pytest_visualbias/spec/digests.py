"""Digests that say which bytes a result came from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pytest_visualbias.spec.pointers import refuse_endless

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["digest_of_file", "digest_of_list", "digest_of_mapping", "digest_of_text"]

CHUNK = 1 << 20


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex.

    Raises
    ------
    OSError
        Where the file cannot be read, or is none.
    """
    refuse_endless(path)
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def digest_of_text(text: str) -> str:
    """Return the sha256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def digest_of_list(items: Iterable[str]) -> str:
    """Return the sha256 of a list of texts in its order."""
    return digest_of_text(json.dumps(list(items)))


def digest_of_mapping(mapping: Mapping[str, object]) -> str:
    """Return the sha256 of a mapping of plain values, whatever the order of its keys."""
    return digest_of_text(json.dumps(mapping, sort_keys=True))
