"""The same answer everywhere: to the last bit, however a gate is run and whatever was kept."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import NETWORKS, one_test

if TYPE_CHECKING:
    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
SETS = "{x: x, y: y, a: a, b: b}"
NAMES = ("one", "two", "three")
ROLES: tuple[dict[str, str], ...] = (
    {},
    {"X": "y", "Y": "a", "A": "x"},
    {"X": "b", "Y": "a", "A": "x", "B": "y"},
)
TESTS = [
    one_test(name, "{max_effect: 1.8, max_growth: 1.5}", **roles)
    for name, roles in zip(NAMES, ROLES, strict=True)
]
IDS = [
    f"{SPEC}::{model}::{name}[{layer}]"
    for model in ("before", "after")
    for name in NAMES
    for layer in ("pooled", "layer2")
]
ANEW = "--visualbias-no-cache"


def respecify(project: Project, *tests: str, file: str = SPEC) -> None:
    project.spec(
        *tests,
        head="stimuli: ../stimuli\nlayers: [pooled, layer2]",
        models=NETWORKS,
        concepts=SETS,
        file=file,
    )


def results(project: Project) -> dict[str, str]:
    """Return the text of every result of the spec, by node id."""
    rows = [row for row in project.report()["results"] if row["spec"] == SPEC]
    return {row["nodeid"]: json.dumps(row, sort_keys=True) for row in rows}


@pytest.fixture
def whole(networks: Project, serial: Gate) -> dict[str, str]:
    """What one process, in the order of the spec and without a cache, finds of two networks."""
    respecify(networks, *TESTS)
    serial(ANEW)
    found = results(networks)
    assert [*found] == IDS
    return found


CHOICES = (
    [*reversed(IDS)],
    ["-k", "after and three"],
    [IDS[-1], IDS[1]],
    ["--visualbias-batch-size=1"],
    ["--visualbias-batch-size=5"],
)


def test_neither_order_nor_choice_nor_batches_matter(
    networks: Project, serial: Gate, whole: dict[str, str]
) -> None:
    for arguments in CHOICES:
        serial(ANEW, *arguments)
        found = results(networks)
        assert found, arguments
        assert found == {name: whole[name] for name in found}, arguments


def test_the_cache_does_not_matter_whoever_filled_it(
    networks: Project, serial: Gate, whole: dict[str, str]
) -> None:
    """Cold, warm, or filled by another spec with some of the images, in another order."""
    respecify(networks, TESTS[2], file="bias_specs/other.bias.yaml")
    serial("bias_specs/other.bias.yaml", "--visualbias-batch-size=3")
    for _ in ("partly filled", "warm"):
        serial(SPEC)
        assert results(networks) == whole
    shutil.rmtree(networks.path / ".pytest_cache")
    serial()  # both specs at once
    assert results(networks) == whole


def test_one_more_image_changes_no_other_vector(
    networks: Project, serial: Gate, whole: dict[str, str]
) -> None:
    """It is embedded alone, the others were in batches; without a cache all are together."""
    serial()
    more = networks.path / "stimuli/x/9.png"
    shutil.copy(networks.path / "stimuli/y/0.png", more)
    more.write_bytes(more.read_bytes()[:-12] + b"\0\0\0\0tEXt\0\0\0\0" + more.read_bytes()[-12:])
    found = []
    for given in ((), (ANEW,)):
        serial(*given)
        found.append(results(networks))
    assert found[0] == found[1]
    assert found[0] != whole


@pytest.mark.slow
def test_workers_do_not_matter(networks: Project, gate: Gate, whole: dict[str, str]) -> None:
    """Each with its share of the processors, and all of them into one cache."""
    gate()
    assert results(networks) == whole
