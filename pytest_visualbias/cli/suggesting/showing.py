"""Show proposals as a table and as YAML."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

from pytest_visualbias.errors import printable
from pytest_visualbias.results import format_effect
from pytest_visualbias.statistics.power import images_for_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.cli.suggesting.basis import Basis
    from pytest_visualbias.cli.suggesting.combining import Suggestion

HEAD = ("test", "effect", "interval", "untrained", "detectable", "proposed")
NOTHING = "-"
PLAIN = re.compile(r"[A-Za-z_][\w.-]*")


def table(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    """Yield the lines of a table, a row for every test and layer."""
    rows = [HEAD, *(row for suggestion in suggestions for row in _rows(suggestion))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _rows(suggestion: Suggestion) -> Iterator[tuple[str, ...]]:
    limits = ", ".join(f"{key} {limit.value:.2f}" for key, limit in suggestion.limits.items())
    detectable = suggestion.detectable or (None,) * len(suggestion.bases)
    for basis, least in zip(suggestion.bases, detectable, strict=True):
        name = f"{suggestion.test}[{basis.layer}]" if len(suggestion.bases) > 1 else suggestion.test
        smallest = NOTHING if least is None else f"{least:.2f}"
        yield (printable(name), *_numbers(basis), smallest, limits or "none")


def _numbers(basis: Basis) -> tuple[str, str, str]:
    if basis.problem:
        return NOTHING, NOTHING, NOTHING
    interval = f"{format_effect(basis.low)} to {format_effect(basis.high)}"
    if not basis.untrained:
        return format_effect(basis.effect), interval, NOTHING
    low, high = format_effect(min(basis.untrained)), format_effect(max(basis.untrained))
    untrained = low if low == high else f"{low} to {high}"
    return format_effect(basis.effect), interval, untrained


def lines(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    """Yield what is proposed as YAML, each key with its reason as a comment."""
    yield "tests:"
    for suggestion in suggestions:
        yield f"  - name: {_quoted(suggestion.test)}"
        for text in suggestion.refusals:
            yield f"    # {printable(text)}"
        if suggestion.limits:
            yield "    limits:"
        for key, limit in suggestion.limits.items():
            yield f"      {key}: {limit.value:.2f}    # {printable(limit.reason)}"
            if key == "max_effect" and len(suggestion.bases[0].sides) > 1:
                # The level before correction.
                needed = images_for_limit(
                    limit.value, suggestion.bases[0].level * suggestion.bases[0].count
                )
                yield f"      # about {needed} images a set show an absent effect to be within it"
        if suggestion.evidence is not None:
            yield f"    evidence: {suggestion.evidence}    # this kind has no p"


def _quoted(name: str) -> str:
    """Return a name as YAML."""
    is_plain = PLAIN.fullmatch(name) and yaml.safe_load(name) == name
    return name if is_plain else json.dumps(name, ensure_ascii=not name.isprintable())
