"""The records of a report, and how its numbers are written."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_visualbias.errors import LocatedFault, json_without_commands


def format_effect(value: float) -> str:
    """Return an effect as people read it: signed, with two digits, never a negative zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def format_exceeding(value: float, limit: float) -> str:
    """Return an effect that is over a limit, with as many digits as show that it is."""
    shown = format_effect(value)
    return shown if abs(float(shown)) > limit else f"{value:+.6g}"


def rounded_up(value: float) -> float:
    """Return the least number of three significant digits that is no less than a positive one."""
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return math.ceil(value * scale) / scale


def format_p(p: float | None) -> str:
    """Return a p as people read it: two significant digits, and small ones as a power."""
    if p is None:
        return "-"
    if p >= 0.0095:  # noqa: PLR2004 - where two significant digits need no power of ten
        return f"{p:.2g}" if p < 0.995 else f"{p:.3g}"  # noqa: PLR2004 - 0.998 is not 1
    return f"{p:.1e}" if p < 0.001 else f"{p:.4f}".rstrip("0")  # noqa: PLR2004


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SetRecord(_Frozen):
    """The stimuli of one role: a result can be traced to exactly these images, in this order."""

    concept: str
    n: int
    digest: str
    images: list[str]
    names: list[str]
    folder: str = ""
    templates: list[str] = []
    groups: dict[str, int] | None = None


class BasisRecord(_Frozen):
    """What growth is tested with beside the scores, if a later run measures it from this result."""

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
    """What goes beyond an untrained network: the change since the mean over its seeds."""

    untrained: list[float] = []


class AcceptRecord(_Frozen):
    """The waiver of a test: a bias accepted up to a size and a day."""

    max_effect: float | None = None
    max_gap: float | None = None
    max_growth: float | None = None
    reason: str
    until: dt.date


class ViolationRecord(_Frozen):
    """A limit that a test does not keep."""

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
    """Where embeddings were read: a module, its input or output, and the length of a vector."""

    module: str
    side: Literal["input", "output", ""]
    length: int


class ResultRecord(_Frozen):
    """One test of one model at one layer."""

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
    fault: LocatedFault | None = None
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
