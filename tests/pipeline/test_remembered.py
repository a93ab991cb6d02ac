"""Results are found again from the very same numbers, and from no others."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_visualbias.evaluation import scoring
from pytest_visualbias.evaluation.scoring import ResultCache
from pytest_visualbias.spec.hashing import digest_of_text
from pytest_visualbias.statistics.association import AssociationResult, association_from_scores
from pytest_visualbias.statistics.scores import Scores, association_scores

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = {"spec": "x.bias.yaml", "model": "after", "layer": "pooled"}


def scores(seed: int = 0) -> Scores:
    return association_scores(*np.random.default_rng(seed).normal(size=(4, 6, 8)))


class Computer:
    """Counts how often it is asked."""

    def __init__(self, folder: Path | None) -> None:
        self.memo = ResultCache(folder, **FAMILY)
        self.computed = 0

    def __call__(self, *basis: Any) -> AssociationResult:  # noqa: ANN401
        def compute() -> AssociationResult:
            self.computed += 1
            return association_from_scores(next(one for one in basis if isinstance(one, Scores)))

        return self.memo.of(AssociationResult, compute, *basis)


def test_a_later_run_finds_the_same_to_the_last_bit(tmp_path: Path) -> None:
    first, second = Computer(tmp_path), Computer(tmp_path)
    found = first(scores(), 0.05)
    first.memo.save()
    second = Computer(tmp_path)
    assert second(scores(), 0.05) == found
    assert (first.computed, second.computed) == (1, 0)


@pytest.mark.parametrize(
    "basis",
    [
        (scores(1), 0.05),
        (dataclasses.replace(scores(), x=np.nextafter(scores().x, 9)), 0.05),
        (dataclasses.replace(scores(), cosines=()), 0.05),
        (scores(), 0.01),
        (scores(), None),
        (scores(), "0.05"),
        (scores(), 0.05, None),
        (0.05, scores()),
    ],
    ids=["other scores", "one ulp", "no cosines", "alpha", "none", "text", "more", "order"],
)
def test_whatever_differs_is_computed_anew(tmp_path: Path, basis: tuple[Any, ...]) -> None:
    first = Computer(tmp_path)
    first(scores(), 0.05)
    first.memo.save()
    second = Computer(tmp_path)
    second(*basis)
    assert second.computed == 1


def test_another_version_computes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Computer(tmp_path)
    first(scores())
    first.memo.save()
    monkeypatch.setattr(scoring, "_version", lambda package: f"{package} next")
    second = Computer(tmp_path)
    second(scores())
    assert second.computed == 1


def test_only_what_the_last_run_used_is_kept(tmp_path: Path) -> None:
    """Or results of every edit of a spec would pile up."""
    for seed in (0, 1):
        run = Computer(tmp_path)
        run(scores(seed))
        run.memo.save()
    third = Computer(tmp_path)
    third(scores(1))
    third(scores(0))
    assert third.computed == 1


@pytest.mark.parametrize("how", ["empty", "cut", "changed", "list", "deep", "fields"])
def test_a_damaged_file_costs_time_only(tmp_path: Path, how: str) -> None:
    first = Computer(tmp_path)
    expected = first(scores())
    first.memo.save()
    (path,) = tmp_path.rglob("*.json")
    content = path.read_text()
    stored = json.loads(content)
    text = json.dumps({key: {"p_value": 0.0} for key in json.loads(stored["results"])})
    path.write_text(
        {
            "empty": "",
            "cut": content[:-5],
            "changed": content.replace("exact", "exacd"),
            "list": "[]",
            "deep": "[" * 200_000,
            "fields": json.dumps({"results": text, "sha256": digest_of_text(text)}),
        }[how]
    )
    second = Computer(tmp_path)
    assert second(scores()) == expected
    assert second.computed == 1


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (blocked := tmp_path / "file").touch()
    run = Computer(blocked)
    run(scores())
    run.memo.save()
    assert run.computed == 1


def test_without_a_cache_everything_is_computed() -> None:
    run = Computer(None)
    run(scores())
    run(scores())
    run.memo.save()
    assert run.computed == 2


def test_results_that_are_found_count_as_used(tmp_path: Path) -> None:
    """Or pruning would take what every run needs for what none did."""
    first = Computer(tmp_path)
    first(scores())
    first.memo.save()
    (path,) = tmp_path.rglob("*.json")
    os.utime(path.parent, (1, 1))
    Computer(tmp_path)
    assert path.parent.stat().st_mtime > 1
