"""Compute effects, one scoring method for each kind of test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pytest_visualbias.evaluation.classifier_scoring import score_predictions
from pytest_visualbias.evaluation.measurement import ScoredTest
from pytest_visualbias.spec.effective_settings import effective_settings
from pytest_visualbias.statistics.association import association_from_scores, contrast_from_scores
from pytest_visualbias.statistics.classifier_gap import (
    OutcomeResult,
    OutcomeScores,
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
from pytest_visualbias.stimuli.concept_checks import group_stimuli

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_visualbias.evaluation.measurement import MeasurementContext, Sets
    from pytest_visualbias.spec.effective_settings import EffectiveSettings
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.statistics.cosines import GroupedRows
    from pytest_visualbias.statistics.evidence import Evidence

    Vector = NDArray[np.float64]
    Embedded = Mapping[str, np.ndarray | GroupedRows]

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RestoredScores:
    """Scores of a record by role, in the order of the images now, and the basis of growth."""

    by_role: Mapping[str, Vector]
    sizes: Mapping[str, int]
    gap: float
    basis: GrowthBasis | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringMethod(Generic[S]):
    """How tests of one kind are computed; S is the type of their scores."""

    score: Callable[[MeasurementContext, BiasTest, Sets], ScoredTest]
    test: Callable[[S, EffectiveSettings], EffectResult]
    grow: Callable[[S, S, EffectiveSettings], ChangeResult]
    shift: Callable[[S, S, EffectiveSettings], Evidence] | None
    by_role: Callable[[S], dict[str, Vector]]
    basis: Callable[[S], GrowthBasis | None]
    restore: Callable[[BiasTest, RestoredScores], S]


def scoring_method(test: BiasTest) -> ScoringMethod[Any]:
    """Return how a test is computed."""
    return _METHODS[test.kind]


def _embedding_scorer(
    score_rows: Callable[[Embedded, EffectiveSettings], Any],
    average: Callable[[Sequence[Any]], Any],
) -> Callable[[MeasurementContext, BiasTest, Sets], ScoredTest]:
    """Return the function that scores the embeddings of every trial and averages the scores."""

    def score(context: MeasurementContext, test: BiasTest, sets: Sets) -> ScoredTest:
        settings = effective_settings(context.spec, test)
        trials = []
        for table in context.tables:
            rows = {role: context.rows(table, stimuli) for role, stimuli in sets.items()}
            trials.append(score_rows(rows, settings))
        grouped = {role: group_stimuli(context.spec, stimuli) for role, stimuli in sets.items()}
        return ScoredTest(sets=grouped, trials=tuple(trials), mean=average(trials))

    return score


def _score_association(rows: Embedded, settings: EffectiveSettings) -> Scores:
    return association_scores(*(rows[role] for role in "XYAB"), sides=settings.sides)


def _test_association(scores: Scores, settings: EffectiveSettings) -> EffectResult:
    return association_from_scores(
        scores,
        alternative=settings.alternative,
        sides=settings.sides,
        confidence=1 - settings.alpha,
    )


def _score_sc_eat(rows: Embedded, _settings: EffectiveSettings) -> ContrastScores:
    return sc_eat_scores(rows["X"], rows["A"], rows["B"])


def _score_similarity_gap(rows: Embedded, _settings: EffectiveSettings) -> ContrastScores:
    return similarity_gap_scores(rows["A"], rows["X"], rows["Y"], called="A")


def _test_contrast(scores: ContrastScores, settings: EffectiveSettings) -> EffectResult:
    return contrast_from_scores(
        scores, alternative=settings.alternative, confidence=1 - settings.alpha
    )


def _grow(
    before: Scores | ContrastScores,
    after: Scores | ContrastScores,
    settings: EffectiveSettings,
) -> GrowthResult:
    return growth_from_scores(
        before,
        after,
        sides=settings.sides,
        alternative=settings.alternative,
        confidence=1 - settings.alpha,
        is_retraining=settings.has_retrainings,
    )


def _shift(
    before: Scores | ContrastScores, after: Scores | ContrastScores, settings: EffectiveSettings
) -> Evidence:
    return shift_from_scores(before, after, sides=settings.sides)


def _score_intra_similarity(rows: Embedded, _settings: EffectiveSettings) -> Vector:
    return intra_scores(rows["X"])


def _test_intra_similarity(scores: Vector, settings: EffectiveSettings) -> IntraResult:
    return intra_from_scores(scores, confidence=1 - settings.alpha)


def _grow_intra_similarity(
    before: Vector, after: Vector, settings: EffectiveSettings
) -> IntraGrowthResult:
    return intra_growth_from_scores(before, after, confidence=1 - settings.alpha)


def _contrast_by_role(scores: ContrastScores) -> dict[str, Vector]:
    return dict(zip(scores.roles, (scores.first, scores.second), strict=True))


def _restore_association(_test: BiasTest, stored: RestoredScores) -> Scores:
    x, y, a, b = (stored.by_role[role] for role in "XYAB")
    return Scores(x=x, y=y, a=a, b=b, gap=stored.gap, basis=stored.basis)


def _restore_contrast(test: BiasTest, stored: RestoredScores) -> ContrastScores:
    (roles,) = test.compared
    (other,) = stored.sizes.keys() - {*roles}
    return ContrastScores(
        first=stored.by_role[roles[0]],
        second=stored.by_role[roles[1]],
        roles=roles,
        gap=stored.gap,
        n_other=stored.sizes[other],
        basis=stored.basis,
    )


def _restore_intra_similarity(_test: BiasTest, stored: RestoredScores) -> Vector:
    return stored.by_role["X"]


def _trial_gaps(scores: OutcomeScores) -> GrowthBasis | None:
    """Return the gaps of several trials, as mean scores of predictions do not give them."""
    if len(scores.trials) < 2:  # noqa: PLR2004 - one is the scores themselves
        return None
    return GrowthBasis(within=(), without={}, trials=tuple((gap,) for gap in scores.trials))


def _restore_outcome(test: BiasTest, stored: RestoredScores) -> OutcomeScores:
    basis, is_rate = stored.basis, test.prediction is not None and test.prediction.is_rate
    trials = () if basis is None else tuple(gap for (gap,) in basis.trials)
    x, y = stored.by_role["X"], stored.by_role["Y"]
    return OutcomeScores(first=x, second=y, is_rate=is_rate, trials=trials)


def _shift_outcome(
    before: OutcomeScores, after: OutcomeScores, _settings: EffectiveSettings
) -> Evidence:
    return outcome_shift_from_scores(before, after)


def _test_outcome(scores: OutcomeScores, settings: EffectiveSettings) -> OutcomeResult:
    return outcome_from_scores(
        scores, alternative=settings.alternative, confidence=1 - settings.alpha
    )


def _grow_outcome(
    before: OutcomeScores, after: OutcomeScores, settings: EffectiveSettings
) -> GrowthResult:
    return outcome_growth_from_scores(
        before,
        after,
        alternative=settings.alternative,
        confidence=1 - settings.alpha,
        is_retraining=settings.has_retrainings,
    )


_METHODS: dict[str, ScoringMethod[Any]] = {
    "ieat": ScoringMethod(
        score=_embedding_scorer(_score_association, mean_scores),
        test=_test_association,
        grow=_grow,
        shift=_shift,
        by_role=lambda scores: {"X": scores.x, "Y": scores.y, "A": scores.a, "B": scores.b},
        basis=growth_basis,
        restore=_restore_association,
    ),
    "sc-eat": ScoringMethod(
        score=_embedding_scorer(_score_sc_eat, mean_contrast_scores),
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrast_by_role,
        basis=growth_basis,
        restore=_restore_contrast,
    ),
    "similarity-gap": ScoringMethod(
        score=_embedding_scorer(_score_similarity_gap, mean_contrast_scores),
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrast_by_role,
        basis=growth_basis,
        restore=_restore_contrast,
    ),
    "intra-similarity": ScoringMethod(
        score=_embedding_scorer(_score_intra_similarity, mean_intra_scores),
        test=_test_intra_similarity,
        grow=_grow_intra_similarity,
        shift=None,
        by_role=lambda scores: {"X": scores},
        basis=lambda _scores: None,
        restore=_restore_intra_similarity,
    ),
    "outcome-gap": ScoringMethod(
        score=score_predictions,
        test=_test_outcome,
        grow=_grow_outcome,
        shift=_shift_outcome,
        by_role=lambda scores: {"X": scores.first, "Y": scores.second},
        basis=_trial_gaps,
        restore=_restore_outcome,
    ),
}
