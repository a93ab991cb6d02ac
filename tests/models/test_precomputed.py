"""Vectors stored by someone else, keyed by set."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.models.stored_vectors import StoredVectors, open_vectors
from pytest_visualbias.spec.schema import ConceptFiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARRAYS: dict[str, np.ndarray] = {
    "m/male": np.arange(12, dtype=np.float32).reshape(3, 4),
    "m/female": np.arange(8, dtype=np.float64).reshape(2, 4) + 100,
}
NAMES = {"m/male": ["c.png", "a.png", "b.jpg"], "m/female": ["x.png", "y.png"]}


@pytest.fixture
def stored(tmp_path: Path) -> StoredVectors:
    """Two sets with names, in an order that is not that of the names."""
    return written(tmp_path, ARRAYS, {"names": json.dumps(NAMES)})


def written(
    folder: Path, arrays: Mapping[str, Any], metadata: dict[str, str] | None = None
) -> StoredVectors:
    safetensors.numpy.save_file(dict(arrays), folder / "v.safetensors", metadata=metadata)
    return open_vectors(folder / "v.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_without_names_rows_keep_their_order_and_are_numbered(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    many = {"m": np.random.default_rng(0).normal(size=(12, 3))}
    if suffix == ".npz":
        np.savez(path, **many)  # type: ignore[arg-type]
    else:
        safetensors.numpy.save_file(many, path)
    stimuli, vectors = open_vectors(path).select("male", "m", "")
    np.testing.assert_array_equal(vectors, many["m"])
    assert [one.name for one in stimuli.stimuli] == [f"m/row {row}" for row in range(12)]
    assert stimuli.concept == "male"


def test_with_names_rows_are_in_the_order_of_their_names(stored: StoredVectors) -> None:
    stimuli, vectors = stored.select("male", "male", "m/")
    assert [one.name for one in stimuli.stimuli] == ["male/a.png", "male/b.jpg", "male/c.png"]
    np.testing.assert_array_equal(vectors, ARRAYS["m/male"][[1, 2, 0]])
    assert vectors.dtype == ARRAYS["m/male"].dtype


def test_two_files_of_the_same_rows_in_another_order_are_the_same_set(tmp_path: Path) -> None:
    """Before and after are compared image by image, by name."""
    found = []
    for order in ([0, 1, 2], [2, 0, 1]):
        arrays = {"m": ARRAYS["m/male"][order]}
        names = {"m": [NAMES["m/male"][row] for row in order]}
        stored = written(tmp_path, arrays, {"names": json.dumps(names)})
        concepts = ("m", ConceptFiles(path="m", pattern="*.png"))
        found += [stored.select("c", concept, "") for concept in concepts]
    (first, rows), (some, chosen), (second, same), (others, also) = found
    assert first.digest == second.digest
    np.testing.assert_array_equal(rows, same)
    assert some.digest == others.digest
    np.testing.assert_array_equal(chosen, also)


def test_equal_vectors_have_equal_digests_and_other_identities(tmp_path: Path) -> None:
    stored = written(tmp_path, {"m": np.ones((2, 3), dtype=np.float32)})
    first, second = stored.select("c", "m", "")[0].stimuli
    assert first.digest == second.digest
    assert first.identity != second.identity


class TestPicking:
    @pytest.mark.parametrize(
        ("concept", "rows"),
        [
            (ConceptFiles(path="male", files=("b.jpg", "c.png")), [2, 0]),
            (ConceptFiles(path="male", pattern="*.png"), [1, 0]),
            (ConceptFiles(path="male", pattern="[ab].*"), [1, 2]),
            (ConceptFiles(path="male", pattern="*.gif"), []),
            (ConceptFiles(path="male"), [1, 2, 0]),
        ],
    )
    def test_rows_are_picked_by_name(
        self, stored: StoredVectors, concept: ConceptFiles, rows: list[int]
    ) -> None:
        stimuli, vectors = stored.select("male", concept, "m/")
        assert len(stimuli) == len(rows)
        np.testing.assert_array_equal(vectors, ARRAYS["m/male"][rows])

    def test_a_row_that_is_not_there_is_told_with_the_nearest(self, stored: StoredVectors) -> None:
        with pytest.raises(StimulusError, match=r"'m/male' has no row 'd\.png'; did you mean '"):
            stored.select("male", ConceptFiles(path="male", files=("c.png", "d.png")), "m/")

    @pytest.mark.parametrize("keys", [{"pattern": "*"}, {"files": ("a.png",)}])
    def test_nothing_can_be_picked_without_names(self, tmp_path: Path, keys: Any) -> None:  # noqa: ANN401
        stored = written(tmp_path, ARRAYS)
        with pytest.raises(StimulusError, match="no names of rows"):
            stored.select("male", ConceptFiles(path="male", **keys), "m/")


class TestFaults:
    @pytest.mark.parametrize(
        ("concept", "hint"),
        [("mal", "did you mean 'm/male'?"), ("zzzzzz", "known: m/female, m/male")],
    )
    def test_a_set_that_is_not_there_is_told_with_the_nearest(
        self, stored: StoredVectors, concept: str, hint: str
    ) -> None:
        with pytest.raises(StimulusError) as caught:
            stored.select("c", concept, "m/")
        assert str(caught.value) == f"{stored.path} has no set 'm/{concept}'; {hint}"

    @pytest.mark.parametrize(
        ("array", "shown"),
        [
            (np.ones(3, dtype=np.float32), r"float32 \(3,\)"),
            (np.ones((2, 3, 4), dtype=np.float32), r"float32 \(2, 3, 4\)"),
            (np.ones((2, 3), dtype=np.int64), r"int64 \(2, 3\)"),
            (np.ones((2, 3), dtype=bool), r"bool \(2, 3\)"),
        ],
    )
    def test_an_array_that_is_not_of_vectors_is_an_error(
        self, tmp_path: Path, array: np.ndarray, shown: str
    ) -> None:
        stored = written(tmp_path, {"m": array})
        with pytest.raises(StimulusError, match=rf"'m' is {shown}; store floats \(n, dim\)"):
            stored.select("c", "m", "")

    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_every_float_of_numpy_is_read(self, tmp_path: Path, kind: Any) -> None:  # noqa: ANN401
        stored = written(tmp_path, {"m": np.ones((2, 3), dtype=kind)})
        assert stored.select("c", "m", "")[1].dtype == kind

    def test_a_float_that_numpy_lacks_is_an_error(self, tmp_path: Path) -> None:
        whole = safetensors.numpy.save({"m": np.ones((2, 3), dtype=np.float16)})
        assert b'"F16"' in whole
        header = whole[8:].replace(b'"F16"', b'"BF16"').replace(b"}}  ", b"}} ", 1)
        length = len(header) - 12
        path = tmp_path / "v.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + header)
        # Where another package has taught numpy the type, the file can be opened.
        with pytest.raises(StimulusError, match=r"v\.safetensors"):
            open_vectors(path).select("c", "m", "")

    @pytest.mark.parametrize("shape", [f"({10**15},)", "(3, 2", f"({2**70}, 0)", "(True, 2)"])
    def test_a_header_that_cannot_be_is_an_error(self, tmp_path: Path, shape: str) -> None:
        """Numpy runs out of memory, or stumbles in ways of its own."""
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        path = tmp_path / "v.npz"
        with zipfile.ZipFile(path, "w") as whole:
            whole.writestr("m.npy", content + bytes(24))
        with pytest.raises(StimulusError, match=r"v\.npz is damaged \(.+\); make it again"):
            open_vectors(path)

    def test_one_array_under_the_name_of_an_archive_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "v.npz"
        with path.open("wb") as stream:
            np.save(stream, np.ones((3, 2)))
        with pytest.raises(StimulusError, match=r"v\.npz is damaged \(.+\); make it again"):
            open_vectors(path)

    def test_as_many_names_as_rows_are_needed(self, tmp_path: Path) -> None:
        stored = written(tmp_path, ARRAYS, {"names": json.dumps({"m/male": ["a", "b"]})})
        with pytest.raises(StimulusError, match="'m/male' has 3 rows but 2 names"):
            stored.select("c", "male", "m/")

    def test_two_rows_of_one_name_are_an_error(self, tmp_path: Path) -> None:
        """One would silently stand for both."""
        stored = written(tmp_path, ARRAYS, {"names": json.dumps({"m/male": ["a", "b", "a"]})})
        with pytest.raises(StimulusError, match="'m/male' has the row 'a' twice; rename one"):
            stored.select("c", "male", "m/")

    @pytest.mark.parametrize(
        "names",
        ["{", "[]", "3", '{"m": "abc"}', '{"m": [1, 2, 3]}', '{"m": {"a": 1}}', "[" * 100_000],
    )
    def test_names_that_are_no_lists_of_text_are_an_error(self, tmp_path: Path, names: str) -> None:
        with pytest.raises(StimulusError, match=r"is damaged \(.+\); make it again"):
            written(tmp_path, {"m": np.ones((3, 2))}, {"names": names})

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("missing.npz", r"missing\.npz cannot be read \(No such file or directory\); correct"),
            ("missing.safetensors", r"cannot be read \(No such file.+\); correct the path"),
            ("vectors.csv", r"vectors\.csv is neither \.safetensors nor \.npz; convert it"),
        ],
    )
    def test_a_file_that_cannot_be_one(self, tmp_path: Path, name: str, message: str) -> None:
        with pytest.raises(StimulusError, match=message):
            open_vectors(tmp_path / name)

    def test_pickled_objects_are_refused_and_not_run(self, tmp_path: Path) -> None:
        proof = tmp_path / "the code ran"
        objects = np.array([_Payload(proof)], dtype=object)
        np.savez(tmp_path / "v.npz", m=objects)
        assert not proof.exists()
        with pytest.raises(StimulusError, match="Python objects"):
            open_vectors(tmp_path / "v.npz")
        assert not proof.exists()
        with np.load(tmp_path / "v.npz", allow_pickle=True) as loaded:
            assert loaded["m"].shape == (1,)
        assert proof.exists(), "the payload does nothing, so this test shows nothing"

    @pytest.mark.parametrize("kind", ["npz", "compressed npz", "safetensors"])
    def test_a_damaged_file_is_read_or_refused_and_never_another_error(
        self, tmp_path: Path, kind: str
    ) -> None:
        arrays = {"a": np.random.default_rng(0).normal(size=(8, 16))}
        stream = io.BytesIO()
        if kind == "npz":
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        elif kind == "compressed npz":
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        else:
            stream.write(
                safetensors.numpy.save(arrays, {"names": json.dumps({"a": [*"abcdefgh"]})})
            )
        whole = stream.getvalue()
        path = tmp_path / f"v.{kind.rsplit(maxsplit=1)[-1]}"
        rng = random.Random(0)
        refused = 0
        for _ in range(300):
            damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
            for _ in range(rng.randrange(1, 4)):
                if damaged:
                    damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                stored = open_vectors(path)
                if "a" in stored.arrays:
                    stored.select("c", "a", "")
            except StimulusError:
                refused += 1
        assert refused > 100


class _Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return self.proof.mkdir.__func__, (self.proof,)  # type: ignore[attr-defined]
