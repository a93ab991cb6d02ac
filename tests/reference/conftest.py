"""Runs of the gate on published images, in this process: loading torch again takes seconds."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pytest_visualbias.plugin.hooks  # noqa: F401 - see above

# Pytester forgets what a run inside this process imported, and numpy does not bear a second import.

if TYPE_CHECKING:
    from collections.abc import Callable

    Gate = Callable[..., dict[str, Any]]

OURS = "pytest_visualbias.models"


@pytest.fixture(scope="session")
def loaded() -> None:
    """What measures networks; of the session, and so set up before any pytester."""
    names = (
        "safetensors.torch",
        "timm",
        "torch",
        *(f"{OURS}.{one}" for one in ("factory", "timm")),
    )
    for name in names:
        importlib.import_module(name)


@pytest.fixture
def gate(loaded: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Run a spec, all of whose tests pass, and return its report."""
    # The architecture is to be that of the folder of the run.
    monkeypatch.delitem(sys.modules, "cifar_resnet", raising=False)

    def run(spec: str, *, passed: int) -> dict[str, Any]:
        (pytester.mkdir("bias_specs") / "x.bias.yaml").write_text(spec, encoding="utf-8")
        options = ("--visualbias", "--visualbias-no-cache", "--visualbias-json=report.json")
        result = pytester.runpytest_inprocess("-p", "no:hypothesispytest", *options)
        result.assert_outcomes(passed=passed)
        report: dict[str, Any] = json.loads((pytester.path / "report.json").read_text("utf-8"))
        return report

    return run
