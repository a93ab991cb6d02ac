"""Keys that were removed: a sentence names the place and what to write, and doing so works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from pytest_visualbias.errors import LocatedFault

PAIRS = """\
visualbias: 1
models:
  small: {source: embeddings, path: a.npz}
  tuned: {source: embeddings, path: b.npz, labels: {kind: mlp}}
  "yes: it": {source: embeddings, path: c.npz}
pairs:
  - {before: small, after: tuned, labels: {size: small}}
  - {before: tuned, after: "yes: it"}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_growth: 0.2}
"""
DRIFT = """\
visualbias: 1
models:
  before: {source: embeddings, path: a.npz}
  after: {source: embeddings, path: b.npz}
concepts: {x: x, y: y, a: a, stop: stop, road: road}
tests:
  - name: one
    kind: KIND
    targets: {X: x, Y: y}
    attributes: {A: a}
    limits: {max_shift: 0.2}
    drift: DRIFT
  - name: sign
    kind: KIND
    targets: {X: x, Y: y}
    attributes: {A: stop}
    control: drift
"""


def faults(text: str) -> tuple[LocatedFault, ...]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, file="s.yaml", folder=Path())
    return caught.value.faults


def advised(fault: LocatedFault) -> dict[str, object]:
    """Return the keys that a sentence quotes."""
    found: dict[str, object] = {}
    for text in re.findall("`(.*?)`", fault.text):
        found |= yaml.safe_load(f"{{{text}}}")
    return found


def test_pairs_become_keys_of_their_models() -> None:
    told = faults(PAIRS)
    assert [(one.line, one.column, one.place) for one in told] == [(6, 1, "pairs")] * 2
    stored = yaml.safe_load(PAIRS)
    for name in ("tuned", "yes: it"):
        (fault,) = (one for one in told if f"'{name}'" in one.text)
        stored["models"][name] |= advised(fault)
    del stored["pairs"]
    spec = parse_spec(yaml.safe_dump(stored), file="s.yaml", folder=Path()).spec
    assert spec.models["tuned"].labels == {"kind": "mlp", "size": "small"}
    bases = {name: entry.growth_from for name, entry in spec.models.items()}
    assert bases == {"small": None, "tuned": "small", "yes: it": "tuned"}


@pytest.mark.parametrize("drift", ["sign", "[sign]"])
def test_a_drift_control_becomes_the_other_attribute(drift: str) -> None:
    """Its own test goes, as the sentence at its line says."""
    text = DRIFT.replace("KIND", "similarity-gap").replace("DRIFT", drift)
    key, control = faults(text)
    assert (key.line, key.place) == (12, "tests[0].drift")
    assert (control.line, control.place) == (17, "tests[1].control")
    stored = yaml.safe_load(text)
    test, _ = stored["tests"]
    del test["drift"]
    stored["tests"] = [test | advised(key)]
    (one,) = parse_spec(yaml.safe_dump(stored), file="s.yaml", folder=Path()).spec.tests
    assert (one.kind, one.limits.max_shift) == ("ieat", 0.2)
    assert one.attributes is not None
    assert (one.attributes.A, one.attributes.B) == ("a", "stop")


@pytest.mark.parametrize("value", ["{}", "[]", "[1]", "[{before: small}]", "text"])
def test_whatever_pairs_hold_the_key_is_named_instead(value: str) -> None:
    text = re.sub(r"pairs:\n.*\n.*\n", f"pairs: {value}\n", PAIRS)
    (fault,) = faults(text)
    assert (fault.line, fault.place) == (6, "pairs")
    assert advised(fault) == {"growth_from": "NAME"}


@pytest.mark.parametrize("kind", ["ieat", "sc-eat", "intra-similarity", "outcome-gap", "other"])
def test_drift_is_named_in_tests_of_any_kind(kind: str) -> None:
    told = faults(DRIFT.replace("KIND", kind).replace("DRIFT", "sign"))
    assert {"tests[0].drift", "tests[1].control"} <= {one.place for one in told}


def test_other_mistakes_are_told_beside_them() -> None:
    text = DRIFT.replace("KIND", "similarity-gap").replace("DRIFT", "sign")
    told = faults(text.replace("{X: x,", "{X: xx,", 1))
    assert "tests[0].targets.X" in {one.place for one in told}
