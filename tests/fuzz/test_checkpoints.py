"""Whatever bytes a checkpoint holds: it is a mapping, or a sentence says why it is none."""

from __future__ import annotations

import io
import pickle
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import find_weights, read_checkpoint
from tests.fuzz.effort import answered, cases, in_time
from tests.fuzz.mutations import edits, torn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.property, pytest.mark.torch]


class Harmful:
    """Restores as what a function returns, as a file made to do harm would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _ran, ()


def _ran() -> None:
    pytest.fail("code of a checkpoint was run")


@st.composite
def contents(draw: st.DrawFn) -> Any:  # noqa: ANN401 - what a checkpoint holds can be anything
    """Draw what training code saves."""
    kinds = st.sampled_from((torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool))
    shape = st.lists(st.integers(0, 4), max_size=3)
    tensors = st.builds(lambda size, kind: torch.zeros(size, dtype=kind), shape, kinds)
    names = st.sampled_from(("layer1.weight", "module.fc.bias", "a\nb", "", "花"))
    weights = st.dictionaries(names, tensors, max_size=4)
    beside = st.sampled_from(
        (3, "x", None, [1.5], OrderedDict(a=1), np.float64(2), np.zeros((2, 2)), {"lr": 0.1})
    )
    holder = st.fixed_dictionaries({"state_dict": weights, "epoch": beside})
    return draw(weights | holder | beside | tensors)


@st.composite
def saved(draw: st.DrawFn) -> bytes:
    """Draw a checkpoint in the zip of torch, in its older form, or as a plain pickle."""
    stream = io.BytesIO()
    content = draw(contents())
    how = draw(st.sampled_from(("zip", "zip", "legacy", "pickle")))
    if how == "pickle":
        return pickle.dumps(content, protocol=draw(st.integers(0, 5)))
    torch.save(content, stream, _use_new_zipfile_serialization=how == "zip")
    return stream.getvalue()


def check(path: Path, content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = answered(read_checkpoint, path, content, EncoderError)
        if isinstance(found, dict):
            with in_time():
                for weights in find_weights(found).values():
                    assert all(torch.is_tensor(value) for value in weights.values())


@cases(120)
@given(content=saved(), changes=edits())
def test_a_torn_checkpoint_is_a_mapping_or_told(
    tmp_path: Path, content: bytes, changes: list[Any]
) -> None:
    check(tmp_path / "x.pt", torn(content, changes))


@cases(60)
@given(
    weights=contents().filter(lambda found: isinstance(found, dict) and "epoch" not in found),
    changes=edits(),
)
def test_a_torn_safetensors_is_a_mapping_or_told(
    tmp_path: Path, weights: dict[str, Any], changes: list[Any]
) -> None:
    tensors = {name: value for name, value in weights.items() if torch.is_tensor(value)}
    check(tmp_path / "x.safetensors", torn(safetensors.torch.save(tensors), changes))


@cases(20)
@given(beside=contents(), protocol=st.integers(2, 5), is_zip=st.booleans(), changes=edits(1))
def test_code_in_a_checkpoint_is_never_run(
    tmp_path: Path,
    beside: Any,  # noqa: ANN401
    protocol: int,
    is_zip: bool,
    changes: list[Any],
) -> None:
    stream = io.BytesIO()
    content = {"state_dict": beside, "trainer": Harmful()}
    if is_zip:
        torch.save(content, stream, pickle_protocol=protocol)
    else:
        stream.write(pickle.dumps(content, protocol=protocol))
    check(tmp_path / "x.pt", torn(stream.getvalue(), changes))
