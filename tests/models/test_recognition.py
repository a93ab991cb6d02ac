"""Which architecture a checkpoint is of."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.errors import EncoderError

timm = pytest.importorskip("timm")
torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.models.architectures import Recognised

pytestmark = pytest.mark.torch


@pytest.fixture
def recognise() -> Callable[..., Recognised | None]:
    from pytest_visualbias.models import architectures

    return architectures.recognise


def weights(name: str, **arguments: int) -> dict[str, Any]:
    """Return the untrained weights of a network of timm."""
    found: dict[str, Any] = timm.create_model(name, pretrained=False, **arguments).state_dict()
    return found


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "test_vit", "mobilenetv3_small_100"])
def test_a_finetuned_network_is_known_by_its_weights_alone(
    tmp_path: Path, recognise: Callable[..., Recognised | None], name: str
) -> None:
    """Seven classes instead of a thousand, inside of what a trainer saved."""
    path = tmp_path / "last.ckpt"
    found = {f"model.{key}": value for key, value in weights(name, num_classes=7).items()}
    torch.save({"state_dict": found, "epoch": 3}, path)
    known = recognise(path)
    assert known is not None
    assert (known.name, known.container) == (name, None)


def test_a_network_is_not_taken_for_a_smaller_one_that_it_contains(
    tmp_path: Path, recognise: Callable[..., Recognised | None]
) -> None:
    path = tmp_path / "resnet18.pt"
    torch.save(weights("resnet34"), path)
    known = recognise(path, named=["resnet18"])
    assert known is not None
    assert known.name == "resnet34"


def test_what_a_trainer_wrote_down_is_believed_where_it_fits(
    tmp_path: Path, recognise: Callable[..., Recognised | None]
) -> None:
    """A network that no family lists, named by timm's own training script."""
    path = tmp_path / "m.pth"
    args = argparse.Namespace(model="test_efficientnet_gn", lr=0.1)
    torch.save({"state_dict": weights("test_efficientnet_gn"), "args": args}, path)
    known = recognise(path)
    assert known is not None
    assert known.name == "test_efficientnet_gn"
    assert recognise(path, guess=False) is None
    torch.save({"state_dict": weights("test_efficientnet_gn"), "args": "resnet18"}, path)
    assert recognise(path) is None


def test_a_configuration_of_timm_beside_it_is_believed_where_it_fits(
    tmp_path: Path, recognise: Callable[..., Recognised | None]
) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file(weights("test_byobnet"), path)
    assert recognise(path) is None
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_byobnet"}))
    known = recognise(path)
    assert known is not None
    assert known.name == "test_byobnet"


def test_of_weights_and_their_average_the_average_is_named(
    tmp_path: Path, recognise: Callable[..., Recognised | None]
) -> None:
    path = tmp_path / "m.pt"
    one = weights("test_resnet")
    other = {key: value + 1 for key, value in one.items()}
    torch.save({"state_dict": one, "state_dict_ema": other}, path)
    known = recognise(path, named=["test_resnet"])
    assert known is not None
    assert (known.name, known.container) == ("test_resnet", "state_dict_ema")


@pytest.mark.parametrize("what", ["nothing", "damaged", "large"])
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, recognise: Callable[..., Recognised | None], what: str
) -> None:
    path = tmp_path / "m.pt"
    torch.save({"epoch": 3}, path)
    if what == "damaged":
        path.write_bytes(path.read_bytes()[:300])
    says = {"nothing": "holds no weights", "damaged": "is damaged", "large": "was not looked into"}
    with pytest.raises(EncoderError, match=says[what]) as error:
        recognise(path, **({"largest": 10} if what == "large" else {}))
    assert "\n" not in str(error.value)
