"""What a spec declares, kind by kind, and which of its gates could never fail."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scipy import stats

from pytest_visualbias.evaluation.detectable import power_findings, smallest_visible
from pytest_visualbias.evaluation.family import declared_family
from pytest_visualbias.spec.effective_settings import effective_settings
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.statistics.power import smallest_detectable_effect
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

if TYPE_CHECKING:
    from pytest_visualbias.spec.schema import BiasSpec

HEAD = """visualbias: 1
models:
  before: {source: timm, name: r}
  after: {source: timm, name: r, checkpoint: a.pt}
concepts: {x: x, y: y, a: a, b: b}
settings: {SETTINGS}
tests:
"""
SETS = {
    "ieat": "targets: {X: x, Y: y}, attributes: {A: a, B: b}",
    "sc-eat": "targets: {X: x}, attributes: {A: a, B: b}",
    "similarity-gap": "targets: {X: x, Y: y}, attributes: {A: a}",
    "intra-similarity": "targets: {X: x}",
    "outcome-gap": "targets: {X: x, Y: y}, prediction: {class: 1, rate: share}",
}


def spec(settings: str = "", **tests: str) -> BiasSpec:
    """Return a spec of one test for each kind given, with its limits and other keys."""
    text = HEAD.replace("SETTINGS", settings)
    for key, keys in tests.items():
        kind = key.replace("_", "-")
        text += f"  - {{name: {kind}, kind: {kind}, {SETS[kind]}, {keys}}}\n"
    return parse_spec(text, file="s", folder=Path()).spec


def sets(**sizes: int) -> dict[str, StimulusSet]:
    """Return sets of these sizes, eight where nothing is said."""
    return {
        name: StimulusSet(
            concept=name,
            stimuli=tuple(
                Stimulus(name=f"{name}{i}", digest=f"{name}{i}", identity=f"{name}{i}")
                for i in range(sizes.get(name, 8))
            ),
        )
        for name in "xyab"
    }


def messages(of: BiasSpec, **sizes: int) -> dict[tuple[str | int, ...], str]:
    found = power_findings(of, "after", sets(**sizes))
    return {one.path: one.message for one in found if one.is_fault}


def bounds_of(told: dict[tuple[str | int, ...], str]) -> dict[str | int, float]:
    """Return the largest value that a limit can see, by its key."""
    return {path[-1]: float(re.findall(r"\d+\.\d+", text)[0]) for path, text in told.items()}


LIMITS = "limits: {max_effect: 0.5, max_growth: 0.2}"


def test_only_a_p_that_a_limit_uses_counts_in_a_family() -> None:
    """Not one of a kind that has none, nor where an interval or the point itself is the evidence.

    Each that counts makes every other one harder to reach.
    """
    found = spec(
        "evidence: interval",
        ieat=f"evidence: significant, {LIMITS}",
        sc_eat=LIMITS,
        similarity_gap="evidence: significant, limits: {max_gap: 0.1}",
        intra_similarity=LIMITS,
    )
    assert declared_family(found, "after") == [
        ("pooled", "ieat", "effect"),
        ("pooled", "ieat", "growth"),
        ("pooled", "similarity-gap", "effect"),
    ]


class TestPlan:
    @pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
    def test_a_similarity_is_judged_as_it_is(self, alternative: str) -> None:
        found = spec(f"alternative: {alternative}", intra_similarity="limits: {}")
        assert effective_settings(found, found.tests[0]).alternative == "greater"

    @pytest.mark.parametrize(
        ("settings", "evidence"),
        [("significant", "interval"), ("interval", "interval"), ("point", "point")],
    )
    def test_a_similarity_is_never_significant(self, settings: str, evidence: str) -> None:
        found = spec(f"evidence: {settings}", intra_similarity="limits: {}")
        assert effective_settings(found, found.tests[0]).evidence == evidence

    def test_other_kinds_follow_the_settings(self) -> None:
        found = spec("alternative: less, evidence: point", sc_eat=LIMITS, similarity_gap=LIMITS)
        for test in found.tests:
            plan = effective_settings(found, test)
            assert (plan.alternative, plan.evidence) == ("less", "point")


class TestSizes:
    @pytest.mark.parametrize(
        ("kind", "sizes", "part"),
        [
            ("sc_eat", {"b": 2, "a": 2}, "attributes"),
            ("similarity_gap", {"x": 2, "y": 2}, "targets"),
        ],
    )
    def test_those_of_the_compared_sets_decide_what_p_can_be_reached(
        self, kind: str, sizes: dict[str, int], part: str
    ) -> None:
        ((path, message),) = messages(spec(**{kind: LIMITS}), **sizes).items()
        assert path == ("tests", 0, part)
        assert "1/3" in message

    @pytest.mark.parametrize(
        ("kind", "sizes"), [("sc_eat", {"x": 1}), ("similarity_gap", {"a": 1})]
    )
    def test_the_other_set_may_be_of_one_image(self, kind: str, sizes: dict[str, int]) -> None:
        assert messages(spec(**{kind: LIMITS}), **sizes) == {}

    @pytest.mark.parametrize("kind", ["sc_eat", "similarity_gap"])
    def test_an_effect_has_the_bound_of_its_one_side(self, kind: str) -> None:
        """With eight against eight, sqrt(16 15 / 64) = 1.94."""
        limits = "limits: {max_effect: 1.94, max_growth: 1.94, max_shift: 3.88}"
        found = messages(spec(**{kind: limits}))
        assert bounds_of(found) == {"max_effect": 1.94, "max_growth": 1.94, "max_shift": 3.87}

    @pytest.mark.parametrize(("kind", "most"), [("ieat", 4), ("sc_eat", 2), ("similarity_gap", 2)])
    def test_a_gap_has_the_bound_of_cosines(self, kind: str, most: int) -> None:
        """A limit that nothing can exceed would pass whatever the model does."""
        found = messages(spec(**{kind: f"limits: {{max_gap: {most}}}"}))
        assert bounds_of(found) == {"max_gap": most}
        assert messages(spec(**{kind: f"limits: {{max_gap: {most - 0.01}}}"})) == {}

    def test_a_similarity_is_between_that_of_a_simplex_and_one(self) -> None:
        """Five unit vectors have a mean cosine of -1/4 or more."""
        kind = "evidence: point, limits: {max_effect: 1, max_growth: 1, max_shift: 1.25}"
        found = messages(spec(intra_similarity=kind), x=5)
        assert bounds_of(found) == {"max_effect": 1, "max_growth": 1, "max_shift": 1.25}
        below = kind.replace("1.25", "1.24").replace(": 1,", ": 0.99,")
        assert messages(spec(intra_similarity=below), x=5) == {}

    def test_a_control_of_one_side_must_be_able_to_hold(self) -> None:
        control = "control: positive, limits: {min_effect: 0.5}"
        found = messages(spec(similarity_gap=control, sc_eat="limits: {}"), x=2, y=2)
        assert {*found} == {("tests", 0, "targets")}


@pytest.mark.parametrize(
    ("kind", "sides"),
    [
        ("ieat", ((6, 7), (8, 9))),
        ("sc_eat", ((8, 9),)),
        ("similarity_gap", ((6, 7),)),
        ("intra_similarity", ()),
    ],
)
def test_what_can_be_seen_is_told_for_each_side_that_is_judged(
    kind: str, sides: tuple[tuple[int, int], ...]
) -> None:
    found = spec("correction: none", **{kind: "limits: {}"})
    sizes = {"X": 6, "Y": 7, "A": 8, "B": 9}
    expected = [smallest_detectable_effect(*side, 0.05, "two-sided") for side in sides]
    assert smallest_visible(found, found.tests[0], sizes, 1) == (
        *expected,
        *(None,) * (2 - len(expected)),
    )


class TestPredictions:
    GAP = "limits: {max_gap: 0.1, max_growth: 0.1}"

    def test_they_are_in_one_family_with_the_tests_of_embeddings(self) -> None:
        found = spec(ieat=LIMITS, outcome_gap=self.GAP)
        assert declared_family(found, "after") == [
            ("pooled", "ieat", "effect"),
            ("pooled", "ieat", "growth"),
            ("logits", "outcome-gap", "effect"),
            ("logits", "outcome-gap", "growth"),
        ]

    def test_the_smallest_visible_gap_is_that_of_rates_near_one_half(self) -> None:
        """A larger gap is significant by Fisher's test, a smaller one is not."""
        found = spec("correction: none", outcome_gap=self.GAP)
        visible, other = smallest_visible(found, found.tests[0], {"X": 50, "Y": 50}, 1)
        assert other is None
        assert visible is not None
        above, below = (math.ceil(visible * 50) + 1, math.floor(visible * 50) - 1)
        for apart, is_significant in ((above, True), (below, False)):
            first = 25 + apart // 2
            table = [[first, 50 - first], [first - apart, 50 - first + apart]]
            assert (stats.fisher_exact(table).pvalue <= 0.05) == is_significant

    @pytest.mark.parametrize("limit", ["max_gap: 1", "max_growth: 1", "max_shift: 2"])
    def test_a_limit_that_no_gap_can_be_over_is_a_fault(self, limit: str) -> None:
        key, _, most = limit.partition(": ")
        told = messages(spec(outcome_gap=f"limits: {{{limit}}}"))
        assert {*told} == {("tests", 0, "limits", key)}
        assert bounds_of(told) == {key: float(most)}
