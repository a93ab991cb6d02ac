"""A network in evaluation mode, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.loaded_network import LoadedNetwork, pool
from pytest_visualbias.models.torch_encoder import TorchEncoder, _precisions, choose_device
from pytest_visualbias.spec.effective_settings import parse_layer_point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.torch

IMAGES = list(np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32))


def encoder_of(module: torch.nn.Module, **keys: Any) -> TorchEncoder:  # noqa: ANN401 - of Network
    network = LoadedNetwork(
        module=module,
        pooled=keys.pop("pooled", module.__call__),
        prepare=np.asarray,
        preprocessing={"size": [8, 8]},
        notes={"architecture": "mine"},
        **keys,
    )
    return TorchEncoder(network, device="cpu")


def encode(encoder: TorchEncoder, *layers: str, images: Sequence[Any] = IMAGES) -> Any:  # noqa: ANN401
    points = [parse_layer_point(layer, layer) for layer in layers or ("pooled",)]
    found = encoder.encode(list(images), points)
    return found if len(layers) > 1 else found[points[0].name]


class Noisy(torch.nn.Module):
    """Dropout and batch statistics: random and batch-dependent unless evaluated."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.norm = torch.nn.BatchNorm2d(5)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop(self.norm(self.conv(x))).mean((2, 3))
        return out


class TestEvaluation:
    def test_a_network_in_training_is_taken_out_of_it(self) -> None:
        module = Noisy().train()
        encoder = encoder_of(module)
        assert not any(part.training for part in module.modules())
        np.testing.assert_array_equal(encode(encoder), encode(encoder))
        alone = np.concatenate([encode(encoder, images=[image]) for image in IMAGES])
        np.testing.assert_allclose(alone, encode(encoder), atol=1e-6)

    def test_evaluation_does_not_change_the_network(self) -> None:
        module = Noisy()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        encode(encoder_of(module))
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    def test_a_network_put_back_into_training_is_refused(self) -> None:
        module = Noisy()
        encoder = encoder_of(module)
        module.train()
        with pytest.raises(EncoderError, match="evaluation mode"):
            encode(encoder)

    @pytest.mark.parametrize("part", ["drop", "norm"])
    def test_so_is_one_part_of_it(self, part: str) -> None:
        module = Noisy()
        encoder = encoder_of(module)
        module.get_submodule(part).train()
        with pytest.raises(EncoderError, match="evaluation mode"):
            encode(encoder)

    def test_a_network_that_trains_in_its_own_forward_is_refused_at_once(self) -> None:
        class Stubborn(Noisy):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.drop.train()  # as for Monte Carlo dropout
                return super().forward(x)

        encoder = encoder_of(Stubborn())
        with pytest.raises(EncoderError, match="evaluation mode"):
            encode(encoder)

    def test_no_gradients_are_kept(self) -> None:
        module = Noisy()
        encoder_of(module)
        assert not any(parameter.requires_grad for parameter in module.parameters())


class Shapes(torch.nn.Module):
    """Outputs of every kind that a layer of somebody's network may have."""

    def __init__(self) -> None:
        super().__init__()
        self.tuple_ = _Give(lambda x: (x, x))
        self.windows = _Give(lambda x: x.flatten(1).reshape(-1, 4, 12))
        self.scalar = _Give(lambda x: x.sum())
        self.flat = _Give(lambda x: x.flatten(1))
        self.twice = torch.nn.Identity()
        self.unused = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.tuple_(x)
        self.windows(x)
        self.scalar(x)
        self.twice(self.twice(x))
        out: torch.Tensor = self.flat(x)
        return out


class _Give(torch.nn.Module):
    def __init__(self, make: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.make = make

    def forward(self, x: torch.Tensor) -> Any:  # noqa: ANN401
        return self.make(x)


class TestLayers:
    @pytest.mark.parametrize(
        ("layer", "word"),
        [
            ("tuple_", "tuple"),
            ("windows", "16 vectors for 4 images"),
            ("scalar", r"\(n, dim\)"),
            ("twice", "more than once"),
            ("unused", "no part"),
            ("flta", "'flat'"),
        ],
    )
    def test_one_that_gives_no_vector_per_image_is_an_error(self, layer: str, word: str) -> None:
        with pytest.raises(EncoderError, match=f"'{layer}'.*{word}"):
            encode(encoder_of(Shapes()), layer)

    def test_vectors_are_taken_as_they_are(self) -> None:
        found = encode(encoder_of(Shapes()), "flat")
        np.testing.assert_array_equal(found, np.stack(IMAGES).reshape(4, -1))

    @pytest.mark.parametrize(
        ("output", "shown"), [(lambda x: x, r"\(4, 3, 8, 8\)"), (lambda x: (x,), "tuple")]
    )
    def test_a_network_whose_own_output_is_no_vector_is_an_error(
        self,
        output: Callable[[Any], Any],
        shown: str,
    ) -> None:
        with pytest.raises(EncoderError, match=f"layer 'pooled' gives {shown} where"):
            encode(encoder_of(_Give(output)))

    def test_of_the_same_module_may_be_pooled_in_several_ways(self) -> None:
        found = encode(encoder_of(Noisy()), "conv", "conv:max", "conv:flatten")
        maps = found["conv:flatten"].reshape(4, 5, -1)
        np.testing.assert_allclose(found["conv"], maps.mean(2), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["conv:max"], maps.max(2))


class TestWeights:
    def test_the_digest_follows_every_weight_and_buffer(self) -> None:
        digests = [encoder_of(Noisy()).weights]
        for name in Noisy().state_dict():
            module = Noisy()
            module.state_dict()[name].add_(1)
            digests.append(encoder_of(module).weights)
        assert len({*digests}) == len(digests)
        assert encoder_of(Noisy()).weights == digests[0]

    def test_the_digest_follows_names_types_and_shapes_and_not_the_order(self) -> None:
        def digest(**weights: torch.Tensor) -> str:
            module = torch.nn.Module()
            for name, value in weights.items():
                module.register_buffer(name, value)
            return encoder_of(module, pooled=str).weights

        one, zero = torch.ones(4), torch.zeros(4)
        assert digest(a=one, b=zero) == digest(b=zero, a=one)
        different = (
            digest(a=one, b=zero),
            digest(a=zero, b=one),
            digest(a=one, c=zero),
            digest(a=one.reshape(2, 2), b=zero),
            digest(a=one, b=zero.to(torch.int32)),
            digest(a=one.bfloat16(), b=zero),
        )
        assert len({*different}) == len(different)

    def test_a_network_without_weights_has_a_digest(self) -> None:
        assert len(encoder_of(torch.nn.Flatten()).weights) == 64


def test_the_description_says_what_a_report_needs() -> None:
    description = encoder_of(Noisy()).description
    assert description == {
        "parameters": 3 * 5 * 9 + 5 + 10,
        "device": "cpu",
        "architecture": "mine",
    }


class TestDevice:
    @pytest.mark.parametrize("device", ["cuda:99", "mps"])
    def test_one_that_is_not_here_is_an_error(
        self, device: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(EncoderError, match=f"'{device}'"):
            choose_device(device)

    def test_auto_takes_what_is_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert choose_device("auto").type == "cpu"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert choose_device("auto").type == "cuda"

    def test_workers_take_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Numbers are those of torch, which counts within CUDA_VISIBLE_DEVICES."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        for device in ("auto", "cuda"):
            chosen = [choose_device(device, worker).index for worker in range(4)]
            assert chosen == [0, 1, 0, 1]
        assert choose_device("cuda:1", worker=0).index == 1

    def test_a_process_keeps_to_its_share_of_the_processors(self) -> None:
        torch.set_num_threads(4)
        network = encoder_of(Noisy())._network
        TorchEncoder(network, device="cpu", threads=8)
        assert torch.get_num_threads() == 4, "a share is no reason to take more"
        TorchEncoder(network, device="cpu", threads=2)
        assert torch.get_num_threads() == 2


class Hungry(Noisy):
    """Bears a few images at a time only, as a small graphics processor does."""

    def __init__(self, bears: int, words: str = "CUDA out of memory. Tried to allocate") -> None:
        super().__init__()
        self.bears, self.words = bears, words
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        if len(x) > self.bears:
            raise torch.OutOfMemoryError(self.words)
        return super().forward(x)


ELEVEN = list(np.random.default_rng(1).normal(size=(11, 3, 8, 8)).astype(np.float32))


class TestMemory:
    def test_that_does_not_suffice_halves_the_batch_until_it_does(self) -> None:
        module = Hungry(3)
        encoder = encoder_of(module)
        found = encode(encoder, images=ELEVEN)
        assert module.batches == [4, 2, 2, 2, 2, 2, 2]
        np.testing.assert_allclose(found, encode(encoder_of(Noisy()), images=ELEVEN), atol=1e-6)

    def test_is_remembered(self) -> None:
        module = Hungry(3)
        encoder = encoder_of(module)
        encode(encoder, images=ELEVEN)
        module.batches.clear()
        encode(encoder, images=ELEVEN[:4])
        assert module.batches == [2, 2]

    @pytest.mark.parametrize(
        "words", ["CUDA out of memory", "MPS backend out of memory (MPS allocated: 1 GB)"]
    )
    def test_that_holds_no_image_is_an_error(self, words: str) -> None:
        with pytest.raises(EncoderError, match=r"memory of cpu .+ \(3, 8"):
            encode(encoder_of(Hungry(0, words)), images=ELEVEN)

    def test_is_not_blamed_for_other_errors(self) -> None:
        def fail(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        with pytest.raises(RuntimeError, match="mat1"):
            encode(encoder_of(_Give(fail)))


class TestExactness:
    def test_float32_is_computed_as_float32_whatever_the_user_allowed(self) -> None:
        """Every switch that torch has, and each is left as it was set."""
        cudnn = torch.backends.cudnn
        switches = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
        switches += [(place, name, value) for place, name, value in _precisions()]
        loose = {"benchmark": True, "deterministic": False, "fp32_precision": "tf32"}
        loose["allow_tf32"] = True
        before = [getattr(place, name) for place, name, _ in switches]
        seen = []

        def note(x: torch.Tensor) -> torch.Tensor:
            seen.append([getattr(place, name) for place, name, _ in switches])
            return x.flatten(1)

        try:
            for place, name, _ in switches:
                setattr(place, name, loose[name])
            encode(encoder_of(_Give(note)))
            assert seen == [[value for _, _, value in switches]]
            assert [getattr(place, name) for place, name, _ in switches] == [
                loose[name] for _, name, _ in switches
            ]
        finally:
            for (place, name, _), value in zip(switches, before, strict=True):
                setattr(place, name, value)

    @pytest.mark.parametrize("count", [1, 3, 4, 5, 11])
    def test_every_pass_on_the_processor_is_of_one_shape(self, count: int) -> None:
        """The last one is filled up, of which nothing is left in the vectors."""
        module = Hungry(4)
        found = encode(encoder_of(module), images=ELEVEN[:count])
        assert {*module.batches} == {4}
        assert len(module.batches) == -(-count // 4)
        assert len(found) == count
        np.testing.assert_array_equal(found, encode(encoder_of(Noisy()), images=ELEVEN)[:count])

    @pytest.mark.parametrize("layer", ["pooled", "conv", "conv:max", "conv:flatten"])
    def test_the_batch_does_not_matter_beyond_rounding(self, layer: str) -> None:
        """Cosines within 1e-6 whatever the number of images in a pass."""
        images = ELEVEN
        encoder = encoder_of(Noisy())
        whole = encode(encoder, layer, images=images)
        for size in (1, 2, 5):
            parts = [images[i : i + size] for i in range(0, len(images), size)]
            found = np.concatenate([encode(encoder, layer, images=part) for part in parts])
            lengths = np.linalg.norm(whole, axis=1) * np.linalg.norm(found, axis=1)
            np.testing.assert_allclose((whole * found).sum(axis=1) / lengths, 1, atol=1e-6)

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_a_lower_precision_is_near(self, precision: str) -> None:
        network = encoder_of(Noisy())._network
        low = TorchEncoder(network, device="cpu", precision=precision)
        found, exact = encode(low), encode(encoder_of(Noisy()))
        assert found.dtype == np.float32
        assert not np.array_equal(found, exact)
        np.testing.assert_allclose(found, exact, atol=0.02)


class TestInnerMaps:
    """A module inside a network may have its channels last where the network has them first."""

    @pytest.mark.parametrize("pooling", ["mean", "max"])
    @pytest.mark.parametrize("declared", [True, False])
    def test_height_and_width_are_the_sides_that_are_equal(
        self, pooling: str, *, declared: bool
    ) -> None:
        maps = torch.rand(2, 6, 5, 5)
        point = parse_layer_point("x", f"x:{pooling}")
        expected = maps.mean((2, 3)) if pooling == "mean" else maps.amax((2, 3))
        for given in (maps, maps.permute(0, 2, 3, 1)):
            found = pool(given, point, channels_last=declared, prefix_tokens=0)
            torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("shape", [(2, 5, 5, 5), (2, 6, 4, 5)])
    def test_where_that_says_nothing_the_network_does(self, shape: tuple[int, ...]) -> None:
        maps, point = torch.rand(shape), parse_layer_point("x", "x")
        first = pool(maps, point, channels_last=False, prefix_tokens=0)
        torch.testing.assert_close(first, maps.mean((2, 3)))
        last = pool(maps, point, channels_last=True, prefix_tokens=0)
        torch.testing.assert_close(last, maps.mean((1, 2)))

    def test_of_a_convnext_and_a_swin_have_their_channels(self) -> None:
        """As real networks mix them; only the sizes of the vectors are looked at."""
        convnext = encoder_of(timm.create_model("test_convnext", pretrained=False))
        images = [np.zeros((3, 160, 160), dtype=np.float32)] * 2
        found = encode(convnext, "stages.1", "stages.1.blocks.0.mlp", images=images)
        sizes = {name: rows.shape[1] for name, rows in found.items()}
        assert sizes["stages.1"] == sizes["stages.1.blocks.0.mlp"]

    def test_tokens_without_a_class_token_are_all_patches(self) -> None:
        """What goes into a vision transformer has none yet, whatever comes out of it."""
        patches = torch.rand(2, 16, 7)
        tokens = torch.cat([torch.full((2, 1, 7), 9.0), patches], dim=1)
        point = parse_layer_point("x", "x")
        for given in (patches, tokens):
            found = pool(given, point, channels_last=False, prefix_tokens=1)
            torch.testing.assert_close(found, patches.mean(1))
        assert (
            pool(tokens, parse_layer_point("x", "x:cls"), channels_last=False, prefix_tokens=1)[
                0, 0
            ]
            == 9
        )
        with pytest.raises(EncoderError, match="class token"):
            pool(patches, parse_layer_point("x", "x:cls"), channels_last=False, prefix_tokens=1)


def test_extra_state_of_a_module_is_part_of_the_digest() -> None:
    class Extra(torch.nn.Module):
        def __init__(self, said: str) -> None:
            super().__init__()
            self.said = said

        def get_extra_state(self) -> dict[str, str]:
            return {"said": self.said}

    digests = {encoder_of(Extra(said), pooled=str).weights for said in ("one", "other", "one")}
    assert len(digests) == 2


def test_a_buffer_that_is_not_saved_is_part_of_the_digest() -> None:
    def digest(value: float) -> str:
        module = torch.nn.Module()
        module.register_buffer("hidden", torch.tensor([value]), persistent=False)
        return encoder_of(module, pooled=str).weights

    assert digest(1.0) == digest(1.0) != digest(2.0)
