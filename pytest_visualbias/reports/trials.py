"""How far the networks are apart whose mean is tested: trials of a recipe, untrained seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.units import judged_limit
from pytest_visualbias.verdict import number, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.record import ExcessRecord, ResultRecord
    from pytest_visualbias.spec.schema import Alternative

__all__ = ["growth_notes", "lone_trials", "seeds_text", "trials_text"]

# What a report calls recorded results where it names a model otherwise.
RECORDED = "baseline"


def trials_text(record: ResultRecord) -> str | None:
    """Return the spread of the trials of a result in one line; None where it has one network."""
    effects = _effects(record)
    if not effects:
        return None
    what = "seeds" if record.role == "random" else "trials"
    text = f"{len(effects)} {what} {_ends(effects)}, largest {_worst(record)[1]}"
    if record.growth is not None and record.growth.smallest_growth is not None:
        text += f"; smallest growth they can show {number(record.growth.smallest_growth)}"
    return visible(text)


def growth_notes(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield what p-values of growth do not cover, once per run."""
    grown = [one.growth for one in records if one.role == "gated" and one.growth is not None]
    if any(one.p_verdict is not None and one.p_trials is None for one in grown):
        yield "the p of growth covers images, not retraining (3 or more 'trials' do)"
    if any(one.base == RECORDED and one.p_crossed not in (None, 1.0) for one in grown):
        yield "growth from recorded results is judged a little more cautiously"


def lone_trials(records: Iterable[ResultRecord]) -> str | None:
    """Say how many tests do not fail by the mean of trials, a single one of which is over."""
    over = [one for one in records if _is_over_alone(one)]
    if not over:
        return None
    worst = max(over, key=lambda one: _worst(one)[0])
    tests = "1 test does" if len(over) == 1 else f"{len(over)} tests do"
    return visible(
        f"{tests} not fail by the mean of the trials, though a single trial is over the limit, the "
        f"farthest in {worst.nodeid}: {_worst(worst)[1]}"
    )


def _is_over_alone(record: ResultRecord) -> bool:
    limit = judged_limit(record)
    if limit is None or record.role != "gated" or record.outcome not in ("pass", "inconclusive"):
        return False
    return bool(_effects(record)) and _worst(record)[0] > limit


def _worst(record: ResultRecord) -> tuple[float, str]:
    """Return how large the largest effect of a trial is in the direction that counts, and whose."""
    way = cast("Alternative", record.alternative)
    effects, labels = _effects(record), (record.trials or {}).get("labels", [])
    place = max(range(len(effects)), key=lambda index: size(effects[index], way))
    return size(effects[place], way), f"{number(effects[place])}: {labels[place]}"


def _effects(record: ResultRecord) -> list[float]:
    """Return the judged effect of each trial, where there are several."""
    trials = record.trials or {}
    # A report may say anything else in their place.
    effects = [one for one in trials.get("effect_judged", []) if isinstance(one, float)]
    return effects if len(effects) > 1 and len(trials.get("labels", [])) == len(effects) else []


def seeds_text(excess: ExcessRecord) -> str:
    """Return what single untrained networks show: in their mean, effects of either sign cancel."""
    if len(excess.untrained) < 2:  # noqa: PLR2004 - one seed is its own mean
        return ""
    return f"{len(excess.untrained)} seeds {_ends(excess.untrained)}"


def _ends(effects: Sequence[float]) -> str:
    return f"from {number(min(effects))} to {number(max(effects))}"
