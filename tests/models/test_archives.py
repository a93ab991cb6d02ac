"""Exported programs that are more than a graph and tensors are not handed to torch."""

from __future__ import annotations

import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.archives import check_archive

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = {"graph": {"nodes": [{"as_expr": {"expr_str": "Max(1, 2*s77 + FloorDiv(s0, 2))"}}]}}


def archive(path: Path, graph: Any = None, **members: bytes) -> Path:  # noqa: ANN401
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("net/archive_format", "pt2")
        stream.writestr("net/models/model.json", json.dumps(PLAIN if graph is None else graph))
        stream.writestr("net/data/weights/weight_0", b"\0" * 16)
        for name, content in members.items():
            stream.writestr(f"net/{name}", content)
    return path


def test_a_graph_and_tensors_are_let_through(tmp_path: Path) -> None:
    check_archive(archive(tmp_path / "net.pt2"))


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/model.so",
        "data/weights/../weights/opaque_obj_0",
        "own.py",
    ],
)
def test_objects_and_libraries_are_not(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "net.pt2", **{name: pickle.dumps(print)})
    with pytest.raises(EncoderError, match="more than a graph and tensors, and was not loaded"):
        check_archive(path)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch harmed')",
        "exec(chr(49))",
        "s0.__class__",
        "open('harmed', 'w')",
        "[s0 for s0 in ()]",
        "().real",
        "lambda: s0",
    ],
)
def test_an_expression_that_is_no_size_is_not(tmp_path: Path, text: str) -> None:
    """Torch hands it to sympy, which evaluates it as Python."""
    graph = {"range_constraints": [{"deeper": {"expr_str": text}}]}
    with pytest.raises(EncoderError, match=r"holds the size '.+', more than a graph and tensors"):
        check_archive(archive(tmp_path / "net.pt2", graph))
