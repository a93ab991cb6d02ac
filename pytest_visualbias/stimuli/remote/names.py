"""Names of objects, which may be anything, as names of local files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StorageError

if TYPE_CHECKING:
    from pytest_visualbias.spec.urls import Url

LONGEST = 255
FORBIDDEN = "\0" if os.sep == "/" else "\0\\:"


def refuse_unsafe(name: str, url: Url) -> str:
    """Return a name that leads to no other folder."""
    is_long = len(name.encode("utf-8", "surrogateescape")) > LONGEST
    if name in ("", ".", "..") or "/" in name or is_long or any(s in name for s in FORBIDDEN):
        shown = name if len(name) <= LONGEST else f"{name[:40]}..."
        raise StorageError(f"{url} holds '{shown}', which can be no file here", "rename it there")
    return name


def below(path: str, root: str, url: Url) -> str:
    """Return the path of an object below a root, each of its parts a name that is safe."""
    head = f"{root.rstrip('/')}/"
    if not path.startswith(head):
        raise StorageError(f"{url} names an object that does not lie below it", "check the store")
    inner = path.removeprefix(head).rstrip("/")
    for part in inner.split("/"):
        refuse_unsafe(part, url)
    return inner
