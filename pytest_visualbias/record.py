"""The JSON document of a run: its shape, and strict text from it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_visualbias.errors import json_without_commands

__all__ = [
    "READ_VERSIONS",
    "AcceptRecord",
    "BasisRecord",
    "ExcessRecord",
    "GrowthRecord",
    "ModelRecord",
    "PointRecord",
    "PredictionRecord",
    "ReadOutRecord",
    "Report",
    "ResultRecord",
    "SeriesRecord",
    "SetRecord",
    "ViolationRecord",
    "WordRecord",
    "ZeroShotRecord",
    "to_json",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SetRecord(_Frozen):
    """The stimuli of one role: a result can be traced to exactly these images, in this order.

    Names are relative to the folder, which is relative to the project where it lies inside it, and
    empty where the stimuli are no files. What words stand in is `templates`, empty of images. If
    images are grouped, `groups` has the number of images of each group, and `n` counts groups.
    """

    concept: str
    n: int
    digest: str
    images: list[str]
    names: list[str]
    folder: str = ""
    templates: list[str] = []
    groups: dict[str, int] | None = None


class BasisRecord(_Frozen):
    """What growth is tested with beside the scores, if a later run measures it from this result.

    `within` holds the pooled standard deviations within the sets, in cosines, of target and of
    attribute scores; `without` the effect of each side without each image; `trials` the effect of
    each side in each trial.
    """

    within: list[float]
    without: dict[str, dict[str, list[float]]]
    trials: list[list[float]]


class GrowthRecord(_Frozen):
    """The change of the judged effect since another model (section 4 of the definitions)."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    base: str = Field(alias="from")
    value: float
    shift: float
    before: float
    after: float
    p_value: float | None
    p_attributes: float | None
    p_welch: float | None
    p_crossed: float | None = None
    p_trials: float | None = None
    p_verdict: float | None
    p_adjusted: float | None
    p_method: str | None
    shift_p_verdict: float | None = None
    shift_p_adjusted: float | None = None
    smallest_growth: float | None = None
    ci_low: float
    ci_high: float
    shift_ci_low: float
    shift_ci_high: float
    flipped: bool


class ExcessRecord(GrowthRecord):
    """What goes beyond an untrained network: the change since the mean over its seeds.

    Single seeds may show more than their mean does, as effects of either sign cancel in it: each
    has its own effect in `untrained`.
    """

    untrained: list[float] = []


class AcceptRecord(_Frozen):
    """The waiver of a test: a bias accepted up to a size and a day.

    Each size is for the limit of the same name.
    """

    max_effect: float | None = None
    max_gap: float | None = None
    max_growth: float | None = None
    reason: str
    until: dt.date


class ViolationRecord(_Frozen):
    """A limit that a test does not keep.

    The value is null where it could not be compared or is not a number. Evidence says whether the
    limit is exceeded with the evidence that the test asks for.
    """

    kind: Literal["effect", "gap", "growth", "shift", "excess", "min_effect"]
    value: float | None
    limit: float
    evidence: bool


class PointRecord(_Frozen):
    """One test of one checkpoint of a series."""

    label: str
    checkpoint: str
    digest: str
    fingerprint: str
    effect_size: float | None
    effect_size_attributes: float | None
    effect_judged: float | None
    gap: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    p_attributes: float | None
    p_welch: float | None
    p_crossed: float | None = None
    p_verdict: float | None
    p_adjusted: float | None
    growth: GrowthRecord | None
    over: dict[str, bool]
    outcome: Literal["pass", "accepted", "fail", "inconclusive", "invalid", "error"]


class SeriesRecord(_Frozen):
    """A test over the checkpoints of a training run, in their order; the last one is judged."""

    axis: str
    gate: Literal["last", "all"]
    correction: str
    points: Annotated[list[PointRecord], Field(min_length=1)]
    first_over: dict[str, str]
    first_evident: dict[str, str]


class PredictionRecord(_Frozen):
    """What a test asked of a classifier, and the two rates whose difference is its gap."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    index: int = Field(alias="class")
    name: str = ""
    rate: Literal["fpr", "tpr", "share", "score"]
    label: list[str]
    threshold: float | None
    activation: Literal["softmax", "sigmoid", "none"]
    classes: int
    rate_x: float
    rate_y: float
    is_blind: bool = False


class ReadOutRecord(_Frozen):
    """Where embeddings were read: a module, its input or output, and the length of a vector.

    The side is empty if the library of the network defines `pooled`; the length is 0 of flattened
    maps.
    """

    module: str
    side: Literal["input", "output", ""]
    length: int


class WordRecord(_Frozen):
    """One word, and the share of each set of images that is nearest to it."""

    role: Literal["A", "B"]
    word: str
    share_x: float
    share_y: float | None = None


class ZeroShotRecord(_Frozen):
    """What share of X and of Y is nearest to a word of A rather than of B; judged by no limit.

    Where there is no Y, nothing is compared.
    """

    share_x: float
    share_y: float | None = None
    difference: float | None = None
    p_value: float | None = None
    p_method: str | None = None
    words: list[WordRecord]


class ResultRecord(_Frozen):
    """One test of one model at one layer.

    Numbers are null where the test could not be done; of a kind that lacks a set, its size, and
    what would need it: a second side, a gap, a p.
    """

    nodeid: str
    spec: str
    spec_digest: str
    line: int
    test: str
    kind: str
    model: str
    layer: str
    module: str = ""
    pooling: str
    read_out: ReadOutRecord | None = None
    role: Literal["gated", "reference", "random"]
    control: str | None
    tags: list[str]
    concepts: dict[str, str]
    labels: dict[str, str] = {}
    prediction: PredictionRecord | None = None
    zero_shot: ZeroShotRecord | None = None
    n_x: int | None = None
    n_y: int | None = None
    n_a: int | None = None
    n_b: int | None = None
    effect_size: float | None = None
    effect_size_attributes: float | None = None
    effect_judged: float | None = None
    gap: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    gap_ci_low: float | None = None
    gap_ci_high: float | None = None
    wide_low: float | None = None
    wide_high: float | None = None
    x_ab: float | None = None
    y_ab: float | None = None
    p_value: float | None = None
    p_low: float | None = None
    p_high: float | None = None
    p_method: str | None = None
    p_attributes: float | None = None
    p_welch: float | None = None
    p_crossed: float | None = None
    p_verdict: float | None = None
    p_verdict_low: float | None = None
    p_verdict_high: float | None = None
    p_verdict_method: str | None = None
    p_saddlepoint: float | None = None
    p_adjusted: float | None = None
    family_size: int | None = None
    smallest_detectable_effect: float | None = None
    smallest_detectable_effect_attributes: float | None = None
    detectable: float | None = None
    images_needed: int | None = None
    alpha: float
    alternative: str
    sides: str | None
    evidence: str
    correction: str
    limits: dict[str, float]
    accept: AcceptRecord | None = None
    growth: GrowthRecord | None = None
    excess: ExcessRecord | None = None
    trials: dict[str, list[float] | list[str]] | None = None
    series: SeriesRecord | None = None
    outcome: Literal["pass", "accepted", "fail", "inconclusive", "invalid", "error"]
    violations: list[ViolationRecord] = []
    reasons: list[str]
    warnings: list[str] = []
    sets: dict[str, SetRecord] = {}
    scores: dict[str, dict[str, float]] = {}
    basis: BasisRecord | None = None


class ModelRecord(_Frozen):
    """One model of one spec: what exactly was measured."""

    spec: str
    model: str
    source: str
    role: str
    labels: dict[str, str] = {}
    trials: list[dict[str, Any]]
    preprocessing: dict[str, Any]
    precision: str = ""
    description: dict[str, Any]


# That of new reports is the last; the first has keys that were removed.
READ_VERSIONS = (1, 2)


class Report(_Frozen):
    """A whole run."""

    schema_version: Literal[2] = 2
    tool: dict[str, str]
    environment: dict[str, Any]
    models: list[ModelRecord]
    results: list[ResultRecord]
    summary: dict[str, Any]


def to_json(report: Report) -> str:
    """Return a report as strict JSON: no NaN, keys in the order of the schema."""
    plain = report.model_dump(mode="json", by_alias=True)
    text = json.dumps(plain, allow_nan=False, indent=1, ensure_ascii=False)
    return f"{json_without_commands(text)}\n"
