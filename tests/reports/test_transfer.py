"""The rank correlation of effects before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scipy import stats

from pytest_visualbias.reports.bias_counts import RankCorrelation, rank_correlations
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from tests.reports.conftest import GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]

BEFORE = [0.1, -0.4, 0.9, 1.2, 0.3, 0.3]
AFTER = [0.2, -0.9, 1.6, 0.8, 0.5, 0.1]


def grown(
    make: Make,
    before: list[float] = BEFORE,
    after: list[float] = AFTER,
    base: str = "before",
    **keys: object,
) -> list[ResultRecord]:
    """Return a record for each pair of effects."""
    return [
        make(f"test {index}", growth={**GROWTH, "base": base, "before": old, "after": new}, **keys)
        for index, (old, new) in enumerate(zip(before, after, strict=True))
    ]


def test_it_is_spearmans_over_the_tests_of_a_spec(make: Make) -> None:
    (found,) = rank_correlations(grown(make))
    assert found == RankCorrelation(
        spec="bias_specs/x.bias.yaml",
        layer="pooled",
        base="before",
        model="after",
        of="effects",
        k=6,
        spearman=found.spearman,
    )
    assert found.spearman == pytest.approx(stats.spearmanr(BEFORE, AFTER).statistic)


def test_fewer_than_five_tests_have_none(make: Make) -> None:
    records = grown(make)
    assert rank_correlations(records[:4]) == []
    assert rank_correlations(records[:5])[0].k == 5


def test_only_what_could_be_compared_counts(make: Make) -> None:
    """References and what is not comparable have no growth; an invalid result says nothing."""
    others = [
        make(model="before"),
        make(growth=None),
        make(outcome="error", measured=False),
        make(outcome="invalid"),
    ]
    assert rank_correlations([*others, *grown(make), *others])[0].k == 6
    assert rank_correlations(others * 5) == []


def test_specs_layers_and_pairs_of_models_are_apart(make: Make) -> None:
    records = [
        *grown(make),
        *grown(make, layer="layer3"),
        *grown(make, spec="bias_specs/y.bias.yaml"),
        *grown(make, base="early"),
    ]
    assert [(one.spec, one.layer, one.base, one.k) for one in rank_correlations(records)] == [
        ("bias_specs/x.bias.yaml", "pooled", "before", 6),
        ("bias_specs/x.bias.yaml", "layer3", "before", 6),
        ("bias_specs/y.bias.yaml", "pooled", "before", 6),
        ("bias_specs/x.bias.yaml", "pooled", "early", 6),
    ]


def test_similarities_are_not_ranked_among_effects(make: Make) -> None:
    """They lie on another scale: together they would always seem to keep their order."""
    records = [
        *grown(make),
        *grown(make, before=AFTER, after=BEFORE, gap=None, kind="intra-similarity"),
    ]
    assert [(one.of, one.k) for one in rank_correlations(records)] == [
        ("effects", 6),
        ("similarities", 6),
    ]


def test_where_all_effects_are_equal_there_is_none(make: Make) -> None:
    assert rank_correlations(grown(make, before=[0.0] * 6)) == []


def test_it_is_one_line_below_the_tables(make: Make) -> None:
    screen = Screen(width=80, has_colour=False, has_unicode=False)
    records = [*grown(make), *grown(make, layer="layer3")]
    *_, first, second, note = render(records, ["a note"], screen, verbosity=0).splitlines()
    for line, layer in ((first, "pooled"), (second, "layer3")):
        assert f"before -> after [{layer}]: transfer +0.84 " in line
    assert note == "a note"
    assert "transfer" not in render(records, [], screen, verbosity=-1)


def test_its_entry_in_the_report_has_the_keys_that_readers_rely_on(make: Make) -> None:
    (one,) = rank_correlations(grown(make, after=BEFORE))
    assert one.plain() == {
        "spec": "bias_specs/x.bias.yaml",
        "layer": "pooled",
        "from": "before",
        "to": "after",
        "of": "effects",
        "k": 6,
        "spearman": 1.0,
    }
