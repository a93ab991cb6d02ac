"""A measured test: its sets, effect, growth and excess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.embeddings.table import ModelSets, ModelVectors
    from pytest_visualbias.evaluation.classifier_scoring import TargetClass
    from pytest_visualbias.evaluation.scoring import AnyScores
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.statistics.evidence import Evidence
    from pytest_visualbias.stimuli.resolve import StimulusSet

ALIKE = "make them alike"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing in which two measurements differ."""

    name: str
    text: str
    is_declarable: bool = True
    is_known: bool = True
    remedy: str = ALIKE


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedModel:
    """A model with its sets, embedded."""

    name: str
    sets: ModelSets
    measured: ModelVectors


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measurement:
    """What was computed for one test, before it is judged."""

    sets: Mapping[str, StimulusSet]
    scores: AnyScores | None = None
    effect: EffectResult | None = None
    trials: tuple[EffectResult, ...] = ()
    before: AnyScores | None = None
    growth: ChangeResult | None = None
    shift: Evidence | None = None
    differing: tuple[Difference, ...] | None = None
    unlike: str | None = None
    untrained: AnyScores | None = None
    untrained_effects: tuple[float, ...] = ()
    excess: ChangeResult | None = None
    unlike_untrained: str | None = None
    missing: str | None = None
    stale: str | None = None
    is_recorded: bool = False
    problem: str | None = None
    asked: TargetClass | None = None
    is_same: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredTest:
    """The scores of one test of a model: of every trial, and their mean, which is tested."""

    sets: Mapping[str, StimulusSet]
    trials: tuple[AnyScores, ...]
    mean: AnyScores
    asked: TargetClass | None = None
