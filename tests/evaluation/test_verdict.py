"""From numbers and limits to an outcome: a table for every limit, evidence and alternative."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import stdtrit

from pytest_visualbias.evaluation.verdict import (
    CorrectedP,
    DecisionRule,
    Numbers,
    Verdict,
    images_needed,
    judge,
    judge_control,
)
from pytest_visualbias.results import format_effect, format_p, rounded_up
from pytest_visualbias.spec.test_kinds import Limits
from pytest_visualbias.statistics.association import AssociationResult
from pytest_visualbias.statistics.classifier_gap import OutcomeScores, outcome_from_scores
from pytest_visualbias.statistics.growth import GrowthResult
from pytest_visualbias.statistics.intervals import Estimate, Estimates
from pytest_visualbias.statistics.intra_similarity import IntraGrowthResult, IntraResult

if TYPE_CHECKING:
    from pytest_visualbias.evaluation.verdict import Outcome
    from pytest_visualbias.spec.fields import Alternative, EvidenceRule
    from pytest_visualbias.statistics import ChangeResult, EffectResult

EFFECT = AssociationResult(
    effect_size=1.5,
    effect_size_attributes=0.8,
    effect_judged=0.8,
    gap=0.03,
    ci_low=0.2,
    ci_high=1.4,
    gap_ci_low=0.01,
    gap_ci_high=0.05,
    confidence=0.95,
    n_x=8,
    n_y=8,
    n_a=8,
    n_b=8,
    p_value=0.01,
    p_low=0.01,
    p_high=0.01,
    p_method="exact",
    p_attributes=0.02,
    p_welch=None,
    p_verdict=0.02,
    p_verdict_low=0.02,
    p_verdict_high=0.02,
    p_verdict_method="exact",
)


def estimates(low: float, high: float) -> Estimates:
    """Return estimates whose 95 % intervals of growth and shift have these ends."""
    middle = (low + high) / 2
    margin = (high - low) / 2 / float(stdtrit(9, 0.975))
    change = Estimate(value=middle, error=margin, freedom=9)
    return Estimates(before=Estimate(value=1.0), growth=change, shift=change)


GROWTH = GrowthResult(
    growth=0.5,
    shift=-0.7,
    flipped=False,
    ci_low=0.1,
    ci_high=0.9,
    shift_ci_low=-1.0,
    shift_ci_high=-0.4,
    confidence=0.95,
    before=0.3,
    after=0.8,
    estimates=Estimates(),
    p_value=0.01,
    p_low=0.01,
    p_high=0.01,
    p_method="exact",
    p_attributes=None,
    p_welch=None,
    p_verdict=0.01,
    p_verdict_low=0.01,
    p_verdict_high=0.01,
    p_verdict_method="exact",
)
WITHIN = IntraResult(
    effect_size=0.6,
    effect_judged=0.6,
    ci_low=0.5,
    ci_high=0.7,
    confidence=0.95,
    standard_error=0.04,
    degrees_of_freedom=7,
    n_x=8,
)
WITHIN_GROWTH = IntraGrowthResult(
    growth=0.2,
    shift=0.2,
    flipped=False,
    ci_low=0.1,
    ci_high=0.3,
    shift_ci_low=0.1,
    shift_ci_high=0.3,
    confidence=0.95,
    before=0.4,
    after=0.6,
    estimates=estimates(0.1, 0.9),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WithEnds(AssociationResult):
    """An effect whose interval at a level is as given, else -2 to 2."""

    ends: dict[float, tuple[float, float]] = field(default_factory=dict)

    def interval(self, level: float) -> tuple[float, float]:
        return self.ends.get(round(level, 6), (-2.0, 2.0))

    def gap_interval(self, level: float) -> tuple[float, float]:
        if self.gap_ci_low is not None and self.gap_ci_high is not None:
            return self.gap_ci_low, self.gap_ci_high
        return self.interval(level)


def effect(
    judged: float,
    *,
    ends: dict[float, tuple[float, float]] | None = None,
    low: float = -2.0,
    high: float = 2.0,
    **keys: float,
) -> AssociationResult:
    """Return an effect; `low` and `high` are the ends of its 95 % interval."""
    plain = {one.name: getattr(EFFECT, one.name) for one in dataclasses.fields(EFFECT)}
    changed = {"gap": 0.0, "effect_judged": judged, "ends": ends or {0.95: (low, high)}}
    return WithEnds(**{**plain, **changed, **keys})


def rule(
    evidence: EvidenceRule = "significant", alternative: Alternative = "two-sided", **limits: float
) -> DecisionRule:
    return DecisionRule(
        limits=Limits(**limits), evidence=evidence, alternative=alternative, alpha=0.05
    )


def verdict(
    numbers: EffectResult,
    by: DecisionRule,
    p: float | None = 0.01,
    growth: ChangeResult | None = None,
    growth_p: float | None = 0.01,
) -> Verdict:
    return judge(
        Numbers(effect=numbers, growth=growth),
        by,
        CorrectedP(effect=p, growth=growth_p, shift=growth_p),
    )


def limits_of(found: Verdict) -> list[tuple[str, float | None, float, bool]]:
    """Return the violations of a verdict as plain values."""
    return [(one.kind, one.value, one.limit, one.evidence) for one in found.violations]


class TestMaxEffect:
    @pytest.mark.parametrize(
        ("alternative", "judged", "outcome"),
        [
            ("two-sided", 0.6, "fail"),
            ("two-sided", -0.6, "fail"),
            ("two-sided", 0.5, "pass"),
            ("two-sided", -0.5, "pass"),
            ("two-sided", 0.4, "pass"),
            ("greater", 0.6, "fail"),
            ("greater", -0.6, "pass"),
            ("less", -0.6, "fail"),
            ("less", 0.6, "pass"),
        ],
    )
    def test_is_on_the_judged_effect_in_the_direction_that_counts(
        self, alternative: Alternative, judged: float, outcome: Outcome
    ) -> None:
        by = rule("point", alternative, max_effect=0.5)
        assert verdict(effect(judged), by).outcome == outcome

    @pytest.mark.parametrize(
        ("p", "outcome"),
        [(0.01, "fail"), (0.05, "fail"), (0.0501, "inconclusive"), (1.0, "inconclusive")],
    )
    def test_significant_needs_the_corrected_p(self, p: float, outcome: Outcome) -> None:
        assert verdict(effect(0.6), rule(max_effect=0.5), p).outcome == outcome

    def test_without_a_p_nothing_is_significant(self) -> None:
        assert verdict(effect(0.6), rule(max_effect=0.5), None).outcome == "inconclusive"

    @pytest.mark.parametrize("p", [0.001, 1.0])
    def test_within_the_limit_no_p_matters(self, p: float) -> None:
        assert verdict(effect(0.4), rule(max_effect=0.5), p) == Verdict(outcome="pass")

    @pytest.mark.parametrize(
        ("alternative", "judged", "low", "high", "outcome"),
        [
            ("two-sided", 0.9, 0.51, 1.3, "fail"),
            ("two-sided", 0.9, 0.5, 1.3, "inconclusive"),
            ("two-sided", -0.9, -1.3, -0.51, "fail"),
            ("two-sided", -0.9, -1.3, -0.5, "inconclusive"),
            ("greater", 0.9, 0.51, 1.3, "fail"),
            ("greater", 0.9, 0.4, 1.3, "inconclusive"),
            ("less", -0.9, -1.3, -0.51, "fail"),
            ("less", -0.9, -1.3, -0.4, "inconclusive"),
            ("two-sided", 0.3, -0.4, 1.3, "pass"),
        ],
    )
    def test_interval_needs_all_of_it_beyond_the_limit(
        self,
        alternative: Alternative,
        judged: float,
        low: float,
        high: float,
        outcome: Outcome,
    ) -> None:
        by = rule("interval", alternative, max_effect=0.5)
        assert verdict(effect(judged, low=low, high=high), by, p=1.0).outcome == outcome

    def test_a_limit_of_zero_allows_nothing(self) -> None:
        assert verdict(effect(1e-9), rule("point", max_effect=0.0)).outcome == "fail"
        assert verdict(effect(0.0), rule("point", max_effect=0.0)).outcome == "pass"


class TestMaxGap:
    @pytest.mark.parametrize(
        ("alternative", "gap", "outcome"),
        [
            ("two-sided", 0.03, "fail"),
            ("two-sided", -0.03, "fail"),
            ("two-sided", 0.01, "pass"),
            ("greater", -0.03, "pass"),
            ("less", -0.03, "fail"),
        ],
    )
    def test_is_on_the_gap_in_the_direction_that_counts(
        self, alternative: Alternative, gap: float, outcome: Outcome
    ) -> None:
        by = rule("significant", alternative, max_gap=0.02)
        assert verdict(effect(1.9, gap=gap), by).outcome == outcome

    def test_needs_the_p_of_the_effect(self) -> None:
        assert verdict(effect(0.1, gap=0.03), rule(max_gap=0.02), 0.2).outcome == "inconclusive"

    @pytest.mark.parametrize(
        ("low", "high", "outcome"),
        [(0.021, 0.05, "fail"), (0.02, 0.05, "inconclusive"), (-0.05, -0.03, "fail")],
    )
    def test_by_interval_needs_all_of_the_interval_of_the_gap_beyond_the_limit(
        self, low: float, high: float, outcome: Outcome
    ) -> None:
        """The interval of the effect, +1.6 to +2, is in other units."""
        found = dataclasses.replace(
            effect(1.8, low=1.6, gap=(low + high) / 2), gap_ci_low=low, gap_ci_high=high
        )
        assert verdict(found, rule("interval", max_gap=0.02)).outcome == outcome

    def test_of_a_classifier_it_has_the_interval_of_the_effect(self) -> None:
        rates = np.repeat([0.0, 1], [30, 10]), np.repeat([0.0, 1], [10, 30])
        scores = OutcomeScores(first=rates[0], second=rates[1], is_rate=True)
        found = outcome_from_scores(scores)
        for limit, outcome in ((0.2, "fail"), (0.45, "inconclusive"), (0.55, "pass")):
            assert verdict(found, rule("interval", max_gap=limit)).outcome == outcome

    def test_a_limit_on_it_never_passes_for_want_of_a_gap(self) -> None:
        with pytest.raises(ValueError, match="gap"):
            verdict(WITHIN, rule("point", max_gap=0.02))


class TestWithinASet:
    """A mean similarity and its growth are judged by their intervals, as they have no p."""

    @pytest.mark.parametrize(
        ("evidence", "limit", "outcome"),
        [
            ("interval", 0.7, "pass"),
            ("interval", 0.55, "inconclusive"),
            ("interval", 0.4, "fail"),
            ("point", 0.55, "fail"),
            ("significant", 0.4, "inconclusive"),
        ],
    )
    def test_the_limit_is_on_the_similarity_itself(
        self, evidence: EvidenceRule, limit: float, outcome: Outcome
    ) -> None:
        by = rule(evidence, "greater", max_effect=limit)
        assert verdict(WITHIN, by, None).outcome == outcome

    @pytest.mark.parametrize(
        ("key", "limit", "outcome"),
        [
            ("max_growth", 0.05, "fail"),
            ("max_growth", 0.15, "inconclusive"),
            ("max_growth", 0.25, "pass"),
            ("max_shift", 0.05, "fail"),
            ("max_shift", 0.15, "inconclusive"),
            ("max_shift", 0.25, "pass"),
        ],
    )
    def test_so_are_limits_on_its_growth(self, key: str, limit: float, outcome: Outcome) -> None:
        by = rule("interval", "greater", **{key: limit})
        assert verdict(WITHIN, by, None, WITHIN_GROWTH, None).outcome == outcome

    def test_without_a_p_no_control_holds(self) -> None:
        by = rule("significant", "greater", min_effect=0.1)
        found = judge_control(WITHIN, by, held_before=False)
        assert found.outcome == "fail"
        assert limits_of(found) == [("min_effect", 0.6, 0.1, False)]


class TestGrowth:
    @pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
    @pytest.mark.parametrize(("growth", "outcome"), [(0.5, "fail"), (0.4, "pass"), (-0.5, "pass")])
    def test_max_growth_is_on_growth_upwards_whatever_the_alternative(
        self, alternative: Alternative, growth: float, outcome: Outcome
    ) -> None:
        found = dataclasses.replace(GROWTH, growth=growth)
        by = rule("significant", alternative, max_growth=0.4)
        assert verdict(effect(0.8), by, None, found).outcome == outcome

    @pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
    @pytest.mark.parametrize(("shift", "outcome"), [(0.7, "fail"), (-0.7, "fail"), (0.6, "pass")])
    def test_max_shift_is_on_the_change_either_way(
        self, alternative: Alternative, shift: float, outcome: Outcome
    ) -> None:
        found = dataclasses.replace(GROWTH, shift=shift)
        by = rule("significant", alternative, max_shift=0.6)
        assert verdict(effect(0.8), by, None, found).outcome == outcome

    @pytest.mark.parametrize("key", ["max_growth", "max_shift"])
    @pytest.mark.parametrize(("p", "outcome"), [(0.05, "fail"), (0.06, "inconclusive")])
    def test_significant_needs_the_p_of_growth_not_that_of_the_effect(
        self, key: str, p: float, outcome: Outcome
    ) -> None:
        by = rule("significant", "two-sided", **{key: 0.2})
        assert verdict(effect(0.8), by, 1.0, GROWTH, p).outcome == outcome
        assert verdict(effect(0.8), by, 0.001, GROWTH, p).outcome == outcome

    @pytest.mark.parametrize(
        ("key", "low", "high", "outcome"),
        [
            ("max_growth", 0.21, 0.9, "fail"),
            ("max_growth", 0.19, 0.9, "inconclusive"),
            ("max_growth", -0.9, -0.3, "inconclusive"),
            ("max_shift", 0.21, 0.9, "fail"),
            ("max_shift", -0.9, -0.21, "fail"),
            ("max_shift", -0.9, -0.19, "inconclusive"),
        ],
    )
    def test_interval_needs_all_of_it_beyond_the_limit(
        self, key: str, low: float, high: float, outcome: Outcome
    ) -> None:
        found = dataclasses.replace(GROWTH, estimates=estimates(low, high))
        by = rule("interval", "two-sided", **{key: 0.2})
        assert verdict(effect(0.8), by, None, found).outcome == outcome

    def test_without_a_limit_on_it_growth_does_not_matter(self) -> None:
        assert verdict(effect(0.1), rule(max_effect=0.5), 1.0, GROWTH).outcome == "pass"

    @pytest.mark.parametrize("key", ["max_growth", "max_shift"])
    def test_a_limit_on_growth_never_passes_for_want_of_growth(self, key: str) -> None:
        with pytest.raises(ValueError, match="growth"):
            verdict(effect(0.1), rule("point", "two-sided", **{key: 0.2}))


class TestSeveralLimits:
    def test_one_exceeded_with_evidence_is_enough(self) -> None:
        by = rule(max_effect=5, max_gap=5, max_growth=0.2, max_shift=5)
        found = verdict(effect(0.1), by, 1.0, GROWTH, 0.01)
        assert found.outcome == "fail"
        assert limits_of(found) == [("growth", 0.5, 0.2, True)]

    def test_those_with_evidence_are_the_reasons_of_a_failure(self) -> None:
        by = rule(max_effect=0.5, max_growth=0.2, max_shift=0.2)
        found = verdict(effect(-0.8), by, 0.2, GROWTH, 0.0012)
        assert found.outcome == "fail"
        assert limits_of(found) == [("growth", 0.5, 0.2, True), ("shift", -0.7, 0.2, True)]

    def test_without_any_evidence_each_is_told(self) -> None:
        by = rule(max_effect=0.5, max_growth=0.2)
        found = verdict(effect(-0.8), by, 0.2, GROWTH, 0.3)
        assert found.outcome == "inconclusive"
        assert limits_of(found) == [("effect", -0.8, 0.5, False), ("growth", 0.5, 0.2, False)]


class TestEquivalence:
    """A pass is a claim, so that it needs the 90 % interval within the limit."""

    @pytest.mark.parametrize(
        ("alternative", "judged", "low", "high", "outcome"),
        [
            ("two-sided", 0.3, 0.1, 0.5, "pass"),
            ("two-sided", 0.3, 0.1, 0.51, "inconclusive"),
            ("two-sided", -0.3, -0.51, 0.1, "inconclusive"),
            ("two-sided", -0.3, -0.5, 0.1, "pass"),
            ("greater", -0.3, -1.0, 0.4, "pass"),
            ("greater", 0.3, -1.0, 0.6, "inconclusive"),
            ("less", 0.3, -0.4, 1.0, "pass"),
            ("less", 0.3, -0.6, 1.0, "inconclusive"),
        ],
    )
    def test_the_whole_interval_must_lie_within_the_limit(
        self, alternative: Alternative, judged: float, low: float, high: float, outcome: Outcome
    ) -> None:
        found = effect(judged, ends={0.9: (low, high)})
        by = rule("equivalence", alternative, max_effect=0.5)
        told = verdict(found, by, p=1.0)
        assert told.outcome == outcome
        if outcome == "inconclusive":
            assert limits_of(told) == [("effect", judged, 0.5, False)]
            assert not told.violations[0].exceeds

    @pytest.mark.parametrize(
        ("judged", "corrected", "outcome"),
        [(0.3, 0.35, "inconclusive"), (0.3, 0.25, "pass"), (-0.3, -0.35, "inconclusive")],
    )
    def test_the_end_away_from_0_is_moved_out_by_the_bias_and_never_in(
        self, judged: float, corrected: float, outcome: Outcome
    ) -> None:
        ends = (0.1, 0.48) if judged > 0 else (-0.48, -0.1)
        found = effect(judged, ends={0.9: ends}, bias_corrected=corrected)
        assert verdict(found, rule("equivalence", max_effect=0.5), p=1.0).outcome == outcome

    @pytest.mark.parametrize(("p", "outcome"), [(0.05, "fail"), (0.06, "inconclusive")])
    def test_over_the_limit_the_corrected_p_decides(self, p: float, outcome: Outcome) -> None:
        found = effect(0.6, ends={0.9: (0.55, 0.65)})
        told = verdict(found, rule("equivalence", max_effect=0.5), p=p)
        assert (told.outcome, limits_of(told)) == (outcome, [("effect", 0.6, 0.5, p == 0.05)])
        assert told.violations[0].exceeds

    def test_fewer_than_8_images_in_a_set_show_nothing(self) -> None:
        by, ends = rule("equivalence", max_effect=0.5), {0.9: (-0.01, 0.01)}
        assert verdict(effect(0.0, ends=ends, n_b=8), by, p=1.0).outcome == "pass"
        assert verdict(effect(0.0, ends=ends, n_b=7), by, p=1.0).outcome == "inconclusive"

    def test_each_of_several_limits_must_be_shown(self) -> None:
        found = effect(0.0, ends={0.9: (-0.3, 0.3)}, gap_ci_low=-0.3, gap_ci_high=0.3)
        told = verdict(found, rule("equivalence", max_effect=0.5, max_gap=0.1), p=1.0)
        assert told.outcome == "inconclusive"
        assert limits_of(told) == [("gap", 0.0, 0.1, False)]

    def test_the_reason_says_how_many_images_would_show_it(self) -> None:
        found = effect(0.0, ends={0.9: (-0.6, 0.6)}, standard_error=0.365)
        by = rule("equivalence", max_effect=0.5)
        (reason,) = verdict(found, by, p=1.0).reasons
        # 8 images: 8 (0.365 (1.645 + 0.842) / 0.5)^2 = 26.4
        assert "about 27 images a set" in reason
        assert images_needed(found, by.limits, 0.05) == 27

    def test_of_two_limits_the_one_that_needs_more_images_decides(self) -> None:
        found = effect(0.1, standard_error=0.2, gap_standard_error=0.01, n_b=40)
        limits = (
            Limits(max_effect=0.3),
            Limits(max_gap=0.01),
            Limits(max_effect=0.3, max_gap=0.01),
        )
        one, other, both = (images_needed(found, each, 0.05) for each in limits)
        # Sets of 8, 8, 8 and 40 count as 4 / (3/8 + 1/40) = 10: 10 (0.2 * 2.486 / 0.2)^2 = 61.8
        assert (one, other, both) == (62, 62, 62)
        assert images_needed(found, Limits(max_effect=0.05, max_gap=0.01), 0.05) is None


def test_intervals_of_a_family_are_simultaneous() -> None:
    """Of four limits each needs its interval at 1 - 0.05 / 4."""
    ends = {0.95: (0.51, 1.3), 0.9875: (0.49, 1.4)}
    by = rule("interval", max_effect=0.5)
    found = effect(0.9, ends=ends)
    assert judge(Numbers(effect=found), by, CorrectedP()).outcome == "fail"
    assert judge(Numbers(effect=found), by, CorrectedP(interval_count=4)).outcome == "inconclusive"


def test_without_limits_there_is_only_a_report() -> None:
    found = verdict(effect(1.9), rule(), None, GROWTH, None)
    assert (found.outcome, found.violations) == ("pass", ())
    assert found.notes


def test_a_reason_never_contradicts_itself_by_rounding() -> None:
    (reason,) = verdict(effect(0.5004), rule(max_effect=0.5), 0.0504).reasons
    assert "+0.5004" in reason
    assert "0.0504" in reason
    (reason,) = verdict(effect(0.1, gap=0.0123), rule(max_gap=0.01), 0.0496).reasons
    assert "+0.0123" in reason


@pytest.mark.parametrize("evidence", ["significant", "interval", "point"])
@pytest.mark.parametrize("key", ["max_effect", "max_gap", "max_growth", "max_shift"])
def test_what_is_not_a_number_never_passes(evidence: EvidenceRule, key: str) -> None:
    found = dataclasses.replace(GROWTH, growth=math.nan, shift=math.nan)
    numbers = effect(math.nan, gap=math.nan)
    by = rule(evidence, "two-sided", **{key: 0.2})
    assert verdict(numbers, by, math.nan, found, math.nan).outcome != "pass"


class TestControl:
    @pytest.mark.parametrize(
        ("alternative", "d", "p", "outcome"),
        [
            ("greater", 1.0, 0.01, "pass"),
            ("greater", 0.5, 0.05, "pass"),
            ("greater", 0.49, 0.01, "fail"),
            ("greater", 1.0, 0.051, "fail"),
            ("greater", -1.0, 0.01, "fail"),
            ("two-sided", -1.0, 0.01, "pass"),
            ("less", -1.0, 0.01, "pass"),
            ("less", 1.0, 0.01, "fail"),
            ("greater", math.nan, 0.01, "fail"),
            ("greater", 1.0, math.nan, "fail"),
        ],
    )
    def test_passes_where_it_shows_its_effect(
        self, alternative: Alternative, d: float, p: float, outcome: Outcome
    ) -> None:
        found = dataclasses.replace(EFFECT, effect_judged=d, p_verdict=p)
        by = rule("significant", alternative, min_effect=0.5)
        assert judge_control(found, by, held_before=False).outcome == outcome

    def test_is_judged_by_the_smaller_side_and_by_every_p(self) -> None:
        by = rule("significant", "greater", min_effect=0.5)
        weak = dataclasses.replace(EFFECT, effect_judged=0.4, effect_size=1.5)
        found = judge_control(weak, by, held_before=False)
        assert found.outcome == "fail"
        assert limits_of(found) == [("min_effect", 0.4, 0.5, True)]
        chance = dataclasses.replace(EFFECT, p_value=0.01, p_attributes=0.3, p_verdict=0.3)
        found = judge_control(chance, by, held_before=False)
        assert found.outcome == "fail"
        assert limits_of(found) == [("min_effect", 0.8, 0.5, False)]

    def test_that_holds_or_held_before_is_told_apart(self) -> None:
        by = rule("significant", "greater", min_effect=0.5)
        held = judge_control(EFFECT, by, held_before=True)
        assert (held.outcome, held.violations) == ("pass", ())
        weak = dataclasses.replace(EFFECT, effect_judged=0.1, p_verdict=0.4)
        reasons = {judge_control(weak, by, held_before=held).reasons for held in (True, False)}
        assert len(reasons) == 2


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1.8349, 1.84), (0.7, 0.7), (0.0123456, 0.0124), (12.31, 12.4), (1.0, 1.0), (0.29, 0.29)],
)
def test_a_value_is_rounded_up_to_three_digits(value: float, rounded: float) -> None:
    assert rounded_up(value) >= value
    assert rounded_up(value) == pytest.approx(rounded, rel=4e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "+0.00"),
        (-0.0, "+0.00"),
        (-0.001, "+0.00"),
        (1.234, "+1.23"),
        (-1.235, "-1.24"),
        (12, "+12.00"),
    ],
)
def test_numbers_are_signed_with_two_digits_and_no_negative_zero(value: float, text: str) -> None:
    assert format_effect(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "-"),
        (1.0, "1"),
        (0.998, "0.998"),
        (0.99, "0.99"),
        (0.5, "0.5"),
        (0.0487, "0.049"),
        (0.01, "0.01"),
        (0.0095, "0.0095"),
        (0.00123, "0.0012"),
        (0.001, "0.001"),
        (0.000999, "1.0e-03"),
        (0.0000123, "1.2e-05"),
    ],
)
def test_p_is_read_with_two_digits(p: float | None, text: str) -> None:
    assert format_p(p) == text
