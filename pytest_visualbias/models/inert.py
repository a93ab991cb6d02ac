"""What a checkpoint may hold besides tensors, and what stands in for it when it is read.

Torch's restricted unpickler calls only what it is handed here, by the full names that were written.
Everything under somebody else's name is a stand-in of ours that does nothing but keep values: even
a file that was made to do harm reaches no code of numpy, pathlib or a training framework.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StoredArray", "inert_types"]

NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")
# Numpy 1 and 2, Python before and since 3.13, and the logs of OpenMMLab's trainer.
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
PATHLIB = ("pathlib", "pathlib._local")
LOGS = ("mmengine.logging.history_buffer", "HistoryBuffer")


class StoredArray:
    """A numpy array as it was pickled.

    Numpy's own type is never called with what a file says: its constructor takes foreign memory.

    Attributes
    ----------
    values : numpy.ndarray
        Writable, in this machine's byte order.
    """

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the values, as numpy writes them: version, shape, type, order, bytes."""
        _, shape, kind, is_fortran, content = state
        if type(content) is not bytes or np.dtype(kind).kind not in "fiub":
            raise ValueError("an array of other things than numbers")
        flat = np.frombuffer(content, dtype=kind)
        shaped = flat.reshape(shape, order="F" if is_fortran else "C")
        if shaped.shape != shape:  # numpy fills in what is none, or -1
            raise ValueError("an array of no definite shape")
        self.values = np.array(shaped, dtype=np.dtype(kind).newbyteorder("="), order="C")


def inert_types() -> list[Any]:
    """Return what torch may make of the names in a pickle: types and functions without behaviour.

    Returns
    -------
    list
        For ``torch.serialization.safe_globals``, which knows each by its module and name.
    """
    kinds = [np.dtype, *(type(np.dtype(kind)) for kind in NUMBERS)]
    arrays = [_stand_in(f"{module}._reconstruct", _array) for module in NUMPY]
    scalars = [_stand_in(f"{module}.scalar", _scalar) for module in NUMPY]
    paths = [
        _stand_in(f"{module}.{name}", make)
        for module in PATHLIB
        for name, make in (
            ("PosixPath", pathlib.PurePosixPath),
            ("WindowsPath", pathlib.PureWindowsPath),
        )
    ]
    named = [_stand_in("numpy.ndarray", _nothing), _stand_in("builtins.bytes", _no_bytes)]
    module, name = LOGS
    logs = type(name, (), {"__module__": module})
    return [argparse.Namespace, StoredArray, logs, *named, *kinds, *arrays, *scalars, *paths]


def _stand_in(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that torch finds under a full name (pairs of both only since 2.6)."""

    def made(*values: Any) -> Any:
        return make(*values)

    made.__module__, _, made.__name__ = name.rpartition(".")
    made.__qualname__ = made.__name__
    return made


def _array(*_: Any) -> StoredArray:
    return StoredArray()


def _nothing(*_: Any) -> None:
    """Numpy's type is named in a pickle of an array, and called in none."""


def _no_bytes(*_: Any) -> bytes:
    """Pickles of torch's version call the type for no bytes at all, and only for these."""
    return b""


def _scalar(kind: np.dtype[Any], content: bytes) -> Any:
    return np.frombuffer(content, dtype=kind)[0]
