"""Several finetunings in one spec: each grows from its own start, and labels sum them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import control_test, kind_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FILES = {"small": 0.0, "small-tuned": 1.0, "large": 1.0, "large-tuned": 1.0}
MODELS = "\n" + "".join(
    f"  {name}: {{source: embeddings, path: ../{name}.safetensors, labels: {{kind: mlp}}}}\n"
    for name in FILES
)
PAIRS = (
    "pairs: [{before: small, after: small-tuned, labels: {size: small}}, "
    "{before: large, after: large-tuned, labels: {size: large}}]"
)
GROWTH = "{max_growth: 0.2}"


@pytest.fixture
def four(project: Project) -> Project:
    """A small network that became biased, and a large one that was and stayed so."""
    for name, bias in FILES.items():
        project.store(name, bias=bias)
    return project


def test_each_model_grows_from_its_own_start(four: Project) -> None:
    four.spec(one_test("one", GROWTH), models=MODELS, head=PAIRS)
    assert four.gate().ret == 1
    small, large = (four.row("one", f"{size}-tuned") for size in ("small", "large"))
    assert (small["growth"]["from"], small["outcome"]) == ("small", "fail")
    assert (large["growth"]["from"], large["outcome"]) == ("large", "pass")
    for name in ("small", "large"):
        row = four.row("one", name)
        assert (row["role"], row["growth"]) == ("reference", None)
    roles = {one["model"]: one["role"] for one in four.report()["models"]}
    assert roles == {
        "small": "reference",
        "small-tuned": "gated",
        "large": "reference",
        "large-tuned": "gated",
    }


def test_a_test_may_grow_from_elsewhere(four: Project) -> None:
    four.spec(one_test("one", GROWTH, growth_from="small"), models=MODELS, head=PAIRS)
    four.gate()
    assert four.row("one", "large-tuned")["growth"]["from"] == "small"
    assert four.row("one", "large-tuned")["outcome"] == "fail"
    assert four.row("one", "large")["role"] == "gated"


def test_one_finetuning_may_follow_another(four: Project) -> None:
    chain = "pairs: [{before: small, after: large}, {before: large, after: large-tuned}]"
    four.spec(
        one_test("one", "{max_shift: 0.2}"), models=MODELS.replace("small-t", "t"), head=chain
    )
    result = four.gate()
    assert result.ret == 2
    assert "limits.max_shift: 'tuned' is the end of no pair to measure growth in; add one" in (
        sentences(result)
    )
    chain = chain.replace("]", ", {before: large-tuned, after: small-tuned}]")
    four.spec(one_test("one", "{max_shift: 0.2}"), models=MODELS, head=chain)
    four.gate()
    assert four.row("one", "large")["growth"]["from"] == "small"
    assert four.row("one", "large")["outcome"] == "fail"
    assert four.row("one", "small-tuned")["growth"]["from"] == "large-tuned"


def test_labels_are_in_every_row_and_summed_up(four: Project) -> None:
    """Means over tests and models; controls, similarities and references do not count."""
    four.spec(
        one_test("one", "{max_growth: 0.2}"),
        one_test("two", "{max_effect: 0.5}", A="c", B="d"),
        control_test(),
        kind_test("intra-similarity", "{}"),
        models=MODELS,
        head=PAIRS,
    )
    lines = [line.rstrip() for line in sentences(four.gate()).splitlines()]
    report = four.report()
    labels = {one["model"]: one["labels"] for one in report["models"]}
    assert labels["small"] == {"kind": "mlp"}
    assert labels["small-tuned"] == {"kind": "mlp", "size": "small"}
    assert all(row["labels"] == labels[row["model"]] for row in report["results"])
    rows = [four.row(test, "small-tuned") for test in ("one", "two")]
    by_label = {(one["key"], one["value"]): one for one in report["summary"]["labels"]}
    assert list(by_label) == [("kind", "mlp"), ("size", "small"), ("size", "large")]
    small = by_label["size", "small"]
    assert (small["models"], small["tests"], small["failing"]) == (1, 2, 1)
    assert small["effect"] == pytest.approx(sum(abs(row["effect_judged"]) for row in rows) / 2)
    assert small["growth"] == pytest.approx(sum(row["growth"]["value"] for row in rows) / 2)
    assert by_label["kind", "mlp"]["models"] == 2
    start = lines.index("models by size")
    assert lines[start + 1].split() == (
        ["size", "models", "tests", "mean", "|effect|", "mean", "growth", "failing"]
    )
    effect, growth = f"{small['effect']:.2f}", f"{small['growth']:+.2f}"
    assert lines[start + 3].split() == ["small", "1", "2", effect, growth, "1"]


def test_without_labels_there_is_no_such_table(project: Project) -> None:
    project.pair()
    project.spec()
    assert "models by" not in sentences(project.gate())
    assert project.report()["summary"]["labels"] == []


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (
            "[{before: smal, after: large}]",
            "pairs[0].before: unknown model 'smal'; did you mean 'small'?",
        ),
        (
            "[{before: small, after: large}, {before: large-tuned, after: large}]",
            "pairs[1].after: another pair ends in 'large', too; keep one of them",
        ),
        (
            "[{before: small, after: small}]",
            "pairs[0].after: 'small' would come before itself; break the circle of pairs",
        ),
        (
            "[{before: small, after: large}, {before: large, after: small}]",
            "pairs[1].after: 'small' would come before itself; break the circle of pairs",
        ),
        ("[{before: small}]", "pairs[0].after: is missing; add it"),
    ],
)
def test_a_pair_that_cannot_be_is_told(four: Project, pairs: str, said: str) -> None:
    four.spec(one_test("one"), models=MODELS, head=f"pairs: {pairs}")
    result = four.gate()
    assert result.ret == 2
    assert said in sentences(result)
