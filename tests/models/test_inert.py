"""What stands in checkpoints beside tensors is kept as values, and never run."""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import find_weights, read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "big-endian": np.arange(3, dtype=">f4"),
    "half": np.ones((2, 1, 2), np.float16),
    "counter": np.array(7),
    "flags": np.array([True, False]),
    "empty": np.empty((0, 3), np.float32),
}


class _Called:
    """Is pickled as a call of a function by its name."""

    def __init__(self, function: Any, *values: Any) -> None:  # noqa: ANN401
        self.call = function, values

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def saved(folder: Path, content: Any, *, numpy_1: bool = False) -> Path:  # noqa: ANN401
    """Write a checkpoint, with numpy's functions under the names of its first version."""
    path = folder / "a.pt"
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    old, new = (b"numpy.core.", b"numpy._core.")[:: 1 if numpy_1 else -1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(new, old))
    return path


class TestArrays:
    @pytest.mark.parametrize("numpy_1", [True, False])
    def test_are_read_as_weights(self, tmp_path: Path, numpy_1: bool) -> None:
        path = saved(tmp_path, {"model_state_dict": dict(ARRAYS)}, numpy_1=numpy_1)
        assert (b"numpy.core." in path.read_bytes()) == numpy_1
        found = find_weights(read_checkpoint(path))["model_state_dict"]
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert tuple(found[name].shape) == array.shape
            assert found[name].dtype == torch.from_numpy(array.astype(array.dtype.name)).dtype
            np.testing.assert_array_equal(found[name].numpy(), array)

    @pytest.mark.parametrize(
        "array",
        [
            np.array([{"a": 1}], dtype=object),
            np.array(["name"]),
            np.zeros(1, dtype=[("a", "f4"), ("b", "O")]),
            np.zeros(1, dtype=complex),
        ],
    )
    def test_of_other_things_than_numbers_are_refused(
        self, tmp_path: Path, array: np.ndarray
    ) -> None:
        with pytest.raises(EncoderError, match=r"more than tensors|damaged"):
            read_checkpoint(saved(tmp_path, {"w": torch.ones(1), "a": array}))

    @pytest.mark.parametrize("shape", [(3,), (1, 3), (10**9, 10**9), (-1,), ("x",), None])
    def test_that_do_not_hold_what_they_say_are_refused(
        self, tmp_path: Path, shape: object
    ) -> None:
        class Lying(np.ndarray):
            def __reduce__(self) -> Any:  # noqa: ANN401
                whole: Any = super().__reduce__()
                make, values, state = whole
                return make, (np.ndarray, *values[1:]), (state[0], shape, *state[2:])

        lying = np.ones(2, np.float32).view(Lying)
        with pytest.raises(EncoderError, match="damaged"):
            read_checkpoint(saved(tmp_path, {"w": torch.ones(1), "a": lying}))

    def test_are_never_made_by_numpy_of_foreign_memory(self, tmp_path: Path) -> None:
        """Numpy's constructor would take eight bytes for the address of an object."""
        made = _Called(np.ndarray, (1,), np.dtype("f8"), b"\x41" * 8)
        assert read_checkpoint(saved(tmp_path, {"w": torch.ones(1), "a": made}))["a"] is None


class TestCode:
    @pytest.mark.parametrize("numpy_1", [True, False])
    def test_beside_what_is_allowed_is_refused_and_not_run(
        self, tmp_path: Path, numpy_1: bool
    ) -> None:
        proof = tmp_path / "the code ran"
        payload = _Called(os.mkdir, str(proof))
        allowed = {
            "state_dict": dict(ARRAYS),
            "args": argparse.Namespace(folder=tmp_path),
            "best": np.float64(1),
        }
        read_checkpoint(saved(tmp_path, allowed, numpy_1=numpy_1))
        for hidden in (
            {**allowed, "payload": payload},
            {**allowed, "args": argparse.Namespace(lr=payload)},
            {**allowed, "best": _Called(np.float64(1).__reduce__()[0], payload)},
            {**allowed, "folder": _Called(pathlib.PosixPath, payload)},
        ):
            with pytest.raises(EncoderError, match="more than tensors"):
                read_checkpoint(saved(tmp_path, hidden, numpy_1=numpy_1))
            assert not proof.exists()

    def test_of_the_payload_would_run_if_it_were_loaded(self, tmp_path: Path) -> None:
        """So that the test above cannot pass with a payload that does nothing."""
        proof = tmp_path / "the code ran"
        pickle.loads(pickle.dumps({"lr": _Called(os.mkdir, str(proof))}))
        assert proof.exists()

    @pytest.mark.parametrize(
        "function", [os.mkdir, eval, exec, getattr, __import__, open, np.load, np.fromfile]
    )
    def test_of_no_function_is_called(self, tmp_path: Path, function: Any) -> None:  # noqa: ANN401
        called = _Called(function, str(tmp_path / "made"))
        with pytest.raises(EncoderError, match="more than tensors"):
            read_checkpoint(saved(tmp_path, {"w": torch.ones(1), "a": called}))
        assert not (tmp_path / "made").exists()


def test_paths_are_read_on_every_system(tmp_path: Path) -> None:
    """Training ran elsewhere: Windows, or a Python with another name for them."""
    content = {"w": torch.ones(1), "args": argparse.Namespace(out=pathlib.PosixPath("/runs/a b"))}
    path = saved(tmp_path, content)
    for module, name in (
        ("pathlib", "PosixPath"),
        ("pathlib", "WindowsPath"),
        ("pathlib._local", "PosixPath"),
    ):
        with zipfile.ZipFile(path) as archive:
            parts = {one: archive.read(one) for one in archive.namelist()}
        here = f"c{pathlib.PosixPath.__module__}\nPosixPath\n".encode()
        other = tmp_path / f"{module}.{name}.pt"
        with zipfile.ZipFile(other, "w") as archive:
            for one, part in parts.items():
                archive.writestr(one, part.replace(here, f"c{module}\n{name}\n".encode()))
        found = read_checkpoint(other)["args"].out
        assert found.parts[-2:] == ("runs", "a b")


def test_logs_of_a_trainer_that_is_not_installed_are_read_past(tmp_path: Path) -> None:
    """OpenMMLab's trainer keeps its losses in every checkpoint."""
    assert "mmengine" not in sys.modules
    buffer = type("HistoryBuffer", (), {"__module__": "mmengine.logging.history_buffer"})
    log = buffer()
    log.__dict__ |= {"max_length": 9, "_log_history": np.ones(3), "_count_history": np.ones(3)}
    hub = {"log_scalars": {"train/loss": log}, "runtime_info": {"epoch": 3}}
    names = [buffer.__module__.rsplit(".", depth)[0] for depth in (2, 1, 0)]
    try:
        for name in names:
            sys.modules[name] = type(sys)(name)
        sys.modules[names[-1]].HistoryBuffer = buffer  # type: ignore[attr-defined]
        path = saved(tmp_path, {"state_dict": {"w": torch.ones(1)}, "message_hub": hub})
    finally:
        for name in names:
            sys.modules.pop(name, None)
    found = read_checkpoint(path)
    assert found["message_hub"]["log_scalars"]["train/loss"].max_length == 9
    assert find_weights(found).keys() == {"state_dict"}


def test_a_checkpoint_that_holds_itself_is_read_once() -> None:
    content: dict[str, Any] = {"w": torch.ones(1)}
    content["again"] = content
    content["deep"] = {"deeper": content}
    assert find_weights(content).keys() == {""}


def test_weights_are_looked_for_six_keys_deep() -> None:
    content: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(6):
        content = {"a": content}
    assert find_weights(content).keys() == {"a/a/a/a/a/a"}
    assert find_weights({"a": content}) == {}
