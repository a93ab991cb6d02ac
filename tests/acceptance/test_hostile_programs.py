"""Compiled programs that were made to do harm: nothing of them runs, and a sentence says why."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.torch

MODEL = "net/models/model.json"
CONFIG = "net/data/weights/model_weights_config.json"
HARM = "open('harmed', 'w').close()"
IMPORTED = f"import('builtins').{HARM}".replace("import(", "__import__(")
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
PROGRAM = "\n  after: {source: export, path: ../net.pt2, transform: {size: 8}}\n"


class Harmful:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (HARM,)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A small program of torch.export; `weights` has loaded torch before any pytester."""
    import torch  # only where a program is wanted

    assert weights.is_dir()
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten())
    net = torch.nn.Sequential(body, torch.nn.Linear(576, 16)).eval()
    shapes = ({0: torch.export.Dim("n", min=1, max=64)},)
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.export.save(
        torch.export.export(net, (torch.rand(2, 3, 8, 8),), dynamic_shapes=shapes), path
    )
    return path


@pytest.fixture
def program(exported: Path, project: Project) -> Project:
    """A project that gates the program."""
    shutil.copy(exported, project.path)
    project.drawn()
    project.spec(
        one_test("one", "{}"),
        head="stimuli: ../stimuli",
        models=PROGRAM,
        concepts="{x: x, y: y, a: a, b: b}",
    )
    return project


def rewrite(project: Project, change: Callable[[dict[str, Any]], None], member: str) -> None:
    """Change a member of the program that is JSON."""
    contents = members(project)
    graph = json.loads(contents[member])
    change(graph)
    store(project, {**contents, member: json.dumps(graph).encode()})


def members(project: Project) -> dict[str, bytes]:
    with zipfile.ZipFile(project.path / "net.pt2") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def store(project: Project, contents: dict[str, bytes], *more: tuple[str, bytes]) -> None:
    with zipfile.ZipFile(project.path / "net.pt2", "w") as archive:
        for name, content in (*contents.items(), *more):
            archive.writestr(name, content)


def node(graph: dict[str, Any], index: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = graph["graph_module"]["graph"]["nodes"][index]
    return found


def root(graph: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = graph["graph_module"]["module_call_graph"][0]["signature"]
    return found


def renamed(graph: dict[str, Any], old: str, new: str) -> None:
    """Rename a value of the graph wherever it stands."""
    text = json.dumps(graph["graph_module"])
    graph["graph_module"] = json.loads(text.replace(json.dumps(old), json.dumps(new)))


def mapping_a_file(graph: dict[str, Any]) -> None:
    """Let a node map a file of the project, and write over it."""
    values = graph["graph_module"]["graph"]["tensor_values"]
    made = {**values["relu"], "sizes": [{"as_int": 4}], "strides": [{"as_int": 1}]}
    values["mapped"] = made
    inputs = [
        {"name": "filename", "arg": {"as_string": "precious.bin"}, "kind": 1},
        {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
        {"name": "size", "arg": {"as_int": 4}, "kind": 1},
    ]
    target = "torch.ops.aten.from_file.default"
    outputs = [{"as_tensor": {"name": "mapped"}}]
    call = {"target": target, "inputs": inputs, "outputs": outputs, "metadata": {}}
    filled = {
        "target": "torch.ops.aten.zero_.default",
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "mapped"}}, "kind": 1}],
        "outputs": [{"as_tensor": {"name": "filled"}}],
        "metadata": {},
    }
    values["filled"] = made
    graph["graph_module"]["graph"]["nodes"][:0] = [call, filled]


def tree(kind: str, context: object) -> str:
    """Return how values are put together, with a type of our own."""
    return json.dumps([1, {"type": kind, "context": json.dumps(context), "children_spec": [LEAF]}])


def imports(kind: str, context: object) -> Callable[[dict[str, Any]], None]:
    return lambda graph: root(graph).update(out_spec=tree(kind, context))


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an operator that maps a file": mapping_a_file,
    "a function of torch": lambda graph: node(graph).update(target="torch.hub.load"),
    "another function of torch": lambda graph: node(graph).update(target="torch.load"),
    "a function of operator": lambda graph: node(graph).update(target="_operator.methodcaller"),
    "a function of math": lambda graph: node(graph).update(target="math.factorial"),
    "an operator of an extension": lambda graph: node(graph).update(target="#own:run"),
    "an operator of another library": lambda graph: node(graph).update(
        target="torch.ops.own.run.default"
    ),
    "an operator that saves": lambda graph: node(graph).update(
        target="torch.ops.aten.save.default"
    ),
    "an operator of memory": lambda graph: node(graph).update(
        target="torch.ops.aten.set_.source_Storage"
    ),
    "a name that is code": lambda graph: renamed(graph, "relu", f"a = {HARM}; relu"),
    "the name of an argument that is code": lambda graph: node(graph)["inputs"][0].update(
        name=f"a=({HARM}), self", kind=2
    ),
    "the name of an input that is code": lambda graph: root(graph).update(
        forward_arg_names=[f"input=({HARM})"]
    ),
    "the name of a module that is code": lambda graph: graph["graph_module"]["module_call_graph"][
        1
    ].update(fqn=f'0"), {HARM}, ("'),
    "the name of a module at a node": lambda graph: node(graph)["metadata"].update(
        nn_module_stack=f'L__self__,,M;L__self__0,0"+str({HARM})+",M'
    ),
    "the name of a weight": lambda graph: graph["graph_module"]["signature"]["input_specs"][0][
        "parameter"
    ].update(parameter_name=f'w"), {HARM}, ("'),
    "a weight of every object": lambda graph: graph["graph_module"]["signature"]["input_specs"][0][
        "parameter"
    ].update(parameter_name="__class__.forward"),
    "a type that imports a module": imports(
        "collections.defaultdict",
        {
            "default_factory_module": "harm",
            "default_factory_name": "x",
            "dict_context": ["a"],
        },
    ),
    "a key that imports a module": imports(
        "builtins.dict", [{"__enum__": True, "fqn": "harm:x", "name": "x"}]
    ),
    "a size that is code": lambda graph: graph["graph_module"]["graph"]["sym_int_values"].update(
        size={"as_expr": {"expr_str": IMPORTED, "hint": None}}
    ),
    "an object": lambda graph: node(graph)["inputs"].append(
        {"name": "x", "arg": {"as_custom_obj": {"name": "x", "class_fqn": "x"}}, "kind": 1}
    ),
    "an operator as a value": lambda graph: node(graph)["inputs"].append(
        {"name": "x", "arg": {"as_operator": "torch.load"}, "kind": 1}
    ),
    "a key that nobody knows": lambda graph: graph.update(on_load=HARM),
    "a text that is no size": lambda graph: graph["range_constraints"].update(
        s0={"min_val": HARM, "max_val": None}
    ),
}
PAYLOADS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a weight that is pickled": lambda config: config["config"]["0.0.weight"].update(
        use_pickle=True
    ),
    "an object in the place of a weight": lambda config: config["config"]["0.0.weight"].update(
        path_name="opaque_obj_0"
    ),
}


def assert_refused(project: Project, serial: Gate) -> None:
    """Make sure that the model is an error in one sentence, and that nothing of it ran."""
    (project.path / "harm.py").write_text(f"{HARM}\nx = dict\n")
    precious = project.path / "precious.bin"
    precious.write_bytes(b"precious" * 2)
    result = serial()
    text = sentences(result)
    assert not (project.path / "harmed").exists()
    assert precious.read_bytes() == b"precious" * 2
    assert result.ret == 1, text
    row = project.row()
    assert row["outcome"] == "error"
    assert any("net.pt2" in reason and "\n" not in reason for reason in row["reasons"])


def test_a_program_is_measured(program: Project, serial: Gate) -> None:
    serial.says(0)
    assert program.row()["outcome"] == "pass"


@pytest.mark.parametrize("what", CHANGES)
def test_a_graph_that_is_more_than_one_is_refused_and_not_run(
    program: Project, serial: Gate, what: str
) -> None:
    rewrite(program, CHANGES[what], MODEL)
    assert_refused(program, serial)


@pytest.mark.parametrize("what", PAYLOADS)
def test_weights_that_are_more_than_numbers_are_refused(
    program: Project, serial: Gate, what: str
) -> None:
    rewrite(program, PAYLOADS[what], CONFIG)
    assert_refused(program, serial)


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/model.so",
        "data/sample_inputs/model.pt",
        "data/weights/model.pt",
        "models/MODEL.json",
        "models/model.json",
        "own.py",
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_members_that_are_more_than_numbers_are_refused(
    program: Project, serial: Gate, name: str
) -> None:
    """A name that stands twice is another member for another reader of archives."""
    contents = members(program)
    if name == "data/sample_inputs/model.pt":
        contents.pop(f"net/{name}")
    store(program, contents, (f"net/{name}", pickle.dumps(Harmful())))
    assert_refused(program, serial)


@pytest.mark.parametrize("is_flat", [False, True])
def test_guards_are_not_run(program: Project, serial: Gate, is_flat: bool) -> None:
    """What a network asserts about its input is Python in the file; the program has none."""
    code = f"{HARM} or True"

    def change(graph: dict[str, Any]) -> None:
        graph["guards_code"] = [IMPORTED, f"L['input'].size()[1] == 3 or {code}"]
        if is_flat:  # a module that no node belongs to, so that it cannot be taken apart
            for one in graph["graph_module"]["graph"]["nodes"]:
                one["metadata"].pop("nn_module_stack", None)

    rewrite(program, change, MODEL)
    serial.says(0)
    assert not (program.path / "harmed").exists()
    assert program.row()["outcome"] == "pass"
