"""Errors that many tests share, such as a checkpoint that is not there: told once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.text import headline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.record import ResultRecord

__all__ = ["Placed", "Shared", "placed", "shared"]

PLACE = re.compile(r"(?P<file>.+?\.bias\.ya?ml):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<text>.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A sentence about a spec, and where in it that is."""

    file: str
    line: int
    column: int | None
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What was said of some results.

    Attributes
    ----------
    records : tuple of ResultRecord
        Those of one spec of which it was said, one at least.
    text : str
        What was said.
    """

    records: tuple[ResultRecord, ...]
    text: str

    @classmethod
    def alone(cls, record: ResultRecord) -> Shared:
        """Return what was said of one result."""
        return cls(records=(record,), text=headline(record))

    @property
    def where(self) -> str:
        """The test that this is about, or how many tests of which models."""
        first, *others = self.records
        if not others:
            return first.nodeid
        models = dict.fromkeys(f"'{one.model}'" for one in self.records)
        tests = f"{len(self.records)} tests of {', '.join(models)}"
        # What has a place begins with the spec.
        return tests if self.text.startswith(f"{first.spec}:") else f"{tests} in {first.spec}"


def shared(records: Iterable[ResultRecord]) -> list[Shared]:
    """Return what was said of results, each sentence about a spec once, in their order."""
    found: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        found.setdefault((record.spec, headline(record)), []).append(record)
    return [Shared(records=tuple(group), text=text) for (_, text), group in found.items()]


def placed(text: str) -> Placed | None:
    """Return a line that begins with its place in a spec taken apart; None for any other."""
    found = PLACE.fullmatch(text)
    if found is None:
        return None
    column = int(found["column"]) if found["column"] else None
    return Placed(file=found["file"], line=int(found["line"]), column=column, text=found["text"])
