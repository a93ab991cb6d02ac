"""The demonstration succeeds only where the gate caught the biased checkpoint and nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[2] / "examples" / "quickstart"
AS_IT_SHOULD_BE = {
    "q.bias.yaml::before::shape[pooled]": "pass",
    "q.bias.yaml::balanced::shape[pooled]": "pass",
    "q.bias.yaml::biased::shape[pooled]": "fail",
    "q.bias.yaml::biased::size[pooled]": "pass",
}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module of the demonstration."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "demo", raising=False)
    return importlib.import_module("demo")


def test_it_is_content_with_the_biased_checkpoint_alone_being_caught(demo: ModuleType) -> None:
    assert demo.complaints(demo.Gated(exit_status=1, outcomes=AS_IT_SHOULD_BE)) == []


@pytest.mark.parametrize("exit_status", [0, 2, 3, 4, 5])
def test_it_complains_of_another_exit_status(demo: ModuleType, exit_status: int) -> None:
    found = demo.complaints(demo.Gated(exit_status=exit_status, outcomes=AS_IT_SHOULD_BE))
    assert found == [f"pytest exited with {exit_status}, not with 1"]


@pytest.mark.parametrize(
    ("node", "outcome", "complaint"),
    [
        ("q.bias.yaml::balanced::shape[pooled]", "fail", " failed"),
        ("q.bias.yaml::before::shape[pooled]", "error", " is error"),
        ("q.bias.yaml::biased::size[pooled]", "inconclusive", " is inconclusive"),
    ],
)
def test_it_complains_of_anything_else(
    demo: ModuleType, node: str, outcome: str, complaint: str
) -> None:
    outcomes = {**AS_IT_SHOULD_BE, node: outcome}
    assert demo.complaints(demo.Gated(exit_status=1, outcomes=outcomes)) == [node + complaint]


def test_it_complains_where_nothing_failed(demo: ModuleType) -> None:
    outcomes = dict.fromkeys(AS_IT_SHOULD_BE, "pass")
    assert demo.complaints(demo.Gated(exit_status=1, outcomes=outcomes)) == ["nothing failed"]


def test_it_complains_where_there_is_no_report(demo: ModuleType) -> None:
    assert "nothing failed" in demo.complaints(demo.Gated(exit_status=1, outcomes={}))
