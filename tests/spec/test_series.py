"""Training runs in a spec: which keys go together, and what the command line does to them."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.effective_settings import axis_of, gates_all, is_random
from pytest_visualbias.spec.model_entries import TimmModel
from pytest_visualbias.spec.overrides import Override
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec

SPEC = """visualbias: 1
models:
  before: {{source: timm, name: resnet18}}
  {model}: {{source: timm, name: resnet18, {keys}}}
concepts: {{x: x, y: y, a: a, b: b}}
tests:
  - name: one
    kind: ieat
    targets: {{X: x, Y: y}}
    attributes: {{A: a, B: b}}
    limits: {{max_effect: 0.5}}
    {more}
"""
RUN = 'checkpoints: "run/epoch_*.pt", series: epoch'


def parse(keys: str = RUN, *overrides: Override, model: str = "after", more: str = "") -> BiasSpec:
    text = SPEC.format(keys=keys, model=model, more=more)
    return parse_spec(text, file="x.yaml", folder=Path(), overrides=overrides).spec


def refusal(keys: str, model: str = "after", more: str = "") -> list[str]:
    with pytest.raises(SpecError) as found:
        parse(keys, model=model, more=more)
    return [fault.text for fault in found.value.faults]


def test_a_series_says_what_it_counts_and_which_of_it_is_gated() -> None:
    entry = parse().models["after"]
    assert (axis_of(entry), gates_all(entry)) == ("epoch", False)
    assert gates_all(parse(f"{RUN}, gate: all").models["after"])
    assert not is_random(parse(f"{RUN}, pretrained: false").models["after"])
    assert axis_of(parse('checkpoint: "run/*.pt"').models["after"]) is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            'checkpoints: "run/*.pt"',
            (
                "models.after.checkpoints: did you mean 'checkpoint', for trials of one recipe? "
                "For a training run say what it counts, as in 'series: epoch'"
            ),
        ),
        (
            'checkpoint: "run/*.pt", series: epoch',
            (
                "models.after.series: a series is of 'checkpoints'; did you mean that by "
                "'checkpoint'?"
            ),
        ),
        ("series: epoch", "models.after.series: a series is of 'checkpoints'; add it"),
        (
            f"{RUN}, checkpoint: one.pt",
            "models.after.checkpoints: 'checkpoint' is given too; keep one of them",
        ),
        (
            "checkpoint: one.pt, gate: all",
            "models.after.gate: is for a series of checkpoints; add 'series: epoch', or remove it",
        ),
        (
            f"{RUN}, gate: any",
            "models.after.gate: 'any' is not one of 'last' or 'all'; choose one",
        ),
        (
            f"{RUN}, random_init: 2",
            "models.after.random_init: a checkpoint is given too; keep one of them",
        ),
        (
            f"{RUN}, pretrained: true",
            "models.after.pretrained: checkpoints is given too; keep one of them",
        ),
        (
            'checkpoint: "a.pt", serie: epoch',
            ("models.after.serie: unknown key; did you mean 'series'?"),
        ),
        ("checkpoints: [], series: epoch", "models.after.checkpoints: is empty; add at least one"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: str, said: str) -> None:
    assert said in refusal(keys)


def test_growth_is_measured_from_one_network() -> None:
    said = refusal(RUN, model="other", more="growth_from: other")
    assert (
        "models.other.series: growth is measured from 'other', so it must be one network; name one "
        "file with 'checkpoint', or give the series another name"
    ) in said


def test_on_the_command_line_a_file_takes_the_place_of_a_run_and_a_pattern_that_of_its_files() -> (
    None
):
    one = parse(RUN, Override(name="after", source=None, what="/new/epoch_3.pt")).models["after"]
    assert isinstance(one, TimmModel)
    assert (one.checkpoint, one.checkpoints, one.series) == ("/new/epoch_3.pt", None, None)
    keys = f"{RUN}, gate: all"
    run = parse(keys, Override(name="after", source=None, what="/new/epoch_*.pt")).models["after"]
    assert isinstance(run, TimmModel)
    assert (run.checkpoint, run.checkpoints) == (None, "/new/epoch_*.pt")
    assert (run.series, run.gate) == ("epoch", "all")


@pytest.mark.parametrize(
    ("keys", "is_valid"),
    [
        (RUN, True),
        (f"{RUN}, gate: last", True),
        ("checkpoints: run/*.pt", False),
        ("series: epoch", False),
        ("checkpoint: a.pt, gate: all", False),
    ],
)
@pytest.mark.parametrize("source", ["timm, name: x", 'factory, call: "m:f", transform: {size: 8}'])
def test_the_schema_that_editors_read_knows_which_keys_go_together(
    keys: str, is_valid: bool, source: str
) -> None:
    text = SPEC.format(keys=keys, model="after", more="")
    spec = yaml.safe_load(text.replace("timm, name: resnet18, ", f"{source}, "))
    validator = jsonschema.Draft202012Validator(BiasSpec.model_json_schema())
    assert validator.is_valid(spec) == is_valid


def test_checkpoints_at_a_url_that_lacks_a_slash_are_refused_at_their_line() -> None:
    assert refusal('checkpoints: "s3:/lab/run/epoch_*.pt", series: epoch') == [
        (
            "models.after.checkpoints: 's3:/lab/run/epoch_*.pt' is no URL; did you "
            "mean s3://lab/run/epoch_*.pt?"
        )
    ]
