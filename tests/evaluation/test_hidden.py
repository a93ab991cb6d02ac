"""Limits that their family hides: counted from binomials, told once, and curable as told."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.evaluation.detectable import Hidden, hidden_limits
from pytest_visualbias.spec.parser import parse_spec
from tests.evaluation.test_power import sets

if TYPE_CHECKING:
    from pytest_visualbias.spec.schema import BiasSpec

HEAD = """visualbias: 1
models:
  before: {{source: timm, name: r}}
  after: {{source: timm, name: r, checkpoint: a.pt}}
concepts: {{x: x, y: y, a: a, b: b}}
layers: ["layer{{1..{layers}}}"]
settings: {{{settings}}}
tests:
"""
TEST = (
    "  - {{name: t{index}, kind: ieat, targets: {{X: x, Y: y}}, attributes: {{A: a, B: b}}, "
    "limits: {{{limits}}}}}\n"
)


def spec(
    limits: str = "max_effect: 0.5", *, tests: int = 1, layers: int = 1, settings: str = ""
) -> BiasSpec:
    text = HEAD.format(layers=layers, settings=settings)
    text += "".join(TEST.format(index=index, limits=limits) for index in range(tests))
    return parse_spec(text, file="s", folder=Path()).spec


def hidden(of: BiasSpec, *, n: int = 8, checkpoints: int = 1) -> Hidden | None:
    sizes = sets(**dict.fromkeys("xyab", n))
    models = dict.fromkeys(("before", "after"), sizes)
    return hidden_limits(of, models, checkpoints=checkpoints)


@pytest.mark.parametrize(
    ("limits", "ways"),
    [("max_effect: 0.5", 2), ("max_growth: 0.2", 1), ("max_excess: 0.2", 1)],
)
def test_a_limit_is_hidden_from_the_size_on_at_which_its_smallest_p_is_too_large(
    limits: str, ways: int
) -> None:
    """Of two-sided p with equal sizes, every split has a mirror image; growth is one-sided."""
    least = ways / math.comb(12, 6)
    most = int(0.05 / least)
    text = HEAD.replace(
        "concepts", "  blank: {{source: timm, name: r, random_init: 1}}\nconcepts"
    ).format(layers=most + 1, settings="gated_layers: [GATED]")
    text += TEST.format(index=0, limits=limits)
    for count, is_hidden in ((most, False), (most + 1, True)):
        gated = text.replace("GATED", f'"layer{{1..{count}}}"')
        found = hidden(parse_spec(gated, file="s", folder=Path()).spec, n=6)
        assert (found is not None) == is_hidden


def test_both_limits_of_a_test_and_all_of_its_layers_and_checkpoints_count() -> None:
    found = hidden(spec("max_effect: 0.5, max_growth: 0.2", tests=5, layers=12), n=6, checkpoints=3)
    assert found is not None
    assert found.message.startswith("360 of 360 ")
    assert found.tests == {("after", f"t{index}") for index in range(5)}
    assert found.path == ("tests", 0, "targets")


@pytest.mark.parametrize("limits", ["max_effect: 0.5", "max_effect: 0.5, max_growth: 0.2"])
def test_each_thing_to_do_brings_the_limits_back(limits: str) -> None:
    tests, layers = 6, 12
    found = hidden(spec(limits, tests=tests, layers=layers), n=6)
    assert found is not None
    needed = re.search(r"needs n >= (\d+)", found.message)
    most = re.search(r"at most (\d+) p-values", found.message)
    assert needed is not None
    assert most is not None
    enough, count = int(needed[1]), int(most[1])
    assert hidden(spec(limits, tests=tests, layers=layers), n=enough) is None
    assert hidden(spec(limits, tests=tests, layers=layers), n=enough - 1) is not None
    each = limits.count("max")
    assert hidden(spec(limits, tests=count // each), n=6) is None
    assert hidden(spec(limits, tests=count // each + 1), n=6) is not None
    chosen = f'gated_layers: ["layer{{1..{count // (each * tests)}}}"]'
    assert hidden(spec(limits, tests=tests, layers=layers, settings=chosen), n=6) is None
    for correction in ("bh", "none"):
        settings = f"correction: {correction}"
        assert hidden(spec(limits, tests=tests, layers=layers, settings=settings), n=6) is None


def test_bh_hides_what_is_too_large_even_if_all_limits_fail() -> None:
    """Two of 40 p-values at 2/70 are not significant, forty are."""
    text = HEAD.format(layers=1, settings="correction: bh")
    sized = TEST.format(index=0, limits="max_effect: 0.5").replace("X: x, Y: y", "X: a, Y: b")
    text += sized.replace("A: a, B: b", "A: x, B: y")
    text += "".join(
        TEST.format(index=index, limits="max_effect: 0.5") for index in range(1, 40)
    ).replace("X: x, Y: y", "X: gone, Y: y")
    text = text.replace("b: b}", "b: b, gone: gone}")
    found = hidden(parse_spec(text, file="s", folder=Path()).spec, n=4)
    assert found is not None
    assert found.message.startswith("1 of 40 ")
    assert "correction: bh" not in found.message


def test_a_reference_and_a_test_without_limits_hide_nothing() -> None:
    assert hidden(spec("", tests=40, layers=12), n=4) is None
    found = hidden(spec(tests=40, layers=12), n=5)
    assert found is not None
    assert {model for model, _ in found.tests} == {"after"}
