"""The path from a spec to verdicts without pytest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.embed_model import embed_stimuli
from pytest_visualbias.embeddings.table import ModelVectors, Resources
from pytest_visualbias.errors import SpecError, UsageError
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings
from pytest_visualbias.spec.overrides import Override

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.embeddings.request import ModelRequest
    from pytest_visualbias.evaluation.model_embedder import LoadedSpec
    from pytest_visualbias.results import ResultRecord

SPEC = """visualbias: 1
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors}
concepts: {x: x, y: y, a: a, b: b, gone: gone}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5, max_growth: 0.2}
  - name: two
    kind: ieat
    targets: {X: gone, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 0.5}
"""


def store(path: Path, bias: float) -> None:
    random = np.random.default_rng(7)
    poles = {"x": bias, "y": -bias, "a": 1.0, "b": -1.0}
    sets = {
        name: (random.normal(size=(8, 12)) * 0.3 + pole * np.eye(12)[0]).astype(np.float32)
        for name, pole in poles.items()
    }
    names = {name: [f"{row}.png" for row in range(8)] for name in sets}
    safetensors.numpy.save_file(sets, path, metadata={"names": json.dumps(names)})


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    store(tmp_path / "before.safetensors", 0.0)
    store(tmp_path / "after.safetensors", 1.0)
    path = tmp_path / "x.bias.yaml"
    path.write_text(SPEC)
    return path


def session(tmp_path: Path, **settings: object) -> EvaluationRun:
    resources = Resources(cache=EmbeddingCache(folder=None), batch_size=8, progress=lambda *_: None)
    return EvaluationRun(
        settings=RunSettings(project=tmp_path, **settings),  # type: ignore[arg-type]
        resources=resources,
    )


def result(run: EvaluationRun, loaded: LoadedSpec, model: str, test: str) -> ResultRecord:
    return run.result(loaded, model, test, "pooled", nodeid=f"{model}::{test}")


def test_a_verdict_is_had_without_pytest(spec: Path, tmp_path: Path) -> None:
    run = session(tmp_path)
    loaded = run.load(spec, "x.bias.yaml")
    found = result(run, loaded, "after", "one")
    assert found.outcome == "fail"
    assert found.growth is not None
    assert found.growth.base == "before"
    assert result(run, loaded, "before", "one").outcome == "pass"


def test_what_goes_wrong_is_an_outcome_and_no_exception(spec: Path, tmp_path: Path) -> None:
    run = session(tmp_path)
    found = result(run, run.load(spec, "x.bias.yaml"), "after", "two")
    assert found.outcome == "error"
    assert found.fault is not None
    assert (found.fault.line, found.fault.place) == (5, "concepts.gone")
    assert found.effect_size is None


def test_a_model_is_measured_once_however_often_it_is_asked_for(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def noted(request: ModelRequest, *rest: Any) -> ModelVectors:  # noqa: ANN401
        measured.append(request.model)
        return embed_stimuli(request, *rest)

    monkeypatch.setattr("pytest_visualbias.evaluation.model_embedder.embed_stimuli", noted)
    run = session(tmp_path)
    loaded = run.load(spec, "x.bias.yaml")
    for _ in range(2):
        for model in ("after", "before"):
            for test in ("one", "two"):
                result(run, loaded, model, test)
    assert measured == ["after", "before"]


def test_a_failure_to_measure_is_remembered_too(spec: Path, tmp_path: Path) -> None:
    run = session(tmp_path)
    text = SPEC.replace("embeddings, path: after.safetensors", "timm, name: x, checkpoint: gone.pt")
    spec.write_text(text)
    for name in "xyab":
        (tmp_path / name).mkdir()
        for index in range(6):
            (tmp_path / name / f"{index}.png").write_text(f"{name}{index}")
    loaded = run.load(spec, "x.bias.yaml")
    first, second = (result(run, loaded, "after", test) for test in ("one", "two"))
    assert first.reasons == second.reasons
    assert "gone.pt" in first.reasons[0]
    assert run.model(loaded, "after") is None


def test_the_model_record_says_which_weights(spec: Path, tmp_path: Path) -> None:
    run = session(tmp_path)
    loaded = run.load(spec, "x.bias.yaml")
    assert run.model(loaded, "after") is None, "nothing was measured yet"
    result(run, loaded, "after", "one")
    record = run.model(loaded, "after")
    assert record is not None
    assert (record.source, record.role) == ("embeddings", "gated")
    assert len(record.trials[0]["digest"]) == 64


def test_faults_of_the_text_and_of_the_sets_are_raised_together_by_kind(
    spec: Path, tmp_path: Path
) -> None:
    run = session(tmp_path)
    spec.write_text(SPEC.replace("max_growth", "max_grow") + "more: 1\n")
    with pytest.raises(SpecError) as faulty:
        run.load(spec, "x.bias.yaml")
    assert len(faulty.value.faults) == 2
    spec.write_text(SPEC + "settings: {alpha: 0.0001}\n")
    with pytest.raises(SpecError) as unreachable:
        run.load(spec, "x.bias.yaml")
    places = {fault.place for fault in unreachable.value.faults}
    assert places == {"tests[0].targets", "tests[0].attributes"}


def test_a_model_that_no_spec_has_is_misuse(spec: Path, tmp_path: Path) -> None:
    run = session(tmp_path, overrides=(Override(name="aftr", source=None, what="/x"),))
    with pytest.raises(UsageError, match="'after'"):
        run.load(spec, "x.bias.yaml")


def test_strict_makes_a_test_that_its_family_hides_a_fault(spec: Path, tmp_path: Path) -> None:
    spec.write_text(SPEC + "settings: {alpha: 0.0003}\n")
    session(tmp_path).load(spec, "x.bias.yaml")
    with pytest.raises(SpecError, match=r"1 of 3 .* 'after'"):
        session(tmp_path, strict=True).load(spec, "x.bias.yaml")
