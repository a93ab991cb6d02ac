"""Numbers and verdicts are as recorded: a change of the code moves none of them unnoticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract import corpus

if TYPE_CHECKING:
    from pathlib import Path


def differences(measured: Any, recorded: Any, tolerance: float, place: str = "") -> list[str]:  # noqa: ANN401
    """Return the places where two values differ: numbers by more than the tolerance."""
    if isinstance(recorded, dict) and isinstance(measured, dict):
        keys = sorted(recorded.keys() | measured.keys())
        pairs = [(key, measured.get(key), recorded.get(key)) for key in keys]
    elif isinstance(recorded, list) and isinstance(measured, list):
        longest = max(len(measured), len(recorded))
        padded = [[*values, *[None] * (longest - len(values))] for values in (measured, recorded)]
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(*padded, strict=True))]
    else:
        is_number = type(recorded) is float and type(measured) in (float, int)
        near = (
            pytest.approx(recorded, rel=tolerance, abs=tolerance / 1e3) if is_number else recorded
        )
        return [] if measured == near else [f"{place}: {measured!r}, recorded {recorded!r}"]
    return [
        line
        for key, new, old in pairs
        for line in differences(new, old, tolerance, f"{place}/{key}")
    ]


@pytest.mark.parametrize(
    "project",
    [
        pytest.param(name, marks=[pytest.mark.torch, pytest.mark.slow] * (name == "quickstart"))
        for name in corpus.PROJECTS
    ],
)
def test_numbers_and_verdicts_are_as_recorded(project: str, request: Any) -> None:  # noqa: ANN401
    """A change that is meant is recorded by ``python tests/contract/corpus.py``."""
    if project == "ieat":
        request.getfixturevalue("reference_data")
    recorded = json.loads(corpus.RECORDED.read_text(encoding="utf-8"))[project]
    tolerance = corpus.TOLERANCES.get(project, corpus.TOLERANCE)
    assert differences(corpus.verdicts(project), recorded, tolerance) == []


def test_a_baseline_is_recorded_as_before(tmp_path: Path) -> None:
    recorded = json.loads(corpus.BASELINE.read_text(encoding="utf-8"))
    assert differences(corpus.recorded_baseline(tmp_path), recorded, corpus.TOLERANCE) == []


def test_a_moved_number_or_verdict_is_seen() -> None:
    """Only numbers have a tolerance; a missing item and another verdict are differences."""
    recorded = {"item": {"outcome": "pass", "p": 0.25, "n": 4, "trials": [0.5, 0.5]}}
    for part in (
        {"outcome": "fail"},
        {"p": 0.25 * (1 + 3e-12)},
        {"p": None},
        {"n": 5},
        {"trials": [0.5]},
    ):
        assert len(differences({"item": recorded["item"] | part}, recorded, 1e-12)) == 1, part
    assert (
        differences({"item": recorded["item"] | {"p": 0.25 * (1 + 1e-13)}}, recorded, 1e-12) == []
    )
    assert differences({}, recorded, 1e-12) != []
