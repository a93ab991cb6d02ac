"""Vectors are never taken for those of another network: what no digest covers is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.plugin.conftest import one_test

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

HEAD = "stimuli: ../stimuli"
CONCEPTS = "{x: x, y: y, a: a, b: b}"
# A network whose state dict says nothing of a number that comes from elsewhere.
NETS = """
import json, os, pathlib
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent

class Net(nn.Module):
    def __init__(self, weight):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 4, 3)
        self.weight = weight

    def forward(self, images):
        shares = images.mean((2, 3))
        return torch.cat([self.body(images).mean((2, 3)), shares * self.weight], 1)

def file():
    return Net(float((HERE / "number.txt").read_text()))

def tensor():
    return Net(torch.tensor(json.loads((HERE / "number.txt").read_text())))

def variable():
    return Net(float(os.environ["NUMBER"]))

def buffer():
    net = Net(1.0)
    del net.weight
    net.register_buffer("weight", torch.tensor(float((HERE / "number.txt").read_text())), False)
    return net
"""


def set_number(project: Project, number: float) -> None:
    (project.path / "number.txt").write_text(str(number))


def scores(project: Project, serial: Gate, *given: str) -> object:
    """Return the scores that a run reports."""
    serial(*given)
    return project.row()["scores"]


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("given", [(), ("--visualbias-rehash",)])
@pytest.mark.parametrize("call", ["file", "tensor", "variable", "buffer"])
def test_of_a_factory_that_says_nothing_of_its_weights(
    networks: Project,
    serial: Gate,
    call: str,
    given: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (networks.path / "nets.py").write_text(NETS)
    entry = f'{{source: factory, call: "nets:{call}", transform: {{size: 16}}}}'
    networks.spec(
        one_test("one", "{}"), head=HEAD, models=f"\n  after: {entry}\n", concepts=CONCEPTS
    )
    found = []
    for number in (0.0, 90.0):
        set_number(networks, number)
        monkeypatch.setenv("NUMBER", str(number))
        found.append(scores(networks, serial, *given))
    assert found[0] != found[1]


SOURCES = ("its code", "another file of its code", "a checkpoint that it does not digest")


@pytest.mark.parametrize("what", SOURCES)
def test_of_another_package_that_is_edited_where_it_lies(
    pixels: Project, serial: Gate, what: str
) -> None:
    """Its version stays as it is, and its own facts may leave something out."""
    code = pixels.path / "pixels.py"
    text = code.read_text()
    helper = pixels.path / "scaling.py"
    if what.startswith("another"):
        helper.write_text("SCALE = 1\n")
        text = text.replace("self.offset + np.stack(", "self.offset + scaling.SCALE * np.stack(")
        text = text.replace("import numpy as np\n", "import numpy as np\nimport scaling\n", 1)
    if what.startswith("a checkpoint"):
        text = text.replace(', "checkpoint": context.digest(path)', "")
        text = text.replace('identity.facts["checkpoint"]', '""')
    code.write_text(text)
    before = scores(pixels, serial)
    if what == "its code":
        code.write_text(text.replace("SIDE = 4", "SIDE = 2"))
        (pixels.path / "after.txt").write_text("1 1 1 1")
    elif what.startswith("another"):
        helper.write_text("import numpy as np\nSCALE = np.arange(48)\n")
    else:
        (pixels.path / "after.txt").write_text("1 " * 8 + "0.1 " * 8)
    assert scores(pixels, serial) != before


@pytest.fixture(scope="session")
def runtime(weights: Path) -> None:
    """What computes ONNX programs, imported before any pytester, which would forget it."""
    assert weights.is_dir()
    pytest.importorskip("onnx", reason="of torch's exporter")
    pytest.importorskip("onnxruntime", reason="an extra")
    import pytest_visualbias.models.onnx  # noqa: F401 - see above


def program(folder: Path, weights: Iterable[float], *, file: str = "w.bin") -> Path:
    """Write an ONNX program that weighs the three channels, its weights beside it."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = np.array([*weights], np.float32).reshape(1, 3)
    tensor = onnx.TensorProto(name="w", dims=[1, 3], data_type=kind)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Mul", ["flat", "w"], ["output"]),
        ],
        "net",
        [helper.make_tensor_value_info("images", kind, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("output", kind, ["n", 3])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(values.tobytes())
    return path


def reordered(content: bytes, file: str) -> bytes:
    """Return a program with the value of an entry before its key, which is the same program."""
    key, name = b"\x0a\x08location", file.encode()
    value = b"\x12" + bytes([len(name)]) + name
    assert content.count(key + value) == 1
    return content.replace(key + value, value + key)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("order", ["as written", "reordered"])
@pytest.mark.parametrize("file", ["w.bin", "inner/w.bin", "ü w.bin"])
def test_of_a_program_that_keeps_its_weights_beside_itself(
    networks: Project, serial: Gate, order: str, file: str
) -> None:
    path = program(networks.path, (1, 1, 1), file=file)
    if order == "reordered":
        path.write_bytes(reordered(path.read_bytes(), file))
    entry = "{source: onnx, path: ../net.onnx, transform: {size: 8}}"
    networks.spec(
        one_test("one", "{}"), head=HEAD, models=f"\n  after: {entry}\n", concepts=CONCEPTS
    )
    before = scores(networks, serial)
    (networks.path / file).write_bytes(np.array([0.1, 1, 3], np.float32).tobytes())
    assert scores(networks, serial) != before


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("content", [b"no program", b"\x0b" * 40, b"\x3a\xff\xff\xff\x7f" * 8])
def test_a_program_whose_fields_cannot_be_told_is_refused(
    networks: Project, serial: Gate, content: bytes
) -> None:
    (networks.path / "net.onnx").write_bytes(content)
    entry = "{source: onnx, path: ../net.onnx, transform: {size: 8}}"
    networks.spec(
        one_test("one", "{}"), head=HEAD, models=f"\n  after: {entry}\n", concepts=CONCEPTS
    )
    serial.says(1)
    assert networks.row()["outcome"] == "error"
    assert any("net.onnx" in reason for reason in networks.row()["reasons"])


def test_names_of_weights_are_found_wherever_a_tensor_may_stand(tmp_path: Path) -> None:
    """The package onnx says where that is."""
    from pytest_visualbias.models.identity import external_files

    onnx = pytest.importorskip("onnx", reason="of torch's exporter")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def tensor(name: str) -> object:
        made = onnx.TensorProto(name=name, dims=[1], data_type=kind)
        made.data_location = onnx.TensorProto.EXTERNAL
        made.external_data.add(key="location", value=name)
        (tmp_path / name).write_bytes(b"\0" * 4)
        return made

    inner = helper.make_graph([], "inner", [], [], [tensor("inner")])
    sparse = helper.make_sparse_tensor(tensor("values"), tensor("indices"), [1])
    nodes = [
        helper.make_node("Constant", [], ["a"], value=tensor("constant")),
        helper.make_node("If", ["a"], ["b"], then_branch=inner, else_branch=inner),
        helper.make_node("Own", [], ["c"], several=[tensor("one"), tensor("other")]),
    ]
    graph = helper.make_graph(nodes, "net", [], [], [tensor("long" * 50)])
    graph.sparse_initializer.append(sparse)
    called = [helper.make_node("Constant", [], ["d"], value=tensor("called"))]
    function = helper.make_function("own", "F", [], ["d"], called, [])
    model = helper.make_model(graph, functions=[function])
    model.training_info.add().initialization.CopyFrom(
        helper.make_graph([], "training", [], [], [tensor("training")])
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert {one.name for one in external_files(path)} == {
        one.name for one in tmp_path.iterdir()
    } - {"net.onnx"}
