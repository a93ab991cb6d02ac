"""Compute effects, p-values, intervals, growth, corrections and power from arrays alone."""

from __future__ import annotations

from pytest_visualbias.statistics.association import (
    AssociationResult,
    ContrastResult,
    association_from_scores,
    association_test,
    contrast_from_scores,
    sc_eat_test,
    similarity_gap_test,
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
from pytest_visualbias.statistics.cosines import GroupedRows
from pytest_visualbias.statistics.evidence import Evidence
from pytest_visualbias.statistics.growth import (
    GrowthResult,
    growth_from_scores,
    growth_test,
    shift_from_scores,
    smallest_growth,
)
from pytest_visualbias.statistics.growth_endpoints import growth_basis
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.intra_similarity import (
    IntraGrowthResult,
    IntraResult,
    intra_from_scores,
    intra_growth_from_scores,
    intra_scores,
    intra_similarity,
    mean_intra_scores,
)
from pytest_visualbias.statistics.leave_one_out import (
    Influence,
    SampledEffect,
    influence_from_scores,
)
from pytest_visualbias.statistics.multiple_testing import Correction, adjust, spearman
from pytest_visualbias.statistics.permutation.sides import Alternative, PMethod, Sides
from pytest_visualbias.statistics.power import (
    critical_value,
    detectable_effect,
    images_for_limit,
    images_to_show,
    smallest_detectable_effect,
    smallest_p,
    smallest_visible_gap,
)
from pytest_visualbias.statistics.rates import (
    are_shares,
    newcombe,
    predicted,
    probabilities,
    wilson,
)
from pytest_visualbias.statistics.scores import GrowthBasis, Scores, association_scores, mean_scores

__all__ = [
    "Alternative",
    "AssociationResult",
    "ChangeResult",
    "ContrastResult",
    "ContrastScores",
    "Correction",
    "EffectResult",
    "Evidence",
    "GroupedRows",
    "GrowthBasis",
    "GrowthResult",
    "Influence",
    "IntraGrowthResult",
    "IntraResult",
    "OutcomeResult",
    "OutcomeScores",
    "PMethod",
    "SampledEffect",
    "Scores",
    "Sides",
    "adjust",
    "are_shares",
    "association_from_scores",
    "association_scores",
    "association_test",
    "contrast_from_scores",
    "critical_value",
    "detectable_effect",
    "growth_basis",
    "growth_from_scores",
    "growth_test",
    "images_for_limit",
    "images_to_show",
    "influence_from_scores",
    "intra_from_scores",
    "intra_growth_from_scores",
    "intra_scores",
    "intra_similarity",
    "largest_effect",
    "mean_contrast_scores",
    "mean_intra_scores",
    "mean_outcome_scores",
    "mean_scores",
    "newcombe",
    "outcome_from_scores",
    "outcome_growth_from_scores",
    "outcome_shift_from_scores",
    "predicted",
    "probabilities",
    "sc_eat_scores",
    "sc_eat_test",
    "shift_from_scores",
    "similarity_gap_scores",
    "similarity_gap_test",
    "smallest_detectable_effect",
    "smallest_growth",
    "smallest_p",
    "smallest_visible_gap",
    "spearman",
    "wilson",
]

EffectResult = AssociationResult | ContrastResult | IntraResult | OutcomeResult
ChangeResult = GrowthResult | IntraGrowthResult
