"""Numbers of biases in the report of a run and on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugin.conftest import control_test, one_test, vectors

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


def test_a_run_of_many_tests_counts_its_biases(project: Project) -> None:
    """Along a and b the model after is biased, along c and d it is not."""
    project.store("before", vectors())
    project.store("after", vectors(bias=0.5))
    biased = [one_test(f"biased-{index}", "{}") for index in range(6)]
    neutral = [one_test(f"neutral-{index}", "{}", A="c", B="d") for index in range(4)]
    project.spec(*biased, *neutral, control_test())
    result = project.gate()
    found = {(one["p"], one["model"]): one for one in project.report()["summary"]["bias_counts"]}
    assert set(found) == {
        (p, model) for p in ("p_value", "p_verdict") for model in ("before", "after")
    }
    after = found["p_verdict", "after"]
    assert (after["tests"], after["unmeasured"], after["control"]) == (10, 0, "held")
    assert after["raw"][1] == after["positive"][1] == after["holm"][1] == 6
    assert after["random"] == [None] * 4
    assert found["p_verdict", "before"]["raw"][1] == 0
    result.stdout.fnmatch_lines(
        [
            "bias_specs/x.bias.yaml :: number of biases",
            "model*pooled",
            "before (reference)*0/0",
            "after*6/6",
            "of 10 tests without controls: p < 0.05 / p < 0.05 after Holm",
        ]
    )


def test_few_tests_have_no_table_of_numbers(project: Project) -> None:
    project.store("before", vectors())
    project.store("after", vectors(bias=0.5))
    project.spec(one_test("one", "{}"))
    result = project.gate()
    result.stdout.no_fnmatch_line("*number of biases*")
    assert len(project.report()["summary"]["bias_counts"]) == 4
