"""Measure what limits of a spec are derived from, with the same cache as a gate."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import UsageError
from pytest_visualbias.evaluation.preflight import Preflight, judged_together
from pytest_visualbias.evaluation.verdict import signed_magnitude
from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.effective_settings import (
    BEFORE,
    effective_settings,
    gated_layers_of,
    growth_base,
    is_random,
)
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import NetworkEntry
from pytest_visualbias.spec.suites import find_suite, read_suite
from pytest_visualbias.statistics.intervals import t_margin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.evaluation.model_embedder import LoadedSpec
    from pytest_visualbias.evaluation.run import EvaluationRun
    from pytest_visualbias.results import ResultRecord
    from pytest_visualbias.spec.fields import Alternative
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.parser import SpecFile
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


UNTRAINED = "untrained"

# Outcomes without usable scores.
UNMEASURED = ("error", "invalid")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuggestionBasis:
    """Measurements of a spec that suggestions are derived from."""

    model: str
    bases: Mapping[str, tuple[Basis, ...]]
    grows: frozenset[str]
    notes: tuple[str, ...]
    controls: frozenset[str] = frozenset()


def chosen_model(spec: BiasSpec, named: str | None) -> str:
    """Return the model to derive limits from: the named one, else the base model."""
    if named is not None and named not in spec.models:
        raise UsageError(f"--model: there is no model '{named}'", did_you_mean(named, spec.models))
    trained = [name for name, entry in spec.models.items() if not is_random(entry)]
    if named is not None and named not in trained:
        raise UsageError(
            f"--model: '{named}' is untrained", "name a model that has learned something"
        )
    if named is not None:
        return named
    if not trained:
        raise UsageError(
            "every model of the spec is untrained, and limits come from one that has learned "
            "something",
            "add it",
        )
    starts = [BEFORE, *(model.growth_from for model in spec.models.values())]
    return next((name for name in starts if name in trained), trained[0])


def measure(
    session: EvaluationRun, loaded: LoadedSpec, model: str, *, seeds: int
) -> SuggestionBasis:
    """Measure a model, its comparison models, and untrained networks of its architecture."""
    widened, random, notes = _with_untrained(loaded, model, seeds)
    spec = widened.file.spec
    trained = [name for name, entry in spec.models.items() if not is_random(entry)]
    other_models = [name for name in trained if name != model]
    grows = frozenset(test.name for test in spec.tests if _is_base(spec, test, model, other_models))
    controls = _idle_controls(loaded.file)
    count = sum(
        is_corrected(spec, test)
        * (3 if test.name in grows else 1)
        * len(gated_layers_of(spec, test))
        for test in spec.tests
        if test.name not in controls
    ) * max(judged_together(loaded.file, session.embedder.mirror).values(), default=1)
    bases_by_test: dict[str, tuple[Basis, ...]] = {}
    for test in spec.tests:
        bases = []
        for layer in gated_layers_of(spec, test):
            ground = random if _compares_untrained(test) else None
            untrained = _row(session, widened, ground, test, layer) if ground else None
            if untrained is not None and untrained.outcome == "error":
                notes.append(f"no untrained network: {'; '.join(untrained.reasons)}")
                untrained = None
            others = [
                row
                for name in (other_models if test.name in grows else ())
                if growth_base(spec, test, name) == model
                and (row := _row(session, widened, name, test, layer)).outcome not in UNMEASURED
            ]
            record = _row(session, widened, model, test, layer)
            bases.append(
                basis_of(spec, test, record, untrained=untrained, others=others, count=count)
            )
        bases_by_test[test.name] = tuple(bases)
    return SuggestionBasis(
        model=model,
        bases=bases_by_test,
        grows=grows,
        notes=tuple(dict.fromkeys(notes)),
        controls=controls,
    )


def _idle_controls(file: SpecFile) -> frozenset[str]:
    """Return the suite's controls that have no minimum effect."""
    choice = file.spec.suite
    if choice is None:
        return frozenset()
    name = choice if isinstance(choice, str) else choice.name
    source = find_suite(name, folder=file.folder, shown_in="")
    if source is None:
        return frozenset()
    suite = read_suite(source[0], file=name).suite
    controls = {test.name for test in suite.tests if test.is_positive}
    # With `control: none` in the spec, the test has the key.
    tests = file.document.data["tests"]
    idle = {test["name"] for test in tests if test.get("control", "idle") == "idle"}
    return frozenset(controls & idle)


def _is_base(spec: BiasSpec, test: BiasTest, model: str, others: list[str]) -> bool:
    """Return whether growth is, or will be, measured from a model."""
    if not others:
        return model == (test.growth_from or BEFORE)
    return any(growth_base(spec, test, name) == model for name in others)


def _row(
    session: EvaluationRun, loaded: LoadedSpec, model: str, test: BiasTest, layer: str
) -> ResultRecord:
    nodeid = f"{loaded.file.file}::{model}::{test.name}[{layer}]"
    return session.result(loaded, model, test.name, layer, nodeid=nodeid)


def _with_untrained(
    loaded: LoadedSpec, model: str, seeds: int
) -> tuple[LoadedSpec, str | None, list[str]]:
    """Return a spec with an untrained model, that model's name, and notes if there is none."""
    spec = loaded.file.spec
    if not any(map(_compares_untrained, spec.tests)):
        return loaded, None, []
    existing = next((name for name, entry in spec.models.items() if is_random(entry)), None)
    if existing is not None:
        return loaded, existing, []
    entry = _untrained(spec.models[model], seeds) if seeds else None
    if entry is None:
        why = "none is asked for" if not seeds else f"'{model}' has no architecture to make one of"
        return loaded, None, [f"no untrained network: {why}"]
    name = UNTRAINED
    while name in spec.models:
        name += "'"
    widened = spec.model_copy(update={"models": {**spec.models, name: entry}})
    checked = loaded.preflight
    sets = {**checked.models, name: checked.models[model]}
    return (
        dataclasses.replace(
            loaded,
            file=dataclasses.replace(loaded.file, spec=widened),
            preflight=Preflight(models=sets, warnings=checked.warnings),
        ),
        name,
        [],
    )


def _compares_untrained(test: BiasTest) -> bool:
    """Return whether an untrained network is a meaningful comparison for a test."""
    return test.prediction is None


def _untrained(entry: ModelEntry, seeds: int) -> ModelEntry | None:
    """Return an entry of the same architecture with random weights."""
    if not isinstance(entry, NetworkEntry):
        return None
    changes: dict[str, object] = {"checkpoint": None, "container": None, "prefix": None}
    changes |= {"ignore": (), "random_init": seeds, "labels": {}, "growth_from": None}
    if hasattr(entry, "adapter"):
        changes["adapter"] = None
    # A pretrained tag stays, because it names the preprocessing.
    if not isinstance(getattr(entry, "pretrained", ""), str):
        changes["pretrained"] = False
    return entry.model_copy(update=changes)
