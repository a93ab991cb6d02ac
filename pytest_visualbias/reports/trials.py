"""How far the networks are apart whose mean is tested: trials of a recipe, untrained seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.record import ExcessRecord, ResultRecord

__all__ = ["seeds_text", "trials_text"]


def trials_text(record: ResultRecord) -> str | None:
    """Return the spread of the trials of a result in one line; None where it has one network."""
    if record.trials is None:
        return None
    effects = [float(one) for one in record.trials.get("effect_judged", [])]
    labels = record.trials.get("labels", [])
    if len(effects) < 2 or len(labels) != len(effects):  # noqa: PLR2004 - two make a spread
        return None
    worst = max(range(len(effects)), key=lambda index: abs(effects[index]))
    ends = _ends(effects)
    return visible(
        f"{len(effects)} trials {ends}, largest {number(effects[worst])}: {labels[worst]}"
    )


def seeds_text(excess: ExcessRecord) -> str:
    """Return what single untrained networks show: in their mean, effects of either sign cancel."""
    if len(excess.untrained) < 2:  # noqa: PLR2004 - one seed is its own mean
        return ""
    return f"{len(excess.untrained)} seeds {_ends(excess.untrained)}"


def _ends(effects: Sequence[float]) -> str:
    return f"from {number(min(effects))} to {number(max(effects))}"
