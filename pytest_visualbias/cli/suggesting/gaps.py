"""Propose limits for the gap of a classifier's rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.cli.suggesting.limits import (
    FINE,
    ROOM,
    Limit,
    Proposal,
    conditions,
    detectable,
    hidden_reason,
    rounded_up,
    shift_limit,
    to_within_sd,
)
from pytest_visualbias.results import format_effect
from pytest_visualbias.statistics.power import smallest_detectable_effect, smallest_visible_gap

if TYPE_CHECKING:
    from pytest_visualbias.cli.suggesting.basis import Basis


def propose_gap(basis: Basis, *, can_grow: bool) -> Proposal:
    """Propose limits for a gap between two rates or mean probabilities."""
    if basis.problem:
        return Proposal(refusals=(basis.problem,))
    visible, growing = _visible(basis), _visible_growth(basis)
    if visible is None or growing is None:
        return Proposal(refusals=(hidden_reason(basis),))
    limits, refusals = {}, []
    growth = _on_growth(basis, growing) if can_grow else None
    for key, proposed in (("max_gap", _on_gap(basis, visible)), ("max_growth", growth)):
        if isinstance(proposed, Limit):
            limits[key] = proposed
        elif proposed is not None:
            refusals.append(f"no {key}: {proposed}")
    if isinstance(growth, Limit):
        limits["max_shift"] = shift_limit(basis, growth, FINE)
    return Proposal(limits=limits, refusals=tuple(refusals), detectable=detectable(basis))


def _visible(basis: Basis) -> float | None:
    """Return the smallest significant gap at these rates or this spread."""
    ((n_x, n_y),) = basis.sides
    if basis.rates is not None:
        rate = min(*basis.rates, 1 - max(basis.rates))
        return smallest_visible_gap(n_x, n_y, rate, basis.level, basis.alternative)
    d = smallest_detectable_effect(n_x, n_y, basis.level, basis.alternative)
    return None if d is None else to_within_sd(d, n_x, n_y) * basis.within


def _visible_growth(basis: Basis) -> float | None:
    """Return the smallest significant growth of a gap."""
    ((n_x, n_y),) = basis.sides
    # Each relabelling of pairs has a mirror image, so the p-value is two-sided.
    d = smallest_detectable_effect(n_x, n_y, basis.level, "two-sided")
    if d is None:
        return None
    # The difference of scores that correlate by 0.5 has the spread of either.
    (spread,) = basis.spreads or (basis.within,)
    least = to_within_sd(d, n_x, n_y) * spread
    if basis.rates is None:
        return least
    turned = smallest_visible_gap(n_x, n_y, 0.0, basis.level, "two-sided")
    return None if turned is None else max(least, turned)


def _on_gap(basis: Basis, visible: float) -> Limit | str:
    low, high = format_effect(basis.low), format_effect(basis.high)
    beside = "" if basis.rates is None else ", beside such rates"
    reasons = {
        f"the interval of '{basis.model}' is {low} to {high}": basis.largest,
        f"smaller ones need not be told from chance {conditions(basis)}{beside}": visible,
    }
    reason = max(reasons, key=lambda text: reasons[text])
    value = rounded_up(reasons[reason], FINE)
    if value > ROOM:
        return f"{reason}, and no gap can be over 1; gate its growth, or add images"
    return Limit(value=value, reason=reason)


def _on_growth(basis: Basis, visible: float) -> Limit | str:
    if basis.spreads:
        change = f"as predictions change from '{basis.model}' to '{basis.other}'"
    else:
        change = "if predictions before and after correlate by 0.5"
    reasons = {f"less need not be told from chance {conditions(basis)}, {change}": visible}
    if basis.trials:
        sizes = [abs(value) for value in basis.trials]
        apart = max(sizes) - min(sizes)
        reasons[f"{len(sizes)} trials of '{basis.model}' differ by {apart:.2f}"] = apart
    reason = max(reasons, key=lambda text: reasons[text])
    value = rounded_up(reasons[reason], FINE)
    if value >= 1 - abs(basis.effect):
        start = format_effect(basis.effect)
        return f"from {start} in '{basis.model}' a gap has no such room, and {reason}"
    return Limit(value=value, reason=reason)
