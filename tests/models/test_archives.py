"""Exported programs that are more than a graph and tensors are not handed to torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.program_check import check_archive, is_known_operator

PLAIN = {"graph": {"inputs": [{"as_expr": {"expr_str": "Max(1, 2*s77 + FloorDiv(s0, 2))"}}]}}


def check(graph: Any = None, *more: str) -> None:  # noqa: ANN401
    """Check an archive of a graph, a weight and further members."""
    text = json.dumps(PLAIN if graph is None else graph).encode()
    members = {"archive_format": b"pt2", "models/model.json": text, "data/weights/weight_0": b""}
    check_archive(Path("net.pt2"), [*members, *more], members.__getitem__)


def test_a_graph_and_tensors_are_let_through() -> None:
    check()


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/model.so",
        "data/weights/../weights/opaque_obj_0",
        "DATA/weights/weight_1",
        "own.py",
    ],
)
def test_objects_and_libraries_are_not(name: str) -> None:
    with pytest.raises(EncoderError, match=re.escape(name)):
        check(None, name)


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
def test_an_expression_that_is_no_size_is_not(text: str) -> None:
    """Torch hands it to sympy, which evaluates it as Python."""
    with pytest.raises(EncoderError, match="expr_str"):
        check({"range_constraints": {"s0": {"expr_str": text}}})


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.relu.default.__globals__",
        "torch.ops.aten.__class__.relu",
        "torch.ops.own.relu.default",
        "torch.hub.load",
        "_operator.attrgetter",
        "#own:relu",
        "print",
    ],
)
def test_an_operator_that_is_not_known_is_not(target: str) -> None:
    assert not is_known_operator(target)
    with pytest.raises(EncoderError, match="target"):
        check({"graph": {"nodes": [{"target": target}]}})


def test_values_within_values_without_an_end_are_not() -> None:
    nested: Any = {}
    for _ in range(500):
        nested = {"graph": nested}
    with pytest.raises(EncoderError, match="values within values"):
        check(nested)
