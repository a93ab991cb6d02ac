"""Checkpoints are read without running code, and fit wholly or not at all."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.load_weights import FitResult, WeightSelection, fit_weights

pytestmark = pytest.mark.torch


def network(*, depth: int = 2, width: int = 4) -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers: list[tuple[str, torch.nn.Module]] = [("stem", torch.nn.Conv2d(3, width, 3))]
    layers += [(f"layer{i}", torch.nn.Linear(width, width)) for i in range(depth)]
    return torch.nn.Sequential(OrderedDict([*layers, ("norm", torch.nn.BatchNorm1d(width))]))


def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = network().state_dict()
    return {
        name: torch.rand(value.shape) if value.is_floating_point() else torch.tensor(7)
        for name, value in state.items()
    }


def fitted(
    checkpoint: dict[Any, Any], head: tuple[str, ...] = (), ignore: tuple[str, ...] = ()
) -> tuple[FitResult, dict[str, torch.Tensor]]:
    module = network()
    found = fit_weights(
        module, checkpoint, WeightSelection(path=Path("c.pt"), head=head, ignore=ignore)
    )
    return found, module.state_dict()


def refusal(
    checkpoint: dict[Any, Any],
    into: torch.nn.Module | None = None,
    head: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
) -> str:
    module = network() if into is None else into
    with pytest.raises(EncoderError) as caught:
        fit_weights(
            module, checkpoint, WeightSelection(path=Path("c.pt"), head=head, ignore=ignore)
        )
    return str(caught.value)


class TestFit:
    @pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
    @pytest.mark.parametrize("container", ["", "state_dict", "model_state_dict", "model"])
    def test_weights_are_found_flat_or_in_a_container_with_or_without_a_prefix(
        self, container: str, prefix: str
    ) -> None:
        weights = {prefix + name: value for name, value in trained().items()}
        checkpoint = {container: weights, "epoch": 3} if container else weights
        found, state = fitted(checkpoint)
        assert (found.container, found.prefix, found.left_out) == (container, prefix, ())
        for name, value in trained().items():
            assert torch.equal(state[name], value)

    def test_what_else_a_training_script_left_does_not_matter(self) -> None:
        optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
        step = torch.tensor(3)
        found, _ = fitted({"model": trained(), "optimizer": optimizer, "step": step, 3: step})
        assert found.container == "model"

    def test_other_shapes_are_named_with_both(self) -> None:
        weights = trained() | {"layer1.bias": torch.zeros(5), "norm.weight": torch.zeros(())}
        assert (
            "layer1.bias (5 in the checkpoint, 4 in the network), "
            "norm.weight (scalar in the checkpoint, 4 in the network)" in refusal(weights)
        )

    @pytest.mark.parametrize("shape", [(1, 4), (4, 1), (16,)])
    def test_a_shape_that_could_be_broadcast_or_reshaped_is_another(
        self, shape: tuple[int, ...]
    ) -> None:
        assert "shapes differ" in refusal(trained() | {"layer0.weight": torch.zeros(shape)})

    @pytest.mark.parametrize(("head", "ignore"), [(("fc.",), ()), ((), ("fc.",))])
    def test_a_head_and_what_is_ignored_are_left_out_and_told(
        self, head: tuple[str, ...], ignore: tuple[str, ...]
    ) -> None:
        extra = {"fc.weight": torch.zeros(9, 4), "fc.bias": torch.zeros(9)}
        found, _ = fitted(trained() | extra, head=head, ignore=ignore)
        assert found.left_out == ("fc.weight", "fc.bias")

    def test_a_head_is_no_excuse_for_other_extra_keys(self) -> None:
        extra = {"fc.weight": torch.zeros(9, 4), "fc_aux.weight": torch.zeros(9, 4)}
        assert "does not have: fc_aux.weight;" in refusal(trained() | extra, head=("fc.",))

    def test_what_the_network_has_is_never_ignored(self) -> None:
        """Else `ignore` would leave weights of the network untrained."""
        _, state = fitted(trained(), ignore=("layer0.",))
        assert torch.equal(state["layer0.weight"], trained()["layer0.weight"])
        weights = {k: v for k, v in trained().items() if not k.startswith("layer0.")}
        assert "it lacks layer0.weight" in refusal(weights, ignore=("layer0.",))
        assert "shapes differ" in refusal(
            trained() | {"layer0.bias": torch.zeros(1)}, ignore=("layer0.",)
        )

    @pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {}}, {0: torch.ones(1)}])
    def test_a_checkpoint_without_tensors_is_refused(self, content: dict[Any, Any]) -> None:
        assert "no tensors" in refusal(content)

    def test_of_two_containers_the_one_that_fits_is_taken(self) -> None:
        found, _ = fitted({"model": {"other": torch.zeros(1)}, "state_dict": trained()})
        assert found.container == "state_dict"


class TestRead:
    def test_a_plain_state_dict(self, tmp_path: Path) -> None:
        torch.save(network().state_dict(), tmp_path / "a.pt")
        assert read_checkpoint(tmp_path / "a.pt").keys() == network().state_dict().keys()

    def test_the_older_format_of_torch(self, tmp_path: Path) -> None:
        torch.save({"w": torch.ones(3)}, tmp_path / "a.th", _use_new_zipfile_serialization=False)
        assert torch.equal(read_checkpoint(tmp_path / "a.th")["w"], torch.ones(3))

    def test_safetensors(self, tmp_path: Path) -> None:
        safetensors.torch.save_file({"w": torch.ones(3).bfloat16()}, tmp_path / "a.safetensors")
        assert read_checkpoint(tmp_path / "a.safetensors")["w"].dtype == torch.bfloat16

    def test_inert_values_of_training_scripts_are_allowed(self, tmp_path: Path) -> None:
        content = {
            "w": torch.ones(2),
            "args": argparse.Namespace(lr=0.1, name="r"),
            "best": np.float64(0.5),
            "loss": np.float32(0.25),
            "epoch": np.int64(3),
            "done": np.bool_(True),
            "parameters": OrderedDict(a=[1, (2.0, None, "x")]),
        }
        torch.save(content, tmp_path / "a.pt")
        found = read_checkpoint(tmp_path / "a.pt")
        assert found["args"] == content["args"]
        assert [found[key] for key in ("best", "loss", "epoch", "done")] == [0.5, 0.25, 3, True]

    def test_scalars_that_numpy_1_wrote_are_allowed(self, tmp_path: Path) -> None:
        """Its module had another name, and most published checkpoints are of its time."""
        torch.save({"w": torch.ones(2), "best": np.float64(0.5)}, tmp_path / "new.pt")
        with (
            zipfile.ZipFile(tmp_path / "new.pt") as new,
            zipfile.ZipFile(tmp_path / "old.pt", "w") as old,
        ):
            for name in new.namelist():
                content = new.read(name)
                old.writestr(name, content.replace(b"numpy._core.multi", b"numpy.core.multi"))
        assert b"numpy._core" not in (tmp_path / "old.pt").read_bytes()
        assert read_checkpoint(tmp_path / "old.pt")["best"] == 0.5

    @pytest.mark.parametrize("is_zip", [True, False])
    def test_code_in_a_pickle_is_refused_and_not_run(self, tmp_path: Path, is_zip: bool) -> None:
        proof = tmp_path / "the code ran"
        torch.save(
            {"w": torch.ones(2), "payload": _Payload(proof)},
            tmp_path / "a.pt",
            _use_new_zipfile_serialization=is_zip,
        )
        with pytest.raises(EncoderError, match=r"a\.pt .*more than tensors") as caught:
            read_checkpoint(tmp_path / "a.pt")
        assert not proof.exists()
        assert "\n" not in str(caught.value)

    def test_the_payload_would_run_if_it_were_loaded(self, tmp_path: Path) -> None:
        """So that the test above cannot pass with a payload that does nothing."""
        proof = tmp_path / "the code ran"
        pickle.loads(pickle.dumps(_Payload(proof)))
        assert proof.exists()

    def test_a_plain_pickle_with_code_is_refused_and_not_run(self, tmp_path: Path) -> None:
        proof = tmp_path / "the code ran"
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(_Payload(proof)))
        with pytest.raises(EncoderError):
            read_checkpoint(tmp_path / "a.pkl")
        assert not proof.exists()

    def test_a_whole_module_is_refused(self, tmp_path: Path) -> None:
        torch.save(network(), tmp_path / "a.pt")
        with pytest.raises(EncoderError, match="state dict"):
            read_checkpoint(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        ("content", "kind"), [([1, 2], "list"), (torch.ones(2), "Tensor"), (3, "int")]
    )
    def test_what_is_no_mapping_is_refused(
        self, tmp_path: Path, content: object, kind: str
    ) -> None:
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(EncoderError, match=f"holds a {kind};"):
            read_checkpoint(tmp_path / "a.pt")

    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
    def test_a_truncated_file_is_an_error(self, tmp_path: Path, suffix: str, share: float) -> None:
        path = tmp_path / f"a{suffix}"
        if suffix == ".pt":
            torch.save(trained(), path)
        else:
            safetensors.torch.save_file(trained(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(EncoderError, match="damaged"):
            read_checkpoint(path)

    @pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors", "."])
    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(EncoderError, match="cannot be read"):
            read_checkpoint(tmp_path / name)

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    @pytest.mark.parametrize("is_zip", [True, False])
    def test_a_damaged_file_is_read_or_refused_and_never_another_error(
        self, tmp_path: Path, is_zip: bool
    ) -> None:
        stream = io.BytesIO()
        torch.save(
            {"state_dict": {"w": torch.rand(4, 4)}, "best": np.float64(2), "epoch": 3},
            stream,
            _use_new_zipfile_serialization=is_zip,
        )
        whole = stream.getvalue()
        rng = random.Random(0)
        refused = 0
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(min(len(damaged), 900))] = rng.randrange(256)
            (tmp_path / "a.pt").write_bytes(damaged)
            try:
                read_checkpoint(tmp_path / "a.pt")
            except EncoderError:
                refused += 1
        assert refused > 100


class _Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("name", ["log.txt", "a.pth", "a.safetensors"])
def test_a_text_is_told_as_what_it_is(tmp_path: Path, name: str) -> None:
    """Not as weights that are damaged, or that could run code."""
    (tmp_path / name).write_text("epoch 1: loss 0.3\n")
    with pytest.raises(EncoderError, match="text file"):
        read_checkpoint(tmp_path / name)
