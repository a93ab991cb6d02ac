"""How the tests of each kind are computed: scored, averaged, tested, and compared with before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pytest_visualbias.pipeline.predictions import read_predictions
from pytest_visualbias.statistics import (
    AssociationResult,
    ContrastResult,
    ContrastScores,
    Evidence,
    GrowthBasis,
    GrowthResult,
    IntraGrowthResult,
    IntraResult,
    OutcomeResult,
    OutcomeScores,
    Scores,
    association_from_scores,
    association_scores,
    contrast_from_scores,
    growth_basis,
    growth_from_scores,
    intra_from_scores,
    intra_growth_from_scores,
    intra_scores,
    mean_contrast_scores,
    mean_intra_scores,
    mean_outcome_scores,
    mean_scores,
    outcome_from_scores,
    outcome_growth_from_scores,
    outcome_shift_from_scores,
    sc_eat_scores,
    shift_from_scores,
    similarity_gap_scores,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_visualbias.pipeline.power import Plan
    from pytest_visualbias.pipeline.predictions import Asked
    from pytest_visualbias.pipeline.remembered import Remembered
    from pytest_visualbias.spec.prediction import Prediction
    from pytest_visualbias.spec.schema import BiasTest
    from pytest_visualbias.statistics import ChangeResult, EffectResult, GroupedRows

    Vector = NDArray[np.float64]
    Rows = Mapping[str, NDArray[np.float64]]
    Embedded = Mapping[str, Vector | GroupedRows]

__all__ = ["AnyScores", "Measure", "measure_of", "remembering"]

AnyScores: TypeAlias = "Scores | ContrastScores | OutcomeScores | Vector"
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure(Generic[S]):
    """How tests of one kind are computed; S is what their scores are.

    Attributes
    ----------
    score : callable
        Embeddings of the sets ``(n, dim)`` by role, and a plan, to scores.
    mean : callable
        Scores of every trial to those that are tested.
    test : callable
        Scores and a plan, to an effect.
    grow : callable
        Scores before and after, and a plan, to a growth.
    shift : callable or None
        Scores before and after, and a plan, to the evidence of a shift; None of kinds without a p.
    by_role : callable
        Scores to those of every image ``(n,)``, for the roles that are scored.
    basis : callable
        Scores to what else growth from them is tested with; None where they are enough.
    restore : callable
        Such scores and such a basis, the size of every set, and the gap, to scores that can be
        grown from.
    tests, grows : type
        What `test` and `grow` return.
    """

    score: Callable[[Embedded, Plan], S]
    mean: Callable[[Sequence[S]], S]
    test: Callable[[S, Plan], EffectResult]
    grow: Callable[[S, S, Plan], ChangeResult]
    shift: Callable[[S, S, Plan], Evidence] | None
    by_role: Callable[[S], dict[str, Vector]]
    basis: Callable[[S], GrowthBasis | None]
    restore: Callable[[Rows, GrowthBasis | None, Mapping[str, int], float], S]
    tests: type
    grows: type


def measure_of(test: BiasTest, of: Asked | None = None) -> Measure[Any]:
    """Return how a test is computed; to score predictions, of which class."""
    if test.prediction is None:
        return _MEASURES[test.kind]
    return _measure_predictions(test.prediction, of)


def remembering(measure: Measure[Any], memo: Remembered) -> Measure[Any]:
    """Return a measure that computes what it did not compute before."""

    def test(scores: object, plan: Plan) -> EffectResult:
        return memo.of(measure.tests, lambda: measure.test(scores, plan), scores, plan)

    def grow(before: object, after: object, plan: Plan) -> ChangeResult:
        return memo.of(
            measure.grows, lambda: measure.grow(before, after, plan), before, after, plan
        )

    shifted = measure.shift
    if shifted is None:
        return dataclasses.replace(measure, test=test, grow=grow)

    def shift(before: object, after: object, plan: Plan) -> Evidence:
        return memo.of(Evidence, lambda: shifted(before, after, plan), before, after, plan)

    return dataclasses.replace(measure, test=test, grow=grow, shift=shift)


def _score_association(rows: Embedded, plan: Plan) -> Scores:
    return association_scores(*(rows[role] for role in "XYAB"), sides=plan.sides)


def _test_association(scores: Scores, plan: Plan) -> EffectResult:
    return association_from_scores(
        scores,
        alternative=plan.alternative,
        sides=plan.sides,
        confidence=1 - plan.alpha,
    )


def _score_sc_eat(rows: Embedded, _plan: Plan) -> ContrastScores:
    return sc_eat_scores(rows["X"], rows["A"], rows["B"])


def _score_gap(rows: Embedded, _plan: Plan) -> ContrastScores:
    return similarity_gap_scores(rows["A"], rows["X"], rows["Y"], called="A")


def _test_contrast(scores: ContrastScores, plan: Plan) -> EffectResult:
    return contrast_from_scores(scores, alternative=plan.alternative, confidence=1 - plan.alpha)


def _grow(
    before: Scores | ContrastScores,
    after: Scores | ContrastScores,
    plan: Plan,
) -> GrowthResult:
    return growth_from_scores(
        before,
        after,
        sides=plan.sides,
        alternative=plan.alternative,
        confidence=1 - plan.alpha,
        is_retraining=plan.has_retrainings,
    )


def _shift(before: Scores | ContrastScores, after: Scores | ContrastScores, plan: Plan) -> Evidence:
    return shift_from_scores(before, after, sides=plan.sides)


def _score_within(rows: Embedded, _plan: Plan) -> Vector:
    return intra_scores(rows["X"])


def _test_within(scores: Vector, plan: Plan) -> IntraResult:
    return intra_from_scores(scores, confidence=1 - plan.alpha)


def _grow_within(before: Vector, after: Vector, plan: Plan) -> IntraGrowthResult:
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


_MEASURES: dict[str, Measure[Any]] = {
    "ieat": Measure(
        score=_score_association,
        mean=mean_scores,
        test=_test_association,
        grow=_grow,
        shift=_shift,
        by_role=lambda scores: {"X": scores.x, "Y": scores.y, "A": scores.a, "B": scores.b},
        basis=growth_basis,
        restore=_restore_association,
        tests=AssociationResult,
        grows=GrowthResult,
    ),
    "sc-eat": Measure(
        score=_score_sc_eat,
        mean=mean_contrast_scores,
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrasted,
        basis=growth_basis,
        restore=partial(_restore_contrast, ("A", "B")),
        tests=ContrastResult,
        grows=GrowthResult,
    ),
    "similarity-gap": Measure(
        score=_score_gap,
        mean=mean_contrast_scores,
        test=_test_contrast,
        grow=_grow,
        shift=_shift,
        by_role=_contrasted,
        basis=growth_basis,
        restore=partial(_restore_contrast, ("X", "Y")),
        tests=ContrastResult,
        grows=GrowthResult,
    ),
    "intra-similarity": Measure(
        score=_score_within,
        mean=mean_intra_scores,
        test=_test_within,
        grow=_grow_within,
        shift=None,
        by_role=lambda scores: {"X": scores},
        basis=lambda _scores: None,
        restore=_restore_within,
        tests=IntraResult,
        grows=IntraGrowthResult,
    ),
}


def _measure_predictions(asked: Prediction, of: Asked | None) -> Measure[OutcomeScores]:
    """Return how what a test asks of a classifier is computed."""

    def score(rows: Embedded, _plan: Plan) -> OutcomeScores:
        assert of is not None  # noqa: S101 - for the type checker
        return read_predictions(asked, of, rows)

    def restore(
        scored: Rows, basis: GrowthBasis | None, _sizes: Mapping[str, int], _gap: float
    ) -> OutcomeScores:
        trials = () if basis is None else tuple(gap for (gap,) in basis.trials)
        return OutcomeScores(
            first=scored["X"], second=scored["Y"], is_rate=asked.is_rate, trials=trials
        )

    return Measure(
        score=score,
        mean=mean_outcome_scores,
        test=_test_outcome,
        grow=_grow_outcome,
        shift=lambda before, after, _plan: outcome_shift_from_scores(before, after),
        by_role=lambda scores: {"X": scores.first, "Y": scores.second},
        basis=_trials,
        restore=restore,
        tests=OutcomeResult,
        grows=GrowthResult,
    )


def _test_outcome(scores: OutcomeScores, plan: Plan) -> OutcomeResult:
    return outcome_from_scores(scores, alternative=plan.alternative, confidence=1 - plan.alpha)


def _grow_outcome(before: OutcomeScores, after: OutcomeScores, plan: Plan) -> GrowthResult:
    return outcome_growth_from_scores(
        before,
        after,
        alternative=plan.alternative,
        confidence=1 - plan.alpha,
        is_retraining=plan.has_retrainings,
    )
