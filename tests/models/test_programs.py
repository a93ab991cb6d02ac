"""Compiled networks: TorchScript, torch.export and ONNX give what the network itself gives."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.embeddings.extraction import check_network
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import ProgramModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

pytestmark = pytest.mark.torch

SUFFIXES = {"torchscript": "ts", "export": "pt2", "onnx": "onnx"}
FREE = ({0: torch.export.Dim("n", min=1, max=64)},)


class Net(torch.nn.Module):
    """A small network with all that evaluation mode changes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4, 3)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(images)
        return found.mean((2, 3))

    def forward(self, images: torch.Tensor) -> Any:  # noqa: ANN401
        return self.head(self.drop(self.features(images)))


class Several(Net):
    """The same, which also gives its features and its last map."""

    def forward(self, images: torch.Tensor) -> Any:  # noqa: ANN401
        found = self.features(images)
        return self.body(images), found, self.head(found)


def compiled(
    path: Path,
    network: torch.nn.Module,
    *,
    count: int = 2,
    free: bool = True,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Save a network in the format that the suffix names."""
    batch = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    shapes = FREE if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".ts":
            torch.jit.save(torch.jit.trace(network, batch, check_trace=False), path)
        elif path.suffix == ".pt2":
            torch.export.save(torch.export.export(network, (batch,), dynamic_shapes=shapes), path)
        else:
            pytest.importorskip("onnxruntime", reason="an extra")
            pytest.importorskip("onnxscript", reason="of torch's exporter")
            names = ["map", "pooled", "logits"] if isinstance(network, Several) else None
            torch.onnx.export(
                network,
                (batch,),
                path,
                dynamo=True,
                dynamic_shapes=shapes,
                output_names=names,
                verbose=False,
            )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every program that a test wants, compiled once."""
    folder = tmp_path_factory.mktemp("programs")
    net, several = Net().eval(), Several().eval()
    for suffix in SUFFIXES.values():
        if suffix == "onnx":
            pytest.importorskip("onnxruntime", reason="an extra")
        compiled(folder / f"net.{suffix}", net)
        compiled(folder / f"several.{suffix}", several)
        if suffix != "ts":
            compiled(folder / f"one.{suffix}", net, count=1, free=False)
        if suffix != "onnx":
            compiled(folder / f"training.{suffix}", Net().train(), free=False)
    return folder


def opened(context: Context, path: Path, **keys: Any) -> Encoder:  # noqa: ANN401
    source = next(name for name, suffix in SUFFIXES.items() if path.suffix == f".{suffix}")
    given = {"source": source, "path": str(path), "transform": {"size": 16}, **keys}
    entry = ProgramModel.model_validate(given)
    found = find_source(source)
    return found.open(entry, found.identify(entry, context)[0], context)


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def batch_of(encoder: Encoder, images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([encoder.prepare(image) for image in images]))


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_program_gives_what_its_network_gives(
    context: Context, images: list[Image.Image], library: Path, suffix: str
) -> None:
    """Its one output is its logits; its features are what its last linear layer is given."""
    encoder = opened(context, library / f"net.{suffix}")
    found = read(encoder, images, "pooled", "logits", "probabilities", "output")
    net = Net().eval()
    with torch.inference_mode():
        features = net.features(batch_of(encoder, images))
        expected = net(batch_of(encoder, images))
    assert np.allclose(found["pooled"], features, atol=1e-6)
    assert np.allclose(found["logits"], expected, atol=1e-6)
    assert np.array_equal(found["output"], found["logits"])
    assert np.allclose(found["probabilities"], expected.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("suffix", ["pt2", "onnx"])
def test_a_program_for_one_image_at_a_time_is_given_them_one_by_one(
    context: Context, images: list[Image.Image], library: Path, suffix: str
) -> None:
    one = read(opened(context, library / f"one.{suffix}"), images, "pooled")["pooled"]
    several = read(opened(context, library / f"net.{suffix}"), images, "pooled")["pooled"]
    assert np.allclose(one, several, atol=1e-6)


@pytest.mark.parametrize("suffix", ["ts", "pt2"])
def test_of_several_outputs_the_spec_says_which_is_meant(
    context: Context, images: list[Image.Image], library: Path, suffix: str
) -> None:
    encoder = opened(context, library / f"several.{suffix}")
    assert encoder.layers()[:3] == ["output.0", "output.1", "output.2"]
    with pytest.raises(EncoderError, match=r"'pooled': the program has 3 outputs; .+layers: {poo"):
        read(encoder, images, "pooled")
    found = read(encoder, images, "output.0", "output.1", "output.2")
    with torch.inference_mode():
        batch = batch_of(encoder, images)
        _, features, logits = Several().eval()(batch)
    assert np.allclose(found["output.0"], features, atol=1e-6), "a map is pooled by its mean"
    assert np.allclose(found["output.1"], features, atol=1e-6)
    assert np.allclose(found["output.2"], logits, atol=1e-6)


def test_outputs_of_onnx_have_their_own_names(
    context: Context, images: list[Image.Image], library: Path
) -> None:
    encoder = opened(context, library / "several.onnx")
    assert encoder.layers()[:4] == ["pooled", "logits", "probabilities", "map"]
    found = read(encoder, images, "pooled", "logits", "probabilities", "map")
    with torch.inference_mode():
        _, features, logits = Several().eval()(batch_of(encoder, images))
    assert np.allclose(found["pooled"], features, atol=1e-6)
    assert np.allclose(found["map"], features, atol=1e-6)
    assert np.allclose(found["logits"], logits, atol=1e-6)
    assert np.allclose(found["probabilities"], logits.softmax(-1), atol=1e-6)


def test_modules_of_an_exported_program_can_be_read(
    context: Context, images: list[Image.Image], library: Path
) -> None:
    encoder = opened(context, library / "net.pt2")
    assert {"body", "body.0", "head"} <= {*encoder.layers()}
    found = read(encoder, images, "body", "body.0")
    net = Net().eval()
    with torch.inference_mode():
        batch = batch_of(encoder, images)
        expected = net.features(batch), net.body[0](batch).mean((2, 3))
    assert np.allclose(found["body"], expected[0], atol=1e-6)
    assert np.allclose(found["body.0"], expected[1], atol=1e-6)


@pytest.mark.parametrize("source", ["torchscript", "onnx"])
def test_modules_of_the_others_cannot(
    context: Context, images: list[Image.Image], library: Path, source: str
) -> None:
    encoder = opened(context, library / f"net.{SUFFIXES[source]}")
    with pytest.raises(EncoderError, match="'body'"):
        read(encoder, images, "body")


@pytest.mark.parametrize("suffix", ["ts", "pt2"])
def test_a_program_saved_while_training_is_refused(
    context: Context, library: Path, suffix: str
) -> None:
    """Dropout makes its vectors random, and batch normalization makes them of their company."""
    encoder = opened(context, library / f"training.{suffix}")
    with pytest.raises(EncoderError, match="another pass"):
        check_network(encoder, [parse_layer_point("logits", "logits")])


@pytest.mark.parametrize("count", [2, 5])
def test_batch_normalization_left_in_training_mode_is_refused(
    context: Context, tmp_path: Path, count: int
) -> None:
    """Without dropout such a program is the same in every pass of the same images."""
    net = Net().train()
    net.drop.eval()
    path = tmp_path / "batch.pt2"
    compiled(path, net, count=count, free=False)
    encoder = opened(context, path)
    with pytest.raises(EncoderError, match="other images"):
        check_network(encoder, [parse_layer_point("pooled", "pooled")])


@pytest.mark.parametrize("suffix", ["ts", "onnx"])
def test_so_it_is_where_the_batch_is_free(context: Context, tmp_path: Path, suffix: str) -> None:
    net = Net().train()
    net.drop.eval()
    path = tmp_path / f"batch.{suffix}"
    if suffix == "ts":
        compiled(path, net)
    else:
        pytest.importorskip("onnxruntime", reason="an extra")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                *(net, (torch.rand(2, 3, 16, 16),), path),
                dynamo=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=["images"],
                dynamic_axes={"images": {0: "n"}},
            )
    encoder = opened(context, path)
    with pytest.raises(EncoderError, match="other images"):
        check_network(encoder, [parse_layer_point("pooled", "pooled")])


def test_a_program_whose_int8_is_scaled_by_the_pass_is_measured(
    context: Context, images: list[Image.Image], tmp_path: Path
) -> None:
    """Dynamic quantisation moves a vector a little by its company, which is no training mode."""
    net = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
    compiled(tmp_path / "small.ts", small)
    found = read(opened(context, tmp_path / "small.ts"), images, "logits")["logits"]
    with torch.inference_mode():
        expected = net(batch_of(opened(context, tmp_path / "small.ts"), images)).numpy()
    assert not np.array_equal(found, expected)
    assert np.allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("suffix", SUFFIXES.values())
@pytest.mark.parametrize("damage", ["foreign", "cut", "of another kind"])
def test_a_wrong_file_is_one_sentence(
    context: Context, library: Path, tmp_path: Path, suffix: str, damage: str
) -> None:
    path = tmp_path / f"wrong.{suffix}"
    if damage == "foreign":
        path.write_text("no program at all")
    elif damage == "cut":
        content = (library / f"net.{suffix}").read_bytes()
        path.write_bytes(content[: len(content) // 2])
    else:
        torch.save(Net().state_dict(), path)
    with pytest.raises(
        EncoderError, match=r"wrong\.\w+ (is no|holds) .+; (copy or|export)"
    ) as caught:
        opened(context, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_images_of_another_size_are_refused(context: Context, library: Path, suffix: str) -> None:
    """Where the size is free, as in a trace of this network, any size is right."""
    transform = {"transform": {"size": 24}}
    if suffix == "ts":
        assert opened(context, library / "net.ts", **transform).preprocessing["input_size"][1] == 24
        return
    with pytest.raises(EncoderError, match=r"3x16x16.+3x24x24"):
        opened(context, library / f"net.{suffix}", **transform)


@pytest.mark.parametrize("suffix", ["ts", "pt2"])
def test_a_program_in_fewer_bits_is_given_images_in_them(
    context: Context, images: list[Image.Image], tmp_path: Path, suffix: str
) -> None:
    half = Net().eval().to(torch.bfloat16)
    path = tmp_path / f"half.{suffix}"
    compiled(path, half, dtype=torch.bfloat16)
    encoder = opened(context, path)
    found = read(encoder, images, "logits")["logits"]
    with torch.inference_mode():
        expected = half(batch_of(encoder, images).to(torch.bfloat16)).float()
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_program_has_its_own_precision(context: Context, library: Path, suffix: str) -> None:
    half = dataclasses.replace(context, precision="bf16")
    with pytest.raises(EncoderError, match="bf16"):
        opened(half, library / f"net.{suffix}")


def test_weights_beside_an_onnx_file_are_a_part_of_its_identity(
    context: Context, tmp_path: Path
) -> None:
    compiled(tmp_path / "net.onnx", Net().eval())
    beside = tmp_path / "net.onnx.data"
    assert beside.is_file(), "torch keeps weights beside the graph"
    entry = ProgramModel.model_validate(
        {"source": "onnx", "path": str(tmp_path / "net.onnx"), "transform": {"size": 16}}
    )
    (before,) = find_source("onnx").identify(entry, context)
    content = bytearray(beside.read_bytes())
    content[0] ^= 1
    beside.write_bytes(content)
    (after,) = find_source("onnx").identify(entry, context)
    assert before.fingerprint() != after.fingerprint()


def test_a_device_that_onnxruntime_lacks_is_told(context: Context, library: Path) -> None:
    with pytest.raises(EncoderError, match="onnxruntime has no 'mps' here"):
        opened(dataclasses.replace(context, device="mps"), library / "net.onnx")


class _Harm:
    """Makes a file when it is unpickled by anybody who allows that."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


class Named(torch.nn.Module):
    """A network whose convolution has this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, torch.nn.Conv2d(3, 4, 3))
        self.name = name

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = getattr(self, self.name)(batch).mean((2, 3))
        return vectors


@pytest.mark.parametrize(
    ("name", "is_loaded"),
    [("block1-0", True), ("a b", False), ('a"b', False), ("a'b", False), ("a\\b", False)],
)
def test_a_module_may_have_a_hyphen_in_its_name_and_nothing_that_ends_a_string(
    context: Context, tmp_path: Path, name: str, is_loaded: bool
) -> None:
    path = tmp_path / "named.pt2"
    batch = torch.zeros(2, 3, 16, 16)
    torch.export.save(torch.export.export(Named(name).eval(), (batch,)), path)
    with contextlib.nullcontext() if is_loaded else pytest.raises(EncoderError, match="the key"):
        opened(context, path)


def test_a_pickle_in_an_exported_program_is_not_run(
    context: Context, library: Path, tmp_path: Path
) -> None:
    """Torch itself reads its sample inputs with a pickle, safely first and then in any way."""
    harmed, spoilt = tmp_path / "harmed", tmp_path / "spoilt.pt2"
    content = io.BytesIO()
    torch.save(((_Harm(harmed),), {}), content)
    with zipfile.ZipFile(library / "net.pt2") as whole, zipfile.ZipFile(spoilt, "w") as stream:
        for name in whole.namelist():
            is_sample = "sample_inputs" in name
            stream.writestr(name, content.getvalue() if is_sample else whole.read(name))
    with pytest.raises(EncoderError, match=r"spoilt\.pt2"):
        opened(context, spoilt)
    assert not harmed.exists()


def test_a_program_that_cannot_be_taken_apart_is_measured_all_the_same(
    context: Context, images: list[Image.Image], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(opened(context, library / "net.pt2"), images, "pooled")["pooled"]

    def refuse(_: object) -> None:
        raise RuntimeError("modules that share nodes")

    monkeypatch.setattr("torch.export.unflatten", refuse)
    encoder = opened(context, library / "net.pt2")
    assert np.array_equal(read(encoder, images, "pooled")["pooled"], expected)
    assert encoder.layers() == ["pooled", "logits", "probabilities", "output"]
    with pytest.raises(EncoderError, match="'body'"):
        read(encoder, images, "body")
