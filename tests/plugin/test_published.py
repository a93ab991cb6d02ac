"""The gate over iEAT's stored embeddings gives what was published (Steed and Caliskan 2021)."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin.conftest import one_test

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

MODELS = ("igpt_l_32", "igpt-logit_l_32", "random")


@pytest.fixture
def published(reference_data: Path) -> list[dict[str, str]]:
    """Rows of 3 models by 39 tests, with d and where feasible p of the published code."""
    with (reference_data / "ieat/published.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stored(reference_data: Path) -> str:
    """Return the models of a spec over the stored embeddings."""
    path = reference_data / "ieat/embeddings.safetensors"
    entry = f"{{source: embeddings, path: {path}, prefix: NAME/}}"
    return "".join(f"\n  {name}: {entry.replace('NAME', name)}" for name in MODELS) + "\n"


def run(
    project: Project, reference_data: Path, rows: list[dict[str, str]], settings: str
) -> dict[tuple[str, str], dict[str, Any]]:
    """Write the tests as a spec, run it, and return the results by model and test."""
    tests = [row for row in rows if row["model"] == MODELS[0]]
    project.spec(
        *(
            one_test(f'"{row["test"]}"', "{}", **{role: row[role] for role in "XYAB"})
            for row in tests
        ),
        head=f"settings: {settings}",
        models=stored(reference_data),
        concepts=f"{{{', '.join(sorted({f'{r[k]}: {r[k]}' for r in tests for k in 'XYAB'}))}}}",
    )
    result = project.gate()
    assert result.ret == 0
    result.assert_outcomes(passed=len(rows))
    return by_model_and_test(project)


def by_model_and_test(project: Project) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["model"], row["test"]): row for row in project.report()["results"]}


@pytest.mark.slow
def test_the_suite_ieat_is_what_was_published(
    project: Project, reference_data: Path, published: list[dict[str, str]]
) -> None:
    """Its names, sets, sizes and directions: every d and its sign, and every p that was counted."""
    spec = project.path / "bias_specs" / "x.bias.yaml"
    spec.parent.mkdir()
    spec.write_text(f"visualbias: 1\nmodels:{stored(reference_data)}suite: ieat\n")
    result = project.gate()
    assert result.ret == 0
    result.assert_outcomes(passed=117)
    found = by_model_and_test(project)
    assert found.keys() == {(row["model"], row["test"]) for row in published}
    for row in published:
        ours = found[row["model"], row["test"]]
        assert ours["effect_size"] == pytest.approx(float(row["d"]), abs=1e-6), row
        assert [ours["sets"][role]["concept"] for role in "XYAB"] == [row[k] for k in "XYAB"]
        assert [ours[f"n_{role}"] for role in "xyab"] == [int(row[f"n_{k}"]) for k in "xyab"]
    assert exact(found, published, "p_exact_two_sided") == 48
    counts = project.report()["summary"]["bias_counts"]
    # Flowers and insects are the positive control, which neither read-out of iGPT shows.
    assert {(one["tests"], one["control"]) for one in counts} == {(38, "failed")}


def test_one_sided_exact_p_are_the_published_ones(
    project: Project, reference_data: Path, published: list[dict[str, str]]
) -> None:
    counted = [row for row in published if row["p_exact_greater"]]
    found = run(project, reference_data, counted, "{alternative: greater, sides: targets}")
    assert exact(found, counted, "p_exact_greater") == 48


def exact(
    found: dict[tuple[str, str], dict[str, Any]], rows: list[dict[str, str]], column: str
) -> int:
    """Compare with every p that the published code counted; return how many there are."""
    counted = [row for row in rows if row[column]]
    for row in counted:
        ours = found[row["model"], row["test"]]
        assert ours["p_method"] == "exact", row
        assert ours["p_value"] == float(row[column]), row
    return len(counted)
