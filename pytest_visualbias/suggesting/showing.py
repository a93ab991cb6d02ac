"""What is proposed, as a table and as lines of YAML."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

from pytest_visualbias.spec.document import printable
from pytest_visualbias.statistics import images_for_limit
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.suggesting.basis import Basis
    from pytest_visualbias.suggesting.combining import Suggestion

__all__ = ["lines", "table"]

HEAD = ("test", "effect", "interval", "untrained", "detectable", "proposed")
NOTHING = "-"
PLAIN = re.compile(r"[A-Za-z_][\w.-]*")


def table(found: Sequence[Suggestion]) -> Iterator[str]:
    """Yield the lines of a table, a row for every test and layer."""
    rows = [HEAD, *(row for one in found for row in _rows(one))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _rows(one: Suggestion) -> Iterator[tuple[str, ...]]:
    limits = ", ".join(f"{key} {limit.value:.2f}" for key, limit in one.limits.items())
    detectable = one.detectable or (None,) * len(one.bases)
    for basis, least in zip(one.bases, detectable, strict=True):
        name = f"{one.test}[{basis.layer}]" if len(one.bases) > 1 else one.test
        shown = NOTHING if least is None else f"{least:.2f}"
        yield (printable(name), *_numbers(basis), shown, limits or "none")


def _numbers(basis: Basis) -> tuple[str, str, str]:
    if basis.problem:
        return NOTHING, NOTHING, NOTHING
    interval = f"{number(basis.low)} to {number(basis.high)}"
    if not basis.untrained:
        return number(basis.effect), interval, NOTHING
    low, high = number(min(basis.untrained)), number(max(basis.untrained))
    untrained = low if low == high else f"{low} to {high}"
    return number(basis.effect), interval, untrained


def lines(found: Sequence[Suggestion]) -> Iterator[str]:
    """Yield what is proposed as YAML, each key with its reason as a comment."""
    yield "tests:"
    for one in found:
        yield f"  - name: {_quoted(one.test)}"
        for text in one.refusals:
            yield f"    # {printable(text)}"
        if one.limits:
            yield "    limits:"
        for key, limit in one.limits.items():
            yield f"      {key}: {limit.value:.2f}    # {printable(limit.reason)}"
            if key == "max_effect" and len(one.bases[0].sides) > 1:
                # The level before correction.
                needed = images_for_limit(limit.value, one.bases[0].level * one.bases[0].count)
                yield f"      # about {needed} images a set show an absent effect to be within it"
        if one.evidence is not None:
            yield f"    evidence: {one.evidence}    # this kind has no p"


def _quoted(name: str) -> str:
    """Return a name as YAML."""
    is_plain = PLAIN.fullmatch(name) and yaml.safe_load(name) == name
    return name if is_plain else json.dumps(name, ensure_ascii=not name.isprintable())
