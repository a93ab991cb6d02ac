"""Combine the proposals of all layers into one set of limits for each test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.cli.suggesting.gaps import propose_gap
from pytest_visualbias.cli.suggesting.limits import (
    Limit,
    Proposal,
    propose,
    propose_control,
    propose_similarity,
)
from pytest_visualbias.spec.effective_settings import effective_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.cli.suggesting.basis import Basis
    from pytest_visualbias.cli.suggesting.measuring import SuggestionBasis
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

IDLE = (
    "no limit: the suite has it for a positive control; demand it with 'limits: {min_effect: "
    "0.5}', and ask again for a better number"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Suggested limits of one test."""

    test: str
    bases: tuple[Basis, ...]
    detectable: tuple[float | None, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    evidence: str | None = None
    refusals: tuple[str, ...] = ()


def suggestions(spec: BiasSpec, measured: SuggestionBasis) -> tuple[Suggestion, ...]:
    """Return a suggestion for each test, in the order of the spec."""
    return tuple(_suggest(spec, test, measured) for test in spec.tests)


def _suggest(spec: BiasSpec, test: BiasTest, measured: SuggestionBasis) -> Suggestion:
    bases = measured.bases[test.name]
    if test.name in measured.controls:
        return Suggestion(test=test.name, bases=bases, refusals=(IDLE,))
    can_grow = test.name in measured.grows
    proposals = [_propose(test, basis, can_grow=can_grow) for basis in bases]
    limits, refusals = _combined(proposals, bases)
    needs_evidence = bool(limits) and not test.compared and test.evidence is None
    if needs_evidence and spec.settings.evidence == "significant":
        evidence = effective_settings(spec, test).evidence
    else:
        evidence = None
    return Suggestion(
        test=test.name,
        bases=bases,
        detectable=tuple(proposal.detectable for proposal in proposals),
        limits=limits,
        evidence=evidence,
        refusals=refusals,
    )


def _propose(test: BiasTest, basis: Basis, *, can_grow: bool) -> Proposal:
    if test.prediction is not None:
        return propose_gap(basis, can_grow=can_grow)
    if test.is_positive:
        return propose_control(basis)
    if not test.compared:
        return propose_similarity(basis, can_grow=can_grow)
    return propose(basis, can_grow=can_grow)


def _combined(
    proposals: Sequence[Proposal], bases: Sequence[Basis]
) -> tuple[dict[str, Limit], tuple[str, ...]]:
    """Return the widest limit of all layers, because one limit holds for all of them."""
    several = len(bases) > 1
    limits: dict[str, Limit] = {}
    for key in dict.fromkeys(key for proposal in proposals for key in proposal.limits):
        candidates = [
            (proposal.limits[key], basis.layer)
            for proposal, basis in zip(proposals, bases, strict=True)
            if key in proposal.limits
        ]
        if len(candidates) < len(proposals):
            continue
        pick = min if key == "min_effect" else max
        limit, layer = pick(candidates, key=lambda pair: pair[0].value)
        reason = f"{limit.reason}, at {layer}" if several else limit.reason
        limits[key] = Limit(value=limit.value, reason=reason)
    refusals = [
        f"{text} ({basis.layer})" if several else text
        for proposal, basis in zip(proposals, bases, strict=True)
        for text in proposal.refusals
    ]
    return limits, tuple(dict.fromkeys(refusals))
