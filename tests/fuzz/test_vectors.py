"""Whatever bytes a file of vectors holds: it has sets of vectors, or a sentence says why not."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.models.stored_vectors import StoredVectors, open_vectors
from pytest_visualbias.spec.schema import ConceptFiles
from tests.fuzz.effort import SENTENCE, answered, bounded, cases, in_time
from tests.fuzz.mutations import anything, edits, torn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.property

KINDS = ("<f4", ">f8", "f2", "i4", "?", "c8", "U3", "M8[s]", "V5", "i4,f4")
CONCEPTS: tuple[str | ConceptFiles, ...] = (
    "m",
    "no such set",
    ConceptFiles(path="m", files=("0.png",)),
    ConceptFiles(path="m", pattern="*.png"),
)


@st.composite
def arrays(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> dict[str, np.ndarray]:
    """Draw sets by key, of vectors and of other things."""
    keys = st.sampled_from(("m", "f", "layer/m", "花", "a\nb"))
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    one = st.tuples(st.sampled_from(kinds), st.just((3, 4)) | shapes)
    wanted = draw(st.dictionaries(keys, one, max_size=3))
    return {key: np.zeros(shape, dtype=kind) for key, (kind, shape) in wanted.items()}


@st.composite
def zipped(draw: st.DrawFn) -> bytes:
    """Draw an npz whose members are themselves torn, as their checksums hide it otherwise."""
    stream = io.BytesIO()
    how = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))
    with zipfile.ZipFile(stream, "w", how) as whole:
        for key, array in draw(arrays()).items():
            member = io.BytesIO()
            np.save(member, array)
            whole.writestr(f"{key}.npy", torn(member.getvalue(), draw(edits(2))))
    return stream.getvalue()


@st.composite
def headed(draw: st.DrawFn) -> bytes:
    """Draw an npz with a member whose header says something else than its bytes."""
    shape = draw(st.sampled_from(("(3,4)", "(10**9,)", "(2**62,2)", "(-1,)", "()", "3", "(True,)")))
    shape = shape.replace("10**9", str(10**9)).replace("2**62", str(2**62))
    kind = draw(st.sampled_from(("'<f4'", "'|O'", "'<U99999999'", "[('a','<f4')]", "1", "'x'")))
    header = f"{{'descr': {kind}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}"
    header = draw(st.sampled_from((header, header[:-3], "(" * 300, f"{header}\n'''")))
    content = header.encode().ljust(100, b" ") + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as whole:
        start = b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little")
        whole.writestr("m.npy", start + content + draw(st.binary(max_size=48)))
    return stream.getvalue()


@st.composite
def saved(draw: st.DrawFn) -> bytes:
    """Draw a safetensors file, with names of rows or something else in their place."""
    sets = draw(arrays(("<f4", "f2", "f8", "i4", "?")))
    rows = st.sampled_from(
        ({"m": [f"{row}.png" for row in range(3)]}, {"m": ["0.png"] * 3}, {"m": 1}, {})
    )
    names = draw(rows | anything())
    text = draw(st.sampled_from((json.dumps(names), "", "[" * 5_000, "NaN")))
    return safetensors.numpy.save(
        sets, metadata={"names": text.encode("ascii", "replace").decode()}
    )


@st.composite
def declared(draw: st.DrawFn) -> bytes:
    """Draw a safetensors file whose header says something else than its bytes."""
    kinds = ("F32", "BF16", "F8_E4M3", "F4", "C64", "X", "", 1)
    entry = {
        "dtype": draw(st.sampled_from(kinds)),
        "shape": draw(st.lists(st.integers(-1, 2**63), max_size=3) | anything()),
        "data_offsets": draw(st.sampled_from(([0, 48], [0, 24], [48, 0], [0, 2**62], [], None))),
    }
    header = json.dumps({"m": entry, "__metadata__": draw(anything())}, default=str)
    text = header.encode("ascii", "replace")
    return len(text).to_bytes(8, "little") + text + bytes(48)


def check(path: Path, content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of headers of old files
        found = answered(open_vectors, path, content, StimulusError)
    if not isinstance(found, StoredVectors):
        return
    for concept in CONCEPTS:
        with in_time():
            try:
                stimuli, rows = found.select("concept", concept, "")
            except StimulusError as error:
                bounded(error, SENTENCE)
            else:
                assert rows.dtype.kind == "f"
                assert rows.shape[:1] == (len(stimuli),)


@cases(120)
@given(content=zipped(), changes=edits(2))
def test_a_torn_npz_has_vectors_or_is_told(
    tmp_path: Path, content: bytes, changes: list[Any]
) -> None:
    check(tmp_path / "x.npz", torn(content, changes))


@cases(60)
@given(content=headed())
def test_an_npz_with_another_header_has_vectors_or_is_told(tmp_path: Path, content: bytes) -> None:
    check(tmp_path / "x.npz", content)


@cases(80)
@given(content=saved(), changes=edits())
def test_a_torn_safetensors_has_vectors_or_is_told(
    tmp_path: Path, content: bytes, changes: list[Any]
) -> None:
    check(tmp_path / "x.safetensors", torn(content, changes))


@cases(80)
@given(content=declared())
def test_a_safetensors_with_another_header_has_vectors_or_is_told(
    tmp_path: Path, content: bytes
) -> None:
    check(tmp_path / "x.safetensors", content)


@cases(20)
@given(content=st.binary(max_size=200), suffix=st.sampled_from(("npz", "safetensors", "pt", "")))
def test_any_bytes_have_vectors_or_are_told(tmp_path: Path, content: bytes, suffix: str) -> None:
    check(tmp_path / f"x.{suffix}", content)


@cases(10)
@given(array=arrays().map(lambda sets: next(iter(sets.values()), np.zeros((3, 4)))))
def test_one_array_under_the_name_of_many_is_told(tmp_path: Path, array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    check(tmp_path / "x.npz", stream.getvalue())
