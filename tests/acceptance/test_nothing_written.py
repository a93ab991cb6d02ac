"""A value that is empty is an error at its place: a template variable that nobody set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.api import audit
from pytest_visualbias.errors import SpecError
from tests.acceptance.conftest import PIXELS
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
NULLS = ("", "null", "~")
TRANSFORMERS = "{source: transformers, path: ../net, preprocess: ieat, transform: {size: 8}"
TIMM = "{source: timm, name: test_resnet"
# An entry of a model, and its last key, which is written without a value.
ENTRIES = (
    ("{source: embeddings, path: ../after.safetensors", "prefix"),
    ("{source: embeddings", "path"),
    ("{path: ../after.safetensors", "source"),
    *((TRANSFORMERS, key) for key in ("checkpoint", "adapter", "pretrained", "revision")),
    *((TIMM, key) for key in ("checkpoint", "checkpoints", "random_init", "prefix", "container")),
    ("{source: timm, checkpoint: ../x.safetensors", "name"),
    ("{source: factory, call: net:make, transform: {size: 8}", "checkpoint"),
    ("{source: onnx, path: ../x.onnx", "transform"),
    ("{source: pixels, checkpoint: ../before.txt", "anything"),
)


def faults_of(result: pytest.RunResult, *path: str) -> list[str]:
    """Return the lines of a run that name a path in the spec."""
    return [line for line in sentences(result).splitlines() if f": {'.'.join(path)}: " in line]


@pytest.mark.parametrize("nothing", NULLS)
@pytest.mark.parametrize("limit", ["max_effect", "max_growth", "max_shift", "min_effect"])
def test_a_limit_without_a_value_is_an_error_of_the_spec(
    project: Project, serial: Gate, limit: str, nothing: str
) -> None:
    """The limit would be gone, and every effect within it."""
    project.pair(after=1.0)
    project.spec(one_test("one", f"\n      {limit}: {nothing}"))
    for given in ((), ("--visualbias-strict",)):
        result = serial(*given)
        assert result.ret == 2
        assert faults_of(result, "tests[0]", "limits", limit)


@pytest.mark.parametrize("key", ["accept", "control", "evidence", "alternative", "growth_from"])
def test_a_key_of_a_test_without_a_value_is_an_error_of_the_spec(
    project: Project, serial: Gate, key: str
) -> None:
    project.pair(after=1.0)
    project.spec(one_test("one", **{key: ""}))
    result = serial()
    assert result.ret == 2
    assert faults_of(result, "tests[0]", key)


@pytest.mark.parametrize("key", ["layers", "suite", "stimuli", "alpha", "correction", "title"])
def test_a_key_of_the_spec_without_a_value_is_an_error_of_the_spec(
    project: Project, serial: Gate, key: str
) -> None:
    project.pair(after=1.0)
    project.spec(head=f"{key}:")
    result = serial()
    assert result.ret == 2
    assert faults_of(result, key)


@pytest.mark.parametrize(("entry", "key"), ENTRIES)
def test_a_key_of_a_model_without_a_value_is_an_error_of_the_spec(
    project: Project, serial: Gate, entry: str, key: str
) -> None:
    """Without its checkpoint or its adapter, the base network would be gated."""
    project.pair()
    before = "{source: embeddings, path: ../before.safetensors}"
    project.spec(models=f"\n  before: {before}\n  after: {entry}, {key}: }}\n")
    result = serial()
    assert result.ret == 2
    assert faults_of(result, "models", "after", key)


def test_a_limit_of_a_suite_goes_by_a_word_and_not_by_nothing(
    project: Project, serial: Gate
) -> None:
    (project.path / "own.suite.yaml").write_text(
        "visualbias_suite: 1\nconcepts: {x: x, y: y, a: a, b: b}\n"
        "tests: [{name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}]\n"
    )
    project.pair(after=1.0)
    head = "suite: {name: ../own.suite.yaml, limits: {max_effect: 0.5}}\n"
    for value, code in (("", 2), ("none", 0)):
        project.spec(f"- {{name: one, limits: {{max_effect: {value}}}}}", head=head, concepts="{}")
        assert serial().ret == code


def test_none_in_a_spec_of_python_is_the_same(project: Project) -> None:
    project.pair(after=1.0)
    entry = {"source": "embeddings", "path": str(project.path / "after.safetensors")}
    test = {
        "name": "one",
        "kind": "ieat",
        "targets": {"X": "x", "Y": "y"},
        "attributes": {"A": "a", "B": "b"},
        "limits": {"max_effect": None},
    }
    concepts = {name: name for name in "xyab"}
    with pytest.raises(SpecError) as error:
        audit({"visualbias": 1, "models": {"after": entry}, "concepts": concepts, "tests": [test]})
    assert "tests[0].limits.max_effect: " in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        *("before", "after", "model", "stimuli", "device", "precision", "batch_size", "cache"),
        *("json", "html", "md", "csv", "model_card", "baseline", "cache_limit", "strict"),
        *("offline", "rehash", "no_cache", "step_summary"),
    ],
)
def test_an_empty_key_of_the_ini_file_is_a_usage_error(
    project: Project, serial: Gate, key: str
) -> None:
    project.pair()
    project.spec()
    (project.path / "pytest.ini").write_text(f"[pytest]\nvisualbias_{key} =\n")
    result = serial.run("--visualbias")
    assert result.ret == 4, sentences(result)


@pytest.mark.parametrize(
    "option",
    [
        *("before", "after", "model", "stimuli", "device", "precision", "batch-size", "cache"),
        *("json", "html", "md", "csv", "model-card", "baseline"),
    ],
)
def test_an_empty_option_is_a_usage_error(project: Project, serial: Gate, option: str) -> None:
    project.pair()
    project.spec()
    result = serial.run("--visualbias", f"--visualbias-{option}=")
    assert result.ret == 4
    assert f"--visualbias-{option}: " in sentences(result)


def test_what_another_package_reads_has_no_empty_keys_either(pixels: Project, serial: Gate) -> None:
    pixels.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=PIXELS.replace("after.txt}", "after.txt, size: }"),
        concepts="{x: x, y: y, a: a, b: b}",
    )
    result = serial()
    assert result.ret == 2
    assert faults_of(result, "models", "after", "size")
