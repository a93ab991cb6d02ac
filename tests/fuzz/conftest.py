"""A report with nearly everything in it, as a run makes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.numpy

from pytest_visualbias.api import audit
from tests.plugin.conftest import KIND_SETS, LATER, control_test, kind_test, one_test, vectors

if TYPE_CHECKING:
    from pathlib import Path

WAIVER = f"{{max_effect: 1.89, reason: known, until: {LATER}}}"
HEAD = """\
visualbias: 1
title: Everything
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors, labels: {run: seven}}
concepts: {x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect}
settings: {evidence: point}
tests:
"""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plain data of a report on two models and all kinds of tests."""
    folder: Path = tmp_path_factory.mktemp("project")
    safetensors.numpy.save_file(vectors(n=5), folder / "before.safetensors")
    safetensors.numpy.save_file(vectors(bias=1.0, n=5), folder / "after.safetensors")
    tests = [
        *(kind_test(kind) for kind in KIND_SETS),
        one_test("waived", "{max_effect: 0.3}", accept=WAIVER),
        control_test(),
    ]
    text = HEAD + "".join(f"  {test}\n" for test in tests)
    (folder / "x.bias.yaml").write_text(text, encoding="utf-8")
    found: dict[str, Any] = json.loads(
        audit(folder / "x.bias.yaml").report.model_dump_json(by_alias=True)
    )
    assert {row["outcome"] for row in found["results"]} > {"pass", "fail", "accepted"}
    return found
