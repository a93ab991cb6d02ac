"""With xdist there are the same verdicts, one report and the same exit code as without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.plugin.conftest import CONCEPTS, SETS, control_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.slow
# Workers load these two alone: each would import the whole of hypothesis otherwise.
PLUGINS = ("-p", "xdist.plugin", "-p", "pytest_visualbias.plugin")
FLAG = "--visualbias"


def spread(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pytest.RunResult:
    with monkeypatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        json = "--visualbias-json=out.json"
        return project.pytester.runpytest_subprocess(*PLUGINS, FLAG, json, *arguments)


@pytest.fixture
def mixed(project: Project) -> Project:
    """Every outcome at once."""
    project.pair(after=0.15)
    project.spec(
        one_test("unproven"),
        one_test("kept", A="c", B="d", X="x"),
        one_test("large", X="flower", Y="insect"),
        one_test("grown", "{max_growth: 0.2}"),
        one_test("gone", X="gone"),
        control_test(),
        one_test("lost", "{min_effect: 1.9}", control="positive", A="c", B="d"),
        concepts=CONCEPTS.replace("}", ", gone: gone}"),
    )
    return project


def told(report: dict[str, Any]) -> dict[str, Any]:
    """Return what must not depend on how a run is spread."""
    return {key: report[key] for key in ("results", "models", "summary", "tool", "schema_version")}


@pytest.mark.parametrize(
    "how",
    [
        ["-n2"],
        pytest.param(["-n2", "--dist=loadscope"], marks=pytest.mark.nightly),
        pytest.param(["-n1"], marks=pytest.mark.nightly),
    ],
)
def test_results_are_those_of_a_serial_run_to_the_last_key(
    mixed: Project, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    serial = mixed.gate()
    alone = told(mixed.report())
    outcomes = {row["outcome"] for row in alone["results"]}
    assert outcomes == {"pass", "fail", "inconclusive", "error", "invalid"}
    together = spread(mixed, monkeypatch, *how)
    assert told(mixed.report()) == alone
    assert together.ret == serial.ret == 1
    assert together.parseoutcomes() == serial.parseoutcomes()
    text = sentences(together)
    assert text.count("== visualbias ==") == 1
    assert "INCONCLUSIVE bias_specs/x.bias.yaml::after::unproven[pooled]: " in text


def test_the_entry_point_works_in_workers(project: Project) -> None:
    project.pair(after=1.0)
    project.spec()
    result = project.pytester.runpytest_subprocess(FLAG, "-n1")
    result.assert_outcomes(passed=1, failed=1)


def test_a_faulty_spec_is_2_and_said_once_and_an_unknown_model_is_4(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.pair()
    project.spec(head="setings: {}")
    result = spread(project, monkeypatch, "-n1")
    assert result.ret == 2
    (said,) = project.report()["summary"]["collection_errors"]
    assert "setings: " in said
    assert sentences(result).count("ERROR collecting") == 1
    project.spec()
    result = spread(project, monkeypatch, "-n1", "--visualbias-model=afterr=x.pt")
    assert result.ret == 4
    assert "'afterr'" in sentences(result)


def test_overrides_reach_workers_and_deselected_items_are_counted_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Specs elsewhere stay out; -x stops; where all are deselected the code is 5."""
    project.pair()
    project.store("biased", bias=1.0)
    project.spec(one_test("one"), one_test("two"))
    project.spec(file="elsewhere/y.bias.yaml")
    biased = "--visualbias-after=biased.safetensors"
    result = spread(project, monkeypatch, "-n1", "-x", biased)
    assert result.ret in (1, 2)  # xdist calls what -x stops an interruption
    assert project.outcomes()["after::one[pooled]"] == "fail"
    assert {row["spec"] for row in project.report()["results"]} == {"bias_specs/x.bias.yaml"}
    project.pytester.makepyfile("def test_other(): pass")
    result = spread(project, monkeypatch, "-n2", "-k", "other")
    assert result.ret == 5
    result.assert_outcomes(passed=1)
    assert project.report()["summary"]["deselected"] == 4


COUNTING = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 5, stride=4)

    def forward(self, x):
        # A corner of a drawn image has one colour; noise and blank images are no stimuli.
        is_drawn = (x[:, :, 0, 0] == x[:, :, 1, 1]).all(1) & (x.flatten(2).std(2) > 0).any(1)
        with open("seen.txt", "a") as log:
            log.write(f"{int(is_drawn.sum())} {torch.get_num_threads()}\\n")
        return self.conv(x).mean((2, 3))
"""


def test_workers_compute_an_embedding_once_between_them_each_on_its_share_of_the_processors(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both need all of them: tests of one model are spread over two workers."""
    project.drawn()
    (project.path / "nets.py").write_text(COUNTING)
    weight = np.random.default_rng(0).normal(size=(8, 3, 5, 5)).astype(np.float32)
    weights = {"conv.weight": weight, "conv.bias": np.zeros(8, np.float32)}
    save_file(weights, project.path / "net.safetensors")
    project.spec(
        *(one_test(name, "{max_effect: 1.8}") for name in ("one", "two", "three", "four")),
        head="stimuli: ../stimuli",
        models="""
  net: {source: factory, call: "nets:Net", transform: {size: 32}, random_init: 1}
  after: {source: factory, call: "nets:Net", transform: {size: 32}, checkpoint: ../net.safetensors}
""",
        concepts=SETS,
    )
    spread(project, monkeypatch, "-n2", "--dist=load")
    seen = [line.split() for line in (project.path / "seen.txt").read_text().splitlines()]
    assert sum(int(images) for images, _ in seen) == 2 * 20
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert all(int(threads) <= share for _, threads in seen), seen
