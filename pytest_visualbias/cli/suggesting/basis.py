"""Collect the numbers that limits of one test at one layer are derived from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_visualbias.evaluation.verdict import signed_magnitude
from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.effective_settings import effective_settings
from pytest_visualbias.statistics.intervals import t_margin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.results import ResultRecord
    from pytest_visualbias.spec.fields import Alternative
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

ROLES = ("X", "Y", "A", "B")


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """Numbers of one test, model and layer that limits are derived from."""

    model: str
    layer: str
    alternative: Alternative = "two-sided"
    level: float = 0.05
    count: int = 1
    sides: tuple[tuple[int, int], ...] = ()
    effect: float = 0.0
    low: float = 0.0
    high: float = 0.0
    untrained: tuple[float, ...] = ()
    trials: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    other: str = ""
    rates: tuple[float, float] | None = None
    within: float = 0.0
    error: float = 0.0
    freedom: float = 1.0
    problem: str = ""

    @property
    def size(self) -> float:
        """The effect's size in the counted direction."""
        return signed_magnitude(self.effect, self.alternative)

    @property
    def largest(self) -> float:
        """The interval's end farthest from zero in the counted direction."""
        return max(
            signed_magnitude(self.low, self.alternative),
            signed_magnitude(self.high, self.alternative),
        )

    @property
    def smallest(self) -> float:
        """The interval's end nearest to zero; zero if it contains zero."""
        if self.low <= 0 <= self.high:
            return 0.0
        return max(
            0.0, min(signed_magnitude(end, self.alternative) for end in (self.low, self.high))
        )


def is_corrected(spec: BiasSpec, test: BiasTest) -> bool:
    """Return whether a test's p-value joins the correction once it has limits."""
    is_judged = test.control is None and bool(test.compared)
    return is_judged and effective_settings(spec, test).evidence == "significant"


def basis_of(
    spec: BiasSpec,
    test: BiasTest,
    record: ResultRecord,
    *,
    untrained: ResultRecord | None,
    others: Sequence[ResultRecord],
    count: int,
) -> Basis:
    """Return the numbers of a test as a basis for limits."""
    start = Basis(model=record.model, layer=record.layer)
    if record.outcome == "error" or record.effect_judged is None:
        return _unmeasured(start, "; ".join(record.reasons))
    if record.outcome == "invalid":
        return _unmeasured(start, f"{'; '.join(record.reasons)}, so it says nothing yet")
    if record.prediction is not None and record.prediction.is_blind:
        return _unmeasured(start, f"'{record.model}' does not know the class: {_hint(record)}")
    plan = effective_settings(spec, test)
    pairs = test.compared[:1] if plan.sides == "targets" else test.compared
    sizes = {"X": record.n_x, "Y": record.n_y, "A": record.n_a, "B": record.n_b}
    members = count if is_corrected(spec, test) else 1
    spreads, other = _spreads(record, others, pairs)
    error, freedom = _error(record, [size for size in sizes.values() if size])
    return Basis(
        model=record.model,
        layer=record.layer,
        alternative=plan.alternative if pairs else "two-sided",
        level=plan.alpha / (1 if spec.settings.correction == "none" else max(members, 1)),
        count=members,
        sides=tuple((sizes[first] or 0, sizes[second] or 0) for first, second in pairs),
        effect=record.effect_judged,
        low=_or(record.ci_low, record.effect_judged),
        high=_or(record.ci_high, record.effect_judged),
        untrained=_effects(untrained) if untrained is not None else (),
        trials=_effects(record) if record.trials else (),
        spreads=spreads,
        other=other,
        error=error,
        freedom=freedom,
        **_of_predictions(record),
    )


def _hint(record: ResultRecord) -> str:
    gap = format_effect(record.effect_judged or 0.0)
    return f"its gap of {gap} says nothing of limits; check 'class', 'label' and the classifier"


def _of_predictions(record: ResultRecord) -> dict[str, Any]:
    prediction = record.prediction
    if prediction is None:
        return {}
    zeros = {role: dict.fromkeys(scores, 0.0) for role, scores in record.scores.items()}
    within = _spread(zeros, record.scores, ("X", "Y")) or 0.0
    return {
        "rates": (prediction.rate_x, prediction.rate_y) if prediction.rate != "score" else None,
        "within": within,
    }


def _error(record: ResultRecord, sizes: Sequence[int]) -> tuple[float, float]:
    """Return the approximate standard error and degrees of freedom behind an interval."""
    sampled = [size for size in sizes if size > 1]
    if record.ci_low is None or record.ci_high is None or not sampled:
        return 0.0, 1.0
    total = math.fsum(1 / size for size in sampled)
    freedom = total**2 / math.fsum(1 / size**2 / (size - 1) for size in sampled)
    half = (record.ci_high - record.ci_low) / 2
    return half / t_margin(freedom, 1 - record.alpha), freedom


def _unmeasured(start: Basis, problem: str) -> Basis:
    return Basis(model=start.model, layer=start.layer, problem=problem)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _effects(record: ResultRecord) -> tuple[float, ...]:
    """Return the judged effects of all trials or seeds."""
    if record.effect_judged is None:
        return ()
    effects = (record.trials or {}).get("effect_judged") or [record.effect_judged]
    return tuple(float(value) for value in effects)


def _spreads(
    record: ResultRecord, others: Sequence[ResultRecord], pairs: Sequence[tuple[str, str]]
) -> tuple[tuple[float, ...], str]:
    """Return, for each side, the spread of score changes to the model that changes most."""
    best: tuple[tuple[float, ...], str] = ((), "")
    for other in others:
        spreads = [_spread(record.scores, other.scores, pair) for pair in pairs]
        values = tuple(value for value in spreads if value is not None)
        if len(values) == len(pairs) and sum(values) > sum(best[0]):
            best = values, other.model
    return best


def _spread(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    roles: tuple[str, str],
) -> float | None:
    """Return the standard deviation of score changes within the two sets of a side."""
    squares, freedom = 0.0, 0
    for role in roles:
        old, new = before.get(role, {}), after.get(role, {})
        if not old or old.keys() != new.keys():
            return None
        changes = [new[image] - old[image] for image in old]
        middle = math.fsum(changes) / len(changes)
        squares += math.fsum((change - middle) ** 2 for change in changes)
        freedom += len(changes) - 1
    return math.sqrt(squares / freedom) if freedom > 0 else None
