"""Whatever a network's own `load_state_dict` accepts is loaded, and nothing is changed in silence.

The right value is always that of the plain network, loaded by torch, timm or torchvision.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import MismatchError, read_checkpoint
from pytest_visualbias.models.load_weights import FitResult, WeightSelection, fit_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.torch


def fitted(network: nn.Module, path: Path, **keys: Any) -> FitResult:  # noqa: ANN401
    return fit_weights(network, read_checkpoint(path), WeightSelection(path=path, **keys))


def drawn(make: Callable[[], nn.Module], seed: int = 1) -> nn.Module:
    """Return a network with weights, statistics and all, of its own."""
    torch.manual_seed(seed)
    model = make()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and "running" in name:
            value.uniform_(0.5, 1.5)
    return model.eval()


def same(first: nn.Module, second: nn.Module, size: int = 32) -> bool:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.equal(first.eval()(images), second.eval()(images))


class Features(nn.Module):
    """A small network whose layers are called as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.layer2 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer2(self.stem(images)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class TestVersions:
    """Modules that read the version of what was saved are told it."""

    @pytest.mark.parametrize("prefix", ["", "module.", "model."])
    @pytest.mark.parametrize("name", ["mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"])
    def test_every_mnasnet_is_loaded(self, name: str, prefix: str, tmp_path: Path) -> None:
        def make() -> Any:  # noqa: ANN401
            return torchvision.models.get_model(name, num_classes=2)

        model = drawn(make)
        wrapped = nn.Module()
        wrapped.add_module(prefix.rstrip("."), model) if prefix else None
        saved = wrapped if prefix else model
        torch.save({"state_dict": saved.state_dict()}, tmp_path / "c.pt")
        network = make()
        assert fitted(network, tmp_path / "c.pt").prefix == prefix
        assert same(network, model, size=64)

    @pytest.mark.filterwarnings("ignore:A new version of MNASNet")
    def test_the_first_mnasnet_is_migrated(self, tmp_path: Path) -> None:
        """Its stem had other widths; torchvision builds it again for such weights."""

        def make() -> Any:  # noqa: ANN401
            return torchvision.models.mnasnet0_5(num_classes=2)

        old = make()
        first = old.layers
        first[0], first[1] = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        first[3], first[4] = nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.BatchNorm2d(32)
        first[6], first[7] = nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16)
        first[8] = torchvision.models.mnasnet._stack(
            16, first[8][-1].layers[6].out_channels, 3, 2, 3, 3, 0.1
        )
        state = old.state_dict()
        state._metadata[""]["version"] = 1
        plain = make()
        plain.load_state_dict(state)
        torch.save(state, tmp_path / "c.pt")
        network = make()
        fitted(network, tmp_path / "c.pt")
        assert same(network, plain, size=64)

    def test_old_names_of_torchvisions_transformers_are_migrated(self, tmp_path: Path) -> None:
        def make() -> Any:  # noqa: ANN401
            return torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=2)

        model = drawn(make)
        state = OrderedDict(
            (name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."), value)
            for name, value in model.state_dict().items()
        )
        torch.save({"model": state}, tmp_path / "c.pt")
        network = make()
        fitted(network, tmp_path / "c.pt")
        assert same(network, model)

    def test_of_two_places_with_old_names_nobody_guesses(self, tmp_path: Path) -> None:
        def make() -> Any:  # noqa: ANN401
            return torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=2)

        states = [
            {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value}
            for seed in (1, 2)
            for name, value in drawn(make, seed).state_dict().items()
        ]
        half = len(states) // 2
        joined = [
            {k: v for s in part for k, v in s.items()} for part in (states[:half], states[half:])
        ]
        torch.save({"model": joined[0], "model_ema": joined[1]}, tmp_path / "c.pt")
        with pytest.raises(EncoderError, match="'container: model' or 'container: model_ema'"):
            fitted(make(), tmp_path / "c.pt")

    def test_weights_without_a_version_that_the_network_needs_are_refused(
        self, tmp_path: Path
    ) -> None:
        model = torchvision.models.mnasnet0_5(num_classes=2)
        safetensors.torch.save_file(model.state_dict(), tmp_path / "c.safetensors")
        with pytest.raises(EncoderError, match="version"):
            fitted(model, tmp_path / "c.safetensors")


def wrapped_layer(model: Features) -> nn.Module:
    model.layer2 = torch.compile(model.layer2)  # type: ignore[assignment]
    return model


def wrapped_twice(model: Features) -> nn.Module:
    return nn.DataParallel(wrapped_layer(model))


def checkpointed(model: Features) -> nn.Module:
    from torch.distributed.algorithms._checkpoint import checkpoint_wrapper

    model.layer2 = checkpoint_wrapper.checkpoint_wrapper(model.layer2)  # type: ignore[assignment]
    return model


class Sharded(nn.Module):
    """A module as FSDP holds it, for its names alone."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


def sharded(model: Features) -> nn.Module:
    model.layer2 = Sharded(model.layer2)  # type: ignore[assignment]
    return Sharded(model)


class TestWrappers:
    @pytest.mark.parametrize("wrap", [wrapped_layer, wrapped_twice, checkpointed, sharded])
    def test_of_single_layers_do_not_matter(
        self, wrap: Callable[[Features], nn.Module], tmp_path: Path
    ) -> None:
        plain = drawn(Features)
        around = wrap(drawn(Features))  # type: ignore[arg-type]
        names = around.state_dict()
        inner = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
        if wrap is not checkpointed:  # which hides its own name when it is saved
            assert any(inner & set(name.split(".")[1:]) for name in names)
        torch.save({"state_dict": names, "epoch": 1}, tmp_path / "c.pt")
        network = Features()
        fitted(network, tmp_path / "c.pt")
        assert same(network, plain)

    def test_a_network_may_have_such_a_name_of_its_own(self, tmp_path: Path) -> None:
        class Around(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.module = Features()

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return self.module(images)  # type: ignore[no-any-return]

        for saved in (drawn(Around), wrapped_layer(drawn(Features))):  # type: ignore[arg-type]
            torch.save(saved.state_dict(), tmp_path / "c.pt")
            network = Around()
            fitted(network, tmp_path / "c.pt")
            assert same(network, drawn(Features))

    def test_a_layer_that_lacks_a_weight_is_still_refused(self, tmp_path: Path) -> None:
        state = wrapped_layer(drawn(Features)).state_dict()  # type: ignore[arg-type]
        del state["layer2._orig_mod.0.bias"]
        torch.save(state, tmp_path / "c.pt")
        with pytest.raises(EncoderError, match=r"layer2\.0\.bias"):
            fitted(Features(), tmp_path / "c.pt")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3)
        self.second = nn.Conv2d(3, 3, 3)
        self.second.weight = self.first.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images)).mean(dim=(2, 3))  # type: ignore[no-any-return]


class TestTied:
    def test_weights_saved_once_are_loaded(self, tmp_path: Path) -> None:
        model = drawn(Tied)
        safetensors.torch.save_model(model, str(tmp_path / "c.safetensors"))
        network = Tied()
        fitted(network, tmp_path / "c.safetensors")
        assert same(network, model)

    def test_one_weight_with_two_values_is_refused(self, tmp_path: Path) -> None:
        state = drawn(Tied).state_dict()
        torch.save(state | {"second.weight": state["first.weight"] + 1}, tmp_path / "c.pt")
        with pytest.raises(MismatchError, match=r"first\.weight"):
            fitted(Tied(), tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore::FutureWarning")
class TestParametrized:
    """Normalised weights are read as they were saved before torch had parametrizations."""

    @pytest.mark.parametrize("has_bias", [True, False])
    def test_weight_norm(self, has_bias: bool, tmp_path: Path) -> None:
        def make(norm: Callable[..., Any]) -> Any:  # noqa: ANN401
            torch.manual_seed(3)
            conv = norm(nn.Conv2d(3, 4, 3, bias=has_bias))
            return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())

        old = make(nn.utils.weight_norm)
        with torch.no_grad():
            old[0].weight_g.mul_(2)
        assert "0.weight_g" in old.state_dict()
        torch.save({"model": old.state_dict()}, tmp_path / "c.pt")
        network = make(parametrizations.weight_norm)
        with torch.no_grad():
            network[0].parametrizations.weight.original0.zero_()
        fitted(network, tmp_path / "c.pt")
        assert same(network, old)

    def test_spectral_norm(self, tmp_path: Path) -> None:
        def make() -> Any:  # noqa: ANN401
            conv = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))
            return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())

        old = drawn(make)
        torch.save(old.state_dict(), tmp_path / "c.pt")
        network = make()
        fitted(network, tmp_path / "c.pt")
        assert same(network, old)


class TestComputed:
    """Swin saved tables before timm 0.9 that it computes by itself, and named a layer otherwise."""

    def make(self) -> nn.Module:
        torch.manual_seed(4)
        return timm.models.swin_transformer.SwinTransformer(
            *(32, 2), num_classes=2, window_size=4, embed_dim=8, depths=(2, 1), num_heads=(1, 1)
        )

    def tables(self, model: nn.Module) -> dict[str, torch.Tensor]:
        found = {
            name: value.clone()
            for name, value in model.named_buffers()
            if name not in model.state_dict() and value is not None
        }
        assert {name.rpartition(".")[2] for name in found} == {
            "attn_mask",
            "relative_position_index",
        }
        return found

    def test_tables_with_the_same_values_are_left_out(self, tmp_path: Path) -> None:
        model = drawn(self.make)
        torch.save({"model": {**model.state_dict(), **self.tables(model)}}, tmp_path / "c.pt")
        network = self.make()
        fitted(network, tmp_path / "c.pt")
        assert same(network, model)

    def test_tables_with_other_values_are_refused(self, tmp_path: Path) -> None:
        model = drawn(self.make)
        tables = {name: value + 1 for name, value in self.tables(model).items()}
        torch.save({**model.state_dict(), **tables}, tmp_path / "c.pt")
        with pytest.raises(EncoderError, match="relative_position_index"):
            fitted(self.make(), tmp_path / "c.pt")


class TestValues:
    """Integers and eight-bit numbers are no weights, whatever holds them."""

    @pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "float8_e4m3fn", "float8_e5m2"])
    @pytest.mark.parametrize("name", ["fc.weight", "layer2.0.bias", "layer2.1.running_var"])
    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    def test_of_another_kind_are_refused(
        self, kind: str, name: str, suffix: str, tmp_path: Path
    ) -> None:
        state = drawn(Features).state_dict()
        state[name] = state[name].mul(3).to(getattr(torch, kind))
        save = torch.save if suffix == ".pt" else safetensors.torch.save_file
        save(dict(state), tmp_path / f"c{suffix}")
        with pytest.raises(MismatchError, match=rf"{name} \({kind}\)"):
            fitted(Features(), tmp_path / f"c{suffix}")

    @pytest.mark.filterwarnings("ignore")
    def test_of_torchs_quantised_tensors_are_refused(self, tmp_path: Path) -> None:
        state = drawn(Features).state_dict()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state["fc.weight"] = torch.quantize_per_tensor(state["fc.weight"], 0.1, 0, torch.qint8)
        torch.save(state, tmp_path / "c.pt")
        with pytest.raises(EncoderError):
            fitted(Features(), tmp_path / "c.pt")

    def test_complex_numbers_are_refused(self, tmp_path: Path) -> None:
        state = drawn(Features).state_dict()
        state["fc.bias"] = state["fc.bias"].to(torch.complex64)
        torch.save(state, tmp_path / "c.pt")
        with pytest.raises(MismatchError, match="complex64"):
            fitted(Features(), tmp_path / "c.pt")

    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_floating_numbers_are_loaded(self, kind: torch.dtype, tmp_path: Path) -> None:
        state = {name: value.to(kind) for name, value in drawn(Features).state_dict().items()}
        plain = Features()
        plain.load_state_dict(state)
        torch.save(state, tmp_path / "c.pt")
        network = Features()
        fitted(network, tmp_path / "c.pt")
        assert same(network, plain)


CAUSES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], str]] = {
    "classes": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 10)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)),
        r"10 classes, the network's 2",
    ),
    "image size": (
        lambda: timm.create_model("test_vit", img_size=64),
        lambda: timm.create_model("test_vit", img_size=96),
        r"another image size: pos_embed \(1x17x64 .+img_size",
    ),
    "image size, torchvision": (
        lambda: torchvision.models.VisionTransformer(64, 16, 1, 2, 8, 16),
        lambda: torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16),
        r"another image size: encoder\.pos_embedding",
    ),
    "depth": (
        lambda: timm.create_model("test_vit", depth=4),
        lambda: timm.create_model("test_vit", depth=2),
        r"does not have: blocks\.2\.\S+, .+ and \d+ more;",
    ),
    "depth, the other way": (
        lambda: timm.create_model("test_vit", depth=2),
        lambda: timm.create_model("test_vit", depth=4),
        r"it lacks blocks\.2\.\S+, .+ and \d+ more;",
    ),
    "depth in the middle": (
        torchvision.models.resnet34,
        torchvision.models.resnet18,
        r"does not have: layer1\.2\.",
    ),
    "channels": (
        lambda: timm.create_model("test_resnet", in_chans=1),
        lambda: timm.create_model("test_resnet"),
        r"shapes differ: conv1.weight|shapes differ: .+1x3x3 in the checkpoint",
    ),
    "names": (
        lambda: nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(4, 5), "c": nn.Linear(9, 9)}),
        lambda: nn.ModuleDict({"a": nn.Linear(3, 4), "q": nn.Linear(4, 5)}),
        r"it lacks q\.weight, q\.bias and has b\.weight, b\.bias, c\.weight, c\.bias instead",
    ),
    "width": (
        lambda: timm.create_model("test_vit", embed_dim=96),
        lambda: timm.create_model("test_vit"),
        r"shapes differ: .+ and \d+ more; name the architecture",
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_said_with_at_most_five_names(cause: str, tmp_path: Path) -> None:
    trained, network, pattern = CAUSES[cause]
    torch.save(trained().state_dict(), tmp_path / "c.pt")
    with pytest.raises(MismatchError, match=pattern) as caught:
        fitted(network(), tmp_path / "c.pt")
    said = str(caught.value).replace(" in the checkpoint, ", "").partition("network")[2]
    assert said.count(", ") <= 5
    assert said.count(" more;") <= 1


@pytest.mark.parametrize("pattern", ["extra.", "*.extra", "layer2.*.extra", "extra"])
def test_ignore_takes_patterns(pattern: str, tmp_path: Path) -> None:
    state = drawn(Features).state_dict()
    name = "extra.weight" if pattern.startswith("extra") else "layer2.0.extra.weight"
    torch.save(state | {name: torch.ones(2)}, tmp_path / "c.pt")
    with pytest.raises(MismatchError, match=name):
        fitted(Features(), tmp_path / "c.pt")
    network = Features()
    assert fitted(network, tmp_path / "c.pt", ignore=(pattern,)).left_out == (name,)
    assert same(network, drawn(Features))


@pytest.fixture(autouse=True)
def no_compiling() -> Iterator[None]:
    yield
    torch._dynamo.reset()
