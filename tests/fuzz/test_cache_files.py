"""Whatever became of a file of the cache: it gives what was kept in it, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import count_images, list_cache
from pytest_visualbias.stimuli.digest_cache import DIGESTS_FILE, DigestCache
from tests.fuzz.effort import cases, in_time
from tests.fuzz.mutations import anything, edits, torn
from tests.fuzz.test_json import dumped

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.property

KEY = "0" * 64
VECTORS = {f"{n:064}": np.full(3, n, np.float32) for n in range(4)}

others = anything().map(dumped) | st.just(b"[" * 200_000)
changed = others.map(lambda content: lambda _: content) | edits().map(
    lambda changes: lambda content: torn(content, changes)
)


@cases(60)
@given(change=changed)
def test_vectors_are_what_was_kept_or_not_there(tmp_path: Path, change: Any) -> None:  # noqa: ANN401
    EmbeddingCache(folder=tmp_path).store(KEY, VECTORS, {"note": 1})
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(change(path.read_bytes()))
    with in_time():
        count_images(list_cache(tmp_path).keys)
        found = EmbeddingCache(folder=tmp_path).load(KEY)
        together = EmbeddingCache(folder=tmp_path).load_together(KEY, [*VECTORS][:2])
    for known in (found, together):
        if known is not None and known.vectors:
            assert {name: row.tolist() for name, row in known.vectors.items()} == {
                name: row.tolist() for name, row in VECTORS.items()
            }
    for left in tmp_path.rglob("*.safetensors"):
        left.unlink()


@cases(60)
@given(change=changed)
def test_digests_are_what_was_kept_or_taken_anew(tmp_path: Path, change: Any) -> None:  # noqa: ANN401
    image = tmp_path / "x.png"
    image.write_bytes(b"x")

    def memo() -> DigestCache:
        # Years later, so that nothing is too fresh to be kept.
        return DigestCache(file=tmp_path / DIGESTS_FILE, clock=lambda: 2**62)

    first = memo()
    digest = first.of(image)
    first.save()
    path = tmp_path / DIGESTS_FILE
    path.write_bytes(change(path.read_bytes()))
    with in_time():
        second = memo()
        assert second.of(image) == digest
        second.save()
        assert memo().of(image) == digest
