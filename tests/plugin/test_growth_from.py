"""Several finetunings in one spec: `growth_from` of models, and labels that sum them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import control_test, kind_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FILES = {"small": 0.0, "small-tuned": 1.0, "large": 1.0, "large-tuned": 1.0}
STARTS = {"small-tuned": "small", "large-tuned": "large"}


def models(starts: dict[str, str] = STARTS) -> str:
    """Return the entries of the four models; growth of some is measured from another one."""
    lines = []
    for name in FILES:
        keys = f"source: embeddings, path: ../{name}.safetensors, labels: {{kind: mlp"
        keys += f", size: {starts[name]}}}, growth_from: {starts[name]}" if name in starts else "}"
        lines.append(f"  {name}: {{{keys}}}\n")
    return "\n" + "".join(lines)


GROWTH = "{max_growth: 0.2}"


@pytest.fixture
def four(project: Project) -> Project:
    """A small network that became biased, and a large one that was and stayed so."""
    for name, bias in FILES.items():
        project.store(name, bias=bias)
    return project


def test_each_model_grows_from_its_own_start(four: Project) -> None:
    four.spec(one_test("one", GROWTH), models=models())
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
    four.spec(one_test("one", GROWTH, growth_from="small"), models=models())
    four.gate()
    assert four.row("one", "large-tuned")["growth"]["from"] == "small"
    assert four.row("one", "large-tuned")["outcome"] == "fail"
    assert four.row("one", "large")["role"] == "gated"


def test_every_model_of_a_chain_but_the_first_is_gated(four: Project) -> None:
    chain = {"small-tuned": "small", "large": "small-tuned", "large-tuned": "large"}
    four.spec(one_test("one", "{max_shift: 0.2}"), models=models(chain))
    assert four.gate().ret == 1
    rows = {name: four.row("one", name) for name in FILES}
    assert {name: row["role"] for name, row in rows.items()} == {
        "small": "reference",
        **dict.fromkeys(chain, "gated"),
    }
    assert {name: rows[name]["growth"]["from"] for name in chain} == chain
    outcomes = {name: rows[name]["outcome"] for name in chain}
    assert outcomes == {"small-tuned": "fail", "large": "pass", "large-tuned": "pass"}


def test_in_a_chain_a_test_may_grow_from_the_middle(four: Project) -> None:
    """The middle still grows from its own start, which stays a reference."""
    chain = {"small-tuned": "small", "large": "small-tuned"}
    test = one_test("one", GROWTH, growth_from="small-tuned")
    four.spec(test, models=models(chain))
    four.gate()
    rows = {name: four.row("one", name) for name in FILES}
    assert rows["small"]["role"] == "reference"
    assert {name: row["growth"]["from"] for name, row in rows.items() if row["growth"]} == {
        "small-tuned": "small",
        "large": "small-tuned",
        "large-tuned": "small-tuned",
    }


def test_a_gated_model_needs_something_to_grow_from(four: Project) -> None:
    four.spec(one_test("one", GROWTH), models=models({"small-tuned": "small"}))
    four.refuses(2, "tests[0].limits.max_growth: ", "'large'")


@pytest.mark.parametrize(
    ("starts", "path"),
    [
        ({"small-tuned": "smal"}, "models.small-tuned.growth_from"),
        ({"small": "small"}, "models.small.growth_from"),
        ({"small": "large", "large": "small"}, "models.large.growth_from"),
        ({"small": "large", "large": "small-tuned", "small-tuned": "small"}, "models.small.growth"),
    ],
)
def test_unknown_models_and_cycles_are_faults_of_the_spec(
    four: Project, starts: dict[str, str], path: str
) -> None:
    four.spec(one_test("one"), models=models(starts))
    line = 3 + [*FILES].index(path.split(".")[1])
    four.refuses(2, f"bias_specs/x.bias.yaml:{line}:", path)


def test_labels_are_in_every_row_and_summed_up(four: Project) -> None:
    """Means over tests and models; controls, similarities and references do not count."""
    four.spec(
        one_test("one", "{max_growth: 0.2}"),
        one_test("two", "{max_effect: 0.5}", A="c", B="d"),
        control_test(),
        kind_test("intra-similarity", "{}"),
        models=models(),
    )
    assert "models by size" in sentences(four.gate())
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


def test_without_labels_there_is_no_such_table(project: Project) -> None:
    project.pair()
    project.spec()
    assert "models by" not in sentences(project.gate())
    assert project.report()["summary"]["labels"] == []
