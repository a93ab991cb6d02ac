"""A measured test: its sets, effect, growth and excess."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pytest_visualbias.statistics.cosines import GroupedRows
from pytest_visualbias.stimuli.concept_checks import groups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.request import ModelSets
    from pytest_visualbias.embeddings.table import EmbeddingTable, ModelVectors
    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.evaluation.baseline import Baseline
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, LayerPoint
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.statistics.classifier_gap import OutcomeScores
    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.evidence import Evidence
    from pytest_visualbias.statistics.scores import Scores
    from pytest_visualbias.stimuli.resolve import StimulusSet

AnyScores: TypeAlias = "Scores | ContrastScores | OutcomeScores | NDArray[np.float64]"
Sets: TypeAlias = "Mapping[str, StimulusSet]"
ALIKE = "make them alike"


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetClass:
    """The class that a test asks a classifier about."""

    index: int
    name: str = ""
    count: int = 0
    activation: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference between two measurements."""

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

    @property
    def fingerprints(self) -> list[str]:
        """The digests of its trials' weights."""
        return [trial.fingerprint for trial in self.measured.trials]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GrowthReferences:
    """Models by name, embedded on demand, and the baseline that growth can be measured from."""

    models: Callable[[str], EmbeddedModel]
    baseline: Baseline | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasurementContext:
    """A model at a layer, the spec of its tests, and the models that growth is measured from."""

    file: SpecFile
    model: EmbeddedModel
    layer: str
    references: GrowthReferences

    @property
    def spec(self) -> BiasSpec:
        """The spec of the tests."""
        return self.file.spec

    @property
    def point(self) -> LayerPoint:
        """Where the layer of the model is read."""
        return next(point for point in self.model.measured.points if point.name == self.layer)

    @property
    def tables(self) -> list[EmbeddingTable]:
        """The vectors of each trial at the layer."""
        return [trial.tables[self.layer] for trial in self.model.measured.trials]

    def rows(self, table: EmbeddingTable, stimuli: StimulusSet) -> np.ndarray | GroupedRows:
        """Return the vectors of a set, ``(n, dim)``, with their groups if it has any."""
        rows, groups = table.rows(stimuli), groups_of(self.spec, stimuli)
        if groups is None:
            return rows
        names = zip(stimuli.stimuli, groups, strict=True)
        return GroupedRows(rows=rows, groups=tuple(group or image.name for image, group in names))

    def of(self, model: EmbeddedModel) -> MeasurementContext:
        """Return the context of another model."""
        return dataclasses.replace(self, model=model)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measurement:
    """The numbers of one test before it is judged."""

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
    fault: LocatedFault | None = None
    target_class: TargetClass | None = None
    is_same: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredTest:
    """The scores of one test: of every trial, and their mean, which is tested."""

    sets: Mapping[str, StimulusSet]
    trials: tuple[AnyScores, ...]
    mean: AnyScores
    target_class: TargetClass | None = None
