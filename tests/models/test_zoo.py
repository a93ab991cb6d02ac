"""Checkpoints of the model zoos as they come: the same embeddings, or a sentence."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch
import torchvision

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.factory import open_factory
from pytest_visualbias.models.identity import identify_factory, identify_timm
from pytest_visualbias.models.load_weights import WeightSelection, fit_weights
from pytest_visualbias.models.timm import open_timm
from pytest_visualbias.spec.model_entries import FactoryModel, TimmModel
from pytest_visualbias.spec.schema import LayerPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from PIL import Image

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.models.torch_encoder import TorchEncoder

    Weights = dict[str, torch.Tensor]
    Opened = Callable[..., TorchEncoder]

pytestmark = pytest.mark.torch

POOLED = LayerPoint(name="pooled", module="pooled")
NAME = "test_resnet"
# The last weight of the network before its classifier.
LAST = "layer4.0.conv2.weight"


@pytest.fixture(scope="module")
def weights() -> Weights:
    """What a network of timm's learned, its classifier left aside."""
    return trained(timm.create_model(NAME, num_classes=0))


@pytest.fixture(scope="module")
def strangers() -> list[torch.nn.Module]:
    """A relation of that network, and one of another family."""
    return [timm.create_model(name, num_classes=0) for name in ("resnet10t", "test_vit")]


def trained(model: Any) -> Weights:  # noqa: ANN401 - timm's and torchvision's have no type
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(value.shape, generator=generator) * 0.2 + 0.01
        if value.is_floating_point()
        else torch.tensor(7)
        for name, value in model.state_dict().items()
    }


def behind(prefix: str, weights: Weights) -> Weights:
    return OrderedDict((prefix + name, value) for name, value in weights.items())


def other(weights: Weights) -> Weights:
    return {name: value * 0.5 for name, value in weights.items()}


def head(*names: str) -> Weights:
    return {f"{name}.{part}": torch.ones(2, 2) for name in names for part in ("weight", "bias")}


def arrays(weights: Weights) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in weights.items()}


def openmmlab_moco(w: Weights) -> dict[str, Any]:
    state = behind("backbone.", w) | behind("encoder_q.0.", w) | behind("encoder_k.0.", other(w))
    return {"state_dict": state | head("encoder_q.1.mlp.0") | {"queue": torch.ones(3)}}


def openmmlab_byol(w: Weights) -> dict[str, Any]:
    state = behind("backbone.", w) | behind("target_net.module.0.", other(w))
    return {"state_dict": state | head("neck.fc0", "head.predictor.fc0"), "meta": {"epoch": 3}}


def openmmlab_rotation(w: Weights) -> dict[str, Any]:
    state = behind("backbone.", w) | head("neck.fc", "head.fc_cls", "target_generator.conv")
    return {"state_dict": state | {"data_preprocessor.mean": torch.ones(3, 1, 1)}}


def vissl(w: Weights) -> dict[str, Any]:
    trunk = behind("_feature_blocks.", w)
    model = {"trunk": trunk, "heads": head("0.clf.0")}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}}
    state = {"base_model": {"model": model, "meta": {}}, "optimizer": optimizer}
    return {"classy_state_dict": state, "phase_idx": 3, "loss": {}}


def vissl_converted(w: Weights) -> dict[str, Any]:
    return {"model_state_dict": arrays(behind("_feature_blocks.", w) | head("fc"))}


def moco(w: Weights) -> dict[str, Any]:
    state = behind("module.encoder_q.", w | head("fc.0", "fc.2"))
    state |= behind("module.encoder_k.", other(w) | head("fc.0", "fc.2"))
    state |= {"module.queue": torch.ones(2, 3), "module.queue_ptr": torch.zeros(1)}
    return {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": {}}


def moco_v3(w: Weights) -> dict[str, Any]:
    state = behind("module.base_encoder.", w | head("fc.0"))
    state |= behind("module.momentum_encoder.", other(w) | head("fc.0"))
    return {"state_dict": state | head("module.predictor.0")}


def dino(w: Weights) -> dict[str, Any]:
    heads = head("head.mlp.0", "head.last_layer")
    return {
        "student": behind("module.backbone.", other(w)) | behind("module.", heads),
        "teacher": behind("backbone.", w) | heads,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 3,
        "args": argparse.Namespace(arch=NAME, lr=np.float64(0.1)),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def vicreg(w: Weights) -> dict[str, Any]:
    return {"model": behind("module.backbone.", w) | head("module.projector.0"), "epoch": 3}


def lightning(w: Weights) -> dict[str, Any]:
    return {
        "state_dict": behind("model.", w | head("fc")) | {"criterion.weight": torch.ones(4)},
        "hyper_parameters": {"lr": 0.1, "classes": ["a", "b"]},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.ones(())}},
        "pytorch-lightning_version": "2.4.0",
    }


def timm_averaged(w: Weights) -> dict[str, Any]:
    # Averages of timm's first trainer, in a file where they are alone.
    return {"state_dict_ema": behind("module.", w | head("fc")), "metric": 71.5}


def compiled(w: Weights) -> dict[str, Any]:
    return {"model": behind("module._orig_mod.", w | head("fc"))}


def byol_pytorch(w: Weights) -> dict[str, Any]:
    return {"online_backbone": behind("module.", w), "online_projection": head("0")}


def swav(w: Weights) -> dict[str, Any]:
    # Its heads lie beside the layers, behind the same prefix.
    return behind("module.", w | head("projection_head.0", "prototypes"))


def mae(w: Weights) -> dict[str, Any]:
    decoder = head("decoder_embed", "decoder_blocks.0.mlp.fc1") | {"mask_token": torch.ones(1)}
    return {"model": w | decoder, "epoch": 3}


def sthalles_simclr(w: Weights) -> dict[str, Any]:
    return {"state_dict": behind("backbone.", w | head("fc.0", "fc.2")), "epoch": 3}


# A layout, the place of the weights, and what is left out of it.
LAYOUTS: dict[str, tuple[Callable[[Weights], Any], str, str, Iterable[str]]] = {
    "OpenSelfSup, extracted": (lambda w: {"state_dict": w, "author": "A"}, "state_dict", "", ()),
    "OpenMMLab": (
        openmmlab_rotation,
        "state_dict",
        "backbone.",
        (
            *(f"{name}. (2 weights)" for name in ("neck", "head", "target_generator")),
            "data_preprocessor.mean",
        ),
    ),
    "OpenMMLab's BYOL": (
        openmmlab_byol,
        "state_dict",
        "backbone.",
        ("target_net. (90 weights)", "neck. (2 weights)", "head. (2 weights)"),
    ),
    "OpenMMLab's MoCo": (
        openmmlab_moco,
        "state_dict",
        "backbone.",
        ("encoder_q. (92 weights)", "encoder_k. (90 weights)", "queue"),
    ),
    "VISSL": (
        vissl,
        "classy_state_dict/base_model/model/trunk",
        "_feature_blocks.",
        ("classy_state_dict/base_model/model/heads/ (weights: 2)",),
    ),
    "VISSL, converted": (
        vissl_converted,
        "model_state_dict",
        "_feature_blocks.",
        ("fc. (2 weights)",),
    ),
    "MoCo": (
        moco,
        "state_dict",
        "module.encoder_q.",
        (
            "module.encoder_q.fc. (4 weights)",
            "module.encoder_k. (94 weights)",
            "module.queue",
            "module.queue_ptr",
        ),
    ),
    "MoCo v3": (
        moco_v3,
        "state_dict",
        "module.base_encoder.",
        (
            "module.base_encoder.fc. (2 weights)",
            "module.momentum_encoder. (92 weights)",
            "module.predictor. (2 weights)",
        ),
    ),
    "DINO": (
        dino,
        "teacher",
        "backbone.",
        ("head. (4 weights)", "student/ (weights: 94)", "dino_loss/ (weights: 1)"),
    ),
    "SwAV": (
        swav,
        "",
        "module.",
        ("module.projection_head. (2 weights)", "module.prototypes. (2 weights)"),
    ),
    "MAE": (mae, "model", "", ("decoder_ (4 weights)", "mask_token")),
    "VICReg": (vicreg, "model", "module.backbone.", ("module.projector. (2 weights)",)),
    "BYOL": (byol_pytorch, "online_backbone", "module.", ("online_projection/ (weights: 2)",)),
    "SimCLR": (sthalles_simclr, "state_dict", "backbone.", ("backbone.fc. (4 weights)",)),
    "SimCLR, converted": (
        lambda w: {"state_dict": w | head("fc")},
        "state_dict",
        "",
        ("fc. (2 weights)",),
    ),
    "Lightning": (
        lightning,
        "state_dict",
        "model.",
        (
            "model.fc. (2 weights)",
            "criterion.weight",
            "callbacks/ModelCheckpoint{'monitor': 'loss'}/ (weights: 1)",
        ),
    ),
    "timm, averaged": (
        timm_averaged,
        "state_dict_ema",
        "module.",
        ("module.fc. (2 weights)",),
    ),
    "compiled": (compiled, "model", "module._orig_mod.", ("module._orig_mod.fc. (2 weights)",)),
    "any other prefix": (lambda w: behind("a.b_3.", w), "", "a.b_3.", ()),
}


# Where the weights lie that would fit as well, and that the project itself leaves aside.
OTHERS = {
    "MoCo": "'module.encoder_k.'",
    "MoCo v3": "'module.momentum_encoder.'",
    "DINO": "'module.backbone.'",
    "OpenMMLab's BYOL": "'target_net.module.0.'",
    "OpenMMLab's MoCo": "'encoder_k.0.'",
}


@pytest.fixture
def opened(context: Context) -> Opened:
    """Encoder of a timm entry whose checkpoint holds this."""

    def encoder(content: Any, **keys: Any) -> TorchEncoder:  # noqa: ANN401
        torch.save(content, context.folder / "c.pt")
        entry = TimmModel.model_validate(
            {"source": "timm", "name": NAME, "checkpoint": "c.pt", **keys}
        )
        return open_timm(entry, identify_timm(entry, context)[0], context)

    return encoder


def embedded(encoder: TorchEncoder, images: list[Image.Image]) -> bytes:
    batch = [encoder.prepare(image.resize((40, 40))) for image in images[:2]]
    found: np.ndarray = encoder.encode(batch, [POOLED])["pooled"]
    assert np.ptp(found, axis=0).max() > 0, "the two images have the same vector"
    assert np.isfinite(found).all()
    return found.tobytes()


def refusal(opened: Opened, content: Any, **keys: Any) -> str:  # noqa: ANN401
    with pytest.raises(EncoderError) as caught:
        opened(content, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message.partition("c.pt ")[2]


@pytest.mark.parametrize("layout", LAYOUTS)
class TestEveryLayout:
    def test_gives_the_embeddings_of_the_plain_weights(
        self, layout: str, opened: Opened, weights: Weights, images: list[Image.Image]
    ) -> None:
        make, container, prefix, left_out = LAYOUTS[layout]
        plain = opened(weights)
        encoder = opened(make(weights))
        assert embedded(encoder, images) == embedded(plain, images)
        assert encoder.weights == plain.weights
        told = encoder.description
        assert (told["container"], told["prefix"]) == (container, prefix)
        assert told["left_out"] == [*left_out]
        assert ("chosen" in told) == (layout in OTHERS)
        assert OTHERS.get(layout, "") in told.get("chosen", "")

    def test_is_refused_where_a_weight_is_missing_or_has_another_shape(
        self, layout: str, weights: Weights, tmp_path: Path
    ) -> None:
        make = LAYOUTS[layout][0]
        network = timm.create_model(NAME, num_classes=0)
        lacking = {name: value for name, value in weights.items() if name != LAST}
        misshapen = weights | {LAST: weights[LAST][:1]}
        for state, said in (
            (lacking, f"it lacks {LAST};"),
            (misshapen, f"shapes differ: {LAST} ("),
        ):
            path = tmp_path / "c.pt"
            torch.save(make(state), path)
            with pytest.raises(EncoderError) as caught:
                fit_weights(
                    network, read_checkpoint(path), WeightSelection(path=path, head=("fc.",))
                )
            assert "does not fit the network" in str(caught.value)
            assert said in str(caught.value)

    def test_of_another_architecture_is_refused(
        self, layout: str, weights: Weights, strangers: list[torch.nn.Module], tmp_path: Path
    ) -> None:
        path = tmp_path / "c.pt"
        torch.save(LAYOUTS[layout][0](weights), path)
        for network in strangers:
            with pytest.raises(EncoderError, match="does not fit the network"):
                fit_weights(
                    network,
                    read_checkpoint(path),
                    WeightSelection(path=path, head=("fc.", "head.")),
                )


class TestChoice:
    @pytest.mark.parametrize(
        ("layout", "keys"),
        [
            ("MoCo", {"prefix": "module.encoder_k."}),
            ("MoCo", {"prefix": "module.encoder_k", "container": "state_dict"}),
            ("DINO", {"container": "student"}),
            ("DINO", {"prefix": "module.backbone."}),
            ("MoCo v3", {"prefix": "module.momentum_encoder."}),
        ],
    )
    def test_the_other_is_had_by_naming_it(
        self, layout: str, keys: dict[str, str], opened: Opened, weights: Weights
    ) -> None:
        encoder = opened(LAYOUTS[layout][0](weights), **keys)
        assert encoder.weights == opened(other(weights)).weights != opened(weights).weights
        assert "chosen" not in encoder.description

    def test_the_momentum_encoder_is_never_taken_for_the_one_that_is_lacking(
        self, opened: Opened, weights: Weights
    ) -> None:
        content = moco(weights)
        del content["state_dict"][f"module.encoder_q.{LAST}"]
        assert "'prefix: module.encoder_k.'" in refusal(opened, content)
        content = dino(weights)
        del content["teacher"]
        assert "student" in refusal(opened, content)
        assert opened(content, container="student").description["container"] == "student"

    @pytest.mark.parametrize(
        ("one", "two"),
        [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("", "ema"), ("a/b", "a/c")],
    )
    def test_of_two_containers_is_the_users(
        self, one: str, two: str, opened: Opened, weights: Weights
    ) -> None:
        content: dict[str, Any] = {}
        for place, state in ((one, weights), (two, other(weights))):
            inner = content
            for key in filter(None, place.split("/")):
                inner = inner.setdefault(key, {})
            inner.update(state)
        message = refusal(opened, content)
        assert all(f"container: {place}" in message for place in filter(None, (one, two)))
        assert opened(content, container=one).weights == opened(weights).weights
        assert opened(content, container=two).weights == opened(other(weights)).weights

    @pytest.mark.parametrize(
        ("one", "two"),
        [("model.", "ema_model."), ("teacher.", "student."), ("student.", "teacher_model.")],
    )
    def test_of_two_prefixes_is_the_users(
        self, one: str, two: str, opened: Opened, weights: Weights
    ) -> None:
        """Of a distilled model the student is released, of DINO's the teacher."""
        content = {"state_dict": behind(one, weights) | behind(two, other(weights))}
        message = refusal(opened, content)
        assert all(f"'prefix: {prefix}'" in message for prefix in (one, two))
        assert opened(content, prefix=two).weights == opened(other(weights)).weights

    def test_of_averages_without_a_prefix_beside_weights_with_one_needs_a_key_each(
        self, opened: Opened, weights: Weights
    ) -> None:
        content = {
            "net": behind("a.", weights) | behind("b.", other(weights)),
            "ema": other(other(weights)),
        }
        message = refusal(opened, content)
        for keys in ("net, prefix: a.", "net, prefix: b.", 'ema, prefix: ""'):
            assert f"'container: {keys}'" in message
        found = opened(content, container="net", prefix="b.")
        assert found.weights == opened(other(weights)).weights

    def test_between_two_copies_nobody_has_to_choose(
        self, opened: Opened, weights: Weights
    ) -> None:
        content = {"model": weights, "best": dict(weights)}
        assert opened(content).weights == opened(weights).weights
        averaged = {"model": weights, "model_ema": weights | {LAST: weights[LAST] + 1e-6}}
        assert "in 2 places" in refusal(opened, averaged)

    def test_a_place_that_is_not_there_is_told_with_those_that_are(
        self, opened: Opened, weights: Weights
    ) -> None:
        assert "'state_dict'" in refusal(opened, moco(weights), container="model")
        message = refusal(opened, moco(weights), prefix="encoder.")
        assert "'module.encoder_q.', 'module.encoder_k.'" in message

    def test_what_is_named_must_be_whole(self, opened: Opened, weights: Weights) -> None:
        content = moco(weights)
        del content["state_dict"][f"module.encoder_k.{LAST}"]
        assert LAST in refusal(opened, content, prefix="module.encoder_k.")

    def test_a_block_of_a_larger_network_is_not_taken_for_a_small_one(self) -> None:
        """A network of few layers fits many a part of what was trained."""
        block = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(3, 3, 1)))
        larger = {
            f"{layer}.conv.{name}": value
            for layer, width in (("stem", 3), ("layer1", 4), ("layer2", 5))
            for name, value in torch.nn.Conv2d(3, width, 1).state_dict().items()
        }
        with pytest.raises(EncoderError, match=r"'prefix: stem\.'"):
            fit_weights(block, larger, WeightSelection(path=Path("c.pt")))
        named = WeightSelection(path=Path("c.pt"), prefix="stem")
        assert fit_weights(block, larger, named).prefix == "stem."


class TestLeftOut:
    def test_what_is_inside_of_the_backbone_is_a_fault_unless_it_is_ignored(
        self, opened: Opened, weights: Weights
    ) -> None:
        """Heads that are known by name are left out without being asked for, and no others."""
        state = behind("module.", weights | head("predictor.0", "clusters", "prototypes"))
        message = refusal(opened, state)
        assert "predictor.0.weight, predictor.0.bias, clusters.weight, clusters.bias" in message
        encoder = opened(state, ignore=["predictor.", "clusters."])
        assert encoder.weights == opened(weights).weights
        assert encoder.description["left_out"] == [
            "module.predictor. (2 weights)",
            "module.clusters. (2 weights)",
            "module.prototypes. (2 weights)",
        ]

    def test_a_long_list_is_cut(self, opened: Opened, weights: Weights) -> None:
        losses = {f"loss{i:02}.weight": torch.ones(1) for i in range(30)}
        told = opened(behind("model.", weights) | losses).description["left_out"]
        assert told == [*(f"loss{i:02}.weight" for i in range(20)), "and 10 more"]

    def test_counters_may_be_absent_anywhere(self, opened: Opened, weights: Weights) -> None:
        old = {name: value for name, value in weights.items() if not name.endswith("_tracked")}
        assert len(old) < len(weights)
        plain = opened(old)
        for layout in ("MoCo", "VISSL", "VISSL, converted", "DINO"):
            assert opened(LAYOUTS[layout][0](old)).weights == plain.weights


def test_a_network_of_torchvision_is_read_through_a_factory_in_every_layout(
    context: Context, images: list[Image.Image]
) -> None:
    (context.project / "vb_zoo_nets.py").write_text(
        "import torch\n"
        "from torchvision.models.resnet import BasicBlock, ResNet\n\n"
        "def make():\n"
        "    net = ResNet(BasicBlock, [1, 1, 1, 1])\n"
        "    net.fc = torch.nn.Identity()\n"
        "    return net\n"
    )
    block = torchvision.models.resnet.BasicBlock
    net = torchvision.models.resnet.ResNet(block, [1, 1, 1, 1])
    state = {name: value for name, value in trained(net).items() if not name.startswith("fc.")}

    def opened(content: Any, **keys: Any) -> TorchEncoder:  # noqa: ANN401
        torch.save(content, context.folder / "c.pt")
        entry = FactoryModel.model_validate(
            {
                "source": "factory",
                "call": "vb_zoo_nets:make",
                "transform": {"size": 32},
                "checkpoint": "c.pt",
                **keys,
            }
        )
        return open_factory(entry, identify_factory(entry, context)[0], context)

    plain = embedded(opened(state), images)
    for layout in ("OpenMMLab", "VISSL", "DINO", "MoCo"):
        # A factory does not say what its classifier would be.
        ignore = ["fc."] if layout == "MoCo" else []
        assert embedded(opened(LAYOUTS[layout][0](state), ignore=ignore), images) == plain


class TestNamesOfTorchvision:
    """A timm network with torchvision's weights computes what torchvision's own does."""

    @pytest.fixture
    def vit(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        own = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 48, num_classes=5)
        ours = timm.models.VisionTransformer(
            img_size=32,
            patch_size=8,
            depth=3,
            num_heads=2,
            embed_dim=16,
            mlp_ratio=3,
            num_classes=0,
        )
        own.heads = torch.nn.Sequential(OrderedDict(head=torch.nn.Linear(16, 5)))
        return own, ours

    @pytest.fixture
    def convnext(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        block = torchvision.models.convnext.CNBlockConfig
        widths = (8, 12, 16, 20)
        stages = [
            block(width, following, depth)
            for width, following, depth in zip(
                widths, (*widths[1:], None), (1, 2, 1, 1), strict=True
            )
        ]
        own = torchvision.models.ConvNeXt(stages, num_classes=5)
        ours = timm.models.ConvNeXt(depths=(1, 2, 1, 1), dims=widths, num_classes=0)
        return own, ours

    @pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
    @pytest.mark.parametrize("family", ["vit", "convnext"])
    def test_compute_the_same(
        self, family: str, prefix: str, request: pytest.FixtureRequest
    ) -> None:
        own, ours = request.getfixturevalue(family)
        generator = torch.Generator().manual_seed(3)
        state = {
            name: torch.randn(value.shape, generator=generator) * 0.3
            for name, value in own.state_dict().items()
        }
        own.load_state_dict(state)
        found = fit_weights(
            ours,
            {"model": behind(prefix, state)},
            WeightSelection(path=Path("c.pt"), head=("head.fc.",)),
        )
        assert (found.facts["names"], found.prefix) == ("torchvision", prefix)
        assert len(found.left_out) == 2, "its classifier, and nothing else"
        images = torch.randn(3, 3, 32, 32, generator=generator)
        with torch.inference_mode():
            if family == "vit":
                own.heads = torch.nn.Identity()
            else:
                own.classifier[2] = torch.nn.Identity()
            expected = own.eval()(images)
            embeddings = ours.eval()(images)
        assert expected.std() > 0.1
        torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("family", ["vit", "convnext"])
    def test_so_do_their_classifiers(self, family: str, request: pytest.FixtureRequest) -> None:
        own, bare = request.getfixturevalue(family)
        ours: Any = bare
        ours.reset_classifier(5)
        own.load_state_dict(trained(own))
        found = fit_weights(ours, own.state_dict(), WeightSelection(path=Path("c.pt")))
        assert found.left_out == ()
        images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode():
            expected, logits = own.eval()(images), ours.eval()(images)
        assert expected.shape == (3, 5)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)

    def test_older_names_of_the_same_are_read(
        self, vit: tuple[torch.nn.Module, torch.nn.Module]
    ) -> None:
        own, ours = vit
        state = {
            name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
            for name, value in trained(own).items()
        }
        own.load_state_dict(state)  # torchvision itself reads them, too
        fit_weights(ours, state, WeightSelection(path=Path("c.pt")))
        for part in ("mlp.fc1.weight", "mlp.fc2.bias"):
            there = part.replace("fc1", "0").replace("fc2", "3")
            expected = own.state_dict()[f"encoder.layers.encoder_layer_2.{there}"]
            assert torch.equal(ours.state_dict()[f"blocks.2.{part}"], expected)

    @pytest.mark.parametrize("family", ["vit", "convnext"])
    def test_must_be_whole(self, family: str, request: pytest.FixtureRequest) -> None:
        own, ours = request.getfixturevalue(family)
        state = trained(own)
        name, here = {
            "vit": ("encoder.layers.encoder_layer_2.ln_2.bias", "blocks.2.norm2.bias"),
            "convnext": ("features.7.0.layer_scale", "stages.3.blocks.0.gamma"),
        }[family]
        del state[name]
        with pytest.raises(EncoderError, match=f"it lacks {here};"):
            fit_weights(ours, state, WeightSelection(path=Path("c.pt")))
        deeper = trained(own) | {f"{name.split('.')[0]}.9.weight": torch.ones(1)}
        with pytest.raises(EncoderError, match=r"does not have: \w+\.9\.weight;"):
            fit_weights(ours, deeper, WeightSelection(path=Path("c.pt")))
