"""Training runs in a spec: what is gated, and what the command line does to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.effective_settings import axis_of, gates_all, is_random
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.spec.overrides import Override
from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry = Callable[..., TimmModel]

RUN = 'checkpoints: "run/epoch_*.pt", series: epoch'


@pytest.fixture
def entry(change: Callable[..., str]) -> Entry:
    """The model `after` with these keys in the place of its checkpoint."""

    def parsed(keys: str, *overrides: Override) -> TimmModel:
        text = change(("checkpoint: after.safetensors", keys))
        spec = parse_spec(text, file="x.yaml", folder=Path(), overrides=overrides).spec
        model = spec.models["after"]
        assert isinstance(model, TimmModel)
        return model

    return parsed


def test_a_series_says_what_it_counts_and_which_of_it_is_gated(entry: Entry) -> None:
    assert (axis_of(entry(RUN)), gates_all(entry(RUN))) == ("epoch", False)
    assert gates_all(entry(f"{RUN}, gate: all"))
    assert not is_random(entry(f"{RUN}, pretrained: false"))
    assert axis_of(entry('checkpoint: "run/*.pt"')) is None


def test_on_the_command_line_a_file_replaces_a_run_and_a_pattern_its_files(entry: Entry) -> None:
    one = entry(RUN, Override(name="after", source=None, what="/new/epoch_3.pt"))
    assert (one.checkpoint, one.checkpoints, one.series) == ("/new/epoch_3.pt", None, None)
    run = entry(f"{RUN}, gate: all", Override(name="after", source=None, what="/new/epoch_*.pt"))
    assert (run.checkpoint, run.checkpoints) == (None, "/new/epoch_*.pt")
    assert (run.series, run.gate) == ("epoch", "all")
