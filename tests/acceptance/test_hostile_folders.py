"""Settings, metadata, tokenizers and ONNX files of others are data: nothing of them runs."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.numpy

from tests.plugin.conftest import one_test, sentences, vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.torch

SETS = "{x: x, y: y, a: a, b: b}"
TEXTS = '{x: x, y: y, a: {text: ["a photo", poet]}, b: {text: ["a poet of", scientist]}}'
FOLDER = "\n  after: {source: transformers, path: ../net}\n"
PROGRAM = "\n  after: {source: onnx, path: ../net.onnx, transform: {size: 8}}\n"
HARM = "open('harmed', 'w').close()"
CODE = f"__import__('builtins').{HARM}"
# What no report and no terminal shows as it is.
RAW = "\x1b[2J\x07\n::error::x\n##vso[task.complete]x\u202e<script>"
OWN = f"{HARM}\nclass Own:\n    pass\n"
WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "of", "photo", "poet", "scientist"]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A tiny CLIP with its processor and tokenizer; `weights` has loaded torch before."""
    import torch

    assert weights.is_dir()
    transformers = pytest.importorskip("transformers", reason="an extra")
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "intermediate_size": 32, "image_size": 16, "patch_size": 8}
    text = {**sizes, "intermediate_size": 32, "vocab_size": 9, "max_position_embeddings": 8}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(vision_config=vision, text_config={**text, **ends})
    folder = tmp_path_factory.mktemp("saved") / "net"
    transformers.CLIPModel(config).eval().save_pretrained(folder)
    square = {"height": 16, "width": 16}
    transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=square).save_pretrained(
        folder
    )
    _tokenizer(transformers).save_pretrained(folder)
    return folder


def _tokenizer(transformers: Any) -> Any:  # noqa: ANN401
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    ids = {word: index for index, word in enumerate(WORDS)}
    made = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    names = dict(zip(("pad", "bos", "eos", "unk"), WORDS, strict=False))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **{f"{key}_token": word for key, word in names.items()}
    )


@pytest.fixture
def folder(saved: Path, project: Project) -> Project:
    """A project that gates the folder by images and by texts, with code beside its weights."""
    shutil.copytree(saved, project.path / "net")
    (project.path / "net/own.py").write_text(OWN)
    project.drawn()
    project.spec(
        one_test("one", "{}"),
        head="stimuli: ../stimuli",
        models=FOLDER,
        concepts=TEXTS,
    )
    return project


def change(project: Project, name: str, settings: dict[str, Any]) -> None:
    """Change settings in a JSON file of the folder."""
    path = project.path / "net" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def judged(project: Project, serial: Gate) -> dict[str, Any]:
    """Run the gate; make sure that nothing ran, and that nothing is shown raw or as a traceback."""
    (project.path / "own.py").write_text(OWN)
    result = serial("-vv", "--visualbias-md=out.md", "--visualbias-html=out.html")
    text = sentences(result)
    assert not [*project.path.rglob("harmed")]
    row = project.row()
    assert result.ret == (1 if row["outcome"] == "error" else 0), text
    shown = text + (project.path / "out.md").read_text() + "".join(row["reasons"])
    assert not any(raw in shown for raw in ("\x1b[2J", "\x07", "\n::error", "##vso[", "\u202e"))
    assert "<script>x" not in (project.path / "out.html").read_text()
    return row


IDLE: dict[str, tuple[str, dict[str, Any]]] = {
    "code for a known kind": ("config.json", {"auto_map": {"AutoModel": "own.Own"}}),
    "code for a known processor": (
        "preprocessor_config.json",
        {"auto_map": {"AutoImageProcessor": "own.Own"}},
    ),
    "an unknown class of processors": (
        "preprocessor_config.json",
        {"processor_class": "own.Own", "feature_extractor_type": CODE},
    ),
    "code for a known tokenizer": (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}},
    ),
    "an unknown tokenizer with code": (
        "tokenizer_config.json",
        {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}},
    ),
    "a template that is code": (
        "tokenizer_config.json",
        {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}" + RAW},
    ),
    "names": ("config.json", {"_name_or_path": RAW, "finetuning_task": CODE, "own": RAW}),
}


@pytest.mark.parametrize("what", IDLE)
def test_settings_that_nothing_reads_change_nothing(
    folder: Project, serial: Gate, what: str
) -> None:
    effect = judged(folder, serial)["effect_size"]
    change(folder, *IDLE[what])
    found = judged(folder, serial)
    assert found["outcome"] in ("pass", "error")
    assert found["outcome"] == "error" or found["effect_size"] == pytest.approx(effect, abs=1e-6)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown kind with code": (
        "config.json",
        {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}},
    ),
    "an unknown kind": ("config.json", {"model_type": RAW}),
    "a kernel": ("config.json", {"attn_implementation": "org/kernel"}),
    "a kernel of a part": (
        "config.json",
        {"vision_config": {"_attn_implementation": "org/kernel@main:own"}},
    ),
    "sizes that are text": ("config.json", {"projection_dim": CODE}),
    "an unknown type of processors with code": (
        "preprocessor_config.json",
        {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}},
    ),
    "a size that is text": ("preprocessor_config.json", {"size": CODE}),
    "a size of nothing": ("preprocessor_config.json", {"size": {"shortest_edge": 0}}),
    "a filter that is text": ("preprocessor_config.json", {"resample": CODE}),
    "a filter that is none": ("preprocessor_config.json", {"resample": 99}),
    "means that are text": ("preprocessor_config.json", {"image_mean": [CODE, RAW, ""]}),
    "a scale that is text": ("preprocessor_config.json", {"rescale_factor": RAW}),
    "deviations of zero": ("preprocessor_config.json", {"image_std": [0, 0, 0]}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_mean_no_network_are_refused(
    folder: Project, serial: Gate, what: str
) -> None:
    change(folder, *REFUSED[what])
    assert judged(folder, serial)["outcome"] == "error"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"[]", b"\xff\xfe", b'{"a": ' * 5_000, CODE.encode()]
)
def test_settings_that_are_none_are_refused(
    folder: Project, serial: Gate, name: str, content: bytes
) -> None:
    (folder.path / "net" / name).write_bytes(content)
    assert judged(folder, serial)["outcome"] == "error"


def with_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Write other metadata into a file of safetensors."""
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(tensors, path, metadata=metadata)


def test_metadata_of_weights_are_not_read(folder: Project, serial: Gate) -> None:
    effect = judged(folder, serial)["effect_size"]
    keys = (RAW, "__reduce__", "__class__", "names", "config", "auto_map", "pickle")
    values = dict.fromkeys(keys, f"{CODE}{RAW}") | {"long": "x" * 1_000_000}
    with_metadata(folder.path / "net/model.safetensors", {"format": "pt", **values})
    assert judged(folder, serial)["effect_size"] == pytest.approx(effect, abs=1e-6)


@pytest.mark.parametrize(
    "names",
    [
        RAW,
        CODE,
        "[" * 100_000,
        json.dumps({"x": {"__reduce__": CODE}}),
        json.dumps({"x": [[CODE]] * 8}),
        json.dumps({"x": [RAW] * 8}),
        json.dumps([CODE]),
        json.dumps({"x": None}),
    ],
)
def test_names_of_vectors_that_are_none_are_refused(
    project: Project, serial: Gate, names: str
) -> None:
    project.pair()
    project.spec(one_test("one", "{}"))
    with_metadata(project.path / "after.safetensors", {"names": names})
    assert judged(project, serial)["outcome"] == "error"


def test_names_of_vectors_are_shown_as_text(project: Project, serial: Gate) -> None:
    project.pair()
    project.spec(one_test("one", "{}"))
    for file in ("before", "after"):
        names = {key: [f"{RAW}{row}" for row in range(8)] for key in vectors()}
        with_metadata(project.path / f"{file}.safetensors", {"names": json.dumps(names)})
    assert judged(project, serial)["outcome"] == "pass"


@pytest.mark.parametrize("length", [2**63, 2**40, 200_000_000, 10])
@pytest.mark.parametrize("name", ["after.safetensors", "net/model.safetensors"])
def test_a_header_that_is_no_header_is_refused(
    folder: Project, serial: Gate, name: str, length: int
) -> None:
    """Its length stands in eight bytes; no memory is taken for what is not there."""
    folder.store("after")
    path = folder.path / name
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    if name == "after.safetensors":
        folder.spec(
            one_test("one", "{}"),
            models="\n  after: {source: embeddings, path: ../after.safetensors}\n",
        )
    assert judged(folder, serial)["outcome"] == "error"


@pytest.fixture
def program(project: Project, weights: Path) -> Project:
    """A project that gates a small ONNX program, which `graph` writes."""
    assert weights.is_dir()
    project.drawn()
    project.spec(
        one_test("one", "{}"),
        head="stimuli: ../stimuli",
        models=PROGRAM,
        concepts=SETS,
    )
    return project


def graph(project: Project, edit: Callable[[Any], None] = lambda _model: None) -> None:
    """Write a program of a product with a matrix, as it is or changed."""
    import numpy as np
    import onnx
    from onnx import helper

    matrix = np.random.default_rng(0).normal(size=(192, 4)).astype(np.float32)
    kind = onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["out"]),
    ]
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", kind, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", kind, ["n", 4])],
        [onnx.numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    edit(model)
    onnx.save(model, project.path / "net.onnx")


def domain(domain: str, operator: str, /, **attributes: str) -> Callable[[Any], None]:
    """Let the product be computed by an operator of another domain."""

    def edit(model: Any) -> None:  # noqa: ANN401
        from onnx import helper

        model.opset_import.append(helper.make_opsetid(domain, 1))
        node = model.graph.node[1]
        node.domain, node.op_type = domain, operator
        node.attribute.extend(helper.make_attribute(*one) for one in attributes.items())

    return edit


def elsewhere(location: str) -> Callable[[Any], None]:
    """Let the matrix be read from another file."""

    def edit(model: Any) -> None:  # noqa: ANN401
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=location)

    return edit


def settings(model: Any) -> None:  # noqa: ANN401
    """State settings of a session in the metadata, a library of operators among them."""
    options = {"session_options": {"custom_ops_library": "own.so"}}
    model.metadata_props.add(key="ort_config", value=json.dumps(options))
    model.metadata_props.add(key=RAW, value=CODE)
    model.doc_string = model.graph.doc_string = RAW


ONNX: dict[str, Callable[[Any], None]] = {
    "an operator of an own domain": domain("own.domain", "Run", code=CODE),
    "an operator of an extension": domain("ai.onnx.contrib", "PyCustomOpDef", name=CODE),
    "an operator of torch": domain("org.pytorch.aten", "ATen", operator="from_file"),
    "an operator of Python": domain("com.microsoft", "PyOp", module="own", class_name="Own"),
    "a compiled part": domain("com.microsoft", "EPContext", ep_cache_context="own.so"),
    "an unknown operator": domain("", "Run"),
    "a name that is raw": domain(RAW, RAW),
    "weights above the folder": elsewhere("../secret.bin"),
    "weights anywhere": elsewhere("/proc/self/environ"),
    "weights that are a device": elsewhere("/dev/zero"),
    "weights that are a link": elsewhere("link.bin"),
}


def test_a_program_and_its_metadata_are_measured(program: Project, serial: Gate) -> None:
    graph(program)
    effect = judged(program, serial)["effect_size"]
    graph(program, settings)
    assert judged(program, serial)["effect_size"] == pytest.approx(effect, abs=1e-6)


@pytest.mark.parametrize("what", ONNX)
def test_a_program_that_reaches_out_of_onnx_is_refused(
    program: Project, serial: Gate, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.bin"
    for path in (secret, program.path.parent / "secret.bin"):
        path.write_bytes(bytes(192 * 4 * 4))
    (program.path / "link.bin").symlink_to(secret)
    graph(program, ONNX[what])
    assert judged(program, serial)["outcome"] == "error"
