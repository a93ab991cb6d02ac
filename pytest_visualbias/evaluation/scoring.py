"""Compute effects, one scoring method for each kind of test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pytest_visualbias.evaluation.classifier_scoring import read_predictions
from pytest_visualbias.statistics.association import (
    association_from_scores,
    contrast_from_scores,
)
from pytest_visualbias.statistics.classifier_gap import (
    OutcomeResult,
    OutcomeScores,
    mean_outcome_scores,
    outcome_from_scores,
)
from pytest_visualbias.statistics.classifier_growth import (
    outcome_growth_from_scores,
    outcome_shift_from_scores,
)
from pytest_visualbias.statistics.contrast_scores import (
    ContrastScores,
    mean_contrast_scores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics.growth import GrowthResult, growth_from_scores, shift_from_scores
from pytest_visualbias.statistics.growth_endpoints import growth_basis
from pytest_visualbias.statistics.intra_similarity import (
    IntraGrowthResult,
    IntraResult,
    intra_from_scores,
    intra_growth_from_scores,
    intra_scores,
    mean_intra_scores,
)
from pytest_visualbias.statistics.scores import GrowthBasis, Scores, association_scores, mean_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_visualbias.evaluation.classifier_scoring import TargetClass
    from pytest_visualbias.spec.effective_settings import EffectiveSettings
    from pytest_visualbias.spec.test_kinds import BiasTest, Prediction
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.statistics.cosines import GroupedRows
    from pytest_visualbias.statistics.evidence import Evidence

    Vector = NDArray[np.float64]
    Rows = Mapping[str, NDArray[np.float64]]
    Embedded = Mapping[str, Vector | GroupedRows]

AnyScores: TypeAlias = "Scores | ContrastScores | OutcomeScores | Vector"
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringMethod(Generic[S]):
    """How tests of one kind are computed; S is what their scores are."""

    score: Callable[[Embedded, EffectiveSettings], S]
    mean: Callable[[Sequence[S]], S]
    test: Callable[[S, EffectiveSettings], EffectResult]
    grow: Callable[[S, S, EffectiveSettings], ChangeResult]
    shift: Callable[[S, S, EffectiveSettings], Evidence] | None
    by_role: Callable[[S], dict[str, Vector]]
    basis: Callable[[S], GrowthBasis | None]
    restore: Callable[[Rows, GrowthBasis | None, Mapping[str, int], float], S]


def scoring_method(test: BiasTest, target_class: TargetClass | None = None) -> ScoringMethod[Any]:
    """Return how a test is computed; to score predictions, of which class."""
    if test.prediction is None:
        return _MEASURES[test.kind]
    return _measure_predictions(test.prediction, target_class)


def _score_association(rows: Embedded, plan: EffectiveSettings) -> Scores:
    return association_scores(*(rows[role] for role in "XYAB"), sides=plan.sides)


def _test_association(scores: Scores, plan: EffectiveSettings) -> EffectResult:
    return association_from_scores(
        scores,
        alternative=plan.alternative,
        sides=plan.sides,
        confidence=1 - plan.alpha,
    )


def _score_sc_eat(rows: Embedded, _plan: EffectiveSettings) -> ContrastScores:
    return sc_eat_scores(rows["X"], rows["A"], rows["B"])


def _score_gap(rows: Embedded, _plan: EffectiveSettings) -> ContrastScores:
    return similarity_gap_scores(rows["A"], rows["X"], rows["Y"], called="A")


def _test_contrast(scores: ContrastScores, plan: EffectiveSettings) -> EffectResult:
    return contrast_from_scores(scores, alternative=plan.alternative, confidence=1 - plan.alpha)


def _grow(
    before: Scores | ContrastScores,
    after: Scores | ContrastScores,
    plan: EffectiveSettings,
) -> GrowthResult:
    return growth_from_scores(
        before,
        after,
        sides=plan.sides,
        alternative=plan.alternative,
        confidence=1 - plan.alpha,
        is_retraining=plan.has_retrainings,
    )


def _shift(
    before: Scores | ContrastScores, after: Scores | ContrastScores, plan: EffectiveSettings
) -> Evidence:
    return shift_from_scores(before, after, sides=plan.sides)


def _score_within(rows: Embedded, _plan: EffectiveSettings) -> Vector:
    return intra_scores(rows["X"])


def _test_within(scores: Vector, plan: EffectiveSettings) -> IntraResult:
    return intra_from_scores(scores, confidence=1 - plan.alpha)


def _grow_within(before: Vector, after: Vector, plan: EffectiveSettings) -> IntraGrowthResult:
    return intra_growth_from_scores(before, after, confidence=1 - plan.alpha)


def _contrasted(scores: ContrastScores) -> dict[str, Vector]:
    return dict(zip(scores.roles, (scores.first, scores.second), strict=True))


def _restore_association(
    scored: Rows, basis: GrowthBasis | None, _sizes: Mapping[str, int], gap: float
) -> Scores:
    x, y, a, b = (scored[role] for role in "XYAB")
    return Scores(x=x, y=y, a=a, b=b, gap=gap, basis=basis)


def _restore_contrast(
    roles: tuple[str, str],
    scored: Rows,
    basis: GrowthBasis | None,
    sizes: Mapping[str, int],
    gap: float,
) -> ContrastScores:
    first, second = (scored[role] for role in roles)
    (other,) = sizes.keys() - {*roles}
    return ContrastScores(
        first=first, second=second, roles=roles, gap=gap, n_other=sizes[other], basis=basis
    )


def _restore_within(
    scored: Rows, _basis: GrowthBasis | None, _sizes: Mapping[str, int], _gap: float
) -> Vector:
    return scored["X"]


def _trials(scores: OutcomeScores) -> GrowthBasis | None:
    """Return the gaps of several trials; of predictions, scores tell all else."""
    if len(scores.trials) < 2:  # noqa: PLR2004 - one is the scores themselves
        return None
    return GrowthBasis(within=(), without={}, trials=tuple((gap,) for gap in scores.trials))


_MEASURES: dict[str, ScoringMethod[Any]] = {
    "ieat": ScoringMethod(
        score=_score_association,
        mean=mean_scores,
        test=_test_association,
        grow=_grow,
        shift=_shift,
        by_role=lambda scores: {"X": scores.x, "Y": scores.y, "A": scores.a, "B": scores.b},
        basis=growth_basis,
        restore=_restore_association,
    ),
    "sc-eat": ScoringMethod(
        score=_score_sc_eat,
        mean=mean_contrast_scores,
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrasted,
        basis=growth_basis,
        restore=partial(_restore_contrast, ("A", "B")),
    ),
    "similarity-gap": ScoringMethod(
        score=_score_gap,
        mean=mean_contrast_scores,
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrasted,
        basis=growth_basis,
        restore=partial(_restore_contrast, ("X", "Y")),
    ),
    "intra-similarity": ScoringMethod(
        score=_score_within,
        mean=mean_intra_scores,
        test=_test_within,
        grow=_grow_within,
        shift=None,
        by_role=lambda scores: {"X": scores},
        basis=lambda _scores: None,
        restore=_restore_within,
    ),
}


def _measure_predictions(
    asked: Prediction, target_class: TargetClass | None
) -> ScoringMethod[OutcomeScores]:
    """Return how what a test asks of a classifier is computed."""

    def score(rows: Embedded, _plan: EffectiveSettings) -> OutcomeScores:
        assert target_class is not None  # noqa: S101 - for the type checker
        return read_predictions(asked, target_class, rows)

    def restore(
        scored: Rows, basis: GrowthBasis | None, _sizes: Mapping[str, int], _gap: float
    ) -> OutcomeScores:
        trials = () if basis is None else tuple(gap for (gap,) in basis.trials)
        return OutcomeScores(
            first=scored["X"], second=scored["Y"], is_rate=asked.is_rate, trials=trials
        )

    return ScoringMethod(
        score=score,
        mean=mean_outcome_scores,
        test=_test_outcome,
        grow=_grow_outcome,
        shift=lambda before, after, _plan: outcome_shift_from_scores(before, after),
        by_role=lambda scores: {"X": scores.first, "Y": scores.second},
        basis=_trials,
        restore=restore,
    )


def _test_outcome(scores: OutcomeScores, plan: EffectiveSettings) -> OutcomeResult:
    return outcome_from_scores(scores, alternative=plan.alternative, confidence=1 - plan.alpha)


def _grow_outcome(
    before: OutcomeScores, after: OutcomeScores, plan: EffectiveSettings
) -> GrowthResult:
    return outcome_growth_from_scores(
        before,
        after,
        alternative=plan.alternative,
        confidence=1 - plan.alpha,
        is_retraining=plan.has_retrainings,
    )
