"""Digests say which bytes a result came from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_visualbias.spec.hashing import (
    CHUNK,
    digest_of_file,
    digest_of_list,
    digest_of_mapping,
    digest_of_text,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_has_the_sha256_that_other_tools_compute(tmp_path: Path) -> None:
    content = b"x" * (2 * CHUNK + 1)
    path = tmp_path / "large"
    path.write_bytes(content)
    assert digest_of_file(path) == hashlib.sha256(content).hexdigest()


def test_lists_that_join_to_the_same_text_differ() -> None:
    assert len({digest_of_list(items) for items in (["a", "bc"], ["ab", "c"], ["abc"], [])}) == 4


def test_a_mapping_does_not_depend_on_the_order_of_its_keys() -> None:
    assert digest_of_mapping({"a": 1, "b": [2]}) == digest_of_mapping({"b": [2], "a": 1})
    assert digest_of_mapping({"a": "1"}) != digest_of_mapping({"a": 1})


def test_text_that_is_not_utf_8_has_a_digest() -> None:
    assert digest_of_text("\udcff") != digest_of_text("?")
