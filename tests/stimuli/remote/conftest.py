"""A store in memory, and a folder as a store: fsspec's own, so that nothing of theirs is faked."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Lab:
    """A folder of fsspec's file system in memory."""

    files: Any
    root: str

    @property
    def url(self) -> str:
        return f"memory:/{self.root}"

    def put(self, name: str, content: bytes) -> str:
        self.files.pipe_file(f"{self.root}/{name}", content)
        return f"{self.url}/{name}"

    def names(self) -> set[str]:
        return {name.removeprefix(f"{self.root}/") for name in self.files.find(self.root)}


@pytest.fixture
def lab() -> Lab:
    fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")
    return Lab(files=fsspec.filesystem("memory"), root=f"/{uuid.uuid4().hex}")
